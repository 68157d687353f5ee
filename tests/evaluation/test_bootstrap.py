"""Every standard error against a bootstrap over items: metrics alone, and differences paired by item."""

import numpy as np
import pytest

from rewarm.evaluation.items import AnswerItem, DocumentItem, QuestionItem, ShareItem
from rewarm.evaluation.metrics import METRICS, measure, measure_difference

ITEMS, RESAMPLED = 300, 4000


def documents(draw, seed):
    """Return documents whose length and difficulty go together, scored by one of two models."""
    sizes = np.random.default_rng(1).lognormal(6, 0.8, ITEMS).astype(int) + 10
    hard = np.random.default_rng(2).normal(1.0, 0.1, ITEMS) + 0.05 * np.log(sizes)
    own = draw.normal(0, 0.03, ITEMS) + 0.02 * seed
    return [
        DocumentItem(task="t", id=str(n), domain=None, nats=size * rate, bytes=size, tokens=size)
        for n, (size, rate) in enumerate(zip(sizes.tolist(), (hard + own).tolist(), strict=True))
    ]


def questions(draw, seed):
    """Return questions of which a model knows some, and guesses the others."""
    knows = np.random.default_rng(3).random(ITEMS) < 0.3 + 0.1 * seed
    return [
        QuestionItem(
            task="t",
            id=str(n),
            answer=0,
            nats=[
                float(draw.gamma(4, 1)) + (0.0 if knows[n] else 2.0),
                *draw.gamma(4, 1, 3).tolist(),
            ],
            greedy=[False] * 4,
            characters=draw.integers(3, 20, 4).tolist(),
            bytes=draw.integers(3, 25, 4).tolist(),
            truncated=False,
        )
        for n in range(ITEMS)
    ]


def answers(draw, seed):
    return [
        AnswerItem(task="t", id=str(n), said="a", right=bool(right), truncated=False)
        for n, right in enumerate(draw.random(ITEMS) < 0.4 + 0.1 * seed)
    ]


def shares(draw, seed):
    return [
        ShareItem(task="t", id=str(n), share=share, truncated=False)
        for n, share in enumerate(draw.beta(1 + seed, 2, ITEMS).tolist())
    ]


def resampled_error(metric, numerators, items):
    """Return the spread of the ratio of sums over items drawn anew, with replacement."""
    below = np.array([metric.denominator(item) for item in items], dtype=float)
    picks = np.random.default_rng(9).integers(0, ITEMS, (RESAMPLED, ITEMS))
    return (numerators[picks].sum(axis=1) / below[picks].sum(axis=1)).std()


@pytest.mark.parametrize("kind", [documents, questions, answers, shares])
def test_errors_are_those_of_a_bootstrap_over_items(kind):
    first, second = (kind(np.random.default_rng(10 + seed), seed) for seed in (0, 1))
    alone, paired = measure(first), measure_difference([first], [second])
    metrics = METRICS[type(first[0])]
    assert [each.metric for each in alone] == [each.metric for each in paired]
    assert len(alone) == len(metrics)
    for place, metric in enumerate(metrics):
        own, other = (
            np.array([metric.numerator(item) for item in items], dtype=float)
            for items in (first, second)
        )
        for found, numerators in ((alone[place], own), (paired[place], other - own)):
            expected = resampled_error(metric, numerators, first)
            assert found.estimate.standard_error == pytest.approx(expected, rel=0.05)
