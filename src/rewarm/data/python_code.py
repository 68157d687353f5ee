"""Takes the prose out of Python source: docstrings, strings that stand alone, and comments.

What is left is the same program, line for line, with its formatting.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from typing import NamedTuple


class _Span(NamedTuple):
    """A part of the source: lines from 0, columns in characters, the end not included."""

    first_line: int
    first_column: int
    last_line: int
    last_column: int


def without_prose(source: str) -> str:
    r"""Return Python source without docstrings, lone strings and comments.

    A block that would be empty gets `pass`. Runs of blank lines become one.

    Args:
        source: a module that parses.

    Raises:
        SyntaxError: it does not parse.

    >>> print(without_prose('def f():\n    "Say hello."\n    return 1  # one\n'), end="")
    def f():
        return 1
    >>> print(without_prose('class A(Exception):\n    "An error."\n'), end="")
    class A(Exception):
        pass
    """
    tree = ast.parse(source)
    lines = source.split("\n")
    kept: list[str | None] = list(lines)
    inside_strings = _lines_that_end_in_a_string(tree)
    for line, column in _comments(source):
        code = lines[line][:column].rstrip()
        kept[line] = code or None
    for span, is_needed in _lone_strings(tree, lines):
        _remove(kept, span, is_needed)
        inside_strings -= set(range(span.first_line, span.last_line))
    return _joined(kept, inside_strings)


def _comments(source: str) -> Iterator[tuple[int, int]]:
    """Yield line and column of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0] - 1, token.start[1]


def _lines_that_end_in_a_string(tree: ast.AST) -> set[int]:
    """Return the lines whose end lies inside a literal, where white space has a meaning."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno is not None
        for line in range(node.lineno - 1, node.end_lineno - 1)
    }


def _lone_strings(tree: ast.AST, lines: list[str]) -> list[tuple[_Span, bool]]:
    """Return each statement that is only a string, last first, and whether it needs a `pass`."""
    found: list[tuple[_Span, bool]] = []
    for parent in ast.walk(tree):
        for _, body in ast.iter_fields(parent):
            if not isinstance(body, list):
                continue
            strings = [statement for statement in body if _is_lone_string(statement)]
            must_stay = len(strings) == len(body) and not isinstance(parent, ast.Module)
            found += [
                (_span(statement, lines), must_stay and statement is strings[0])
                for statement in strings
            ]
    return sorted(found, reverse=True)


def _is_lone_string(statement: object) -> bool:
    """Say whether a statement is an expression that is only a string."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _span(statement: ast.stmt, lines: list[str]) -> _Span:
    """Return where a statement lies; the parser counts columns in bytes of UTF-8."""
    first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
    start = len(lines[first].encode()[: statement.col_offset].decode())
    end = len(lines[last].encode()[: statement.end_col_offset].decode())
    return _Span(first, start, last, end)


def _remove(kept: list[str | None], span: _Span, is_needed: bool) -> None:
    """Cut a statement out, or put `pass` there if its block or its line needs one."""
    before = (kept[span.first_line] or "")[: span.first_column]
    after = (kept[span.last_line] or "")[span.last_column :]
    is_alone = not before.strip() and not after.strip(" \t\f;")
    kept[span.first_line : span.last_line + 1] = [None] * (span.last_line - span.first_line + 1)
    if is_needed or not is_alone:
        kept[span.first_line] = before + "pass" + after
        return
    # The blank lines that set the string apart go with it.
    line = span.last_line + 1
    while line < len(kept) and not (kept[line] or "").strip():
        kept[line] = None
        line += 1


def _joined(kept: list[str | None], inside_strings: set[int]) -> str:
    """Return the lines that are left, with blank lines outside strings folded into one."""
    result: list[str] = []
    for number, line in enumerate(kept):
        if line is None:
            continue
        if number in inside_strings or number - 1 in inside_strings:
            result.append(line)
        elif line.strip():
            result.append(line.rstrip())
        elif result and result[-1]:
            result.append("")
    return "\n".join(result).strip("\n") + "\n"
