"""What a comparison comes to: what `rewarm compare --json` prints."""

from typing import Literal

from rewarm.evaluation.results import MetricRecord
from rewarm.runs.records import Record

Over = Literal["items", "items and seeds"]
"""What a verdict speaks of: these checkpoints on other items, or also other trainings."""


class SideRecord(Record):
    """A side of the comparison."""

    letter: str
    """What it is called: A is the reference."""
    folders: list[str]
    """Its evaluations, one for each seed."""
    places: list[str]
    """Where the models in them were read from."""


class Difference(Record):
    """A metric of both sides."""

    first: float
    """Of the reference, the mean over seeds."""
    second: float
    """Of the other."""
    difference: MetricRecord
    """Second minus first, paired by item and by seed."""
    smallest_visible: float | None
    """The true difference that such a comparison finds four times in five; None if no item differs, or
    one alone is there, which says nothing of that."""


class TaskComparison(Record):
    """A task of both sides."""

    task: str
    """Its name."""
    items: int
    """How many both have."""
    over: Over
    """What the p-values speak of."""
    p_value: float
    """Of no difference in the headline, by this task alone."""
    adjusted_p_value: float
    """The same over all tasks of all models (Holm)."""
    is_significant: bool
    """Whether the adjusted one is below 5 %; of what, `over` says."""
    differences: list[Difference]
    """The headline first."""


class AverageComparison(Record):
    """The plain mean of the headlines of several tasks. It has an interval and no verdict: it is a summary."""

    tasks: list[str]
    """Of which tasks."""
    difference: Difference
    """The mean of both sides; its `metric` is `accuracy` or `bits_per_byte`."""


class ModelComparison(Record):
    """One side against the reference."""

    second: SideRecord
    """The other side."""
    tasks: list[TaskComparison]
    """Those that both have, in the order of the reference."""
    averages: list[AverageComparison]
    """Over them."""
    notes: list[str]
    """What else differs between the evaluations, and which tasks were left out."""


class PromptComparison(Record):
    """How the models go on from a prompt."""

    prompt: str
    """The prompt."""
    continuations: dict[str, list[str]]
    """By letter, one for each seed."""


class Comparison(Record):
    """All that was compared."""

    first: SideRecord
    """The reference."""
    over: Over
    """As in each task."""
    models: list[ModelComparison]
    """The others, in the order given."""
    prompts: list[PromptComparison]
    """The prompts that all have been given."""
