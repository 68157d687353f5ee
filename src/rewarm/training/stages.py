"""The stages of a campaign in order, parents first. One that fails ends those behind it, and no others.

A loss that is not finite, and a broken gate that is to stop, say something of one stage alone. Whatever else
goes wrong (the disk, the data, a signal, a lost rank) would meet the next stage as well, and ends them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rewarm.errors import GateError, NumericsError, RewarmError
from rewarm.plan import StagePlan
from rewarm.training.gate import pass_gate
from rewarm.training.job import Job
from rewarm.training.loop import train_stage
from rewarm.training.reuse import reuse_stages
from rewarm.training.status import clock


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """A stage that failed. Its error itself would keep the model in memory."""

    stage: StagePlan
    kind: type[RewarmError]
    message: str

    def ends(self, stage: StagePlan) -> bool:
        """Return whether a stage cannot be begun because of it.

        A gate is broken at the end of a stage, which says nothing against what branches off earlier.
        """
        for before, after in pairwise(stage.lineage):
            if before.key == self.stage.key:
                return self.kind is not GateError or after.start_step == before.steps
        return False


def train_stages(job: Job) -> None:
    """Do what is left of every stage, but for those behind one that fails.

    Raises:
        NumericsError, GateError: of the first stage that failed, once all others are done; the message says
            what failed and what is finished all the same.
        RewarmError: whatever else ends the training.
    """
    if (runs := job.existing.reuse) is not None:
        job.ranks.first_alone(lambda: reuse_stages(job, runs))
    failures: list[_Failure] = []
    left: list[StagePlan] = []
    for stage in job.plan.stages:
        if any(failure.ends(stage) for failure in failures):
            left.append(stage)
            job.reporter.skip(stage.tokens)
            continue
        try:
            _do(job, stage)
        except (NumericsError, GateError) as error:
            failures.append(_Failure(stage=stage, kind=type(error), message=str(error)))
            if stage.key != job.plan.stages[-1].key:  # or else it is said at once
                job.reporter.say(f"{error}\nThe other arms go on.", style="yellow")
    if failures:
        raise failures[0].kind(_what_failed(job, failures, left))


def _do(job: Job, stage: StagePlan) -> None:
    """Train a stage if it is not finished, and hold it against the gate."""
    was_finished = job.ranks.gather(job.folder(stage).result.exists())[0]
    if was_finished:
        job.reporter.skip(stage.tokens)
    else:
        _train(job, stage)
    if job.plan.campaign.gate is not None:
        pass_gate(job, stage, has_just_ended=not was_finished)


def _train(job: Job, stage: StagePlan) -> None:
    """Train a stage to its end, and say how long it took."""
    try:
        with job.ranks.naming_the_lost():
            train_stage(job, stage)
    except NumericsError as error:
        job.reporter.skip(stage.tokens)
        raise NumericsError(f"{stage.folder}, {error}") from error
    job.reporter.say(
        f"{stage.folder}: {stage.tokens:,} tokens in {clock(job.reporter.stage_seconds)} of steps "
        f"({', '.join(job.plan.arms_of(stage))})"
    )


def _what_failed(job: Job, failures: Sequence[_Failure], left: Sequence[StagePlan]) -> str:
    """Say what failed, what could not be begun because of it, and what is finished all the same."""
    lines = [failure.message for failure in failures]
    if left:
        lines.append(f"Not begun because of it: {', '.join(stage.folder for stage in left)}.")
    hit = {stage.key for stage in (*(failure.stage for failure in failures), *left)}
    whole = [arm for arm, stages in job.plan.arms.items() if hit.isdisjoint(s.key for s in stages)]
    if whole:
        lines.append(f"Finished all the same: {', '.join(whole)}.")
    return "\n".join(lines)
