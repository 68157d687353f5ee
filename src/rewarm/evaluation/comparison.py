"""Models, or recipes over seeds, on the same items: paired differences, and what is significant over all tasks.

The first is the reference; each other one is compared with it. A task's verdict is on its headline, the first
of its metrics, and the p-values of all tasks of all models are adjusted together (Holm). With one seed a side
the verdict is on these checkpoints: bits per byte by Student's t over documents, accuracies by the exact test
of McNemar. With several it is on the recipes, and the error is that over items and over seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rewarm.errors import CampaignError, MismatchError
from rewarm.evaluation.compared import (
    AverageComparison,
    Comparison,
    Difference,
    ModelComparison,
    Over,
    PromptComparison,
    SideRecord,
    TaskComparison,
)
from rewarm.evaluation.items import Item, PromptItem
from rewarm.evaluation.metrics import (
    METRICS,
    Measured,
    average,
    averaged,
    measure,
    measure_difference,
)
from rewarm.evaluation.results import TaskRecord, metric_record
from rewarm.evaluation.sides import Side, letter, refuse_other_items
from rewarm.evaluation.statistics import LEVEL, holm, mcnemar, p_value, smallest_visible


@dataclass(frozen=True, kw_only=True)
class _Paired:
    """A task of two sides."""

    task: TaskRecord
    """As the reference has it."""
    firsts: Sequence[Sequence[Item]]
    """Items of the reference, by seed."""
    seconds: Sequence[Sequence[Item]]
    """The same of the other side."""
    values: tuple[list[float], list[float]]
    """Every metric of both sides, the mean over seeds."""
    gains: Sequence[Measured]
    """Every metric's difference."""

    @property
    def headline(self) -> str:
        """Name of the metric that is tested."""
        return self.task.metrics[0].metric

    @property
    def headline_gain(self) -> Measured:
        """Its difference over all items."""
        return next(each for each in self.gains if each.metric == self.headline)


def compare_sides(first: Side, others: Sequence[Side]) -> Comparison:
    """Compare models with the first, on every task that both have.

    Args:
        first: the reference.
        others: what is compared with it, each with as many seeds; its seeds are paired with those of the
            reference in their order.

    Raises:
        CampaignError: the sides have different numbers of seeds.
        MismatchError: two have no task in common, or one on other items.
    """
    for other in others:
        _check_seeds(first, other)
    over: Over = "items" if len(first.seeds) == 1 else "items and seeds"
    sides = [first, *others]
    named = [_named(side, letter(number)) for number, side in enumerate(sides)]
    paired = [_pair(first, other) for other in others]
    p_values = [_p_value(each) for pairs in paired for each in pairs]
    verdicts = iter(zip(p_values, holm(p_values), strict=True))
    models: list[ModelComparison] = []
    for other, second, pairs in zip(others, named[1:], paired, strict=True):
        tasks = [_compared(each, over, *next(verdicts)) for each in pairs]
        averages = _averages(pairs, tasks)
        notes = _notes(first, other)
        models.append(ModelComparison(second=second, tasks=tasks, averages=averages, notes=notes))
    return Comparison(first=named[0], over=over, models=models, prompts=_prompts(sides, named))


def _check_seeds(first: Side, other: Side) -> None:
    if len(first.seeds) != len(other.seeds):
        raise CampaignError(
            f"{','.join(first.folders)} and {','.join(other.folders)}: {len(first.seeds)} and "
            f"{len(other.seeds)} folders. Each is one training, and they are compared in pairs, by their "
            "places. Give as many on each side: A1,A2,A3 B1,B2,B3."
        )


def _pair(first: Side, other: Side) -> list[_Paired]:
    """Return the tasks that both have, checked to be on the same items."""
    shared = [
        task
        for task in first.seeds[0].record.tasks
        if first.measured(task.name) and other.measured(task.name)
    ]
    if not shared:
        raise MismatchError(
            f"{','.join(first.folders)} and {','.join(other.folders)} have no measured task of the same name, "
            "so nothing can be compared. Evaluate all models on the same tasks."
        )
    found: list[_Paired] = []
    for task in shared:
        refuse_other_items([*first.measured(task.name), *other.measured(task.name)])
        firsts, seconds = first.of(task.name), other.of(task.name)
        gains = measure_difference(firsts, seconds)
        values = _mean_values(firsts), _mean_values(seconds)
        found.append(_Paired(task=task, firsts=firsts, seconds=seconds, values=values, gains=gains))
    return found


def _p_value(paired: _Paired) -> float:
    """Return the p-value of the headline."""
    first, second = paired.firsts[0], paired.seconds[0]
    (metric,) = (each for each in METRICS[type(first[0])] if each.name == paired.headline)
    if metric.is_yes_or_no and len(paired.firsts) == 1:
        return mcnemar(
            [bool(metric.numerator(item)) for item in first],
            [bool(metric.numerator(item)) for item in second],
        )
    return p_value(paired.headline_gain.estimate)


def _compared(paired: _Paired, over: Over, p: float, adjusted: float) -> TaskComparison:
    found = [_difference(*each) for each in zip(*paired.values, paired.gains, strict=True)]
    headline = next(each for each in found if each.difference.metric == paired.headline)
    return TaskComparison(
        task=paired.task.name,
        items=paired.task.items,
        over=over,
        p_value=p,
        adjusted_p_value=adjusted,
        is_significant=adjusted < 1 - LEVEL,
        differences=[headline, *(each for each in found if each is not headline)],
    )


def _mean_values(seeds: Sequence[Sequence[Item]]) -> list[float]:
    """Return each metric's mean over seeds."""
    by_seed = [[each.estimate.value for each in measure(items)] for items in seeds]
    return [_mean(values) for values in zip(*by_seed, strict=True)]


def _difference(first: float, second: float, gain: Measured) -> Difference:
    record = metric_record(gain)
    visible = smallest_visible(gain.estimate.parts) if record.standard_error else None
    return Difference(first=first, second=second, difference=record, smallest_visible=visible)


def _averages(
    paired: Sequence[_Paired], tasks: Sequence[TaskComparison]
) -> list[AverageComparison]:
    """Return the means over tasks, of accuracies and of bits per byte."""
    found: list[AverageComparison] = []
    for metric, names in averaged({each.task.name: each.headline for each in paired}).items():
        gain = average([each.headline_gain for each in paired if each.task.name in names], metric)
        headlines = [task.differences[0] for task in tasks if task.task in names]
        first = _mean([each.first for each in headlines])
        second = _mean([each.second for each in headlines])
        found.append(AverageComparison(tasks=names, difference=_difference(first, second, gain)))
    return found


def _named(side: Side, called: str) -> SideRecord:
    places = [each.record.model.place for each in side.seeds]
    return SideRecord(letter=called, folders=side.folders, places=places)


def _prompts(sides: Sequence[Side], named: Sequence[SideRecord]) -> list[PromptComparison]:
    """Return the prompts that every model was given, with all continuations."""
    said: dict[str, dict[str, list[str]]] = {}
    for side, name in zip(sides, named, strict=True):
        for item in (item for results in side.seeds for item in results.items):
            if isinstance(item, PromptItem):
                by_model = said.setdefault(item.prompt, {})
                by_model.setdefault(name.letter, []).append(item.continuation)
    of_all = [len(side.seeds) for side in sides]
    return [
        PromptComparison(prompt=prompt, continuations=found)
        for prompt, found in said.items()
        if [len(each) for each in found.values()] == of_all
    ]


def _notes(first: Side, other: Side) -> list[str]:
    notes: list[str] = []
    records = [each.record for each in (*first.seeds, *other.seeds)]
    for what, values in (
        ("context length", [each.context_length for each in records]),
        ("precision", [each.precision for each in records]),
        ("device", [each.device for each in records]),
        ("batch", [each.batch for each in records]),
    ):
        different = list(dict.fromkeys(map(str, values)))
        if len(different) > 1:
            notes.append(f"the {what} differs: {' and '.join(different)}")
    if len({each.model.tokenizer for each in records}) > 1:
        notes.append(
            "the tokenizers differ; bits per byte can still be compared, and so can accuracies"
        )
    names = [{task.name for task in each.tasks} for each in records]
    left_out = sorted(set.union(*names) - set.intersection(*names))
    return notes + [f"{name} was not measured on all of them, and is left out" for name in left_out]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
