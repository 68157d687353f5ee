"""The stages that the gate looks at, each with the way that led to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import GateRecord, RunRecord, StageRecord, StageResult


@dataclass(frozen=True, kw_only=True)
class Gated:
    """A stage."""

    record: StageRecord
    """What it is."""
    result: StageResult | None
    """What came out of it; None while it is unfinished, or if its folder is gone."""
    is_from_scratch: bool
    """Whether it starts from random weights."""
    before: "Gated | None"
    """The stage that it starts from; None for the base model."""
    arms: tuple[str, ...]
    """The gated arms that it is a stage of."""
    ends_arms: bool
    """Whether it is the last stage of one of them."""

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return self.record.folder

    @property
    def label(self) -> str:
        """Its folder and its arms, for sentences."""
        return f"{self.folder} ({', '.join(self.arms)})" if self.arms else self.folder

    @property
    def line(self) -> "list[Gated]":
        """The stages from the base model to this one."""
        return [*(self.before.line if self.before else []), self]

    @property
    def starts(self) -> "list[Gated]":
        """The stages of `line` that start from a model which something can be lost from."""
        return [stage for stage in self.line if not stage.is_from_scratch]

    def best_before(self, dataset: str) -> float:
        """Return the least loss on a dataset with which it, or a stage on the way to it, began.

        Minus infinity where one of them has no such loss: what is not measured is not held.
        """
        losses = [s.result.before.get(dataset) for s in self.starts if s.result is not None]
        known = [loss for loss in losses if loss is not None]
        return min(known) if known and len(known) == len(self.starts) else float("-inf")


def gated_stages(
    run: RunFolder, plan: RunRecord, gate: GateRecord, arms: Sequence[str]
) -> list[Gated]:
    """Return the stages of some arms, each once, in the order of the plan.

    Raises:
        CheckpointError: a result is damaged.
    """
    found: dict[str, Gated] = {}
    for record in plan.stages:
        result = run.stage(record.folder).result
        found[record.folder] = Gated(
            record=record,
            result=read_record(result, StageResult) if result.exists() else None,
            is_from_scratch=record.folder in gate.from_scratch,
            before=found[record.parent] if record.parent is not None else None,
            arms=tuple(arm for arm in arms if record.folder in plan.arms[arm]),
            ends_arms=any(plan.arms[arm][-1] == record.folder for arm in arms),
        )
    return [stage for stage in found.values() if stage.arms]
