"""The stages of a campaign in order, parents first. One that fails ends those behind it, and no others.

A loss that is not finite, and a broken gate that is to stop, say something of one stage alone. Whatever else
goes wrong (the disk, the data, a signal, a lost rank) would meet the next stage as well, and ends them all.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import pairwise

from rewarm.errors import GateError, NumericsError, RewarmError
from rewarm.plan import StagePlan
from rewarm.runs.lock import stage_locked
from rewarm.training.earlier import branch_earlier
from rewarm.training.gate import pass_gate
from rewarm.training.job import Job
from rewarm.training.loop import train_stage
from rewarm.training.reuse import reuse_stage
from rewarm.training.status import clock

_WAIT_SECONDS = 0.5
"""Between two looks at a stage that another process trains."""


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
    failures: list[_Failure] = []
    left: list[StagePlan] = []
    for stage in job.stages:
        if any(failure.ends(stage) for failure in failures):
            left.append(stage)
            job.reporter.skip(stage.tokens)
            continue
        try:
            _do(job, stage)
        except (NumericsError, GateError) as error:
            failures.append(_Failure(stage=stage, kind=type(error), message=str(error)))
            if stage.key != job.stages[-1].key:  # or else it is said at once
                job.reporter.say(f"{error}\nThe other arms go on.", style="yellow")
    if failures:
        raise failures[0].kind(_what_failed(job, failures, left))


def _do(job: Job, stage: StagePlan) -> None:
    """Train a stage unless it is finished, here or in a run to take it from, and hold it against the gate.

    Raises:
        NumericsError: a loss that is not finite.
        GateError: it breaks the gate, and so does what is annealed instead of it, if anything is.
    """
    was_finished = _is_finished(job, stage)
    if not was_finished:
        with ExitStack() as held:
            job.ranks.first_alone(lambda: held.enter_context(_locked(job, stage)))
            if (runs := job.existing.reuse) is not None:
                job.ranks.first_alone(lambda: reuse_stage(job, stage, runs))
            was_finished = _is_finished(job, stage)  # by whoever held it before, or elsewhere
            if not was_finished:
                _train(job, stage)
    if was_finished:
        job.reporter.skip(stage.tokens)
    if job.plan.campaign.gate is not None:
        try:
            pass_gate(job, stage, has_just_ended=not was_finished)
        except GateError as broken:
            _do(*branch_earlier(job, stage, broken))


def _is_finished(job: Job, stage: StagePlan) -> bool:
    return bool(job.ranks.gather(job.folder(stage).result.exists())[0])


def _locked(job: Job, stage: StagePlan) -> AbstractContextManager[None]:
    """Hold a stage, behind the process that trains it for arms of its own."""
    said: set[str] = set()

    def wait(holder: str) -> None:
        if holder not in said:
            said.add(holder)
            job.reporter.say(f"{stage.folder}: waiting, as {holder} trains it")
        if job.stop.signal is not None:
            raise job.stop.interruption(f"{stage.folder} was waited for")
        time.sleep(_WAIT_SECONDS)

    return stage_locked(job.run, stage.folder, wait)


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
    asked = job.plan.arms if job.arms is None else job.arms
    hit = {stage.key for stage in (*(failure.stage for failure in failures), *left)}
    whole = [arm for arm in asked if hit.isdisjoint(s.key for s in job.plan.arms[arm])]
    if whole:
        lines.append(f"Finished all the same: {', '.join(whole)}.")
    return "\n".join(lines)
