"""Annealing after the fact: which checkpoint to branch off from, and the campaign with the branch in it."""

from pathlib import Path

from pydantic import ValidationError

from rewarm.campaign import LoadedCampaign, load_campaign
from rewarm.campaign.annealing import Annealing, with_annealings
from rewarm.engine.retention import saved_steps
from rewarm.errors import CampaignError, CheckpointError
from rewarm.plan import StagePlan, make_plan
from rewarm.runs.files import append_record, read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import records_locked
from rewarm.runs.records import ResolvedRecord
from rewarm.training.hub_commits import with_recorded_commits
from rewarm.training.selection import find_stage, length_of


def load_run(run: RunFolder) -> LoadedCampaign:
    """Return the campaign of a run as it was last carried out, annealed branches included.

    Raises:
        CampaignError: the folder is not a run.
    """
    return with_recorded_annealings(_load_without_annealings(run), run)


def _load_without_annealings(run: RunFolder) -> LoadedCampaign:
    if not run.resolved.exists():
        raise CampaignError(f"{run.path}: is not a run folder (resolved.json is missing)")
    resolved = read_record(run.resolved, ResolvedRecord)
    loaded = load_campaign(run.campaign_file, resolved.settings, root=Path(resolved.root))
    return with_recorded_commits(loaded, run)


def with_recorded_annealings(loaded: LoadedCampaign, run: RunFolder) -> LoadedCampaign:
    """Add the branches that a run was asked for earlier."""
    return with_annealings(loaded, recorded(run))


def recorded(run: RunFolder) -> list[Annealing]:
    """Return the branches, each once: of the ranks that torchrun starts every one may have recorded it."""
    return list(dict.fromkeys(read_records(run.annealings, Annealing)))


def find_annealing(
    run: RunFolder,
    *,
    arm: str | None,
    stage: str,
    at: str,
    budget: str,
    min_lr: float | None,
    shape: str,
) -> Annealing:
    """Turn what a user asks for into a branch, checking that its checkpoint is there.

    Args:
        run: the run.
        arm: the arm; may be left out where only one stage of that name exists.
        stage: name of the stage.
        at: where in it: percentage, steps or tokens.
        budget: length of the annealing; a percentage is of the stage.
        min_lr: end value; see `default_min_lr` if None.
        shape: its shape.

    Raises:
        CampaignError: there is no such arm or stage, or several.
        CheckpointError: there is no checkpoint at that step; those that exist are named.
    """
    plan = make_plan(load_run(run))
    arm, trunk = find_stage(plan, arm, stage)
    step, steps = length_of("--at", at, trunk), length_of("--budget", budget, trunk)
    saved = saved_steps(run.stage(trunk.folder).checkpoints)
    if step not in saved:
        raise CheckpointError(
            f"{trunk.folder} has no checkpoint at step {step:,} ({at}); there are steps "
            f"{', '.join(f'{s:,}' for s in saved) or 'none'}. Choose one of them, or train with "
            '[checkpoints] keep = "all".'
        )
    asked = {
        "arm": arm,
        "stage": stage,
        "step": step,
        "budget": f"{steps} steps",
        "min_lr": default_min_lr(trunk, step) if min_lr is None else min_lr,
        "shape": shape,
    }
    try:
        return Annealing.model_validate(asked)
    except ValidationError as error:
        problem = error.errors()[0]
        message = problem["msg"].removeprefix("Value error, ")
        raise CampaignError(f"--{problem['loc'][0]}: {message}") from error


def default_min_lr(trunk: StagePlan, step: int) -> float:
    """Return where an annealing from a step ends: at a tenth of the highest rate up to there."""
    return 0.1 * max(trunk.schedule(s) for s in range(1, step + 1))


def record_annealing(run: RunFolder, annealing: Annealing) -> LoadedCampaign:
    """Add a branch to a run, after making sure that it can be planned.

    Returns:
        The run's campaign with the branch in it.

    Raises:
        CampaignError: it cannot be carried out, or another branch has its name; nothing was recorded.
    """
    before = recorded(run)
    if annealing in before:
        return load_run(run)
    loaded = with_annealings(_load_without_annealings(run), [*before, annealing])
    make_plan(loaded)
    with records_locked(run):
        append_record(run.annealings, annealing)
    return loaded
