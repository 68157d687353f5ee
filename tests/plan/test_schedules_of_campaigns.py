"""From a written schedule to rates: lengths resolved, defaults filled in, nonsense refused."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rewarm.campaign import Campaign, Quantity, parse_quantity
from rewarm.campaign.schedule import Schedule
from rewarm.errors import ScheduleError
from rewarm.plan.schedules import length_in_steps, make_schedule
from rewarm.schedules import Piecewise, annealing, infinite

CAMPAIGN = Campaign.model_validate(
    {
        "name": "small",
        "sequence_length": 8,
        "batch": "10 sequences",
        "model": {"preset": "neox-0.1m"},
        "tokenizer": {"from": "tokenizer.json"},
        "data": {"english": {"train": ["a"], "validation": ["b"]}},
        "stage": [
            {
                "name": "pretrain",
                "data": {"english": 1},
                "budget": "1 step",
                "schedule": {"kind": "constant", "lr": 1.0},
            }
        ],
    }
)
"""80 tokens in a step."""


def rates(steps: int = 1000, before: float | None = None, **written: object) -> Piecewise:
    schedule = TypeAdapter(Schedule).validate_python(written)
    return make_schedule(schedule, CAMPAIGN, steps, before)


@given(st.integers(0, 10_000), st.integers(1, 10**6))
def test_a_percentage_is_rounded_down(hundredths, steps):
    quantity = Quantity(Fraction(hundredths, 100), "%")
    found = length_in_steps(quantity, of_steps=steps, batch_tokens=80)
    assert found <= hundredths * steps / 10_000 < found + 1


@given(st.integers(0, 10**9), st.integers(1, 10**6))
def test_tokens_are_rounded_down_and_steps_are_steps(amount, batch_tokens):
    tokens, steps = (Quantity(Fraction(amount), unit) for unit in ("tokens", "steps"))
    found = length_in_steps(tokens, of_steps=7, batch_tokens=batch_tokens)
    assert found * batch_tokens <= amount < (found + 1) * batch_tokens
    assert length_in_steps(steps, of_steps=7, batch_tokens=batch_tokens) == amount


@pytest.mark.parametrize("warmup", ["10%", "100 steps", "8000 tokens", "8079 tokens"])
def test_lengths_may_be_percent_steps_or_tokens(warmup):
    assert rates(kind="cosine", max_lr=1.0, warmup=warmup) == rates(
        kind="cosine", max_lr=1.0, warmup="100 steps"
    )


def test_cosine_has_one_percent_warmup_and_a_tenth_as_floor():
    """Half-way down a cosine is half-way between its ends."""
    schedule = rates(kind="cosine", max_lr=3e-4)
    assert schedule(5) == pytest.approx(1.5e-4)
    assert schedule(10) == 3e-4
    assert schedule(10 + 495) == pytest.approx((3e-4 + 3e-5) / 2)
    assert schedule(1000) == pytest.approx(3e-5)
    assert rates(kind="cosine", max_lr=3e-4, min_lr=0.0)(1000) == 0


def test_infinite_has_the_papers_shares_and_the_midpoint():
    """Table 14: 1, 60 and 25 %, the rest annealing; 1.65e-4 between 3e-4 and 3e-5."""
    assert rates(kind="infinite", max_lr=3e-4, min_lr=3e-5) == infinite(
        max_lr=3e-4,
        constant_lr=(3e-4 + 3e-5) / 2,
        min_lr=3e-5,
        warmup_steps=10,
        cooldown_steps=600,
        constant_steps=250,
        steps=1000,
    )
    schedule = rates(kind="infinite", max_lr=3e-4)
    assert schedule(610) == schedule(860) == pytest.approx(1.65e-4)
    assert schedule(930) == pytest.approx(math.sqrt(1.65e-4 * 3e-5))
    assert schedule(1000) == pytest.approx(3e-5)


@pytest.mark.parametrize(
    "lengths",
    [
        {"constant": "25%"},
        {"annealing": "14%"},
        {"constant": "25%", "annealing": "14%"},
        {"constant": "250 steps", "annealing": "11,200 tokens"},
    ],
)
def test_what_is_not_given_is_the_rest(lengths):
    assert rates(kind="infinite", max_lr=1.0, **lengths) == rates(kind="infinite", max_lr=1.0)


def test_phases_that_do_not_add_up_are_refused():
    with pytest.raises(
        ScheduleError, match=r"10 \+ 600 \+ 250 \+ 100 steps, which is not the stage's 1,0"
    ):
        rates(kind="infinite", max_lr=1.0, constant="25%", annealing="10%")
    with pytest.raises(ScheduleError, match="longer than the stage"):
        rates(kind="infinite", max_lr=1.0, cooldown="90%")


def test_a_trunk_is_not_annealed():
    trunk = rates(kind="infinite", max_lr=1.0, constant_lr=0.5, annealing="0%")
    assert trunk(610) == trunk(1000) == trunk(10**9) == 0.5


def test_the_inverse_square_root_cools_faster_at_first():
    """h(x) = 1/sqrt(1 + 10·x) - 1 (section 7.2), a quarter of the way down."""
    written = {"kind": "infinite", "max_lr": 3e-4, "constant_lr": 1.65e-4, "warmup": "0%"}
    schedule = rates(**written, cooldown_shape="inverse-sqrt")
    share = (1 / math.sqrt(3.5) - 1) / (1 / math.sqrt(11) - 1)
    assert schedule(150) == pytest.approx(3e-4 + (1.65e-4 - 3e-4) * share)
    assert schedule(150) < rates(**written)(150)


def test_constant_has_a_warmup_only_if_told():
    assert rates(kind="constant", lr=1.0)(1) == 1.0
    assert rates(kind="constant", lr=1.0, warmup="1%")(5) == 0.5


def test_wsd_and_linear_decay_go_to_zero():
    wsd = rates(kind="wsd", max_lr=1.0)
    assert (wsd(10), wsd(900), wsd(925), wsd(1000)) == (1.0, 1.0, 0.5, 0.0)
    linear = rates(kind="linear", max_lr=1.0, warmup="0%")
    assert (linear(250), linear(1000)) == (0.75, 0.0)


def test_inverse_square_roots():
    raffel = rates(kind="inverse-sqrt-raffel", max_lr=1.0, constant="100 steps")
    assert (raffel(100), raffel(400)) == (1.0, 0.5)
    zhai = rates(
        kind="inverse-sqrt-zhai", max_lr=1.0, warmup="0%", timescale="100 steps", cooldown="10%"
    )
    assert (zhai(300), zhai(1000)) == (0.5, 0.0)


def test_a_repeated_cosine_is_that_of_one_repeat_over_and_over():
    """A percentage of warmup is of one repeat."""
    repeated = rates(kind="repeated-cosine", max_lr=1.0, warmup="10%", repeats=4)
    once = rates(250, kind="cosine", max_lr=1.0, warmup="25 steps")
    assert [repeated(step) for step in (1, 25, 250)] == [once(step) for step in (1, 25, 250)]
    assert [repeated(750 + step) for step in (1, 25, 250)] == [once(s) for s in (1, 25, 250)]


def test_repeats_must_divide_the_stage():
    with pytest.raises(
        ScheduleError, match=r"3 repeats do not divide .* choose a budget of 999 steps"
    ):
        rates(kind="repeated-cosine", max_lr=1.0, repeats=3)


def test_the_continued_cosine_starts_where_the_base_ended():
    schedule = rates(kind="continued-cosine", base_min_lr=4.5e-5)
    assert schedule(0) == 4.5e-5
    assert schedule(1000) == pytest.approx(4.5e-7)


@pytest.mark.parametrize("shape", ["exponential", "linear", "cosine", "1-sqrt"])
def test_an_annealing_starts_from_the_rate_before(shape):
    schedule = rates(before=1.65e-4, kind="anneal", min_lr=3e-5, shape=shape)
    assert schedule == annealing(start_lr=1.65e-4, min_lr=3e-5, steps=1000, shape=shape)
    assert schedule(0) == 1.65e-4


def test_an_annealing_that_would_rise_is_refused():
    with pytest.raises(ScheduleError, match="the schedule would rise"):
        rates(before=1e-5, kind="anneal", min_lr=3e-5)


WRITTEN = [
    {"kind": "cosine", "max_lr": 1.0},
    {"kind": "infinite", "max_lr": 1.0},
    {"kind": "constant", "lr": 1.0},
    {"kind": "wsd", "max_lr": 1.0},
    {"kind": "linear", "max_lr": 1.0},
    {"kind": "inverse-sqrt-raffel", "max_lr": 1.0, "constant": "10%"},
    {"kind": "inverse-sqrt-zhai", "max_lr": 1.0, "timescale": "10%", "cooldown": "10%"},
    {"kind": "repeated-cosine", "max_lr": 1.0, "repeats": 1},
    {"kind": "continued-cosine", "base_min_lr": 1.0},
    {"kind": "anneal", "min_lr": 0.1},
]


@pytest.mark.parametrize("written", WRITTEN, ids=lambda written: written["kind"])
@given(steps=st.integers(1, 300))
def test_every_kind_is_as_long_as_its_stage(written, steps):
    if "constant" in written:
        written = written | {"constant": "1 step"}
    if "timescale" in written:
        written = written | {"timescale": "1 step"}
    assert rates(steps, 0.5, **written).steps == steps


def test_the_list_above_has_every_kind():
    schema = TypeAdapter(Schedule).json_schema()
    assert set(schema["discriminator"]["mapping"]) == {written["kind"] for written in WRITTEN}


def test_one_percent_of_the_papers_stage():
    assert length_in_steps(parse_quantity("1%"), of_steps=86_000, batch_tokens=2_260_992) == 860
