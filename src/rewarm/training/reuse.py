"""Stages that another run has finished already: taken over instead of trained again.

A stage is known by its key, the hash of what decides its weights, so that of another run with the same key
is the same stage. Taken is a copy of its records and links to its checkpoints (copies, where the other run
is on another disk); the other run is only read.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rewarm.engine import checkpoint
from rewarm.engine.retention import saved_steps
from rewarm.plan import StagePlan
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder, StageFolder
from rewarm.runs.records import ResolvedRecord, StageRecord, StageResult
from rewarm.storage import TEMPORARY_SUFFIX, storage_errors, sync_folder
from rewarm.training.job import Job

_MEASURING = ("every", "sequences", "final_steps", "final_every", "prompts", "prompt_tokens")
"""Settings of `[evaluation]` that the numbers of a stage depend on."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A finished stage of another run."""

    run: RunFolder
    """The other run."""
    folder: StageFolder
    """The stage there."""


def reuse_stage(job: Job, stage: StagePlan, runs: Path) -> None:
    """Take a stage over if it is not begun here and finished in a run under `runs`.

    What cannot be taken is said, with the reason, and trained as usual.

    Args:
        job: the campaign at work; one rank calls this.
        stage: the stage; nobody else works on it here.
        runs: the folder of the other runs' folders.

    Raises:
        CheckpointError: a record or a checkpoint of the other run is damaged.
        StorageError: the disk is full.
    """
    if job.folder(stage).path.exists():
        return
    for found in _finished(job, stage, runs):
        reason = _hindrance(job, stage, found)
        if reason is None:
            _take(found.folder.path, job.folder(stage).path)
            job.journal(stage).event(stage.steps, "taken over", f"finished in {found.run.path}")
            job.reporter.say(f"{stage.folder}: taken from {found.run.path}")
            return
        job.reporter.say(f"{stage.folder}: not taken from {found.run.path}: {reason}")


def _finished(job: Job, stage: StagePlan, runs: Path) -> Iterator[Found]:
    """Yield the same stage of other runs, by the name of the run."""
    for path in sorted(runs.glob(f"*/stages/{stage.folder}")):
        found = Found(run=RunFolder(path.parent.parent), folder=StageFolder(path))
        if found.run.path.resolve() != job.run.path.resolve() and found.folder.result.exists():
            yield found


def _hindrance(job: Job, stage: StagePlan, found: Found) -> str | None:
    """Return why a stage of another run is not this one, or not enough of it; None if nothing is in the way."""
    if read_record(found.folder.record, StageRecord).key != stage.key:
        return "another stage whose key begins alike"
    result = read_record(found.folder.result, StageResult)
    missing = [name for name in job.plan.datasets if name not in result.final]
    if missing:
        return f"it was not validated on {', '.join(missing)}"
    measured = read_record(found.run.resolved, ResolvedRecord).campaign["evaluation"]
    wanted = job.plan.campaign.evaluation.model_dump(mode="json")
    other = [name for name in _MEASURING if measured.get(name) != wanted[name]]
    if other:
        return f"it was measured with another evaluation.{', evaluation.'.join(other)}"
    gone = job.plan.lasting_steps(stage) - set(saved_steps(found.folder.checkpoints))
    if gone:
        return f"it has no checkpoint at step {', '.join(f'{step:,}' for step in sorted(gone))}"
    return _other_tokens(job, found.folder.checkpoint(stage.steps))


def _other_tokens(job: Job, folder: Path) -> str | None:
    """Return what of the tokens differs, if something does; the checkpoint is verified on the way."""
    state = checkpoint.load(folder).state
    if state["tokenizer"] != job.data.tokenizer.fingerprint:
        return "it was trained with another tokenizer"
    now = job.data_fingerprints
    other = [s for s in state["ledger"] if s in now and state["data"].get(s) != now[s]]
    return f"the tokens of {', '.join(other)} are others" if other else None


def _take(source: Path, target: Path) -> None:
    """Copy a stage's records and link its checkpoints; the target appears whole or not at all."""
    temporary = target.with_name(target.name + TEMPORARY_SUFFIX)
    shutil.rmtree(temporary, ignore_errors=True)
    with storage_errors(target, 0):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Records are appended to, so they are copies; a checkpoint is never written again.
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns("checkpoints"))
        shutil.copytree(
            source / "checkpoints", temporary / "checkpoints", copy_function=_link_or_copy
        )
        temporary.rename(target)
    sync_folder(target.parent)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copy2(source, target)
