"""A campaign from beginning to end: lock, records, its stages, and how it ended.

The same call starts, resumes and finds finished: each stage knows from its folder what is left of it.
"""

import re
import subprocess
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from rewarm.data.datasets import PreparedData
from rewarm.engine.doctor import versions
from rewarm.engine.ranks import Ranks
from rewarm.engine.world import World, fingerprint
from rewarm.errors import MismatchError, RewarmError, StorageError
from rewarm.plan import Plan, StagePlan
from rewarm.plan.epochs import check_epochs
from rewarm.plan.record import run_record
from rewarm.runs.files import read_record, write_bytes, write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import locked, records_locked
from rewarm.runs.overlap import check_overlap
from rewarm.runs.records import ExitRecord, ResolvedRecord, RunRecord
from rewarm.training.gate import record_gate
from rewarm.training.hub_commits import check_commits, recorded_commits
from rewarm.training.job import ExistingWork, Job
from rewarm.training.journal import now
from rewarm.training.progress import Reporter
from rewarm.training.signals import stop_on_signals
from rewarm.training.stages import train_stages

_CAREFUL = ExistingWork()


def train_campaign(
    plan: Plan,
    run: RunFolder,
    data: PreparedData,
    *,
    world: World,
    console: Console,
    existing: ExistingWork = _CAREFUL,
    arms: Collection[str] | None = None,
) -> None:
    """Do what is left of a campaign, or of some arms of it; of several ranks all call this.

    One process works on a whole campaign, or several at once on arms, each on its own; stages that their arms
    share are trained by the first, and the others wait for it.

    Args:
        plan: what is to be done.
        run: where; made if it does not exist.
        data: the prepared tokens.
        world: the device.
        console: for progress and messages.
        existing: what is to be made of work that is there already.
        arms: the arms to carry out; all if None.

    Raises:
        DataError: more validation text is training text than the campaign allows, or that is not measured.
        LockedError: another process is at work in the folder.
        RankLostError: another rank did not answer.
        NumericsError: the loss of a stage was not finite; arms without that stage are finished all the same.
        GateError: a stage breaks a limit of the gate, whose policy is to stop there; likewise.
        MismatchError: the campaign was changed since, or the data was.
        CampaignError: a source would be read more often than its `max_epochs`; there is no such arm.
        RewarmError: whatever else ends the training; it is recorded in `exit.json` as well.
    """
    check_epochs(plan, data.num_windows)
    ranks, stages = world.ranks, plan.stages_of(arms)
    with ExitStack() as held:
        with ExitStack() as beginning:

            def begin() -> None:
                # First, so that nobody else writes its number into the lock before all ranks have read it.
                beginning.enter_context(records_locked(run))
                held.enter_context(locked(run, shared=arms is not None))
                _begin(plan, run, data, world, allow_changes=existing.allow_changes)

            ranks.first_alone(begin)
            _check_shared(run, ranks)
        reporter = Reporter(console, sum(stage.tokens for stage in stages))
        try:
            with stop_on_signals() as stop:
                train_stages(
                    Job(
                        plan=plan,
                        run=run,
                        data=data,
                        world=world,
                        reporter=reporter,
                        stop=stop,
                        existing=existing,
                        arms=arms,
                    )
                )
        except RewarmError as error:
            if ranks.is_first:
                _record_exit(run, error.exit_code, str(error))
            raise
        if ranks.is_first:
            _record_exit(run, 0, finished_text(plan, run, arms))


def _begin(
    plan: Plan, run: RunFolder, data: PreparedData, world: World, *, allow_changes: bool
) -> None:
    """Write down what is to be done."""
    check_overlap(data.overlap, plan.campaign.evaluation.max_overlap)
    _check_changes(plan, run, allow_changes=allow_changes)
    check_commits(plan.loaded, run)
    run.exit.unlink(missing_ok=True)
    write_bytes(run.campaign_file, plan.loaded.text.encode())
    write_record(run.plan, run_record(plan))
    write_record(run.resolved, _resolved(plan, run, data, world))
    record_gate(plan, run)
    if data.overlap is None:
        run.overlap.unlink(missing_ok=True)  # what is there was measured on other tokens
    else:
        write_record(run.overlap, data.overlap)


def _check_shared(run: RunFolder, ranks: Ranks) -> None:
    """Refuse a run folder that not all ranks see; they could not find each other's checkpoints."""
    # The lock has the number of the first rank's process, which an older folder elsewhere has not.
    seen = ranks.gather(run.lock.read_text() if run.lock.exists() else "nothing")
    apart = [f"rank {rank}" for rank, word in enumerate(seen) if word != seen[0]]
    if apart:
        raise StorageError(
            f"{run.path}: {', '.join(apart)} cannot see the folder that the first rank writes to. Use --runs "
            "with a folder on a disk that all machines share."
        )


def is_finished(plan: Plan, run: RunFolder, arms: Collection[str] | None = None) -> bool:
    """Return whether every stage of some arms, or of all if None, has its result.

    Raises:
        CampaignError: there is no such arm.
    """
    return not _unfinished(run, plan.stages_of(arms))


def finished_text(plan: Plan, run: RunFolder, arms: Collection[str] | None) -> str:
    """Say that what was asked for is finished, and what is left of the other arms."""
    if arms is None:
        return "finished"
    left = _unfinished(run, plan.stages)
    rest = f"; {len(left)} of {len(plan.stages)} stages, of other arms, are not" if left else ""
    return f"finished: {', '.join(arms)}{rest}"


def _unfinished(run: RunFolder, stages: Sequence[StagePlan]) -> list[StagePlan]:
    return [stage for stage in stages if not run.stage(stage.folder).result.exists()]


def _check_changes(plan: Plan, run: RunFolder, *, allow_changes: bool) -> None:
    """Refuse to leave begun work aside because the campaign was changed, unless told to."""
    if not run.plan.exists():
        return
    before = read_record(run.plan, RunRecord)
    wanted = {stage.folder for stage in plan.stages}
    begun = [s.folder for s in before.stages if run.stage(s.folder).record.exists()]
    left = [folder for folder in begun if folder not in wanted]
    if not left or allow_changes:
        return
    old = read_record(run.resolved, ResolvedRecord).campaign
    new = plan.campaign.model_dump(mode="json", by_alias=True)
    names = [stage["name"] for stage in new["stage"]]
    lines = [
        re.sub(r"^stage\.(\d+)", lambda found: f"stages.{names[int(found[1])]}", line)
        for line in differences(old, new)
    ]
    changes = "\n".join(f"  {line}" for line in lines) or "  (only in the arms)"
    raise MismatchError(
        f"{run.path}: the campaign was changed since this run was begun:\n{changes}\n"
        f"so {', '.join(left)} would be left aside and begun anew under another key. Give the campaign "
        "another name, take the change back, or say --allow-changes (nothing is deleted)."
    )


def differences(old: object, new: object, path: str = "") -> list[str]:
    """Return the values in which two nested tables differ, one line each.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b: 1 → 3']
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [
            line
            for key in keys
            for line in differences(
                old.get(key), new.get(key), f"{path}.{key}" if path else str(key)
            )
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for number, (a, b) in enumerate(zip(old, new, strict=True))
            for line in differences(a, b, f"{path}.{number}")
        ]
    return [] if old == new else [f"{path}: {old} → {new}"]


def _resolved(plan: Plan, run: RunFolder, data: PreparedData, world: World) -> ResolvedRecord:
    loaded = plan.loaded
    return ResolvedRecord(
        campaign=plan.campaign.model_dump(mode="json", by_alias=True),
        origins=dict(loaded.origins),
        arms={
            arm: {key: str(value) for key, value in changes.items()}
            for arm, changes in loaded.overrides.items()
        },
        settings=list(loaded.settings),
        root=str(loaded.root.resolve()),
        versions=versions(),
        commit=_commit(loaded.root),
        data=data.fingerprints(),
        tokenizer=data.tokenizer.fingerprint,
        machine={
            name: str(value)
            for name, value in fingerprint(world, plan.campaign.training.precision).items()
        },
        hub_commits=recorded_commits(loaded, run),
    )


def _commit(folder: Path) -> str | None:
    """Return the git commit of a folder; None where there is no git or no repository."""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None


def _record_exit(run: RunFolder, code: int, reason: str) -> None:
    """Write how the process ended; on a full disk the exit code itself must do."""
    try:
        with records_locked(run):
            write_record(run.exit, ExitRecord(code=code, reason=reason, at=now()))
    except StorageError as error:
        if code == 0:
            raise error
