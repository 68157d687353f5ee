"""From a row of named values to a document: which column has the text, and who takes the row."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rewarm.data.documents import Document
from rewarm.data.rejects import BadRow, Rejects
from rewarm.data.sources import reading
from rewarm.data.sources.hash_split import HashSide


class Row(NamedTuple):
    """One row of a file or table."""

    values: Mapping[str, Any]
    """Its values by column."""
    place: str
    """Where to find it, such as `data/a.jsonl.zst:12`."""
    read_bytes: int
    """Bytes of the source's files read when this row came out."""


@dataclass(frozen=True, kw_only=True)
class DomainRows:
    """The rows of some domains, where a column says which domain a row is of."""

    column: str
    """The column."""
    wanted: frozenset[str]
    """The values whose rows are taken."""
    listed: frozenset[str]
    """The values that any domain of the dataset takes; a row with another is a bad row."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which column holds the text, and which rows are taken.

    A column is named as in the row; a dot leads into a nested value (`meta.source`), unless the row
    has a column with the dot in its name.
    """

    text: str = "text"
    """The column of the text."""
    domain: DomainRows | None = None
    """Take the rows of these domains alone."""
    side: HashSide | None = None
    """Take the rows on one side of a split alone."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that are looked at."""
        group = self.side.group if self.side else None
        others = (self.domain.column if self.domain else None, group)
        return tuple(dict.fromkeys([self.text, *(name for name in others if name is not None)]))

    def describe(self) -> list[dict[str, Any]]:
        """Return what decides which rows are taken; nothing if all are."""
        found: list[dict[str, Any]] = []
        if self.domain is not None:
            wanted = sorted(self.domain.wanted)
            found.append({"domain_column": self.domain.column, "rows": wanted})
        return found + (self.side.describe() if self.side else [])

    def documents(
        self, rows: Iterable[Row | BadRow], rejects: Rejects, done_bytes: int = 0
    ) -> Iterator[Document]:
        """Yield the documents of the rows that are taken.

        Args:
            rows: the rows of one file.
            rejects: told of each of them.
            done_bytes: bytes of the files before.
        """
        for row in rows:
            rejects.rows += 1
            try:
                text = self._text(row)
            except BadRow as bad:
                rejects.add(bad)
                continue
            if text is not None:
                assert isinstance(row, Row), "a bad row has no text"
                yield Document(text, row.place, done_bytes + row.read_bytes)

    def _text(self, row: Row | BadRow) -> str | None:
        """Return the text of a row; None if others take the row."""
        if isinstance(row, BadRow):
            raise row
        if self.domain is not None and not _is_of(self.domain, row):
            return None
        # Who takes a row is told from its group before its text is judged, so that a bad text is
        # counted once.
        group = self.side.group if self.side else None
        if self.side and group is not None and not self.side.takes(_group(row, group)):
            return None
        text = checked_text(_string(row, self.text), row.place)
        if self.side and group is None and not self.side.takes(text):
            return None
        return text


def checked_text(text: str, place: str) -> str:
    """Return a text unless nobody means to train on it.

    Raises:
        BadRow: it is empty, too long to be held whole, or has a NUL.
    """
    if not text or text.isspace():
        raise BadRow(
            "empty text",
            place,
            "the document is empty (no text, or white space only). Remove it.",
        )
    most = reading.MAX_TEXT_BYTES
    if len(text) * 4 > most and len(text.encode()) > most:
        raise BadRow("too long", place, f"the text has over {most:,} bytes. Split that document.")
    if "\0" in text:
        raise BadRow(
            "NUL character",
            place,
            f"the text has a NUL character at position {text.index(chr(0))}, which means binary"
            " data or a broken conversion. Correct or remove the document.",
        )
    return text


def _is_of(domain: DomainRows, row: Row) -> bool:
    """Say whether a row is of the wanted domains."""
    value = _string(row, domain.column)
    if value not in domain.listed:
        raise BadRow(
            "unlisted domain",
            row.place,
            f"{domain.column!r} is {value!r}, which no domain takes. Name it in `rows` of a domain,"
            " or remove the row.",
        )
    return value in domain.wanted


def _group(row: Row, column: str) -> str:
    """Return what stands for the group of a row."""
    value = _value(row, column)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow(
            "wrong type",
            row.place,
            f"{column!r} is {kind_of_value(value)}, not a string or a whole number, so the row belongs to"
            " no group. Correct or remove the row.",
        )
    return str(value)


def _string(row: Row, column: str) -> str:
    """Return a value that must be a string."""
    value = _value(row, column)
    if not isinstance(value, str):
        raise BadRow(
            "wrong type",
            row.place,
            f"{column!r} is {kind_of_value(value)}, not a string. Correct or remove the row.",
        )
    return value


def _value(row: Row, column: str) -> Any:  # noqa: ANN401  (what files hold)
    """Return the value of a column, nested or not."""
    if column in row.values:
        return row.values[column]
    value: Any = row.values
    for name in column.split("."):
        if not isinstance(value, Mapping) or name not in value:
            raise BadRow(
                "missing column",
                row.place,
                f"has no key {column!r}; its keys are {sorted(row.values)[:10]}. Name the right"
                " one, or correct the row.",
            )
        value = value[name]
    return value


_NAMES = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def kind_of_value(value: object) -> str:
    """Return JSON's name for the type of a value, in a sentence.

    >>> [kind_of_value(value) for value in (None, True, 1.5, "a", [], {}, b"")]
    ['null', 'a boolean', 'a number', 'a string', 'an array', 'an object', 'a value of type bytes']
    """
    return _NAMES.get(type(value), f"a value of type {type(value).__name__}")
