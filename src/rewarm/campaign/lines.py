"""Which line of a TOML file wrote which key, so that an error can name it.

The standard library's reader gives values without positions. This finds the lines of table headers and of
keys at the beginning of a line; what is inside an inline table or an array gets the line of its key.
"""

import re
from collections import Counter

KeyPath = tuple[str | int, ...]

_PART = r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'"""
_DOTTED = rf"(?:{_PART})(?:\s*\.\s*(?:{_PART}))*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=(.*)")


def key_lines(text: str) -> dict[KeyPath, int]:
    r"""Return the line (from 1) of each key and table; entries of an array of tables count from 0.

    >>> key_lines('name = "a"\n[[stage]]\nname = "pretrain"\n')[("stage", 0, "name")]
    3
    """
    found: dict[KeyPath, int] = {}
    entries: Counter[KeyPath] = Counter()
    table: KeyPath = ()
    closing = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if closing:
            if closing in line:
                closing = ""
            continue
        if header := _HEADER.fullmatch(line):
            table = _table_path(entries, _parts(header[2]), is_array=header[1] == "[[")
            for end in range(1, len(table) + 1):
                found.setdefault(table[:end], number)
        elif key := _KEY.match(line):
            path = table + _parts(key[1])
            for end in range(len(table) + 1, len(path) + 1):
                found.setdefault(path[:end], number)
            closing = _opens_long_text(key[2])
    return found


def nearest_line(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of a key, or of the closest table around it.

    >>> nearest_line({("data",): 4}, ("data", "english", "train"))
    4
    """
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _table_path(entries: Counter[KeyPath], parts: tuple[str, ...], *, is_array: bool) -> KeyPath:
    """Number the arrays of tables on the way: `[stage.schedule]` belongs to the last `[[stage]]`.

    Args:
        entries: how many each array has so far; one is added if the header begins another.
        parts: of the header.
        is_array: whether it has two brackets.
    """
    path: KeyPath = ()
    for position, part in enumerate(parts):
        path = (*path, part)
        entries[path] += is_array and position == len(parts) - 1
        if entries[path]:
            path = (*path, entries[path] - 1)
    return path


def _opens_long_text(value: str) -> str:
    """Return the quotes that end a text of several lines which this value begins, if it does."""
    stripped = value.strip()
    for quotes in ('"""', "'''"):
        if stripped.startswith(quotes) and quotes not in stripped[3:]:
            return quotes
    return ""
