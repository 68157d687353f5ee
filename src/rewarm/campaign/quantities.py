"""Quantities as people write them ("2B tokens", "1%", "2000 steps"), kept exact until the plan resolves them.

A number without a unit is refused: three fields for one length (`warmup`, `warmup_steps`, `warmup_fraction`)
are how other trainers train something else than their users meant.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, InstanceOf, PlainSerializer

Unit = Literal["%", "steps", "tokens", "sequences"]

_SCALES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_PATTERN = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKMBT]?)\s*(%|[a-z]+)?\s*")


@dataclass(frozen=True)
class Quantity:
    """An amount with its unit.

    >>> str(Quantity(Fraction(2_260_992), "tokens")), str(Quantity(Fraction(1, 2), "%"))
    ('2,260,992 tokens', '0.5%')
    """

    amount: Fraction
    """How many, in the unit; percent are written as they are said (1 is one percent)."""
    unit: Unit
    """Of what."""

    def __str__(self) -> str:
        whole = self.amount.denominator == 1
        text = f"{self.amount.numerator:,}" if whole else f"{float(self.amount):g}"
        return f"{text}%" if self.unit == "%" else f"{text} {self.unit}"


def parse_quantity(text: str) -> Quantity:
    """Read a quantity.

    Args:
        text: a number, perhaps with K, M, B or T, and a unit: %, steps, tokens or sequences.

    Raises:
        ValueError: no number, no unit, an unknown unit, or a part of a step, token or sequence.

    >>> parse_quantity("2.26M tokens")
    Quantity(amount=Fraction(2260000, 1), unit='tokens')
    >>> parse_quantity("0.5%")
    Quantity(amount=Fraction(1, 2), unit='%')
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(
            f'{text!r} is not a quantity; write for example "2B tokens", "500 steps" or "1%"'
        )
    number, scale, unit = match.groups()
    if unit is None:
        raise ValueError(
            f'{text!r} has no unit; write for example "{text.strip()} steps" or "{text.strip()} tokens"'
        )
    unit = unit if unit == "%" or unit.endswith("s") else unit + "s"
    if unit not in get_args(Unit):
        raise ValueError(
            f"{text!r}: the unit {unit!r} is not known; use %, steps, tokens or sequences"
        )
    amount = Fraction(Decimal(re.sub("[_,]", "", number))) * _SCALES[scale.upper()]
    if unit != "%" and amount.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of {unit}")
    return Quantity(amount, unit)  # pyright: ignore[reportArgumentType]  (checked above)


def _quantity(*units: Unit) -> BeforeValidator:
    """Return a validator for quantities in these units."""

    def validate(value: object) -> Quantity:
        if isinstance(value, Quantity):
            return value
        if not isinstance(value, str):
            raise ValueError(
                f'{value} has no unit; write it in quotes, for example "{value} {units[-1]}"'
            )
        quantity = parse_quantity(value)
        if quantity.unit not in units:
            raise ValueError(
                f"{value!r} is in {quantity.unit}; here the unit must be {' or '.join(units)}"
            )
        if quantity.amount == 0 and "%" not in units:
            raise ValueError(f"{value!r} is nothing; only a length may be 0")
        return quantity

    return BeforeValidator(validate)


_AS_TEXT = PlainSerializer(str, return_type=str)

Length = Annotated[InstanceOf[Quantity], _quantity("%", "steps", "tokens"), _AS_TEXT]
"""A length inside a stage: a percentage of it, steps or tokens."""
Budget = Annotated[InstanceOf[Quantity], _quantity("steps", "tokens"), _AS_TEXT]
"""How much to train: steps or tokens."""
BatchSize = Annotated[InstanceOf[Quantity], _quantity("tokens", "sequences"), _AS_TEXT]
"""How much goes into one optimizer step: tokens or sequences."""
TokenCount = Annotated[InstanceOf[Quantity], _quantity("tokens"), _AS_TEXT]
"""A number of tokens."""
SequenceCount = Annotated[InstanceOf[Quantity], _quantity("sequences"), _AS_TEXT]
"""A number of sequences."""


def parse_share(text: str) -> Fraction:
    """Read a percentage.

    Raises:
        ValueError: it is none.

    >>> parse_share("0.5%")
    Fraction(1, 200)
    """
    try:
        quantity = parse_quantity(text)
    except ValueError:
        quantity = None
    if quantity is None or quantity.unit != "%":
        raise ValueError(f'{text!r} is not a share; write for example "5%"')
    return quantity.amount / 100


def _fraction(value: object) -> Fraction:
    """Read a share: "5%", 0.05, or a fraction."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str):
        quantity = parse_quantity(value)
        if quantity.unit != "%":
            raise ValueError(f'{value!r} is in {quantity.unit}; a share is written "5%" or 0.05')
        return quantity.amount / 100
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f'{value!r} is not a share; write "5%" or 0.05')
    return Fraction(str(value))


def _share(value: object) -> Fraction:
    """Read a share of something that must leave a rest."""
    share = _fraction(value)
    if not 0 <= share < 1:
        raise ValueError(
            f'a share lies between 0 and 1 (below 1), not {float(share):g}; 5% is written "5%" or 0.05'
        )
    return share


def _part(value: object) -> Fraction:
    """Read a share of something of which both sides must have some."""
    share = _share(value)
    if share == 0:
        raise ValueError('a share of 0 holds nothing out; write for example "0.5%"')
    return share


def _row_limit(value: object) -> int | Fraction:
    """Read how many rows may be left out: a whole number, or a share of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{value} is less than none; write 0 or more")
        return value
    if isinstance(value, Fraction):
        return value
    if not isinstance(value, str):
        raise ValueError(f'{value} is neither a number of rows nor a share such as "0.1%"')
    return _share(value)


def _weight(value: object) -> Fraction:
    """Read a relative weight."""
    weight = _fraction(value)
    if weight <= 0:
        raise ValueError(
            f"a weight must be above 0, not {float(weight):g}; leave out what is not to be read"
        )
    return weight


def _number(value: object) -> float:
    """Read a finite number; a text or a truth value is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{value!r} is not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def percent(share: Fraction) -> str:
    """Write a share as people say it.

    >>> percent(Fraction(1, 20)), percent(Fraction(1, 3))
    ('5%', '33.3333%')
    """
    return f"{float(share * 100):g}%"


_AS_PERCENT = PlainSerializer(percent, return_type=str)

Share = Annotated[InstanceOf[Fraction], BeforeValidator(_share), _AS_PERCENT]
"""A share in [0, 1), written "5%" or 0.05."""
Part = Annotated[InstanceOf[Fraction], BeforeValidator(_part), _AS_PERCENT]
"""A share in (0, 1), written "0.5%" or 0.005."""
RowLimit = Annotated[
    int | InstanceOf[Fraction],
    BeforeValidator(_row_limit),
    PlainSerializer(lambda limit: limit if isinstance(limit, int) else percent(limit)),
]
"""How many rows may be left out: a whole number, or a share written "0.1%"."""
Weight = Annotated[
    InstanceOf[Fraction], BeforeValidator(_weight), PlainSerializer(float, return_type=float)
]
"""A relative weight above 0."""
Number = Annotated[float, BeforeValidator(_number)]
"""A number."""


def shares_of(weights: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """Turn the weights of a stage's data into shares.

    Whole numbers are proportions (`{a = 2, b = 1}`); anything else must add up to 1, so that a typing mistake
    in one share is not spread over the others.

    Raises:
        ValueError: fractions that do not add up to 1.

    >>> shares_of({"a": Fraction(2), "b": Fraction(1)})
    {'a': Fraction(2, 3), 'b': Fraction(1, 3)}
    """
    total = sum(weights.values(), Fraction(0))
    if total != 1 and any(weight.denominator != 1 for weight in weights.values()):
        written = ", ".join(f"{name} = {float(weight):g}" for name, weight in weights.items())
        raise ValueError(
            f"the shares ({written}) add up to {float(total):g}, must be 1; "
            "correct one of them, or write whole numbers for proportions"
        )
    return {name: weight / total for name, weight in weights.items()}
