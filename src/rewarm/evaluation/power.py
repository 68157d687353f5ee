"""What a comparison could see, from the evaluations of one side: before there is another side.

The error of a paired difference depends on how far two models agree, item by item. That is assumed here, and
said beside the numbers. With several seeds their spread is in it too, as if the other recipe spread alike.
"""

import math
from collections.abc import Sequence

from rewarm.evaluation.metrics import SHARES, Measured, average, averaged
from rewarm.evaluation.results import MetricRecord, TaskRecord
from rewarm.evaluation.sides import Side, refuse_other_items
from rewarm.evaluation.statistics import accuracy_difference_error, estimate_of, smallest_visible
from rewarm.runs.records import Record

ANSWERS_AGREE = 0.7
"""Correlation of two models' answers being right, question by question."""
DOCUMENTS_AGREE = 0.99
"""Correlation of the bits by which documents are above what their length leads to expect. Between seeds of one
recipe of 0.9 million parameters it was 0.993 to 0.999."""
WANTED = 0.01
"""A difference that one would like to see: a point of accuracy, or so many bits per byte."""


class Power(Record):
    """What a comparison on a task could see."""

    tasks: list[str]
    """The task; or those whose average it is."""
    metric: str
    """The headline; of an average `accuracy` or `bits_per_byte`."""
    items: int
    """How many there are."""
    seeds: int
    """Trainings on each side."""
    value: float
    """What was measured, the mean over seeds."""
    correlation: float
    """Assumed, of two models item by item."""
    disagreeing: float | None
    """The share of questions that one of two models alone answers right, which follows; None of bits and of
    averages."""
    standard_error: float | None
    """To expect of a difference; None where the items do not differ, or one is all there is."""
    smallest_visible: float | None
    """The true difference that is found in four of five comparisons; None as above."""
    items_wanted: int | None
    """How many items would see 0.01; None as above, over several seeds, and of an average."""


class SidePower(Record):
    """What a comparison could see."""

    folders: list[str]
    """The evaluations that it is expected from, one for each seed."""
    tasks: list[Power]
    """By task, then the averages over tasks."""


def expected_power(side: Side) -> SidePower:
    """Return for each task, and for the averages over tasks, what a comparison could see.

    Args:
        side: an evaluation; or those of several seeds, for a comparison with as many of another recipe. Tasks
            that were not measured with every seed are left out.

    Raises:
        MismatchError: a task was measured on other items with some seed.
    """
    tasks = [side.measured(task.name) for task in side.seeds[0].record.tasks]
    for records in tasks:
        refuse_other_items(records)
    expected = {records[0].name: _expected(records) for records in tasks if records}
    found = [_power([name], each, len(side.seeds)) for name, each in expected.items()]
    for metric, names in averaged({name: each.metric for name, each in expected.items()}).items():
        mean = average([expected[name] for name in names], metric)
        found.append(_power(names, mean, len(side.seeds)))
    return SidePower(folders=side.folders, tasks=found)


def _expected(records: Sequence[TaskRecord]) -> Measured:
    """Return the headline's value with the error to expect of a difference, from a record for each seed."""
    headlines = [record.metrics[0] for record in records]
    first = headlines[0]
    value = sum(each.value for each in headlines) / len(headlines)
    # The difference of two recipes with seeds of their own spreads √2 times as far as one of them.
    seeds = [value + math.sqrt(2) * (each.value - value) for each in headlines]
    return Measured(
        metric=first.metric,
        domain=None,
        items=estimate_of(value, _items_error(first, value), first.count),
        seeds=tuple(seeds),
    )


def _items_error(headline: MetricRecord, value: float) -> float:
    """Return the standard error over items to expect of a difference; NaN if one item is all there is."""
    if headline.standard_error is None:
        return math.nan
    if headline.metric in SHARES:
        return accuracy_difference_error(headline.count, accuracy=value, correlation=ANSWERS_AGREE)
    return headline.standard_error * math.sqrt(2 * (1 - DOCUMENTS_AGREE))


def _power(tasks: list[str], expected: Measured, num_seeds: int) -> Power:
    found = expected.estimate
    is_share = expected.metric in SHARES
    is_known = found.standard_error > 0
    visible = smallest_visible(found.parts) if is_known else None
    is_simple = len(tasks) == 1 and num_seeds == 1
    return Power(
        tasks=tasks,
        metric=expected.metric,
        items=found.count,
        seeds=num_seeds,
        value=found.value,
        correlation=ANSWERS_AGREE if is_share else DOCUMENTS_AGREE,
        disagreeing=(
            2 * found.value * (1 - found.value) * (1 - ANSWERS_AGREE)
            if is_share and len(tasks) == 1
            else None
        ),
        standard_error=found.standard_error if is_known else None,
        smallest_visible=visible,
        items_wanted=(
            math.ceil(found.count * (visible / WANTED) ** 2) if visible and is_simple else None
        ),
    )
