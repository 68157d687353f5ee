"""A checkpoint of a run as a model: found by what a user says, verified, with tokenizer and configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from rewarm.campaign import PRESETS, LoadedCampaign
from rewarm.campaign.hub import hub_name, revision_of
from rewarm.data.prepared import tokenizer_path
from rewarm.data.tokenizer import Tokenizer, load_tokenizer
from rewarm.engine import checkpoint
from rewarm.engine.retention import saved_steps
from rewarm.errors import CheckpointError, MismatchError
from rewarm.models.build import preset_config
from rewarm.models.folder import open_folder
from rewarm.models.hub import local_model_folder
from rewarm.plan import StagePlan, make_plan
from rewarm.replay import Count
from rewarm.runs.folder import RunFolder
from rewarm.tensors.source import TensorSource
from rewarm.training.anneal import load_run
from rewarm.training.selection import find_stage, length_of


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a campaign started from."""

    config: PreTrainedConfig
    """What its model is built like, padding included."""
    vocabulary: int | None
    """Rows of the embedding and the head that mean something, the first ones; None if all do."""
    words: str
    """The same in words."""
    hub_name: str | None
    """Its name on the hub; None if it has none."""


@dataclass(frozen=True, kw_only=True)
class SavedStage:
    """A checkpoint that was verified."""

    run: RunFolder
    """The run."""
    arm: str
    """The arm."""
    stage: StagePlan
    """The stage."""
    step: int
    """The step in it."""
    source: TensorSource
    """The weights, padding included."""
    state: Mapping[str, Any]
    """Everything else in it but tensors."""
    weights: Mapping[str, str]
    """SHA-256 of the weights files, by file."""
    tokenizer: Tokenizer
    """The one that it was trained with."""
    base: Base
    """What the campaign started from."""

    def counts(self, name: str) -> dict[str, Count]:
        """Return sequences by source, such as the `ledger`."""
        return {s: Count(new=c[0], replayed=c[1]) for s, c in self.state[name].items()}


def read_stage(
    run: RunFolder, stage: str, *, arm: str | None, at: str | None, prepared: Path | None
) -> SavedStage:
    """Find a checkpoint and verify it; the one place that knows how checkpoints become models.

    Args:
        run: the run; it is only read.
        stage: name of the stage.
        arm: the arm; may be left out where only one stage of that name exists.
        at: where in the stage: percentage, steps or tokens; its last checkpoint if None.
        prepared: folder of the tokens, where a trained tokenizer is; `prepared/<campaign>` if None.

    Raises:
        CampaignError: no such stage, or several.
        CheckpointError: there is no such checkpoint, or it is damaged.
        MismatchError: the tokenizer is not the one that it was trained with.
    """
    loaded = load_run(run)
    arm, planned = find_stage(make_plan(loaded), arm, stage)
    step = saved_step(run, planned, at)
    folder = run.stage(planned.folder).checkpoint(step)
    saved = checkpoint.load(folder)
    if (saved.state.get("stage"), saved.state.get("step")) != (planned.key, step):
        raise CheckpointError(
            f"{folder}: is a checkpoint of another stage or step than its place says; a folder was copied or "
            "renamed. Put the right one back."
        )
    campaign = planned.campaign
    tokenizer = load_tokenizer(
        tokenizer_path(
            campaign,
            loaded.root,
            Path("prepared") / campaign.name if prepared is None else prepared,
            loaded.commits,
        ),
        campaign.tokenizer.end_of_text,
    )
    _check_tokenizer(tokenizer, saved.state)
    files = saved.manifest.files
    return SavedStage(
        run=run,
        arm=arm,
        stage=planned,
        step=step,
        source=saved.groups["model"],
        state=saved.state,
        weights={name: file.sha256 for name, file in files.items() if name.startswith("model")},
        tokenizer=tokenizer,
        base=_base(planned, loaded, tokenizer),
    )


def saved_step(run: RunFolder, stage: StagePlan, at: str | None) -> int:
    """Return the step that is meant, which has a checkpoint.

    Raises:
        CampaignError: `at` is no place in a stage.
        CheckpointError: the stage has no such checkpoint.
    """
    saved = saved_steps(run.stage(stage.folder).checkpoints)
    if not saved:
        raise CheckpointError(
            f"{stage.folder} has no checkpoint in {run.path}, so there is no model. Train it first."
        )
    if at is None:
        return saved[-1]
    step = length_of("--at", at, stage)
    if step not in saved:
        raise CheckpointError(
            f"{stage.folder} has no checkpoint at step {step:,} ({at}); there are steps "
            f"{', '.join(f'{s:,}' for s in saved)}. Choose one of them."
        )
    return step


def _check_tokenizer(tokenizer: Tokenizer, state: Mapping[str, Any]) -> None:
    if state["tokenizer"] != tokenizer.fingerprint:
        raise MismatchError(
            f"{tokenizer.path}: is not the tokenizer that the stage was trained with, so the model would read "
            "and write nonsense. Put the old one back, or give the folder that has it with --prepared."
        )


def _base(stage: StagePlan, loaded: LoadedCampaign, tokenizer: Tokenizer) -> Base:
    model = stage.campaign.model
    if model.from_ is not None:
        folder = local_model_folder(model.from_, loaded.root, loaded.commits)
        found = hub_name(model.from_, loaded.root, loaded.commits)
        words, name = "a model in a local folder", None
        if found is not None:
            name = found.repository
            words = f"[{name}](https://huggingface.co/{name}), commit `{revision_of(folder)}`"
        return Base(config=open_folder(folder).config, vocabulary=None, words=words, hub_name=name)
    assert model.preset is not None, "a model is a preset or a folder"
    rows = model.vocabulary or tokenizer.vocabulary
    config = preset_config(
        PRESETS[model.preset], vocabulary=rows, sequence_length=stage.campaign.sequence_length
    )
    # Rows beyond the tokenizer's entries were padding: no text ever had them as input.
    return Base(
        config=config,
        vocabulary=tokenizer.vocabulary if rows > tokenizer.vocabulary else None,
        words=f"random weights (preset {model.preset})",
        hub_name=None,
    )
