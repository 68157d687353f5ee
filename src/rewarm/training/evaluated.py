"""A checkpoint of a run as a model to evaluate: the model that `rewarm export` would write."""

from pathlib import Path

import torch

from rewarm.evaluation.model import Evaluated, checked_context
from rewarm.models.empty import empty_model, materialise
from rewarm.models.vocabulary import first_rows
from rewarm.plan import StagePlan, make_plan
from rewarm.runs.folder import RunFolder
from rewarm.tensors.held import fill, own_tensors
from rewarm.training.anneal import load_run
from rewarm.training.saved_stage import read_stage, saved_step
from rewarm.training.selection import find_stage


def find_checkpoint(
    run: RunFolder, stage: str, *, arm: str | None, at: str | None
) -> tuple[str, Path]:
    """Return what a checkpoint is called as a model, and its folder, without reading it; see `open_checkpoint`.

    Raises:
        CampaignError: no such stage, or several.
        CheckpointError: there is no such checkpoint.
    """
    _, planned = find_stage(make_plan(load_run(run)), arm, stage)
    step = saved_step(run, planned, at)
    return _name(run, arm, planned, step), run.stage(planned.folder).checkpoint(step)


def open_checkpoint(
    run: RunFolder,
    stage: str,
    *,
    arm: str | None,
    at: str | None,
    prepared: Path | None,
    context_length: int | None,
) -> Evaluated:
    """Load a checkpoint of a run, in float32 on the CPU, without the padding of its vocabulary.

    Args:
        run: the run; it is only read.
        stage: name of the stage.
        arm: the arm; may be left out where only one stage of that name exists.
        at: where in the stage: percentage, steps or tokens; its last checkpoint if None.
        prepared: folder of the tokens; `prepared/<campaign>` if None.
        context_length: tokens to read at once; those of the campaign's sequences if None.

    Raises:
        CampaignError: no such stage, or several; or more tokens at once than the model can.
        CheckpointError: there is no such checkpoint, or it is damaged.
        MismatchError: the tokenizer is not the one that it was trained with.
    """
    saved = read_stage(run, stage, arm=arm, at=at, prepared=prepared)
    config, source = saved.base.config, saved.source
    asked = context_length or saved.stage.sequence_length
    context_length = checked_context(str(run.path), config, asked)
    if saved.base.vocabulary is not None:
        source = first_rows(source, empty_model(config), saved.base.vocabulary)
        config.vocab_size = saved.base.vocabulary
    model = empty_model(config)
    materialise(model, torch.device("cpu"))
    fill(own_tensors(model), source)
    return Evaluated(
        name=_name(run, arm, saved.stage, saved.step),
        place=f"{run.path}, {saved.stage.folder}-step-{saved.step}",
        model=model,
        tokenizer=saved.tokenizer,
        context_length=context_length,
        weights=saved.weights,
    )


def _name(run: RunFolder, arm: str | None, stage: StagePlan, step: int) -> str:
    """Name the run, the arm if one is meant, the stage and the step: other runs may have the same stage."""
    parts = (run.path.resolve().name, arm, stage.folder, f"step-{step}")
    return "-".join(part for part in parts if part is not None)
