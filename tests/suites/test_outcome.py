"""What a claim asks of an arm: shares of what was replayed against Equation 5."""

from types import SimpleNamespace

import numpy as np
import pytest

from rewarm.suites.catalogue.domains import off_reservoir
from rewarm.suites.outcome import Outcome


def stage(new, replayed):
    """Return a stage that read these sequences of each dataset, in two batches."""
    halves = [
        {name: np.array([count - count // 2, count // 2]) for name, count in counts.items()}
        for counts in (new, replayed)
    ]
    return SimpleNamespace(steps=SimpleNamespace(new=halves[0], replayed=halves[1]))


def test_what_a_stage_read_is_counted_from_its_batches():
    outcome = Outcome(row=None, stages={"update": stage({"b": 95}, {"a": 5, "b": 2})})
    assert outcome.replayed("update") == {"a": 5, "b": 2}
    assert outcome.read("update") == {"a": 5, "b": 97}


def test_the_reservoir_of_a_third_stage_is_that_of_equation_5():
    share, sizes = 0.05, (2000, 1000, 400)
    # Equation 5: p[2][0] = (s0 + p[1][0]·s1·α) / (s0 + s1) with p[1][0] = 1, and the rest is D1's.
    first = (sizes[0] + sizes[1] * share) / (sizes[0] + sizes[1])
    replayed = round(sizes[2] * share)
    stages = {
        "pretrain": stage({"d0": sizes[0]}, {}),
        "one": stage({"d1": 950}, {"d0": 50}),
        "two": stage({"d2": 380}, {"d0": 14, "d1": 6}),
    }
    outcome = Outcome(row=None, stages=stages)
    assert off_reservoir(outcome, "two", "d0") == pytest.approx(14 - first * replayed)
    assert off_reservoir(outcome, "two", "d1") == pytest.approx(6 - (1 - first) * replayed)
    assert off_reservoir(outcome, "one", "d0") == 0
