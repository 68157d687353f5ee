"""The sides of a comparison: one evaluation, or those of several seeds of one recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import ascii_uppercase

from rewarm.errors import CampaignError, MismatchError
from rewarm.evaluation.items import Item
from rewarm.evaluation.results import Results, TaskRecord, read_results


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is compared: a model, or a recipe that was trained with several seeds."""

    seeds: tuple[Results, ...]
    """An evaluation for each seed; one if it is but a model."""

    @property
    def folders(self) -> list[str]:
        """Where the evaluations are."""
        return [str(each.folder) for each in self.seeds]

    def measured(self, task: str) -> list[TaskRecord]:
        """Return a task's records, one for each seed; none if a seed was not measured on it."""
        found = [
            record
            for each in self.seeds
            for record in each.record.tasks
            if record.name == task and record.metrics
        ]
        return found if len(found) == len(self.seeds) else []

    def of(self, task: str) -> list[list[Item]]:
        """Return the items of a task, for each seed."""
        return [each.of(task) for each in self.seeds]


def read_side(text: str) -> Side:
    """Read what `rewarm compare` was given.

    Args:
        text: a folder of results, or several joined by commas. A folder that is there is taken as it is, also
            if there is a comma in its name.

    Raises:
        CampaignError: a folder is given twice, or is missing between two commas.
        CheckpointError: a folder has no results, or damaged ones.
        MismatchError: two of them are of the same weights.
    """
    names = [text] if Path(text).exists() else text.split(",")
    if not all(names):
        raise CampaignError(
            f"{text!r}: a folder is missing before or behind a comma. Join folders of results like this: "
            "seed-1,seed-2,seed-3"
        )
    folders = [Path(name) for name in names]
    _refuse_twice(folders)
    side = Side(seeds=tuple(read_results(folder) for folder in folders))
    _refuse_same_weights(side.seeds)
    return side


def refuse_other_items(records: Sequence[TaskRecord]) -> None:
    """Refuse records of a task that were measured on different items.

    Raises:
        MismatchError: they were.
    """
    for one, other in pairwise(records):
        for what, a, b in (
            ("kind", one.kind, other.kind),
            ("data (SHA-256)", one.data_sha256, other.data_sha256),
            ("number of items", one.items, other.items),
        ):
            if a != b:
                raise MismatchError(
                    f"{one.name}: two evaluations differ in its {what} ({a} and {b}), so its items cannot be "
                    "paired. Evaluate all models on the same file with the same --limit."
                )


def letter(number: int) -> str:
    """Return what a model is called in tables, from 0: A to Z, then AA, AB and so on.

    >>> letter(0), letter(27)
    ('A', 'AB')
    """
    more, last = divmod(number, len(ascii_uppercase))
    return (letter(more - 1) if more else "") + ascii_uppercase[last]


def _refuse_twice(folders: Sequence[Path]) -> None:
    resolved = [folder.resolve() for folder in folders]
    for folder, where in zip(folders, resolved, strict=True):
        if resolved.count(where) > 1:
            raise CampaignError(
                f"{folder} is given twice on one side, so one training would count as two. Give each seed once."
            )


def _refuse_same_weights(seeds: Sequence[Results]) -> None:
    """Refuse the same weights as two seeds: their difference would say that seeds make none."""
    seen: dict[tuple[str, ...], Path] = {}
    for each in seeds:
        weights = tuple(sorted(each.record.model.weights.values()))
        if weights in seen:
            raise MismatchError(
                f"{seen[weights]} and {each.folder} are evaluations of the same weights, so one training would "
                "count as two seeds. Give one of them, and evaluate a training with another seed."
            )
        seen[weights] = each.folder
