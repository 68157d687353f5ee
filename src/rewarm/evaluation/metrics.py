"""The metrics of a task, from its items; and of two models, from both their items.

Each metric is a ratio of sums over items, an accuracy being right answers over questions. So the difference of
two models on the same items is the ratio with the differences of the numerators, and its error is paired.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rewarm.evaluation.items import AnswerItem, DocumentItem, Item, QuestionItem, ShareItem
from rewarm.evaluation.statistics import Estimate, macro_average, ratio, wilson

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
    is_yes_or_no: bool = False
    """Whether each item is right or wrong."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric's value, or the difference of two models' values."""

    metric: str
    """Its name."""
    domain: str | None
    """Of which documents; None for all."""
    estimate: Estimate
    """The value."""


def _right(name: str, is_right: Callable[[Any], bool]) -> Metric:
    return Metric(name=name, numerator=is_right, denominator=lambda _: 1, is_yes_or_no=True)


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
        Metric(name="right_share", numerator=lambda item: item.share, denominator=lambda _: 1),
    ),
}
"""What is measured on each kind of item; the first one is a task's headline."""


def measure(items: Sequence[Item]) -> list[Measured]:
    """Return the metrics of one task, with standard errors by item; an accuracy's interval is Wilson's.

    Args:
        items: of one task, at least one; prompts have no metric.
    """
    found: list[Measured] = []
    for metric in METRICS.get(type(items[0]), ()):
        found += _with_domains(metric, items, [metric.numerator(item) for item in items])
    return found


def measure_difference(first: Sequence[Item], second: Sequence[Item]) -> list[Measured]:
    """Return how far the metrics of the second model are above those of the first, paired by item.

    Args:
        first: items of one task.
        second: the same items, in the same order, of the other model.
    """
    found: list[Measured] = []
    for metric in METRICS.get(type(first[0]), ()):
        pairs = zip(first, second, strict=True)
        gains = [metric.numerator(b) - metric.numerator(a) for a, b in pairs]
        found += _with_domains(metric, first, gains, is_difference=True)
    return found


def _with_domains(
    metric: Metric,
    items: Sequence[Any],
    numerators: Sequence[float],
    *,
    is_difference: bool = False,
) -> list[Measured]:
    """Return the value over all items; of documents with domains also those of the domains, and their mean."""
    below = [metric.denominator(item) for item in items]
    whole = ratio(numerators, below)
    if metric.is_yes_or_no and not is_difference:
        low, high = wilson(round(sum(numerators)), len(items))
        whole = Estimate(
            value=whole.value,
            standard_error=whole.standard_error,
            low=low,
            high=high,
            count=whole.count,
        )
    found = [Measured(metric=metric.name, domain=None, estimate=whole)]
    domains = sorted({item.domain for item in items if getattr(item, "domain", None) is not None})
    if not domains:
        return found
    for domain in domains:
        own = [index for index, item in enumerate(items) if item.domain == domain]
        estimate = ratio([numerators[i] for i in own], [below[i] for i in own])
        found.append(Measured(metric=metric.name, domain=domain, estimate=estimate))
    macro = macro_average([each.estimate for each in found[1:]])
    return [found[0], Measured(metric=MACRO, domain=None, estimate=macro), *found[1:]]
