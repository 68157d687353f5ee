"""Parts of a dataset as people write them: `split = "1/3"` and `range = "100B to 200B tokens"`."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

from rewarm.campaign.quantities import parse_quantity

_SPLIT = re.compile(r"\s*([0-9]+)\s*/\s*([0-9]+)\s*")


@dataclass(frozen=True)
class SplitPart:
    """One of several equal parts.

    >>> str(SplitPart(1, 3))
    '1/3'
    """

    number: int
    """Which, from 1."""
    of: int
    """How many there are."""

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class TokenSpan:
    """A range of tokens.

    >>> str(TokenSpan(0, 5000)), str(TokenSpan(5000, None))
    ('0 to 5,000 tokens', '5,000 tokens to end')
    """

    start: int
    """The first token, from 0."""
    end: int | None
    """The token behind the last one; None for the end of the text."""

    def __str__(self) -> str:
        if self.end is None:
            return f"{self.start:,} tokens to end"
        return f"{self.start:,} to {self.end:,} tokens"


def _split(value: object) -> SplitPart:
    """Read "1/3"."""
    if isinstance(value, SplitPart):
        return value
    found = _SPLIT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{value!r} is not a part of a split; write for example "1/3"')
    part = SplitPart(int(found[1]), int(found[2]))
    if not 1 <= part.number <= part.of:
        raise ValueError(
            f"{value!r}: the parts are counted from 1, so there is 1/{part.of} to {part.of}/{part.of}"
        )
    return part


def _span(value: object) -> TokenSpan:
    """Read "100B to 200B tokens" or "100B tokens to end"."""
    if isinstance(value, TokenSpan):
        return value
    start, to, end = value.partition(" to ") if isinstance(value, str) else ("", "", "")
    if not to or "token" not in start + end:
        raise ValueError(
            f'{value!r} is not a range; write for example "0 to 100B tokens" or "100B tokens to end"'
        )
    first = _tokens(start if "token" in start else f"{start} tokens")
    last = None if end.strip() == "end" else _tokens(end)
    if last is not None and last <= first:
        raise ValueError(f"{value!r} has nothing in it; the end must lie behind the beginning")
    return TokenSpan(first, last)


def _tokens(text: str) -> int:
    quantity = parse_quantity(text)
    if quantity.unit != "tokens":
        raise ValueError(f"{text.strip()!r} is in {quantity.unit}; here the unit must be tokens")
    return int(quantity.amount)


_AS_TEXT = PlainSerializer(str, return_type=str)

Split = Annotated[InstanceOf[SplitPart], BeforeValidator(_split), _AS_TEXT]
"""One of several equal parts, written "1/3"."""
TokenRange = Annotated[InstanceOf[TokenSpan], BeforeValidator(_span), _AS_TEXT]
"""A range of tokens, written "0 to 100B tokens" or "100B tokens to end"."""
