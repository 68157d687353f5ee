"""The shapes: exact ends, bounds, direction, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.errors import ScheduleError
from rewarm.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    Linear,
    OneMinusSqrt,
    ReciprocalSqrt,
    Segment,
)

LENGTHS = st.integers(0, 400)
RATES = st.floats(0, 1)
POSITIVE_RATES = st.floats(1e-12, 1)
TWO_ENDED = st.one_of(
    st.builds(Linear, RATES, RATES, LENGTHS),
    st.builds(Cosine, RATES, RATES, LENGTHS),
    st.builds(InverseSqrt, RATES, RATES, LENGTHS, st.floats(1e-6, 1e6)),
    st.builds(Exponential, POSITIVE_RATES, POSITIVE_RATES, LENGTHS),
    st.builds(OneMinusSqrt, RATES, RATES, LENGTHS),
)
ANY = st.one_of(
    TWO_ENDED,
    st.builds(ReciprocalSqrt, RATES, st.floats(1e-3, 1e6), LENGTHS),
    st.builds(Constant, RATES, LENGTHS),
)


@given(TWO_ENDED)
def test_ends_are_exact_to_the_last_bit(segment):
    assert segment(segment.steps) == segment.end
    assert segment(0) == (segment.start if segment.steps else segment.end)


@given(ANY)
def test_both_ends_hold_outside(segment: Segment):
    assert segment(-1) == segment(0)
    assert segment(segment.steps + 1) == segment(segment.steps) == segment(1e30)


@given(ANY, st.data())
def test_values_between_whole_steps_stay_between_the_ends(segment: Segment, data):
    ends = segment(0), segment(segment.steps)
    assert min(ends) <= segment(data.draw(st.floats(0, max(1, segment.steps)))) <= max(ends)


@given(ANY)
def test_every_shape_goes_one_way(segment: Segment):
    lrs = [segment(t) for t in range(segment.steps + 1)]
    assert lrs in (sorted(lrs), sorted(lrs, reverse=True))


@given(ANY)
def test_values_are_finite_floats(segment: Segment):
    lrs = [segment(t) for t in range(segment.steps + 1)]
    assert all(type(lr) is float and math.isfinite(lr) and lr >= 0 for lr in lrs)


def test_whole_numbers_are_rates_too():
    assert [type(Linear(0, 1, 2)(t)) for t in range(3)] == [float] * 3


@pytest.mark.parametrize("steps", [132_366, 10**9])
def test_the_last_steps_of_long_decays_do_not_leave_the_range(steps):
    for shape in (Linear, Cosine, InverseSqrt, Exponential, OneMinusSqrt):
        decay = shape(3e-4, 3e-5, steps)
        tail = [decay(t) for t in range(steps - 1000, steps + 1)]
        assert tail == sorted(tail, reverse=True)
        assert tail[-1] == 3e-5 <= min(tail)


def test_an_exponential_is_clamped_where_its_formula_leaves_the_range():
    start, end, x = 0.0004022499786868149, 0.00040224997868681494, 1 - 2**-45
    assert start * (end / start) ** x > end
    assert Exponential(start, end, 1)(x) == end


def test_an_exponential_ends_exactly_where_its_formula_does_not():
    start, end = 4e-5, 3e-5
    assert start * (end / start) > end
    assert Exponential(start, end, 10)(10) == end


def test_a_reciprocal_sqrt_does_not_depend_on_its_length():
    short, long = ReciprocalSqrt(1e-3, 50, 100), ReciprocalSqrt(1e-3, 50, 10_000)
    assert [short(t) for t in range(101)] == [long(t) for t in range(101)]


REFUSED = [
    (Linear, (-1e-4, 0.0, 5), "Linear.start = -0.0001 is negative", (0.0, 0.0, 5)),
    (Linear, (0.0, math.inf, 5), "Linear.end = inf is not a learning rate", (0.0, 1e300, 5)),
    (Linear, (0.0, "3e-4", 5), "Linear.end = '3e-4' is not a learning rate", (0.0, 3e-4, 5)),
    (Linear, (0.0, True, 5), "Linear.end = True is not a learning rate", (0.0, 1, 5)),
    (Cosine, (math.nan, 0.0, 5), "Cosine.start = nan is not a learning rate", (1.0, 0.0, 5)),
    (Cosine, (1e-4, 0.0, -1), "Cosine.steps = -1 is negative", (1e-4, 0.0, 0)),
    (Cosine, (1e-4, 0.0, 5.0), "Cosine.steps = 5.0 is not a whole number", (1e-4, 0.0, 5)),
    (Cosine, (1e-4, 0.0, True), "Cosine.steps = True is not a whole number", (1e-4, 0.0, 1)),
    (OneMinusSqrt, (1e-4, -1.0, 5), "OneMinusSqrt.end = -1.0 is negative", (1e-4, 0.0, 5)),
    (InverseSqrt, (2e-4, 1e-4, 5, 0.0), "alpha = 0.0 is not above 0", (2e-4, 1e-4, 5, 10.0)),
    (InverseSqrt, (2e-4, 1e-4, 5, -1), "alpha = -1 is not above 0", (2e-4, 1e-4, 5, 1)),
    (InverseSqrt, (2e-4, 1e-4, 5, 1e-7), "alpha = 1e-07 is so small", (2e-4, 1e-4, 5, 1e-6)),
    (Exponential, (1e-4, 0.0, 5), "the logarithm of zero is infinite", (1e-4, 1e-9, 5)),
    (Exponential, (0.0, 1e-4, 0), "linear or 1-sqrt shape", (1e-9, 1e-4, 0)),
    (ReciprocalSqrt, (1e-4, 0, 5), "timescale = 0 is not above 0", (1e-4, 1, 5)),
    (ReciprocalSqrt, (-1.0, 1, 5), "ReciprocalSqrt.start = -1.0 is negative", (0.0, 1, 5)),
    (ReciprocalSqrt, (1e-4, 1, -5), "ReciprocalSqrt.steps = -5 is negative", (1e-4, 1, 5)),
    (Constant, (-1e-4, 5), "Constant.lr = -0.0001 is negative", (1e-4, 5)),
    (Constant, (1e-4, 2.5), "Constant.steps = 2.5 is not a whole number", (1e-4, 2)),
]


@pytest.mark.parametrize(("kind", "arguments", "message", "legal"), REFUSED)
def test_nonsense_is_refused_by_name_and_value_and_its_neighbour_is_not(
    kind, arguments, message, legal
):
    with pytest.raises(ScheduleError) as caught:
        kind(*arguments)
    assert message in str(caught.value)
    kind(*legal)
