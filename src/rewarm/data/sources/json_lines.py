"""Rows of JSON lines: one object a line; of a key given twice the last counts."""

from collections.abc import Iterator

import orjson

from rewarm.data.rejects import BadRow
from rewarm.data.sources import reading
from rewarm.data.sources.files import SourceFile
from rewarm.data.sources.reading import Line, decode, read_lines
from rewarm.data.sources.rows import Row, kind_of_value


def json_rows(file: SourceFile) -> Iterator[Row | BadRow]:
    """Yield the rows of a file; blank lines are none.

    Raises:
        DataError: the file cannot be read or decompressed, or is UTF-16.
    """
    for line in read_lines(file):
        if line.content.strip() or line.is_too_long:
            try:
                row = _row(line, file.name)
            except BadRow as bad:
                row = bad
            yield row


def _row(line: Line, name: str) -> Row:
    """Return the row of one line."""
    place = f"{name}:{line.number}"
    if line.is_too_long:
        raise BadRow(
            "too long",
            place,
            f"a line of over {reading.MAX_TEXT_BYTES:,} bytes. Split that document, or check that"
            " the file has one JSON object a line.",
        )
    try:
        values = orjson.loads(line.content)
    except ValueError as error:
        decode(line.content, name, line.number)
        hint = " (NUL bytes: is the file UTF-16?)" if b"\0" in line.content else ""
        raise BadRow(
            "not JSON",
            place,
            f"not valid JSON: {_reason(error)}{hint}. Each line must hold one JSON object. Correct"
            " or remove the line.",
        ) from error
    if not isinstance(values, dict):
        raise BadRow(
            "not an object",
            place,
            f"holds {kind_of_value(values)}, not an object. Each line must hold one object.",
        )
    return Row(values, place, line.read_bytes)


def _reason(error: ValueError) -> str:
    """Return what the JSON reader says, without its `line 1`, which is not the file's line."""
    message = str(error)
    position = getattr(error, "colno", None)
    return message.split(": line ")[0] + (f" at column {position}" if position else "")
