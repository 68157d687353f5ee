"""Verdicts follow from intervals over seeds, and a claim from all its differences."""

import random

import pytest

from rewarm.evaluation.statistics import mean
from rewarm.suites.judging import judge, verdict_of
from rewarm.suites.suite import Claim, Difference


def claim(*bounds):
    differences = [
        Difference(label=name, value=lambda o, name=name: o[name], at_least=low, at_most=high)
        for name, low, high in bounds
    ]
    return Claim(text="a claim", source="here", differences=differences)


SEEDS = {
    1: {"small": 0.010, "large": 1.00, "around zero": -0.1},
    2: {"small": 0.011, "large": 1.01, "around zero": 0.1},
    3: {"small": 0.012, "large": 1.02, "around zero": 0.0},
}
INFINITY = float("inf")


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ([("small", -INFINITY, 0.02)], "held"),
        ([("small", -0.02, 0.02)], "held"),
        ([("large", -INFINITY, 0.02)], "not held"),
        ([("large", 2.0, INFINITY)], "not held"),
        ([("around zero", -INFINITY, 0.0)], "undecided"),
        ([("small", -INFINITY, 0.02), ("around zero", -INFINITY, 0.0)], "undecided"),
        ([("around zero", -INFINITY, 0.0), ("large", -INFINITY, 0.02)], "not held"),
    ],
)
def test_a_claim_holds_with_all_its_differences(bounds, verdict):
    assert judge(claim(*bounds), SEEDS).verdict == verdict


def test_the_interval_is_in_the_result():
    (found,) = judge(claim(("small", -INFINITY, 0.02)), SEEDS).differences
    expected = mean([0.010, 0.011, 0.012])
    assert (found.mean, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert found.by_seed == {"1": 0.010, "2": 0.011, "3": 0.012}
    assert (found.at_least, found.at_most) == (None, 0.02)


def test_one_seed_decides_nothing():
    (found,) = judge(claim(("small", -INFINITY, 0.02)), {1: SEEDS[1]}).differences
    assert (found.verdict, found.low, found.high) == ("undecided", None, None)


def test_two_seeds_of_one_arm_are_seldom_called_different():
    """Where nothing differs, an interval of 95 % misses zero in one case of twenty."""
    draw = random.Random(1)
    differing = 0
    for _ in range(2000):
        differences = [draw.gauss(0, 1) - draw.gauss(0, 1) for _ in range(3)]
        differing += verdict_of(mean(differences), 0.0, 0.0) == "not held"
    assert 0.035 < differing / 2000 < 0.065
