"""What every stage was planned to read, against what it really read.

The counts come from the batches themselves, so that a wrong share cannot hide behind the plan.
"""

from dataclasses import dataclass

import numpy as np

from rewarm.report.loading import Run, StageRun
from rewarm.runs.records import SourceCount
from rewarm.runs.steps import steps_text

_BATCH_TOLERANCE_SEQUENCES = 1.0
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class SourceAudit:
    """One source of one stage; counts are sequences."""

    source: str
    """A dataset, or a domain of one."""
    planned_new: int
    """To be read as new data in the whole stage."""
    read_new: int
    """Read as new data."""
    planned_replayed: int
    """To be replayed in the whole stage."""
    read_replayed: int
    """Replayed."""
    left_out: int
    """Of the sequences planned, new and replayed, those in batches left out, as far as the result says."""
    planned_share: float
    """Share of this source, new and replayed, in what the stage was to read."""
    read_share: float
    """Share of this source, new and replayed, in what the stage has read."""
    differs: bool
    """Whether a finished stage read anything else than planned, the batches left out aside."""


@dataclass(frozen=True, kw_only=True)
class StageAudit:
    """One stage."""

    folder: str
    """Its folder."""
    sources: tuple[SourceAudit, ...]
    """Its sources, in the order of the plan."""
    is_finished: bool
    """Whether the stage is finished; if not, it has read less than planned."""
    planned_replay_share: float
    """Share of the sequences that were to be replayed."""
    read_replay_share: float | None
    """Share of the sequences that were replayed; None if nothing is read yet."""
    worst_batch_sequences: float | None
    """Largest distance of a batch's replayed sequences from its share; None without metrics."""
    left_out: str
    """Which batches were left out, in words; empty if none was."""
    problems: tuple[str, ...]
    """What is not as planned, in words; empty if all is well. Batches left out are no problem of the data."""


def replay_audit(run: Run) -> list[StageAudit]:
    """Audit every stage of a run that has read anything, in the order of the plan.

    With r(b) the sequences replayed in batch b, B the batch and p the replay share, the largest distance is
    max over b of |r(b) - p·B|. The replay promises at most one sequence.

    Source: spec section 3; the paper blends in expectation only (A.1).
    """
    return [_audit(stage) for stage in run.stages.values() if stage.steps_done]


def _audit(stage: StageRun) -> StageAudit:
    """Audit one stage."""
    new, replayed = _read(stage)
    planned = stage.record.planned
    names = [*planned, *sorted((new.keys() | replayed.keys()) - planned.keys())]
    planned_total = sum(count.new + count.replayed for count in planned.values())
    read_total = sum(new.values()) + sum(replayed.values())
    finished = stage.result is not None
    unread = stage.result.unread if stage.result is not None else {}
    sources: list[SourceAudit] = []
    for name in names:
        to_read, without = _pair(planned.get(name)), _pair(unread.get(name))
        has_read = (new.get(name, 0), replayed.get(name, 0))
        sources.append(
            SourceAudit(
                source=name,
                planned_new=to_read[0],
                read_new=has_read[0],
                planned_replayed=to_read[1],
                read_replayed=has_read[1],
                left_out=sum(without),
                planned_share=sum(to_read) / planned_total if planned_total else 0.0,
                read_share=sum(has_read) / read_total if read_total else 0.0,
                differs=_differs(to_read, without, has_read) if finished else name not in planned,
            )
        )
    worst = _worst_batch(stage)
    return StageAudit(
        folder=stage.record.folder,
        sources=tuple(sources),
        is_finished=finished,
        planned_replay_share=stage.record.replay_share,
        read_replay_share=sum(replayed.values()) / read_total if read_total else None,
        worst_batch_sequences=worst,
        left_out=_left_out(stage),
        problems=tuple(_problems(stage, sources, worst)),
    )


def _pair(count: SourceCount | None) -> tuple[int, int]:
    """Return new and replayed sequences; none of a source that is not there."""
    return (count.new, count.replayed) if count is not None else (0, 0)


def _differs(planned: tuple[int, int], unread: tuple[int, int], read: tuple[int, int]) -> bool:
    """Say whether anything else was read than planned, the batches left out aside."""
    return any(p - u != r for p, u, r in zip(planned, unread, read, strict=True))


def _left_out(stage: StageRun) -> str:
    """Say which batches were left out."""
    if not stage.left_out:
        return ""
    sequences = len(stage.left_out) * stage.record.batch_sequences
    return (
        f"{steps_text(stage.left_out)} left out, since a loss or gradient was not finite, so that "
        f"{sequences:,} sequences of the plan were not read"
    )


def _read(stage: StageRun) -> tuple[dict[str, int], dict[str, int]]:
    """Return the sequences read, new and replayed: of the result if there is one, else so far."""
    if stage.result is not None:
        counts = stage.result.read.items()
        return {s: c.new for s, c in counts}, {s: c.replayed for s, c in counts}
    return _counted(stage)


def _counted(stage: StageRun) -> tuple[dict[str, int], dict[str, int]]:
    """Return the sequences in the metrics, new and replayed."""
    steps = stage.steps
    return (
        {source: int(counts.sum()) for source, counts in steps.new.items()},
        {source: int(counts.sum()) for source, counts in steps.replayed.items()},
    )


def _worst_batch(stage: StageRun) -> float | None:
    """Return the largest distance of a batch from the replay share, in sequences."""
    if not len(stage.steps.step):
        return None
    replayed = sum(stage.steps.replayed.values(), np.zeros(len(stage.steps.step), dtype=np.int64))
    target_sequences = stage.record.replay_share * stage.record.batch_sequences
    return float(np.abs(replayed - target_sequences).max())


def _problems(stage: StageRun, sources: list[SourceAudit], worst: float | None) -> list[str]:
    """Say in words what is not as planned."""
    problems = [
        f"{source.source}: planned {source.planned_new:,} new and {source.planned_replayed:,} replayed "
        f"sequences, read {source.read_new:,} and {source.read_replayed:,}"
        + (f", with {source.left_out:,} in batches left out" if source.left_out else "")
        for source in sources
        if source.differs
    ]
    if worst is not None and worst > _BATCH_TOLERANCE_SEQUENCES + _ROUNDING:
        problems.append(f"a batch is {worst:.2f} sequences off its replay share, more than one")
    batches = sum(
        [*stage.steps.new.values(), *stage.steps.replayed.values()],
        np.zeros(len(stage.steps.step), dtype=np.int64),
    )
    wrong = int((batches != stage.record.batch_sequences).sum())
    if wrong:
        problems.append(f"{wrong:,} batches do not hold {stage.record.batch_sequences:,} sequences")
    if stage.result is not None and not _agree(stage):
        problems.append("the metrics do not add up to the counts in the result")
    both = np.isin(stage.steps.step, stage.left_out).sum()
    if both:
        problems.append(f"{both:,} steps are in the metrics and among those left out")
    return problems


def _agree(stage: StageRun) -> bool:
    """Say whether the metrics of a finished stage add up to the counts in its result."""
    counted, read = _counted(stage), _read(stage)
    return all(
        {s: n for s, n in a.items() if n} == {s: n for s, n in b.items() if n}
        for a, b in zip(counted, read, strict=True)
    )
