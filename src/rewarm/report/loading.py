"""A run, read back from its folder.

A run may be unfinished, or at work: a stage without a result holds what has been written so far.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from rewarm.errors import CampaignError, CheckpointError, MismatchError
from rewarm.evaluation.gate import Judgement, judge
from rewarm.evaluation.results import Results, read_results
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder, StageFolder
from rewarm.runs.records import (
    EvalRecord,
    EventRecord,
    ExitRecord,
    OverlapRecord,
    ResolvedRecord,
    RunRecord,
    SampleRecord,
    StageRecord,
    StageResult,
    StepRecord,
    ThroughputRecord,
)

_R = TypeVar("_R", ResolvedRecord, ExitRecord, OverlapRecord, StageRecord, StageResult)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The optimizer steps of a stage, one array for each column of `StepRecord`."""

    step: NDArray[np.int64]
    """Step within the stage, from 1."""
    tokens: NDArray[np.int64]
    """Tokens trained on in the stage so far; those of steps left out are not."""
    lr: NDArray[np.float64]
    """The learning rate used."""
    loss: NDArray[np.float64]
    """Mean training loss of the batch, nats per token."""
    gradient_norm: NDArray[np.float64]
    """Global norm of the gradient before clipping."""
    new: dict[str, NDArray[np.int64]]
    """Sequences of each batch read as new data, by source."""
    replayed: dict[str, NDArray[np.int64]]
    """Sequences of each batch that were replayed, by source."""


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One stage: what it was to do, and what it has done."""

    record: StageRecord
    """What the stage is."""
    result: StageResult | None
    """What came out of it; None while it is unfinished."""
    steps: Steps
    """Every optimizer step but those left out."""
    evals: tuple[EvalRecord, ...]
    """Every validation of every dataset."""
    throughput: tuple[ThroughputRecord, ...]
    """Its speed."""
    events: tuple[EventRecord, ...]
    """What happened to it."""
    samples: tuple[SampleRecord, ...]
    """Prompts, continued by the finished stage."""

    @property
    def tokens_per_step(self) -> int:
        """Tokens in one batch."""
        return self.record.batch_sequences * self.record.sequence_length

    @property
    def steps_done(self) -> int:
        """Optimizer steps done so far."""
        if self.result is not None:
            return self.record.steps
        return int(self.steps.step[-1]) if len(self.steps.step) else 0

    @cached_property
    def left_out(self) -> tuple[int, ...]:
        """Steps whose batches were not trained on, rising; of an unfinished stage, up to the last step trained.

        An event is no proof of it: a step that is done again after a resume may come out well.
        """
        if self.result is not None:
            return tuple(self.result.left_out)
        trained = set(self.steps.step.tolist())
        return tuple(step for step in range(1, self.steps_done + 1) if step not in trained)

    def trained_steps(self, steps: int) -> int:
        """Return how many of the first steps were trained on."""
        return steps - bisect_right(self.left_out, steps)

    @property
    def state(self) -> Literal["finished", "unfinished", "not started"]:
        """How far the stage is."""
        if self.result is not None:
            return "finished"
        begun = self.steps_done > 0 or self.evals or self.events
        return "unfinished" if begun else "not started"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder, read whole."""

    name: str
    """Name of the run folder."""
    record: RunRecord
    """The plan of the run."""
    resolved: ResolvedRecord | None
    """Every value of the campaign and its provenance; None if the folder does not have it."""
    exit: ExitRecord | None
    """How the last process ended; None while one works, or after a crash."""
    overlap: OverlapRecord | None = None
    """How much of the validation text is training text; None if it was not measured."""
    evaluations: tuple[Results, ...] = ()
    """What `rewarm eval` wrote into the run's own folder."""
    gate: Judgement | None = None
    """What the run has lost against what its campaign allows; None if it allows everything."""
    stages: dict[str, StageRun]
    """Every stage by the name of its folder; a parent comes before its children."""


def read_run(path: Path) -> Run:
    """Read a run folder.

    Args:
        path: `runs/<run>`.

    Raises:
        CampaignError: the folder is not that of a run.
        CheckpointError: a record is damaged or missing, or the plan contradicts itself.
        MismatchError: a stage's folder holds a stage other than the plan's.
    """
    folder = RunFolder(path)
    if not folder.plan.exists():
        raise CampaignError(
            f"{path}: not a run folder, for it has no {folder.plan.name}. A report is made from "
            "what a run wrote. Give the folder of a run, such as runs/<name>; `rewarm train` makes it."
        )
    record = read_record(folder.plan, RunRecord)
    _check_plan(folder.plan, record)
    return Run(
        name=path.resolve().name,
        record=record,
        resolved=_read_if_there(folder.resolved, ResolvedRecord),
        exit=_read_if_there(folder.exit, ExitRecord),
        overlap=_read_if_there(folder.overlap, OverlapRecord),
        evaluations=tuple(
            read_results(file.parent) for file in sorted(folder.evaluations.glob("*/results.json"))
        ),
        gate=judge(folder),
        stages={
            stage.folder: _read_stage(folder.stage(stage.folder), stage) for stage in record.stages
        },
    )


def _check_plan(path: Path, record: RunRecord) -> None:
    """Check what everything else relies on: known stages, parents before children, no empty arm."""
    known: set[str] = set()
    for stage in record.stages:
        if stage.parent is not None and stage.parent not in known:
            raise CheckpointError(
                f"{path}: stage {stage.folder!r} starts from {stage.parent!r}, which is not a stage "
                "before it. The file is damaged; `rewarm train` with the same campaign writes it anew."
            )
        known.add(stage.folder)
    for arm, folders in record.arms.items():
        unknown = [folder for folder in folders if folder not in known]
        if unknown or not folders:
            what = f"has unknown stages {unknown}" if unknown else "has no stages"
            raise CheckpointError(
                f"{path}: arm {arm!r} {what}. The file is damaged; `rewarm train` with the same "
                "campaign writes it anew."
            )


def _read_stage(folder: StageFolder, planned: StageRecord) -> StageRun:
    """Read one stage; a stage that has not started has its planned record alone."""
    record = _read_if_there(folder.record, StageRecord) or planned
    if (record.folder, record.key) != (planned.folder, planned.key):
        raise MismatchError(
            f"{folder.record}: describes stage {record.folder!r} (key {record.key}), but the plan has "
            f"{planned.folder!r} (key {planned.key}) in this place. Numbers would be put down to the "
            "wrong stage. Move the folder away, or restore the one that belongs here."
        )
    return StageRun(
        record=record,
        result=_read_if_there(folder.result, StageResult),
        steps=_columns(read_records(folder.metrics, StepRecord)),
        evals=tuple(read_records(folder.evals, EvalRecord)),
        throughput=tuple(read_records(folder.throughput, ThroughputRecord)),
        events=tuple(read_records(folder.events, EventRecord)),
        samples=tuple(read_records(folder.samples, SampleRecord)),
    )


def _read_if_there(path: Path, kind: type[_R]) -> _R | None:
    """Read a record that may not have been written yet."""
    return read_record(path, kind) if path.exists() else None


def _columns(records: Iterable[StepRecord]) -> Steps:
    """Turn records into arrays; a source that a batch did not read counts 0 there."""
    rows = [(r.step, r.tokens, r.lr, r.loss, r.gradient_norm, r.new, r.replayed) for r in records]
    step, tokens, lr, loss, norm, new, replayed = zip(*rows, strict=True) if rows else ((),) * 7
    return Steps(
        step=np.array(step, dtype=np.int64),
        tokens=np.array(tokens, dtype=np.int64),
        lr=np.array(lr, dtype=np.float64),
        loss=np.array(loss, dtype=np.float64),
        gradient_norm=np.array(norm, dtype=np.float64),
        new=_counts(new),
        replayed=_counts(replayed),
    )


def _counts(batches: tuple[dict[str, int], ...]) -> dict[str, NDArray[np.int64]]:
    """Turn one dictionary for each batch into one array for each source."""
    sources = sorted({source for batch in batches for source in batch})
    return {s: np.array([batch.get(s, 0) for batch in batches], dtype=np.int64) for s in sources}
