"""Which models `rewarm eval` is asked to measure: names and mistakes first, weights when their turn comes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rewarm.cli.common import note

if TYPE_CHECKING:
    from rewarm.evaluation.model import Evaluated


@dataclass(frozen=True, kw_only=True)
class OfRun:
    """Which checkpoint of a run is meant."""

    stage: str | None
    """The stage."""
    arms: Sequence[str]
    """The arms; none where only one stage of that name exists."""
    at: str | None
    """Where in the stage; its last checkpoint if None."""
    prepared: Path | None
    """Folder of the tokens."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A model to measure."""

    name: str
    """What it is called, and its folder of results."""
    open: "Callable[[], Evaluated]"
    """Reads it."""


def asked_models(
    models: Sequence[Path],
    out: Path,
    *,
    of_run: OfRun,
    context: int | None,
    end_of_text: str | None,
) -> list[Asked]:
    """Return the models, in the order given; an arm with the same checkpoint as another is left out.

    Raises:
        CampaignError: options do not fit the models, or results would lie in one folder or over others.
        CheckpointError: a folder or a checkpoint is not there.
    """
    from rewarm.errors import CampaignError
    from rewarm.evaluation.model import open_model
    from rewarm.evaluation.results import refuse_existing

    _check_options(models, of_run)
    found: list[Asked] = []
    for place in models:
        if is_run(place):
            found += _of_run(place, of_run, context)
        else:
            opened = partial(open_model, place, end_of_text=end_of_text, context_length=context)
            found.append(Asked(name=place.resolve().name, open=opened))
    names = [each.name for each in found]
    for name in names:
        refuse_existing(out / name)
        if names.count(name) > 1:
            raise CampaignError(
                f"two models are called {name!r}, and results go by names; give one of them another --out"
            )
    return found


def _check_options(models: Sequence[Path], of_run: OfRun) -> None:
    from rewarm.errors import CampaignError, CheckpointError

    for place in models:
        if not place.is_dir():
            raise CheckpointError(f"{place}: no such folder. Give a Hugging Face folder, or a run.")
    runs = [place for place in models if is_run(place)]
    if runs and of_run.stage is None:
        raise CampaignError(f"{runs[0]} is a run; say with --stage which of its stages")
    if not runs and of_run != OfRun(stage=None, arms=(), at=None, prepared=None):
        raise CampaignError("--stage, --arm, --at and --prepared are of a run, and no model is one")


def _of_run(place: Path, of_run: OfRun, context: int | None) -> list[Asked]:
    """Return the checkpoints of a run that are meant."""
    from rewarm.runs.folder import RunFolder
    from rewarm.training.evaluated import find_checkpoint, open_checkpoint

    assert of_run.stage is not None, "checked before"
    run = RunFolder(place)
    found: dict[Path, Asked] = {}
    for arm in of_run.arms or (None,):
        name, folder = find_checkpoint(run, of_run.stage, arm=arm, at=of_run.at)
        if folder in found:
            note(
                f"arm {arm} has the same {of_run.stage} as {found[folder].name}, which stands for both"
            )
            continue
        opened = partial(
            open_checkpoint,
            run,
            of_run.stage,
            arm=arm,
            at=of_run.at,
            prepared=of_run.prepared,
            context_length=context,
        )
        found[folder] = Asked(name=name, open=opened)
    return list(found.values())


def is_run(folder: Path) -> bool:
    """Say whether a folder is that of a run."""
    from rewarm.runs.folder import RunFolder

    return RunFolder(folder).resolved.exists()
