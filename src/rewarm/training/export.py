"""Exporting a stage of a run as a Hugging Face folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from rewarm.campaign import PRESETS, LoadedCampaign
from rewarm.campaign.hub import hub_name, revision_of
from rewarm.data.datasets import tokenizer_path
from rewarm.data.tokenizer import Tokenizer, load_tokenizer
from rewarm.engine import checkpoint
from rewarm.engine.retention import saved_steps
from rewarm.errors import CampaignError, CheckpointError, MismatchError
from rewarm.models.build import preset_config
from rewarm.models.export import ExportType, FolderContent, write_model_folder
from rewarm.models.folder import open_folder
from rewarm.models.hub import local_model_folder
from rewarm.plan import StagePlan, make_plan
from rewarm.plan.record import in_words
from rewarm.replay import Count
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EvalRecord, ResolvedRecord, RunRecord, StageResult, StepRecord
from rewarm.tensors.source import TensorSource
from rewarm.training.anneal import load_run
from rewarm.training.model_card import Facts, LossChange, StageStory, model_card
from rewarm.training.selection import find_stage, length_of


def export_stage(
    run: RunFolder,
    stage: str,
    *,
    arm: str | None,
    at: str | None,
    out: Path | None,
    dtype: str,
    prepared: Path | None,
) -> Path:
    """Write the weights of a stage as a folder that transformers loads, with a model card.

    Args:
        run: the run; it is only read.
        stage: name of the stage.
        arm: the arm; may be left out where only one stage of that name exists.
        at: where in the stage: percentage, steps or tokens; its last checkpoint if None.
        out: the folder; `export/<stage>-<key>` in the run if None, so that arms do not meet.
        dtype: `fp32` or `bf16`.
        prepared: folder of the tokens, where a trained tokenizer is; `prepared/<campaign>` if None.

    Returns:
        The folder.

    Raises:
        CampaignError: no such stage, several, or something is at `out` already.
        CheckpointError: there is no such checkpoint, it is damaged, or what was written is not the model.
        MismatchError: the tokenizer is not the one that it was trained with.
        StorageError: the disk is full.
    """
    export_type = _export_type(dtype)
    loaded = load_run(run)
    plan = make_plan(loaded)
    arm, planned = find_stage(plan, arm, stage)
    chosen = _Chosen(run=run, arm=arm, stage=planned, step=_step(run, planned, at))
    saved = _read_checkpoint(chosen)
    campaign = planned.campaign
    prepared = Path("prepared") / campaign.name if prepared is None else prepared
    tokenizer = load_tokenizer(
        tokenizer_path(campaign, loaded.root, prepared, loaded.commits),
        campaign.tokenizer.end_of_text,
    )
    _check_tokenizer(tokenizer, saved)
    base = _base(planned, loaded, tokenizer)
    out = run.exports / planned.folder if out is None else out
    facts = _facts(chosen, saved, base, load_from=out.name, dtype=export_type)
    content = FolderContent(
        tokenizer_json=tokenizer.path,
        end_of_text=tokenizer.end_of_text_token,
        vocabulary=base.vocabulary,
        dtype=export_type,
        card=model_card(facts),
    )
    write_model_folder(out, base.config, saved.source, content)
    return out


def _export_type(dtype: str) -> ExportType:
    if dtype not in ("fp32", "bf16"):
        raise CampaignError(f"--dtype {dtype}: weights are written as fp32 or bf16")
    return dtype


def _step(run: RunFolder, stage: StagePlan, at: str | None) -> int:
    """Return the step to export, which has a checkpoint."""
    saved = saved_steps(run.stage(stage.folder).checkpoints)
    if not saved:
        raise CheckpointError(
            f"{stage.folder} has no checkpoint in {run.path}, so there is nothing to export. Train it first."
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


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """A checkpoint that was verified."""

    source: TensorSource
    state: Mapping[str, Any]
    weights: Mapping[str, str]

    def counts(self, name: str) -> dict[str, Count]:
        return {s: Count(new=c[0], replayed=c[1]) for s, c in self.state[name].items()}


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """What is exported."""

    run: RunFolder
    arm: str
    stage: StagePlan
    step: int


def _read_checkpoint(chosen: _Chosen) -> _Saved:
    """Verify the checkpoint and open it; the one place that knows how checkpoints are read."""
    folder = chosen.run.stage(chosen.stage.folder).checkpoint(chosen.step)
    saved = checkpoint.load(folder)
    state = saved.state
    if (state.get("stage"), state.get("step")) != (chosen.stage.key, chosen.step):
        raise CheckpointError(
            f"{folder}: is a checkpoint of another stage or step than its place says; a folder was copied or "
            "renamed. Put the right one back."
        )
    files = saved.manifest.files
    return _Saved(
        source=saved.groups["model"],
        state=state,
        weights={name: file.sha256 for name, file in files.items() if name.startswith("model")},
    )


def _check_tokenizer(tokenizer: Tokenizer, saved: _Saved) -> None:
    if saved.state["tokenizer"] != tokenizer.fingerprint:
        raise MismatchError(
            f"{tokenizer.path}: is not the tokenizer that the stage was trained with, so the model would read "
            "and write nonsense. Put the old one back, or give the folder that has it with --prepared."
        )


@dataclass(frozen=True, kw_only=True)
class _Base:
    """What the campaign started from."""

    config: PreTrainedConfig
    vocabulary: int | None
    words: str
    hub_name: str | None


def _base(stage: StagePlan, loaded: LoadedCampaign, tokenizer: Tokenizer) -> _Base:
    model = stage.campaign.model
    if model.from_ is not None:
        folder = local_model_folder(model.from_, loaded.root, loaded.commits)
        found = hub_name(model.from_, loaded.root, loaded.commits)
        words, name = "a model in a local folder", None
        if found is not None:
            name = found.repository
            words = f"[{name}](https://huggingface.co/{name}), commit `{revision_of(folder)}`"
        return _Base(config=open_folder(folder).config, vocabulary=None, words=words, hub_name=name)
    assert model.preset is not None, "a model is a preset or a folder"
    rows = model.vocabulary or tokenizer.vocabulary
    config = preset_config(
        PRESETS[model.preset], vocabulary=rows, sequence_length=stage.campaign.sequence_length
    )
    # Rows beyond the tokenizer's entries were padding: no text ever had them as input.
    return _Base(
        config=config,
        vocabulary=tokenizer.vocabulary if rows > tokenizer.vocabulary else None,
        words=f"random weights (preset {model.preset})",
        hub_name=None,
    )


def _facts(
    chosen: _Chosen, saved: _Saved, base: _Base, *, load_from: str, dtype: ExportType
) -> Facts:
    run, stage = chosen.run, chosen.stage
    record = read_record(run.plan, RunRecord)
    resolved = read_record(run.resolved, ResolvedRecord)
    return Facts(
        campaign=stage.campaign.name,
        arm=chosen.arm,
        family=base.config.model_type,
        base=base.words,
        base_model=base.hub_name,
        stages=_stories(run, record, stage, chosen.step),
        sequence_length=stage.sequence_length,
        ledger=saved.counts("ledger"),
        history=record.history,
        seed=stage.campaign.seed,
        versions=resolved.versions,
        commit=resolved.commit,
        weights=saved.weights,
        stage_key=stage.key,
        dtype=dtype,
        load_from=load_from,
    )


def _stories(run: RunFolder, record: RunRecord, last: StagePlan, step: int) -> list[StageStory]:
    """Return what each stage did, from the base model to a step of the last one."""
    lineage = last.lineage
    ends = [*(stage.start_step for stage in lineage[1:]), step]
    seen = set(record.history)
    stories: list[StageStory] = []
    for stage, end in zip(lineage, ends, strict=True):
        losses, measured = _losses(run, stage, end, seen)
        trained = _trained_steps(run, stage, end)
        replay = stage.stream.replay
        stories.append(
            StageStory(
                name=stage.name,
                steps=end,
                of_steps=stage.steps,
                tokens=trained * stage.batch_tokens,
                left_out=end - trained,
                schedule=in_words(stage.schedule),
                replay_share=replay.share if replay else Fraction(0),
                optimizer=stage.stage.optimizer,
                losses=losses,
                measured=measured,
            )
        )
        seen |= set(stage.shares)
    return stories


def _trained_steps(run: RunFolder, stage: StagePlan, step: int) -> int:
    """Return how many steps up to one were trained on; one whose batch was left out has no record."""
    records = read_records(run.stage(stage.folder).metrics, StepRecord)
    return sum(record.step <= step for record in records)


def _losses(
    run: RunFolder, stage: StagePlan, step: int, seen: set[str]
) -> tuple[Sequence[LossChange], str]:
    """Return the losses before a stage and at one of its steps, and how the latter were taken."""
    folder = run.stage(stage.folder)
    at_step: dict[int, dict[str, float]] = {}
    for record in read_records(folder.evals, EvalRecord):
        if record.step <= step:
            at_step.setdefault(record.step, {})[record.dataset] = record.loss
    before = at_step.get(0, {})
    if step == stage.steps and folder.result.exists():
        after, measured = (
            read_record(folder.result, StageResult).final,
            "mean of the last evaluations",
        )
    elif at_step and max(at_step):
        after, measured = at_step[max(at_step)], f"measured at step {max(at_step):,}"
    else:
        return [], ""
    changes = [
        LossChange(
            dataset=dataset,
            before=before[dataset],
            after=loss,
            is_new=dataset in stage.shares,
            was_seen=dataset in seen,
        )
        for dataset, loss in after.items()
        if dataset in before
    ]
    return changes, measured
