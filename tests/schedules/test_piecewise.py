"""Joining and cutting: the laws that hold for any schedule, and what is refused."""

import json

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
    Part,
    Phase,
    Piecewise,
    ReciprocalSqrt,
)

LENGTHS = st.one_of(st.just(0), st.integers(0, 30))
RATES = st.floats(0, 1)
POSITIVE_RATES = st.floats(1e-12, 1)
SEGMENTS = st.one_of(
    st.builds(Linear, RATES, RATES, LENGTHS),
    st.builds(Cosine, RATES, RATES, LENGTHS),
    st.builds(InverseSqrt, RATES, RATES, LENGTHS, st.floats(1e-6, 1e6)),
    st.builds(Exponential, POSITIVE_RATES, POSITIVE_RATES, LENGTHS),
    st.builds(OneMinusSqrt, RATES, RATES, LENGTHS),
    st.builds(ReciprocalSqrt, RATES, st.floats(1e-3, 1e6), LENGTHS),
    st.builds(Constant, RATES, LENGTHS),
)


@st.composite
def parts(draw):
    segment = draw(SEGMENTS)
    begin, end = sorted(draw(st.tuples(*[st.integers(0, segment.steps)] * 2)))
    return Part(segment, begin, end)


SCHEDULES = st.lists(parts(), min_size=1, max_size=6).map(lambda some: Piecewise(tuple(some)))
CUTS = st.integers(0, 200)


def values(schedule: Piecewise, until: int = 250) -> list[float]:
    return [schedule(step) for step in range(until)]


@given(SCHEDULES)
def test_each_step_is_read_from_the_part_it_falls_in(schedule):
    steps = [
        part.segment(t) for part in schedule.parts for t in range(part.begin + 1, part.end + 1)
    ]
    assert [schedule(step) for step in range(1, schedule.steps + 1)] == steps


@given(SCHEDULES)
def test_the_last_value_holds_for_ever(schedule):
    last = schedule(schedule.steps)
    assert schedule(schedule.steps + 1) == schedule(10**9) == last


@given(SCHEDULES, CUTS)
def test_until_changes_nothing_before_the_cut_and_holds_after_it(schedule, cut):
    head = schedule.until(cut)
    assert head.steps == cut
    assert values(head, cut + 1) == values(schedule, cut + 1)
    assert head(cut + 1) == head(10**9) == schedule(cut)


@given(SCHEDULES, CUTS)
def test_since_is_the_schedule_from_the_cut_on(schedule, cut):
    tail = schedule.since(cut)
    assert tail.steps == max(0, schedule.steps - cut)
    assert values(tail) == values(schedule, cut + 250)[cut:]


@given(SCHEDULES, CUTS)
def test_until_then_since_is_the_schedule_again(schedule, cut):
    assert values(schedule.until(cut).then(schedule.since(cut))) == values(schedule)


@given(SCHEDULES, CUTS, CUTS)
def test_cuts_add_up(schedule, first, second):
    assert values(schedule.since(first).since(second)) == values(schedule.since(first + second))
    earlier = min(first, second)
    assert values(schedule.until(first).until(second), earlier + 1) == values(
        schedule.until(earlier), earlier + 1
    )


@given(SCHEDULES, SCHEDULES)
def test_then_leaves_the_first_alone_and_shifts_the_second(first, second):
    joined = first.then(second)
    assert joined.steps == first.steps + second.steps
    assert [joined(step) for step in range(1, first.steps + 1)] == values(first)[
        1 : first.steps + 1
    ]
    assert [joined(first.steps + step) for step in range(1, second.steps + 1)] == values(second)[
        1 : second.steps + 1
    ]


@given(SCHEDULES, SCHEDULES, SCHEDULES)
def test_then_is_associative_and_takes_several(a, b, c):
    assert a.then(b).then(c) == a.then(b.then(c)) == a.then(b, c)


@given(st.lists(SEGMENTS, min_size=1, max_size=4))
def test_then_takes_segments_like_of(segments):
    assert Piecewise.of(segments[0]).then(*segments[1:]) == Piecewise.of(*segments)


@given(SCHEDULES)
def test_json_round_trip_gives_the_same_schedule(schedule):
    entries = json.loads(json.dumps(schedule.to_json()))
    again = Piecewise.from_json(entries)
    assert again == schedule
    assert json.dumps(again.to_json()) == json.dumps(schedule.to_json())


def test_equal_schedules_have_equal_descriptions():
    whole, floating = Piecewise.of(Linear(0, 1, 5)), Piecewise.of(Linear(0.0, 1.0, 5))
    assert whole == floating
    assert json.dumps(whole.to_json()) == json.dumps(floating.to_json())


def test_different_schedules_have_different_descriptions():
    schedule = Piecewise.of(Linear(0.0, 1.0, 5))
    others = [Piecewise.of(Linear(0.0, 1.0, 6)), Piecewise.of(Cosine(0.0, 1.0, 5))]
    for other in (*others, schedule.until(3), schedule.since(3)):
        assert other.to_json() != schedule.to_json()


def test_the_description_names_the_class_its_fields_and_the_part():
    schedule = Piecewise.of(InverseSqrt(3e-4, 1e-4, 10)).since(4).until(3)
    assert schedule.to_json() == [
        {
            "segment": "InverseSqrt",
            "start": 3e-4,
            "end": 1e-4,
            "steps": 10,
            "alpha": 10.0,
            "part_begin": 4,
            "part_end": 7,
        }
    ]


@given(SCHEDULES)
def test_phases_tile_the_schedule_without_its_empty_parts(schedule):
    phases = schedule.phases()
    before = 0
    for phase in phases:
        assert phase.first_step == before + 1 <= phase.last_step
        assert phase.end_lr == schedule(phase.last_step)
        before = phase.last_step
    assert before == schedule.steps


def test_phases_say_what_a_reader_wants_to_know():
    trunk = Piecewise.of(Linear(0.0, 3e-4, 10), Linear(1.0, 2.0, 0), Cosine(3e-4, 1e-4, 90))
    assert trunk.then(Constant(1e-4, 100)).until(150).phases() == [
        Phase(name="linear", first_step=1, last_step=10, start_lr=0.0, end_lr=3e-4),
        Phase(name="cosine", first_step=11, last_step=100, start_lr=3e-4, end_lr=1e-4),
        Phase(name="constant", first_step=101, last_step=150, start_lr=1e-4, end_lr=1e-4),
    ]


def test_a_boundary_step_belongs_to_the_earlier_part():
    schedule = Piecewise.of(Constant(1.0, 5), Constant(2.0, 5))
    assert [schedule(step) for step in (0, 1, 5, 6, 10, 11)] == [1, 1, 1, 2, 2, 2]


def test_empty_parts_have_no_step_and_alone_give_the_last_end_value():
    assert values(Piecewise.of(Linear(0.0, 1.0, 0), Cosine(1.0, 0.5, 0)), 5) == [0.5] * 5
    between = Piecewise.of(Constant(1.0, 2), Constant(9.0, 0), Constant(2.0, 2), Constant(9.0, 0))
    assert values(between, 7) == [1, 1, 1, 2, 2, 2, 2]


def test_step_0_is_the_start_of_the_first_part():
    assert Piecewise.of(Linear(0.0, 1.0, 4))(0) == 0
    assert Piecewise.of(Linear(0.0, 1.0, 0), Cosine(1.0, 0.0, 4))(0) == 1


def test_a_jump_at_a_cut_keeps_the_value_of_the_boundary():
    tail = Piecewise.of(Constant(1.0, 5), Constant(2.0, 5)).since(5)
    assert [tail(step) for step in (0, 1, 5)] == [1, 2, 2]
    tail = Piecewise.of(Constant(1.0, 5), Constant(9.0, 0), Constant(2.0, 5)).since(5)
    assert [tail(step) for step in (0, 1, 5)] == [1, 2, 2]


def test_past_the_end_since_is_a_constant_of_no_length():
    schedule = Piecewise.of(Linear(0.0, 1.0, 4))
    for cut in (4, 5, 10**6):
        assert schedule.since(cut) == Piecewise.of(Constant(1.0, 0))


def test_a_branch_may_leave_a_trunk_long_after_its_end():
    trunk = Piecewise.of(Linear(0.0, 1.0, 4))
    branch = trunk.until(100).then(Linear(1.0, 0.0, 10))
    assert branch.steps == 110
    assert [branch(step) for step in (4, 100, 105, 110)] == [1, 1, 0.5, 0]


def test_schedules_are_values():
    one, other = (Piecewise.of(Linear(0.0, 1.0, 4), Constant(1.0, 5)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)


CONSTANT = {"segment": "Constant", "lr": 1e-4, "steps": 5, "part_begin": 0, "part_end": 5}
REFUSED = [
    (lambda: Piecewise.of(), "no segments has no learning rate"),
    (lambda: Piecewise.of(Constant(1.0, 5))(-1), "step = -1 is negative"),
    (lambda: Piecewise.of(Constant(1.0, 5)).until(-1), "step = -1 is negative"),
    (lambda: Piecewise.of(Constant(1.0, 5)).since(-2), "step = -2 is negative"),
    (lambda: Part(Constant(1.0, 5), 2, 6), "the part (2, 6] does not lie in its segment"),
    (lambda: Part(Constant(1.0, 5), 3, 2), "Give 0 ≤ begin ≤ end ≤ 5"),
    (lambda: Part(Constant(1.0, 5), -1, 2), "Part.begin = -1 is negative"),
    (lambda: Piecewise.from_json([]), "no segments has no learning rate"),
    (
        lambda: Piecewise.from_json([CONSTANT | {"segment": "Sawtooth"}]),
        "'Sawtooth' is not a segment that this version knows",
    ),
    (lambda: Piecewise.from_json([CONSTANT | {"alpha": 1.0}]), "is not a Constant"),
    (lambda: Piecewise.from_json([{"segment": "Constant"}]), "Needed are exactly"),
    (lambda: Piecewise.from_json([CONSTANT | {"lr": "1e-4"}]), "Constant.lr = '1e-4'"),
    (lambda: Piecewise.from_json([CONSTANT | {"part_end": 6}]), "the part (0, 6]"),
]


@pytest.mark.parametrize(("nonsense", "message"), REFUSED)
def test_nonsense_is_refused(nonsense, message):
    with pytest.raises(ScheduleError) as caught:
        nonsense()
    assert message in str(caught.value)


def test_their_sensible_neighbours_are_not_refused():
    schedule = Piecewise.of(Constant(1.0, 5))
    assert schedule(0) == schedule.until(0)(0) == schedule.since(0)(0) == 1
    assert [Part(Constant(1.0, 5), *ends).steps for ends in ((2, 5), (2, 2), (0, 5))] == [3, 0, 5]
    assert Piecewise.from_json([CONSTANT]) == Piecewise.of(Constant(1e-4, 5))
