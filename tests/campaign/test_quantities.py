"""Quantities: exact, with a unit, or refused."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rewarm.campaign.quantities import (
    BatchSize,
    Budget,
    Length,
    Number,
    Quantity,
    Share,
    TokenCount,
    Weight,
    parse_quantity,
    percent,
    shares_of,
)

UNITS = st.sampled_from(["steps", "tokens", "sequences"])
WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**6), min_size=1)


def refusal(kind: object, value: object) -> str:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)
    return str(refused.value)


def read(kind: object, value: object) -> object:
    return TypeAdapter(kind).validate_python(value)


@given(st.integers(0, 10**15), UNITS)
def test_a_whole_quantity_is_read_as_it_is_written(amount, unit):
    quantity = Quantity(Fraction(amount), unit)
    assert parse_quantity(str(quantity)) == quantity


@given(st.integers(0, 99_999))
def test_a_percentage_is_read_as_it_is_written(hundredths):
    quantity = Quantity(Fraction(hundredths, 100), "%")
    assert parse_quantity(str(quantity)) == quantity


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("2B tokens", 2 * 10**9, "tokens"),
        ("2.26M tokens", 2_260_000, "tokens"),
        ("1.5k steps", 1500, "steps"),
        ("3T tokens", 3 * 10**12, "tokens"),
        ("132,366 steps", 132_366, "steps"),
        ("132_366 steps", 132_366, "steps"),
        ("1 step", 1, "steps"),
        ("64sequences", 64, "sequences"),
        ("0%", 0, "%"),
        (" 0.5 % ", Fraction(1, 2), "%"),
    ],
)
def test_ways_to_write(text, amount, unit):
    assert parse_quantity(text) == Quantity(Fraction(amount), unit)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a quantity"),
        ("tokens", "is not a quantity"),
        ("-1 steps", "is not a quantity"),
        ("1e9 tokens", "is not a quantity"),
        ("2 m tokens", "is not a quantity"),
        ("100", "has no unit"),
        ("2B", "has no unit"),
        ("3 epochs", "the unit 'epochs' is not known; use %, steps, tokens or sequences"),
        ("1.5 steps", "is not a whole number of steps"),
        ("0.0001K tokens", "is not a whole number of tokens"),
    ],
)
def test_what_is_no_quantity_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (Length, "8 sequences", "is in sequences; here the unit must be % or steps or tokens"),
        (Budget, "50%", "is in %; here the unit must be steps or tokens"),
        (BatchSize, "5 steps", "is in steps; here the unit must be tokens or sequences"),
        (TokenCount, "5 steps", "is in steps; here the unit must be tokens"),
    ],
)
def test_a_unit_that_does_not_belong_there_is_refused(kind, text, says):
    assert says in refusal(kind, text)


@pytest.mark.parametrize("number", [100, 2.5, Decimal("0.01"), True])
def test_a_bare_number_has_no_unit(number):
    assert f"{number} has no unit; write it in quotes" in refusal(Length, number)


@pytest.mark.parametrize("kind", [Budget, BatchSize, TokenCount])
def test_only_a_length_may_be_nothing(kind):
    assert "'0 tokens' is nothing" in refusal(kind, "0 tokens")
    assert read(Length, "0 tokens") == Quantity(Fraction(0), "tokens")


@pytest.mark.parametrize("value", ["5%", Decimal("0.05"), 0.05, Fraction(1, 20)])
def test_a_share_is_exact(value):
    assert read(Share, value) == Fraction(1, 20)


@pytest.mark.parametrize("value", [1, "100%", Decimal("1.5"), -0.1])
def test_a_share_must_leave_a_rest(value):
    assert "a share lies between 0 and 1" in refusal(Share, value)


@pytest.mark.parametrize("value", [True, "5 steps", "much", None])
def test_what_is_no_share_is_refused(value):
    assert refusal(Share, value)


@pytest.mark.parametrize("value", [0, "0%", -1])
def test_a_weight_is_above_nothing(value):
    assert "a weight must be above 0" in refusal(Weight, value)
    assert read(Weight, 52.09) == Fraction(5209, 100)


@pytest.mark.parametrize("value", ["1e-3", True, None, float("nan"), Decimal("inf")])
def test_a_number_is_a_finite_number(value):
    assert "number" in refusal(Number, value)
    assert read(Number, Decimal("1e-3")) == 1e-3


@given(WEIGHTS)
def test_whole_numbers_are_proportions(weights):
    shares = shares_of({name: Fraction(weight) for name, weight in weights.items()})
    total = sum(weights.values())
    assert shares == {name: Fraction(weight, total) for name, weight in weights.items()}
    assert sum(shares.values()) == 1


@given(WEIGHTS)
def test_fractions_that_add_up_stay_as_they_are(weights):
    total = sum(weights.values())
    shares = {name: Fraction(weight, total) for name, weight in weights.items()}
    assert shares_of(shares) == shares


def test_fractions_that_do_not_add_up_are_refused_with_their_sum():
    with pytest.raises(ValueError, match=r"\(a = 0.9, b = 0.2\) add up to 1.1, must be 1"):
        shares_of({"a": Fraction(9, 10), "b": Fraction(1, 5)})


def test_a_share_is_said_in_percent():
    assert percent(Fraction(1, 200)) == "0.5%"
