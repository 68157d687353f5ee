"""Statistics: against the bootstrap, simulation, tables, and closed forms written differently."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rewarm.evaluation.statistics import (
    Part,
    accuracy_difference_error,
    holm,
    mcnemar,
    mean,
    over_seeds,
    p_value,
    ratio,
    smallest_visible,
    wilson,
)

values = st.floats(-1e3, 1e3)


def documents(draw, count=300):
    sizes = draw.lognormal(7, 1, count)
    return sizes * draw.normal(1.6, 0.3, count), sizes


def test_the_error_of_a_ratio_is_that_of_the_bootstrap_over_documents():
    draw = np.random.default_rng(3)
    nats, sizes = documents(draw)
    picks = draw.integers(0, len(nats), (20_000, len(nats)))
    resampled = nats[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    assert ratio(nats, sizes).standard_error == pytest.approx(resampled.std(), rel=0.05)


def test_intervals_hold_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(4)
    held = 0
    for _ in range(1000):
        found = mean(draw.normal(2.0, 0.5, 3))
        held += found.low <= 2.0 <= found.high
    assert 935 <= held <= 965


def test_two_seeds_of_one_arm_are_rarely_significant():
    draw = np.random.default_rng(5)
    found = [mean(draw.normal(0, 1e-3, 3) - draw.normal(0, 1e-3, 3)) for _ in range(1000)]
    assert 30 <= sum(each.is_significant for each in found) <= 70


@given(st.lists(st.tuples(values, st.floats(0.1, 1e3)), min_size=2, max_size=20))
def test_a_model_compared_with_itself_is_exactly_zero(rows):
    nats, sizes = zip(*rows, strict=True)
    same = ratio(np.array(nats) - np.array(nats), sizes)
    assert (same.value, same.standard_error, same.is_significant, p_value(same)) == (0, 0, False, 1)


@given(st.lists(values, min_size=2, max_size=20))
def test_a_ratio_over_ones_is_a_mean(rows):
    a, b = ratio(rows, np.ones(len(rows))), mean(rows)
    for name in ("value", "standard_error", "low", "high"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-9, abs=1e-9)


def test_one_observation_says_nothing_about_its_error():
    one = mean([1.5])
    assert (one.value, one.count) == (1.5, 1)
    assert math.isnan(one.standard_error)
    assert not one.is_significant
    assert p_value(one) == 1.0


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing to estimate"):
        mean([])
    with pytest.raises(ValueError, match="do not go with"):
        ratio([1.0, 2.0], [1.0])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_mcnemar_counts_the_ways(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    b = sum(x > y for x, y in pairs)
    n = sum(x != y for x, y in pairs)
    tail = sum(math.comb(n, k) for k in range(min(b, n - b) + 1)) / 2**n
    assert mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_only_raises_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


@pytest.mark.parametrize(
    ("questions", "accuracy", "unpaired", "paired"),
    [(10_042, 0.5, 2.0, 1.1), (500, 0.2, 7.1, 3.9), (1_267, 0.5, 5.6, 3.0)],
)
def test_what_a_comparison_can_see(questions, accuracy, unpaired, paired):
    """The table of the reference, in points: HellaSwag, OpenBookQA, Winogrande."""
    for correlation, expected in ((0.0, unpaired), (0.7, paired)):
        error = accuracy_difference_error(questions, accuracy=accuracy, correlation=correlation)
        seen = smallest_visible([Part(variance=error**2, freedom=questions - 1)])
        assert 100 * seen == pytest.approx(expected, abs=0.06)


def test_wilson_stays_within_bounds():
    assert wilson(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert wilson(0, 10)[1] == pytest.approx(0.2775, abs=1e-4)
    assert wilson(10, 10)[1] == pytest.approx(1)


@given(st.integers(1, 60), st.data())
def test_wilson_is_that_of_scipy(questions, data):
    right = data.draw(st.integers(0, questions))
    expected = stats.binomtest(right, questions).proportion_ci(0.95, method="wilson")
    assert wilson(right, questions) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.lists(values, min_size=2, max_size=5), st.lists(values, min_size=2, max_size=30))
def test_errors_over_seeds_and_items_add_up_and_agree_with_the_p_value(seeds, items):
    over_items = ratio(items, np.ones(len(items)))
    found = over_seeds(seeds, over_items)
    assert found.standard_error == pytest.approx(
        math.hypot(mean(seeds).standard_error, over_items.standard_error)
    )
    narrow, wide = (
        stats.t.ppf(0.975, n - 1) * found.standard_error
        for n in sorted((len(seeds), len(items)), reverse=True)
    )
    assert narrow - 1e-6 <= (found.high - found.low) / 2 <= wide + 1e-6
    edge = min(abs(found.low), abs(found.high))
    if edge > 1e-6 * found.standard_error:
        assert (p_value(found) < 0.05) == found.is_significant


def test_one_seed_leaves_the_error_over_items():
    over_items = ratio([1.0, 2.0, 4.0], [1, 1, 1])
    assert over_seeds([7 / 3], over_items) == over_items


def test_recipes_are_not_found_to_differ_where_only_chance_makes_seeds_agree():
    """Where seeds matter more than items, degrees of freedom after Welch and Satterthwaite would be wrong."""
    draw = np.random.default_rng(6)
    of_both = {"weights": 0, "welch": 0}
    simulations, items = 2000, ratio(np.zeros(400) + [0.02, -0.02] * 200, np.ones(400))
    for _ in range(simulations):
        seeds = draw.normal(0, 0.007, 2)
        found = over_seeds(seeds.tolist(), replace(items, value=float(seeds.mean())))
        of_both["weights"] += found.is_significant
        a, b = (part.variance for part in found.parts)
        freedom = (a + b) ** 2 / (a**2 / 1 + b**2 / 399)
        t = abs(found.value) / found.standard_error
        of_both["welch"] += 2 * stats.t.sf(t, freedom) < 0.05
    assert of_both["weights"] / simulations < 0.08
    assert of_both["welch"] / simulations > 0.1
