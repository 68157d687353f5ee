"""Where text comes from: the sources' common shape, and the one that reads files.

A row that cannot be used is an error with its file and line; nothing is skipped but blank lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from rewarm.data.reading import Line, decode, read_lines, read_text
from rewarm.errors import DataError

_COMPRESSIONS = ("", ".zst", ".gz")
_JSON_SUFFIXES = tuple(kind + more for kind in (".jsonl", ".json") for more in _COMPRESSIONS)
_TEXT_SUFFIXES = tuple(kind + more for kind in (".txt", ".md") for more in _COMPRESSIONS)


@dataclass(frozen=True, slots=True)
class Document:
    """One text, or a piece of one, and where it is from."""

    text: str
    """The text: not empty, no NUL, and always representable in UTF-8."""
    origin: str
    """Where to find it, such as `data/a.jsonl.zst:12`."""
    read_bytes: int = 0
    """Bytes of the source's files read when this document came out; 0 where it has no files."""
    ends: bool = True
    """Whether the text ends here; if not, the next piece goes on with it."""


class TextSource(Protocol):
    """What preparation reads: documents in a fixed order."""

    def documents(self) -> Iterator[Document]:
        """Yield every document; the same ones in the same order at each call."""
        ...

    def describe(self) -> list[dict[str, Any]]:
        """Return what the documents come from, as tables that JSON can hold; quick to make."""
        ...

    def num_bytes(self) -> int | None:
        """Return what `Document.read_bytes` is at the end; None where the source has no files."""
        ...


@dataclass(frozen=True)
class TextFiles:
    """JSON lines (`.jsonl`, `.json`) and text files (`.txt`, `.md`), also `.zst` and `.gz`.

    JSON lines hold one object a line; of a key given twice the last counts. A text file is one
    document, taken as it is. Files are read in the order of their names.
    """

    patterns: tuple[str, ...]
    """File names with `*`, `?`, `[]` and `**`, relative to `root` or absolute."""
    root: Path
    """The folder that the patterns start from."""
    text_key: str = "text"
    """The key of the text in each JSON object."""

    def files(self) -> dict[str, Path]:
        """Return the files by name (relative to `root` where the pattern is), in order.

        Raises:
            DataError: a pattern matches no file, or a file of a kind that is not known.
        """
        found: dict[str, Path] = {}
        for pattern in self.patterns:
            matches = self._matches(pattern)
            if not matches:
                raise DataError(
                    f"no file matches {pattern!r} in {self.root}. Correct the pattern, or put the"
                    " files there."
                )
            found |= matches
        for name in found:
            if not name.endswith(_JSON_SUFFIXES + _TEXT_SUFFIXES):
                raise DataError(
                    f"{name}: text is read from .jsonl, .json, .txt and .md, each also with .zst"
                    " or .gz behind it. Convert the file, or narrow the pattern."
                )
        return dict(sorted(found.items()))

    def _matches(self, pattern: str) -> dict[str, Path]:
        """Return the files that one pattern matches; a name without wild cards is itself."""
        if (self.root / pattern).is_file():
            return {Path(pattern).as_posix(): self.root / pattern}
        is_absolute = Path(pattern).is_absolute()
        start = Path(Path(pattern).anchor) if is_absolute else self.root
        relative = str(Path(pattern).relative_to(start)) if is_absolute else pattern
        try:
            paths = [path for path in start.glob(relative) if path.is_file()]
        except ValueError as error:
            raise DataError(f"{pattern!r} is not a file pattern: {error}.") from error
        return {
            (path if is_absolute else path.relative_to(self.root)).as_posix(): path
            for path in paths
        }

    def documents(self) -> Iterator[Document]:
        """Yield every document.

        Raises:
            DataError: a file or a row cannot be used; the message names the file and the line.
        """
        done_bytes = 0
        for name, path in self.files().items():
            if name.endswith(_TEXT_SUFFIXES):
                text = _checked_text(read_text(path, name), name)
                yield Document(text, name, done_bytes + path.stat().st_size)
            else:
                for line in read_lines(path, name):
                    if line.content.strip():
                        text = self._text_of(line, name)
                        origin = f"{name}:{line.number}"
                        yield Document(text, origin, done_bytes + line.read_bytes)
            done_bytes += path.stat().st_size

    def _text_of(self, line: Line, name: str) -> str:
        """Return the text of one JSON line."""
        origin = f"{name}:{line.number}"
        try:
            row = orjson.loads(line.content)
        except ValueError as error:
            decode(line.content, name, line.number)
            hint = " (NUL bytes: is the file UTF-16?)" if b"\0" in line.content else ""
            raise DataError(
                f"{origin}: not valid JSON: {_reason(error)}{hint}. Each line must hold one JSON"
                " object. Correct or remove the line."
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{origin}: holds a JSON {_kind(row)}, not an object. Each line must hold one"
                f" object with the text under {self.text_key!r}."
            )
        if self.text_key not in row:
            raise DataError(
                f"{origin}: has no key {self.text_key!r}; its keys are {sorted(row)[:10]}. Name"
                " the key that holds the text, or correct the line."
            )
        text = row[self.text_key]
        if not isinstance(text, str):
            raise DataError(
                f"{origin}: {self.text_key!r} is a JSON {_kind(text)}, not a string. Correct or"
                " remove the line."
            )
        return _checked_text(text, origin)

    def describe(self) -> list[dict[str, Any]]:
        """Return name and size of each file, and the text key where it matters."""
        return [
            {"file": name, "bytes": path.stat().st_size}
            | ({"text_key": self.text_key} if name.endswith(_JSON_SUFFIXES) else {})
            for name, path in self.files().items()
        ]

    def num_bytes(self) -> int:
        """Return the size of all files as they lie on the disk."""
        return sum(path.stat().st_size for path in self.files().values())


def _checked_text(text: str, origin: str) -> str:
    """Refuse text that nobody means to train on."""
    if not text or text.isspace():
        raise DataError(
            f"{origin}: the document is empty (no text, or white space only). Remove it."
        )
    if "\0" in text:
        raise DataError(
            f"{origin}: the text has a NUL character at position {text.index(chr(0))}, which"
            " means binary data or a broken conversion. Correct or remove the document."
        )
    return text


def _reason(error: ValueError) -> str:
    """Return what the JSON reader says, without its `line 1`, which is not the file's line."""
    message = str(error)
    position = getattr(error, "colno", None)
    return message.split(": line ")[0] + (f" at column {position}" if position else "")


def _kind(value: object) -> str:
    """Return JSON's name for the type of a value.

    >>> [_kind(value) for value in (None, True, 1.5, "a", [], {})]
    ['null', 'boolean', 'number', 'string', 'array', 'object']
    """
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
