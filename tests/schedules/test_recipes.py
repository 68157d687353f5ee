"""The recipes: against closed forms written another way, at every step, and what is refused.

The forms here are rearranged: cos² and sin² for the cosine, logarithms for the exponential, the two
coefficients solved for in the inverse square root.
"""

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm import schedules
from rewarm.errors import ScheduleError
from rewarm.schedules import Piecewise


def agree(schedule: Piecewise, closed: Callable[[int], float], steps: int, peak: float) -> None:
    """Compare at every step; near zero only differences that count beside the peak count."""
    assert schedule.steps == steps
    for t in range(1, steps + 1):
        expected = closed(t)
        got = schedule(t)
        assert math.isclose(got, expected, rel_tol=1e-11, abs_tol=1e-15 * peak), (t, got, expected)


def cosine(high: float, low: float, x: float) -> float:
    return high * math.cos(math.pi * x / 2) ** 2 + low * math.sin(math.pi * x / 2) ** 2


def linear(high: float, low: float, x: float) -> float:
    return high * (1 - x) + low * x


def exponential(high: float, low: float, x: float) -> float:
    return math.exp((1 - x) * math.log(high) + x * math.log(low))


def one_minus_sqrt(high: float, low: float, x: float) -> float:
    return high + (low - high) * x**0.5


def inverse_sqrt(high: float, low: float, x: float, alpha: float) -> float:
    slope = (high - low) / (1 - (1 + alpha) ** -0.5)
    return high - slope + slope * (1 + alpha * x) ** -0.5


FALLS = {
    "cosine": cosine,
    "linear": linear,
    "exponential": exponential,
    "1-sqrt": one_minus_sqrt,
}


@pytest.mark.parametrize(
    ("max_lr", "min_lr", "warmup", "steps"),
    [
        (3e-4, 3e-5, 1_323, 132_366),  # the paper's 405M runs, Table 14: warmup 1 %
        (1.2e-4, 1.2e-5, 860, 86_000),  # its 10B rates, the steps of German
        (3e-4, 0.0, 10, 100),
        (3e-4, 3e-5, 0, 100),
        (3e-4, 3e-5, 100, 100),
        (3e-4, 3e-4, 7, 100),
        (6e-4, 3e-5, 1, 2),
        (6e-4, 3e-5, 0, 1),
    ],
)
def test_warmup_cosine_is_the_papers(max_lr, min_lr, warmup, steps):
    def closed(t):
        if t <= warmup:
            return t / warmup * max_lr
        return cosine(max_lr, min_lr, (t - warmup) / (steps - warmup))

    schedule = schedules.warmup_cosine(
        max_lr=max_lr, min_lr=min_lr, warmup_steps=warmup, steps=steps
    )
    agree(schedule, closed, steps, max_lr)


@pytest.mark.parametrize("cooldown", ["cosine", "inverse-sqrt"])
@pytest.mark.parametrize(
    ("warmup", "cooling", "flat", "steps"),
    [
        (1_323, 79_419, 33_091, 132_366),  # Table 14: 1, 60 and 25 %, and the rest
        (10, 60, 30, 100),  # a trunk: nothing is left for an annealing
        (0, 60, 25, 100),
        (1, 0, 25, 100),
        (1, 60, 0, 100),
        (0, 0, 0, 100),
        (0, 0, 100, 100),
        (100, 0, 0, 100),
        (0, 100, 0, 100),
    ],
)
def test_infinite_is_the_papers(cooldown, warmup, cooling, flat, steps):
    max_lr, constant_lr, min_lr, alpha = 3e-4, 1.65e-4, 3e-5, 10.0
    t_cd, t_const, t_ann = warmup, warmup + cooling, warmup + cooling + flat

    def closed(t):
        if t <= t_cd:
            return t / t_cd * max_lr
        if t <= t_const:
            x = (t - t_cd) / (t_const - t_cd)
            if cooldown == "cosine":
                return cosine(max_lr, constant_lr, x)
            return inverse_sqrt(max_lr, constant_lr, x, alpha)
        if t <= t_ann:
            return constant_lr
        return exponential(constant_lr, min_lr, (t - t_ann) / (steps - t_ann))

    schedule = schedules.infinite(
        max_lr=max_lr,
        constant_lr=constant_lr,
        min_lr=min_lr,
        warmup_steps=warmup,
        cooldown_steps=cooling,
        constant_steps=flat,
        steps=steps,
        cooldown=cooldown,
    )
    agree(schedule, closed, steps, max_lr)


@pytest.mark.parametrize("alpha", [1e-6, 0.1, 1.0, 10, 1e4])
def test_alpha_steepens_the_inverse_square_root(alpha):
    schedule = schedules.infinite(
        max_lr=1.0,
        constant_lr=0.5,
        min_lr=0.0,
        warmup_steps=0,
        cooldown_steps=200,
        constant_steps=0,
        steps=200,
        cooldown="inverse-sqrt",
        alpha=alpha,
    )
    # At a tiny alpha the textbook form, in the test and in the code, cancels to about 1e-16/alpha.
    for t in range(1, 201):
        assert math.isclose(
            schedule(t), inverse_sqrt(1.0, 0.5, t / 200, alpha), rel_tol=1e-11 + 1e-15 / alpha
        )


@pytest.mark.parametrize("min_lr", [0, 1e-5, 1.0])
def test_a_trunk_without_annealing_stays_at_its_constant_whatever_min_lr_is(min_lr):
    trunk = schedules.infinite(
        max_lr=3e-4,
        constant_lr=1.65e-4,
        min_lr=min_lr,
        warmup_steps=10,
        cooldown_steps=60,
        constant_steps=30,
        steps=100,
    )
    assert trunk(100) == trunk(10**6) == 1.65e-4


@pytest.mark.parametrize(("warmup", "steps"), [(0, 100), (10, 100), (100, 100), (0, 1)])
def test_constant_is_constant_after_its_warmup(warmup, steps):
    schedule = schedules.constant(lr=3e-4, steps=steps, warmup_steps=warmup)
    agree(schedule, lambda t: 3e-4 * min(1, t / warmup if warmup else 1), steps, 3e-4)


@pytest.mark.parametrize("decay", FALLS)
@pytest.mark.parametrize(
    ("warmup", "decaying", "steps"),
    [(10, 20, 200), (0, 20, 200), (10, 0, 200), (10, 190, 200), (0, 200, 200), (0, 0, 7)],
)
def test_wsd_is_stable_between_warmup_and_decay(decay, warmup, decaying, steps):
    begin = steps - decaying

    def closed(t):
        if t <= warmup:
            return t / warmup * 4e-4
        return 4e-4 if t <= begin else FALLS[decay](4e-4, 1e-5, (t - begin) / decaying)

    schedule = schedules.wsd(
        max_lr=4e-4,
        min_lr=1e-5,
        warmup_steps=warmup,
        decay_steps=decaying,
        steps=steps,
        decay=decay,
    )
    agree(schedule, closed, steps, 4e-4)


@pytest.mark.parametrize("decay", ["1-sqrt", "linear", "cosine"])
def test_wsd_may_decay_to_zero_but_for_the_exponential(decay):
    schedule = schedules.wsd(
        max_lr=4e-4, min_lr=0, warmup_steps=5, decay_steps=50, steps=100, decay=decay
    )
    agree(schedule.since(50), lambda t: FALLS[decay](4e-4, 0, t / 50), 50, 4e-4)
    assert schedule(100) == 0


@pytest.mark.parametrize(
    ("min_lr", "warmup", "steps"), [(0.0, 10, 200), (3e-5, 0, 200), (0, 200, 200), (0, 0, 1)]
)
def test_warmup_linear_is_a_triangle(min_lr, warmup, steps):
    def closed(t):
        return (
            t / warmup * 3e-4
            if t <= warmup
            else linear(3e-4, min_lr, (t - warmup) / (steps - warmup))
        )

    schedule = schedules.warmup_linear(max_lr=3e-4, min_lr=min_lr, warmup_steps=warmup, steps=steps)
    agree(schedule, closed, steps, 3e-4)


@pytest.mark.parametrize(("k", "steps"), [(10_000, 40_000), (1, 300), (300, 300)])
def test_raffel_is_t5s_rule(k, steps):
    schedule = schedules.inverse_sqrt_raffel(max_lr=k**-0.5, constant_steps=k, steps=steps)
    agree(schedule, lambda t: max(t, k) ** -0.5, steps, k**-0.5)


@pytest.mark.parametrize(
    ("warmup", "timescale", "cooling", "steps"),
    [(10, 100, 50, 400), (0, 100, 50, 400), (10, 0.5, 0, 400), (100, 9, 300, 400), (0, 1, 7, 7)],
)
def test_zhai_is_a_reciprocal_square_root_cooled_to_zero(warmup, timescale, cooling, steps):
    def curve(t):
        return 8e-4 / (1 + (t - warmup) / timescale) ** 0.5

    def closed(t):
        if t <= warmup:
            return t / warmup * 8e-4
        begin = steps - cooling
        return curve(t) if t <= begin else linear(curve(begin), 0, (t - begin) / cooling)

    schedule = schedules.inverse_sqrt_zhai(
        max_lr=8e-4,
        warmup_steps=warmup,
        timescale=timescale,
        cooldown_steps=cooling,
        steps=steps,
    )
    agree(schedule, closed, steps, 8e-4)


@pytest.mark.parametrize(
    ("warmup", "steps", "repeats"), [(10, 100, 3), (0, 100, 2), (100, 100, 2), (5, 50, 1)]
)
def test_repeated_cosine_is_the_same_stage_again_and_again(warmup, steps, repeats):
    rates = {"max_lr": 3e-4, "min_lr": 3e-5, "warmup_steps": warmup, "steps": steps}
    once = schedules.warmup_cosine(**rates)
    schedule = schedules.repeated_cosine(**rates, repeats=repeats)
    assert schedule.steps == repeats * steps
    for t in range(1, schedule.steps + 1):
        assert schedule(t) == once(steps if t % steps == 0 else t % steps)


@pytest.mark.parametrize(("factor", "steps"), [(0.01, 500), (0, 500), (1, 500), (0.01, 1)])
def test_continued_cosine_starts_at_the_bases_floor(factor, steps):
    schedule = schedules.continued_cosine(base_min_lr=4.5e-5, steps=steps, factor=factor)
    agree(schedule, lambda t: cosine(4.5e-5, 4.5e-5 * factor, t / steps), steps, 4.5e-5)
    assert schedule(0) == 4.5e-5


def test_continued_cosine_falls_to_a_hundredth_by_default():
    schedule = schedules.continued_cosine(base_min_lr=4.5e-5, steps=10)
    assert schedule(10) == pytest.approx(4.5e-7)  # the end rate of arXiv 2407.07263


@pytest.mark.parametrize("shape", FALLS)
@pytest.mark.parametrize("steps", [1, 140])
def test_annealing_is_the_branch_of_a_trunk(shape, steps):
    trunk = schedules.constant(lr=1.65e-4, steps=1000, warmup_steps=10)
    decay = schedules.annealing(start_lr=trunk(860), min_lr=3e-5, steps=steps, shape=shape)
    agree(decay, lambda t: FALLS[shape](1.65e-4, 3e-5, t / steps), steps, 1.65e-4)
    branch = trunk.until(860).then(decay)
    assert [branch(t) for t in range(861)] == [trunk(t) for t in range(861)]
    assert [branch(860 + t) for t in range(1, steps + 5)] == [decay(t) for t in range(1, steps + 5)]


def test_annealing_is_exponential_by_default():
    default = schedules.annealing(start_lr=1.65e-4, min_lr=3e-5, steps=140)
    assert [phase.name for phase in default.phases()] == ["exponential"]


def test_the_annealing_inside_an_infinite_schedule_is_the_branch():
    rates = {"max_lr": 3e-4, "constant_lr": 1.65e-4, "min_lr": 3e-5}
    lengths = {"warmup_steps": 10, "cooldown_steps": 600, "constant_steps": 250}
    whole = schedules.infinite(**rates, **lengths, steps=1000)
    trunk = schedules.infinite(**rates, **lengths, steps=860)
    branch = trunk.then(schedules.annealing(start_lr=1.65e-4, min_lr=3e-5, steps=140))
    assert [branch(t) for t in range(1100)] == [whole(t) for t in range(1100)]


LENGTHS = st.integers(1, 60)


@st.composite
def smooth_recipes(draw) -> tuple[Piecewise, float, float]:
    """A recipe with all its phases and no restart, with its highest and lowest rate."""
    low, middle, high = sorted(draw(st.tuples(*[st.floats(1e-8, 1)] * 3)))
    warmup, a, b, rest = draw(st.tuples(LENGTHS, LENGTHS, LENGTHS, LENGTHS))
    two = {"max_lr": high, "min_lr": low}
    recipes = [
        schedules.warmup_cosine(**two, warmup_steps=warmup, steps=warmup + rest),
        schedules.warmup_linear(**two, warmup_steps=warmup, steps=warmup + rest),
        schedules.infinite(
            **two,
            constant_lr=middle,
            warmup_steps=warmup,
            cooldown_steps=a,
            constant_steps=b,
            steps=warmup + a + b + rest,
            cooldown=draw(st.sampled_from(["cosine", "inverse-sqrt"])),
            alpha=draw(st.floats(1e-6, 1e6)),
        ),
        schedules.wsd(
            **two,
            warmup_steps=warmup,
            decay_steps=a,
            steps=warmup + a + rest,
            decay=draw(st.sampled_from(sorted(FALLS))),
        ),
        schedules.inverse_sqrt_raffel(max_lr=high, constant_steps=a, steps=a + rest),
        schedules.inverse_sqrt_zhai(
            max_lr=high,
            warmup_steps=warmup,
            timescale=draw(st.floats(0.1, 1e6)),
            cooldown_steps=a,
            steps=warmup + a + rest,
        ),
        schedules.constant(lr=high, steps=warmup + rest, warmup_steps=warmup),
    ]
    return draw(st.sampled_from(recipes)), high, low


@given(smooth_recipes())
def test_recipes_stay_within_their_bounds(recipe):
    schedule, high, _ = recipe
    assert all(0 <= schedule(step) <= high for step in range(schedule.steps + 5))


@given(smooth_recipes())
def test_phases_of_recipes_meet(recipe):
    schedule, _, _ = recipe
    phases = schedule.phases()
    for earlier, later in itertools.pairwise(phases):
        assert earlier.end_lr == later.start_lr


@given(smooth_recipes())
def test_recipes_rise_to_their_peak_and_only_fall_after_it(recipe):
    schedule, high, _ = recipe
    lrs = [schedule(step) for step in range(schedule.steps + 1)]
    peak = lrs.index(high)
    assert lrs[:peak] == sorted(lrs[:peak])
    assert lrs[peak:] == sorted(lrs[peak:], reverse=True)


@given(st.floats(1e-8, 1), st.floats(1e-8, 1), LENGTHS, LENGTHS)
def test_decays_do_not_fall_below_their_floor(one, other, warmup, rest):
    low, high = sorted((one, other))
    schedule = schedules.warmup_cosine(
        max_lr=high, min_lr=low, warmup_steps=warmup, steps=warmup + rest
    )
    lrs = [schedule(step) for step in range(warmup, warmup + rest + 1)]
    assert (min(lrs), max(lrs), lrs[-1]) == (low, high, low)


COSINE = {"max_lr": 3e-4, "min_lr": 3e-5, "warmup_steps": 10, "steps": 100}
INFINITE = COSINE | {"constant_lr": 1e-4, "cooldown_steps": 40, "constant_steps": 30}
WSD = COSINE | {"decay_steps": 20}
ZHAI = {"max_lr": 1e-3, "warmup_steps": 10, "timescale": 50, "cooldown_steps": 20, "steps": 100}
RAFFEL = {"max_lr": 1e-2, "constant_steps": 50, "steps": 100}
BRANCH = {"start_lr": 1e-4, "min_lr": 1e-5, "steps": 100}
REFUSED = [
    (
        schedules.warmup_cosine,
        COSINE | {"warmup_steps": 101},
        "warmup_steps 101 is longer than the stage, which has 100 steps",
    ),
    (
        schedules.warmup_cosine,
        COSINE | {"min_lr": 3e-3},
        "min_lr = 0.003 is above max_lr = 0.0003",
    ),
    (schedules.warmup_cosine, COSINE | {"max_lr": -1.0}, "max_lr = -1.0 is negative"),
    (schedules.warmup_cosine, COSINE | {"steps": 1e2}, "steps = 100.0 is not a whole number"),
    (schedules.warmup_cosine, COSINE | {"warmup_steps": -1}, "warmup_steps = -1 is negative"),
    (schedules.warmup_linear, COSINE | {"warmup_steps": 200}, "Shorten the phases by 100 steps"),
    (schedules.warmup_linear, COSINE | {"max_lr": 1e-5}, "min_lr = 3e-05 is above max_lr = 1e-05"),
    (
        schedules.infinite,
        INFINITE | {"constant_steps": 60},
        "warmup_steps 10 + cooldown_steps 40 + constant_steps 60 = 110 is longer than the stage",
    ),
    (
        schedules.infinite,
        INFINITE | {"constant_lr": 4e-4},
        "constant_lr = 0.0004 is above max_lr = 0.0003",
    ),
    (
        schedules.infinite,
        INFINITE | {"constant_lr": 1e-5},
        "min_lr = 3e-05 is above constant_lr = 1e-05",
    ),
    (schedules.infinite, INFINITE | {"min_lr": 0.0}, "the logarithm of zero is infinite"),
    (
        schedules.infinite,
        INFINITE | {"min_lr": -1.0, "constant_steps": 50},
        "min_lr = -1.0 is negative",
    ),
    (
        schedules.infinite,
        INFINITE | {"cooldown": "sqrt"},
        "cooldown = 'sqrt' is not a known shape, so there is no curve to follow. "
        "Known are: cosine, inverse-sqrt.",
    ),
    (
        schedules.infinite,
        INFINITE | {"cooldown": "inverse-sqrt", "alpha": -1.0},
        "alpha = -1.0 is not above 0",
    ),
    (schedules.constant, {"lr": 1e-4, "steps": 5, "warmup_steps": 6}, "warmup_steps 6 is longer"),
    (schedules.constant, {"lr": math.nan, "steps": 5}, "lr = nan is not a learning rate"),
    (schedules.wsd, WSD | {"decay_steps": 95}, "warmup_steps 10 + decay_steps 95 = 105"),
    (schedules.wsd, WSD | {"decay": "exponential", "min_lr": 0}, "min_lr above 0"),
    (schedules.wsd, WSD | {"decay": "sqrt"}, "Known are: 1-sqrt, linear, exponential, cosine."),
    (schedules.wsd, WSD | {"min_lr": 1.0}, "min_lr = 1.0 is above max_lr = 0.0003"),
    (schedules.inverse_sqrt_raffel, RAFFEL | {"constant_steps": 0}, "constant_steps = 0"),
    (schedules.inverse_sqrt_raffel, RAFFEL | {"constant_steps": 101}, "constant_steps 101"),
    (schedules.inverse_sqrt_zhai, ZHAI | {"timescale": 0}, "timescale = 0 is not above 0"),
    (
        schedules.inverse_sqrt_zhai,
        ZHAI | {"cooldown_steps": 91},
        "warmup_steps 10 + cooldown_steps 91 = 101",
    ),
    (schedules.repeated_cosine, COSINE | {"repeats": 0}, "repeats = 0 is not above 0"),
    (schedules.repeated_cosine, COSINE | {"repeats": 1.5}, "repeats = 1.5 is not a whole number"),
    (schedules.repeated_cosine, COSINE | {"repeats": 2, "warmup_steps": 101}, "warmup_steps 101"),
    (schedules.continued_cosine, {"base_min_lr": 4e-5, "steps": -1}, "steps = -1 is negative"),
    (
        schedules.continued_cosine,
        {"base_min_lr": 4e-5, "steps": 10, "factor": 2},
        "factor = 2 is above 1: the schedule would rise from base_min_lr = 4e-05",
    ),
    (schedules.annealing, BRANCH | {"min_lr": 2e-4}, "min_lr = 0.0002 is above start_lr = 0.0001"),
    (schedules.annealing, BRANCH | {"min_lr": 0.0}, "linear or 1-sqrt shape"),
    (schedules.annealing, BRANCH | {"shape": "step"}, "shape = 'step' is not a known shape"),
    (schedules.annealing, BRANCH | {"steps": -5}, "steps = -5 is negative"),
]


@pytest.mark.parametrize(("recipe", "arguments", "message"), REFUSED)
def test_nonsense_is_refused_with_its_numbers(recipe, arguments, message):
    with pytest.raises(ScheduleError) as caught:
        recipe(**arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "arguments"),
    [
        (schedules.warmup_cosine, COSINE | {"warmup_steps": 100}),
        (schedules.warmup_cosine, COSINE | {"min_lr": 3e-4}),
        (schedules.warmup_linear, COSINE | {"min_lr": 0.0}),
        (schedules.infinite, INFINITE | {"constant_steps": 50}),
        (schedules.infinite, INFINITE | {"constant_lr": 3e-4}),
        (schedules.infinite, INFINITE | {"constant_lr": 3e-5}),
        (schedules.infinite, INFINITE | {"min_lr": 0.0, "constant_steps": 50}),
        (schedules.infinite, INFINITE | {"cooldown": "inverse-sqrt", "alpha": 1.0}),
        (schedules.constant, {"lr": 0.0, "steps": 0}),
        (schedules.wsd, WSD | {"decay_steps": 90}),
        (schedules.wsd, WSD | {"decay": "exponential"}),
        (schedules.inverse_sqrt_raffel, RAFFEL | {"constant_steps": 100}),
        (schedules.inverse_sqrt_raffel, RAFFEL | {"constant_steps": 1}),
        (schedules.inverse_sqrt_zhai, ZHAI | {"cooldown_steps": 90}),
        (schedules.repeated_cosine, COSINE | {"repeats": 1}),
        (schedules.continued_cosine, {"base_min_lr": 4e-5, "steps": 10, "factor": 1}),
        (schedules.annealing, BRANCH | {"min_lr": 0.0, "shape": "linear"}),
        (schedules.annealing, BRANCH | {"min_lr": 1e-4}),
        (schedules.annealing, BRANCH | {"steps": 0}),
    ],
)
def test_the_last_sensible_values_are_not_refused(recipe, arguments):
    schedule = recipe(**arguments)
    assert schedule.steps == arguments["steps"]
