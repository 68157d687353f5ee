"""Two models on the same items: paired differences, what is significant over all tasks, and what could be seen.

A task's verdict is on its headline, the first of its metrics: bits per byte by Student's t, accuracies by the
exact test of McNemar; the p-values of all tasks are adjusted together (Holm).
"""

from collections.abc import Sequence

from rewarm.errors import MismatchError
from rewarm.evaluation.items import Item
from rewarm.evaluation.metrics import METRICS, Measured, measure, measure_difference
from rewarm.evaluation.results import MetricRecord, Results, TaskRecord, metric_record
from rewarm.evaluation.statistics import LEVEL, Estimate, holm, mcnemar, p_value, smallest_visible
from rewarm.runs.records import Record


class Difference(Record):
    """A metric of both models."""

    first: float
    """Of the first."""
    second: float
    """Of the second."""
    difference: MetricRecord
    """Second minus first, paired by item."""
    smallest_visible: float | None
    """The true difference that such a comparison finds four times in five; None if no item differs, or
    one alone is there, which says nothing of that."""


class TaskComparison(Record):
    """A task of both models."""

    task: str
    """Its name."""
    items: int
    """How many both have."""
    p_value: float
    """Of no difference in the headline, by this task alone."""
    adjusted_p_value: float
    """The same over all tasks (Holm)."""
    is_significant: bool
    """Whether the adjusted one is below 5 %."""
    differences: list[Difference]
    """The headline first."""


class Comparison(Record):
    """Two models on the tasks that both have."""

    first: str
    """Name of the first."""
    second: str
    """Name of the second."""
    tasks: list[TaskComparison]
    """In the order of the first."""
    notes: list[str]
    """What else differs between the two evaluations, and which tasks were left out."""


def compare_results(first: Results, second: Results) -> Comparison:
    """Compare two models on every task that both evaluations have.

    Raises:
        MismatchError: they have no task in common, or one on other items.
    """
    others = {task.name: task for task in second.record.tasks}
    shared = [task for task in first.record.tasks if task.name in others and task.metrics]
    if not shared:
        raise MismatchError(
            f"{first.folder} and {second.folder} have no measured task of the same name, so nothing can be "
            "compared. Evaluate both models on the same tasks."
        )
    pairs: list[tuple[list[Item], list[Item]]] = []
    for task in shared:
        _check_same(task, others[task.name])
        pairs.append((first.of(task.name), second.of(task.name)))
    headlines = [task.metrics[0].metric for task in shared]
    p_values = [_p_value(*pair, each) for pair, each in zip(pairs, headlines, strict=True)]
    return Comparison(
        first=first.record.model.name,
        second=second.record.model.name,
        tasks=[
            TaskComparison(
                task=task.name,
                items=task.items,
                p_value=p,
                adjusted_p_value=adjusted,
                is_significant=adjusted < 1 - LEVEL,
                differences=_differences(*pair, task.metrics[0].metric),
            )
            for task, pair, p, adjusted in zip(shared, pairs, p_values, holm(p_values), strict=True)
        ],
        notes=_notes(first, second),
    )


def _check_same(task: TaskRecord, other: TaskRecord) -> None:
    """Refuse a task that was measured on other items."""
    for what, a, b in (
        ("kind", task.kind, other.kind),
        ("data (SHA-256)", task.data_sha256, other.data_sha256),
        ("number of items", task.items, other.items),
    ):
        if a != b:
            raise MismatchError(
                f"{task.name}: the two evaluations differ in its {what} ({a} and {b}), so its items cannot be "
                "paired. Evaluate both models on the same file with the same --limit."
            )


def _p_value(first: Sequence[Item], second: Sequence[Item], headline: str) -> float:
    """Return the p-value of the headline."""
    (metric,) = (each for each in METRICS[type(first[0])] if each.name == headline)
    if metric.is_yes_or_no:
        return mcnemar(
            [bool(metric.numerator(item)) for item in first],
            [bool(metric.numerator(item)) for item in second],
        )
    return p_value(_of(measure_difference(first, second), headline))


def _of(measured: Sequence[Measured], metric: str) -> Estimate:
    """Return a metric over all items."""
    return next(each.estimate for each in measured if each.metric == metric)


def _differences(first: Sequence[Item], second: Sequence[Item], headline: str) -> list[Difference]:
    pairs = zip(measure(first), measure(second), measure_difference(first, second), strict=True)
    found = [_difference(*each) for each in pairs]
    first_of_all = next(each for each in found if each.difference.metric == headline)
    return [first_of_all, *(each for each in found if each is not first_of_all)]


def _difference(first: Measured, second: Measured, difference: Measured) -> Difference:
    record = metric_record(difference)
    error = record.standard_error
    return Difference(
        first=first.estimate.value,
        second=second.estimate.value,
        difference=record,
        smallest_visible=smallest_visible(error) if error else None,
    )


def _notes(first: Results, second: Results) -> list[str]:
    notes: list[str] = []
    a, b = first.record, second.record
    for what, one, other in (
        ("context length", a.context_length, b.context_length),
        ("precision", a.precision, b.precision),
        ("device", a.device, b.device),
        ("batch", a.batch, b.batch),
    ):
        if one != other:
            notes.append(f"the {what} differs: {one} and {other}")
    if a.model.tokenizer != b.model.tokenizer:
        notes.append(
            "the tokenizers differ; bits per byte can still be compared, and so can accuracies"
        )
    names = [{task.name for task in each.tasks} for each in (a, b)]
    notes += [f"{name} was measured on one model alone" for name in sorted(names[0] ^ names[1])]
    return notes
