"""Exporting a stage of a run as a Hugging Face folder."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from rewarm.errors import CampaignError
from rewarm.models.export import ExportType, FolderContent, write_model_folder
from rewarm.plan import StagePlan
from rewarm.plan.record import in_words
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EvalRecord, ResolvedRecord, RunRecord, StageResult, StepRecord
from rewarm.training.model_card import Facts, LossChange, StageStory, model_card
from rewarm.training.saved_stage import SavedStage, read_stage


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
    saved = read_stage(run, stage, arm=arm, at=at, prepared=prepared)
    out = run.exports / saved.stage.folder if out is None else out
    content = FolderContent(
        tokenizer_json=saved.tokenizer.path,
        end_of_text=saved.tokenizer.end_of_text_token,
        vocabulary=saved.base.vocabulary,
        dtype=export_type,
        card=model_card(_facts(saved, load_from=out.name, dtype=export_type)),
    )
    write_model_folder(out, saved.base.config, saved.source, content)
    return out


def _export_type(dtype: str) -> ExportType:
    if dtype not in ("fp32", "bf16"):
        raise CampaignError(f"--dtype {dtype}: weights are written as fp32 or bf16")
    return dtype


def _facts(saved: SavedStage, *, load_from: str, dtype: ExportType) -> Facts:
    run, stage, base = saved.run, saved.stage, saved.base
    record = read_record(run.plan, RunRecord)
    resolved = read_record(run.resolved, ResolvedRecord)
    return Facts(
        campaign=stage.campaign.name,
        arm=saved.arm,
        family=base.config.model_type,
        base=base.words,
        base_model=base.hub_name,
        stages=_stories(run, record, stage, saved.step),
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
