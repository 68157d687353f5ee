"""The metrics of a task, from its items; and of two models, from both their items.

Each metric is a ratio of sums over items, an accuracy being right answers over questions. So the difference of
two models on the same items is the ratio with the differences of the numerators, and its error is paired.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.evaluation.items import AnswerItem, DocumentItem, Item, QuestionItem, ShareItem
from rewarm.evaluation.statistics import Estimate, macro_average, over_seeds, ratio, wilson

_BITS = 1 / math.log(2)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A ratio of sums over items."""

    name: str
    """Such as `bits_per_byte`."""
    numerator: Callable[[Any], float]
    """Of an item."""
    denominator: Callable[[Any], float]
    """Of an item, above 0."""
    is_share: bool = False
    """Whether it is a share of what is right, of which more is better; of bits less is better."""
    is_yes_or_no: bool = False
    """Whether each item is right or wrong."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric's value, or the difference of two models' values."""

    metric: str
    """Its name."""
    domain: str | None
    """Of which documents; None for all."""
    items: Estimate
    """The value, the mean over seeds if there are several, with its error over items."""
    seeds: tuple[float, ...]
    """The value of each seed."""

    @property
    def estimate(self) -> Estimate:
        """The value with its whole error: over items, and over seeds if there are several."""
        return over_seeds(self.seeds, self.items)


def _right(name: str, is_right: Callable[[Any], bool]) -> Metric:
    return Metric(
        name=name, numerator=is_right, denominator=lambda _: 1, is_share=True, is_yes_or_no=True
    )


MACRO = "bits_per_byte_macro"
"""The mean of the domains' bits per byte, each domain counting alike."""

METRICS: dict[type[Item], tuple[Metric, ...]] = {
    DocumentItem: (
        Metric(
            name="bits_per_byte", numerator=lambda i: i.nats * _BITS, denominator=lambda i: i.bytes
        ),
    ),
    QuestionItem: (
        _right("acc", lambda item: item.is_right),
        _right("acc_norm", lambda item: item.is_right_by_characters),
        _right("acc_bytes", lambda item: item.is_right_by_bytes),
        Metric(
            name="gold_bits_per_byte",
            numerator=lambda item: item.gold_nats * _BITS,
            denominator=lambda item: item.gold_bytes,
        ),
    ),
    AnswerItem: (_right("exact_match", lambda item: item.right),),
    ShareItem: (
        Metric(
            name="right_share",
            numerator=lambda item: item.share,
            denominator=lambda _: 1,
            is_share=True,
        ),
    ),
}
"""What is measured on each kind of item; the first one is a task's headline."""

ACCURACY = "accuracy"
"""The mean over tasks of shares of what is right."""

SHARES = frozenset(
    [ACCURACY, *(m.name for metrics in METRICS.values() for m in metrics if m.is_share)]
)
"""Names of the metrics that are shares of what is right: more is better, and they are counted in points."""


def measure(items: Sequence[Item]) -> list[Measured]:
    """Return the metrics of one task, with standard errors by item; an accuracy's interval is Wilson's.

    Args:
        items: of one task, at least one; prompts have no metric.
    """
    found: list[Measured] = []
    for metric in METRICS.get(type(items[0]), ()):
        found += _with_domains(metric, items, [[metric.numerator(item) for item in items]])
    return found


def measure_difference(
    firsts: Sequence[Sequence[Item]], seconds: Sequence[Sequence[Item]]
) -> list[Measured]:
    """Return how far the metrics of the second model are above those of the first, paired by item and by seed.

    Args:
        firsts: items of one task, for each seed of the first model; one seed if there is but one model.
        seconds: the same items, in the same order, of as many seeds of the other model.
    """
    found: list[Measured] = []
    for metric in METRICS.get(type(firsts[0][0]), ()):
        gains = [
            [metric.numerator(b) - metric.numerator(a) for a, b in zip(first, second, strict=True)]
            for first, second in zip(firsts, seconds, strict=True)
        ]
        found += _with_domains(metric, firsts[0], gains, is_difference=True)
    return found


def average(measured: Sequence[Measured], metric: str) -> Measured:
    """Return the plain mean of values that rest on other items each, but on the same seeds.

    Args:
        measured: such as the headlines of several tasks.
        metric: what to call the mean.
    """
    seeds = zip(*(each.seeds for each in measured), strict=True)
    return Measured(
        metric=metric,
        domain=None,
        items=macro_average([each.items for each in measured]),
        seeds=tuple(sum(values) / len(values) for values in seeds),
    )


def averaged(headlines: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the tasks whose headlines are averaged: as `accuracy` shares of what is right, and bits per byte.

    Args:
        headlines: the first metric of each task.

    Returns:
        Tasks by what is averaged; an average of one task is left out.

    >>> averaged({"arc": "acc", "web": "bits_per_byte", "hellaswag": "acc_norm"})
    {'accuracy': ['arc', 'hellaswag']}
    """
    found: dict[str, list[str]] = {ACCURACY: [], "bits_per_byte": []}
    for task, metric in headlines.items():
        found[ACCURACY if metric in SHARES else metric].append(task)
    return {metric: tasks for metric, tasks in found.items() if len(tasks) > 1}


def _with_domains(
    metric: Metric,
    items: Sequence[Any],
    numerators: Sequence[Sequence[float]],
    *,
    is_difference: bool = False,
) -> list[Measured]:
    """Return the value over all items; of documents with domains also those of the domains, and their mean.

    `numerators` has a row for each seed.
    """
    above = np.asarray(numerators, np.float64)
    below = np.asarray([metric.denominator(item) for item in items], np.float64)
    whole = _over(metric.name, None, above, below)
    if metric.is_yes_or_no and not is_difference:
        low, high = wilson(round(above.sum()), len(items))
        whole = replace(whole, items=replace(whole.items, low=low, high=high))
    domains = sorted(
        {
            item.domain
            for item in items
            if isinstance(item, DocumentItem) and item.domain is not None
        }
    )
    if not domains:
        return [whole]
    by_domain: list[Measured] = []
    for domain in domains:
        own = [index for index, item in enumerate(items) if item.domain == domain]
        by_domain.append(_over(metric.name, domain, above[:, own], below[own]))
    return [whole, average(by_domain, MACRO), *by_domain]


def _over(
    metric: str, domain: str | None, above: NDArray[np.float64], below: NDArray[np.float64]
) -> Measured:
    """Return Σ above / Σ below over items, for all seeds (the rows of `above`) and for each."""
    return Measured(
        metric=metric,
        domain=domain,
        items=ratio(above.mean(axis=0), below),
        seeds=tuple((above.sum(axis=1) / below.sum()).tolist()),
    )
