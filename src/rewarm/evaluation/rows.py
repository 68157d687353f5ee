"""The files that evaluations read: JSON lines with a declared schema, checked before any model is asked.

| kind | keys of a row |
| --- | --- |
| documents | `text`; in all rows or in none `domain` |
| questions | `context`, `choices` (two texts or more), `answer` (the number of the right one, from 0) |
| generate | `context`, `answers` (one text or more); `stop` (what ends an answer, a line break by default) |

Any row may have an `id`. Other keys are not looked at.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from rewarm.data.rejects import BadRow
from rewarm.data.sources.files import SourceFile, find_files
from rewarm.data.sources.formats import kind_of
from rewarm.data.sources.json_lines import json_rows
from rewarm.data.sources.rows import checked_text, kind_of_value
from rewarm.errors import DataError

_R = TypeVar("_R")
_SHOWN = 10
_READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text to read."""

    id: str
    """Its `id`, or the number of its line."""
    text: str
    """The text."""
    domain: str | None
    """What it belongs to, if its file says."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A context with several ways to go on, one of which is right."""

    id: str
    """Its `id`, or the number of its line."""
    context: str
    """What comes first; may be empty."""
    choices: tuple[str, ...]
    """The ways to go on; a space comes before each."""
    answer: int
    """Which of them is right, from 0."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A context that the model goes on from in its own words."""

    id: str
    """Its `id`, or the number of its line."""
    context: str
    """What comes first."""
    answers: tuple[str, ...]
    """What is right, each of them."""
    stop: tuple[str, ...]
    """Texts that end the model's answer."""


@dataclass(frozen=True, kw_only=True)
class RowFile(Generic[_R]):
    """The rows of a file."""

    file: str
    """Its name as it was given."""
    sha256: str
    """Of its bytes as they are stored."""
    rows: Sequence[_R]
    """In their order."""


def read_documents(file: str, limit: int | None = None) -> RowFile[Document]:
    """Read texts; see `_read` for the rest.

    Raises:
        DataError: as `_read`, or some rows have a domain and some have none.
    """
    found = _read(file, limit, _document)
    without = [row.id for row in found.rows if row.domain is None]
    if 0 < len(without) < len(found.rows):
        raise DataError(
            f"{file}: {len(without):,} of {len(found.rows):,} rows have no 'domain' (the first: {without[0]}), "
            "so results by domain would leave them out. Give one to every row, or to none."
        )
    return found


def read_questions(file: str, limit: int | None = None) -> RowFile[Question]:
    """Read multiple-choice questions; see `_read`."""
    return _read(file, limit, _question)


def read_asks(file: str, limit: int | None = None) -> RowFile[Ask]:
    """Read questions that are answered freely; see `_read`."""
    return _read(file, limit, _ask)


def _read(
    file: str, limit: int | None, parse: Callable[[Mapping[str, Any], str, str], _R]
) -> RowFile[_R]:
    """Read the rows of a file.

    Args:
        file: JSON lines; `.zst` or `.gz` may stand behind.
        limit: how many rows to take, the first ones; None takes all.
        parse: from a row's values, its place and its id.

    Raises:
        DataError: there is no such file, it has no row, a row is not as declared (up to ten are named, with
            their lines), or two rows have one id.
    """
    source = _source(file)
    rows: dict[str, _R] = {}
    problems: list[str] = []
    for row in islice(json_rows(source), limit):
        try:
            if isinstance(row, BadRow):
                raise row
            name = _id(row.values, row.place)
            if name in rows:
                raise _bad(
                    row.place, f"the id {name!r} is that of an earlier row, and results go by ids"
                )
            rows[name] = parse(row.values, row.place, name)
        except BadRow as bad:
            problems.append(str(bad))
    if problems:
        more = f"\nand {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        raise DataError("\n".join(problems[:_SHOWN]) + more)
    if not rows:
        raise DataError(f"{file}: has no rows, so there is nothing to measure. Give another file.")
    return RowFile(file=file, sha256=_sha256(source), rows=tuple(rows.values()))


def _source(file: str) -> SourceFile:
    found = find_files((file,), Path())
    if len(found) != 1 or kind_of(next(iter(found))) != "json lines":
        raise DataError(
            f"{file}: give one file of JSON lines (.jsonl), with .zst or .gz behind if you like"
        )
    return next(iter(found.values()))


def _sha256(source: SourceFile) -> str:
    digest = hashlib.sha256()
    with source.open() as file:
        while content := file.read(_READ_BYTES):
            digest.update(content)
    return digest.hexdigest()


def _document(values: Mapping[str, Any], place: str, name: str) -> Document:
    domain = None if values.get("domain") is None else _text(values, "domain", place)
    if domain is not None and not domain.isprintable():
        raise _bad(place, f"'domain' is {domain!r}, which no table can show")
    text = checked_text(_text(values, "text", place), place)
    return Document(id=name, text=text, domain=domain)


def _question(values: Mapping[str, Any], place: str, name: str) -> Question:
    choices = _texts(values, "choices", place, at_least=2)
    answer = _value(values, "answer", place)
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise _bad(place, f"'answer' is {kind_of_value(answer)}, not the number of a choice")
    if not 0 <= answer < len(choices):
        raise _bad(
            place,
            f"'answer' is {answer}, but the choices are numbered from 0 to {len(choices) - 1}",
        )
    return Question(
        id=name, context=_text(values, "context", place), choices=choices, answer=answer
    )


def _ask(values: Mapping[str, Any], place: str, name: str) -> Ask:
    stop = _texts(values, "stop", place, at_least=0) if "stop" in values else ("\n",)
    answers = _texts(values, "answers", place, at_least=1)
    return Ask(id=name, context=_text(values, "context", place), answers=answers, stop=stop)


def _id(values: Mapping[str, Any], place: str) -> str:
    value = values.get("id")
    if value is None:
        return place.rpartition(":")[2]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _bad(place, f"'id' is {kind_of_value(value)}, not a string or a whole number")
    return str(value)


def _text(values: Mapping[str, Any], key: str, place: str) -> str:
    value = _value(values, key, place)
    if not isinstance(value, str):
        raise _bad(place, f"{key!r} is {kind_of_value(value)}, not a string")
    return value


def _texts(values: Mapping[str, Any], key: str, place: str, *, at_least: int) -> tuple[str, ...]:
    value = _value(values, key, place)
    if not isinstance(value, list):
        raise _bad(place, f"{key!r} is {kind_of_value(value)}, not an array of strings")
    if len(value) < at_least:
        raise _bad(place, f"{key!r} has {len(value)} entries, at least {at_least} are needed")
    for number, each in enumerate(value):
        if not isinstance(each, str):
            raise _bad(place, f"{key}[{number}] is {kind_of_value(each)}, not a string")
        if not each:
            raise _bad(place, f"{key}[{number}] is empty")
    return tuple(value)


def _value(values: Mapping[str, Any], key: str, place: str) -> Any:  # noqa: ANN401  # what files hold
    if key not in values:
        raise _bad(place, f"has no key {key!r}; its keys are {sorted(values)[:10]}")
    return values[key]


def _bad(place: str, what: str) -> BadRow:
    return BadRow("wrong type", place, f"{what}. Correct the row, or remove it.")
