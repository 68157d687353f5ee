"""What is saved of a stage: weights, optimizer, random numbers, and counters. Nothing else.

No schedule and no setting is in it: both come from the campaign, every time. There are two ways in, and they
are not the same. A *new stage* takes weights (and, if asked, the optimizer) from another stage and starts
its own count. A *resume* takes everything from a checkpoint of the very same stage, or refuses.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from transformers import PreTrainedModel

from rewarm import __version__
from rewarm.campaign import PRESETS
from rewarm.data.batches import Batch
from rewarm.engine import checkpoint
from rewarm.engine.optimizer import build_adamw
from rewarm.engine.retention import newest_valid, prune, sweep
from rewarm.engine.snapshot import (
    load_model_tensors,
    load_optimizer_tensors,
    load_random_tensors,
    model_tensors,
    optimizer_tensors,
    random_tensors,
)
from rewarm.engine.world import derive_seed
from rewarm.errors import CheckpointError, MismatchError
from rewarm.models.build import build_preset
from rewarm.models.folder import load_folder
from rewarm.models.head import check_head
from rewarm.plan import StagePlan
from rewarm.replay import Count, add_counts
from rewarm.training.job import Job
from rewarm.training.records import cut_back, record_event

MODEL, OPTIMIZER, RANDOM = "model", "optimizer", "random"


@dataclass(kw_only=True)
class TrainState:
    """A stage under way."""

    model: PreTrainedModel
    """The weights."""
    optimizer: AdamW
    """Its moments."""
    step: int = 0
    """Steps done."""
    read: dict[str, Count] = field(default_factory=dict[str, Count])
    """Sequences really read in this stage, by source."""
    ledger_before: dict[str, Count] = field(default_factory=dict[str, Count])
    """Sequences read from the base model up to the beginning of this stage."""

    @property
    def ledger(self) -> dict[str, Count]:
        """Sequences read from the base model until now."""
        return add_counts(self.ledger_before, self.read)

    def advance(self, batch: Batch) -> None:
        """Count a batch that was trained on."""
        self.step = batch.step
        seen = {source: Count(new=count) for source, count in batch.new.items()}
        again = {source: Count(replayed=count) for source, count in batch.replayed.items()}
        self.read = add_counts(self.read, add_counts(seen, again))


def begin_stage(job: Job, stage: StagePlan) -> TrainState:
    """Start a stage: the parent's or the base model's weights, its own count, its own random numbers.

    Raises:
        CheckpointError: the parent's checkpoint, or the base model, cannot be used.
        MismatchError: data of this stage has changed since the parent read it.
    """
    model = _base_model(job, stage)
    optimizer = _optimizer(stage, model)
    state = TrainState(model=model, optimizer=optimizer)
    what = "the base model"
    if stage.parent is not None:
        folder = job.folder(stage.parent).checkpoint(stage.start_step)
        tensors, saved = checkpoint.load(folder)
        _check_same(saved, {"stage": stage.parent.key, "step": stage.start_step}, folder)
        _check_data(job, saved, folder)
        load_model_tensors(model, tensors[MODEL])
        if stage.stage.optimizer == "keep":
            load_optimizer_tensors(model, optimizer, tensors[OPTIMIZER])
        state.ledger_before = _counts(saved["ledger"])
        what = (
            f"{stage.parent.folder} at step {stage.start_step:,}, optimizer {stage.stage.optimizer}"
        )
    torch.manual_seed(derive_seed(stage.campaign.seed, "stage", stage.name))
    cut_back(job.folder(stage), -1)
    record_event(job.folder(stage), 0, "started", f"started from {what}")
    return state


def resume_stage(job: Job, stage: StagePlan) -> TrainState | None:
    """Take a stage up again at its newest good checkpoint.

    Returns:
        None if there is no checkpoint yet.

    Raises:
        MismatchError: the data or the tokenizer has changed.
    """
    folder = job.folder(stage)
    sweep(folder.checkpoints)

    def damaged(path: Path, reason: str) -> None:
        message = f"{path.name} is damaged and was passed over: {reason}"
        record_event(folder, 0, "damaged", message)
        job.reporter.say(f"[yellow]{stage.folder}: {message}[/yellow]")

    newest = newest_valid(folder.checkpoints, damaged)
    if newest is None:
        return None
    tensors, saved = checkpoint.load(newest)
    _check_same(saved, {"stage": stage.key}, newest)
    _check_data(job, saved, newest)
    model = _base_model(job, stage)
    optimizer = _optimizer(stage, model)
    load_model_tensors(model, tensors[MODEL])
    load_optimizer_tensors(model, optimizer, tensors[OPTIMIZER])
    load_random_tensors(tensors[RANDOM], job.world.device)
    step = int(saved["step"])
    again = cut_back(folder, step)
    job.reporter.say(f"{stage.folder}: resumed from step {step:,}")
    record_event(
        folder, step, "resumed", f"resumed from step {step:,}; {again} later steps are done again"
    )
    _note_other_machine(job, stage, saved)
    return TrainState(
        model=model,
        optimizer=optimizer,
        step=step,
        read=_counts(saved["read"]),
        ledger_before=_counts(saved["ledger_before"]),
    )


def save_state(job: Job, stage: StagePlan, state: TrainState) -> None:
    """Commit the state, then let go of checkpoints that are no longer needed.

    Raises:
        StorageError: the disk is full; older checkpoints are intact.
    """
    folder = job.folder(stage)
    for path in (folder.metrics, folder.evals, folder.throughput):
        _sync(path)
    saved = {
        "rewarm": __version__,
        "stage": stage.key,
        "step": state.step,
        "read": _as_json(state.read),
        "ledger_before": _as_json(state.ledger_before),
        "ledger": _as_json(state.ledger),
        "data": dict(job.data_fingerprints),
        "tokenizer": job.data.tokenizer.fingerprint,
        "machine": job.machine(stage),
    }
    tensors = {
        MODEL: model_tensors(state.model),
        OPTIMIZER: optimizer_tensors(state.model, state.optimizer),
        RANDOM: random_tensors(job.world.device),
    }
    checkpoint.save(folder.checkpoint(state.step), tensors, saved)
    keep = job.plan.campaign.checkpoints.keep
    if keep != "all":
        protected = {*job.plan.branch_steps(stage), stage.steps}
        prune(folder.checkpoints, keep, protected)


def _base_model(job: Job, stage: StagePlan) -> PreTrainedModel:
    """Build or load the model that the campaign starts from, on the device, ready to train."""
    campaign = stage.campaign
    if campaign.model.from_ is not None:
        model = load_folder(job.plan.loaded.root / Path(campaign.model.from_).expanduser())
    else:
        assert campaign.model.preset is not None, "a model is a preset or a folder"
        model = build_preset(
            PRESETS[campaign.model.preset],
            vocabulary=campaign.model.vocabulary or job.data.tokenizer.vocabulary,
            sequence_length=campaign.sequence_length,
            seed=derive_seed(campaign.seed, "weights"),
        )
    _check_vocabulary(job, model)
    nn.Module.to(model, job.world.device)
    check_head(model)
    return model.train()


def _check_vocabulary(job: Job, model: PreTrainedModel) -> None:
    rows = int(model.get_input_embeddings().num_embeddings)  # pyright: ignore[reportArgumentType]
    entries = job.data.tokenizer.vocabulary
    if rows < entries:
        raise MismatchError(
            f"the tokenizer {job.data.tokenizer.path} has {entries:,} entries, the model's embedding only "
            f"{rows:,} rows, so some tokens have no vector. Use the model's own tokenizer, or set "
            "model.vocabulary."
        )


def _optimizer(stage: StagePlan, model: PreTrainedModel) -> AdamW:
    settings = stage.campaign.optimizer
    return build_adamw(
        model, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay
    )


def _check_same(saved: Mapping[str, Any], expected: Mapping[str, object], folder: Path) -> None:
    """Refuse a checkpoint that is not what its place says."""
    for name, value in expected.items():
        if saved.get(name) != value:
            raise CheckpointError(
                f"{folder}: is a checkpoint of {name} {saved.get(name)!r}, expected {value!r}; a folder was "
                "copied or renamed. Put the right one back, or remove it to train the stage again."
            )


def _check_data(job: Job, saved: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with other tokens than those the checkpoint was trained on."""
    if saved["tokenizer"] != job.data.tokenizer.fingerprint:
        raise MismatchError(
            f"{folder}: was trained with another tokenizer than {job.data.tokenizer.path}. Put the old "
            "tokenizer back, or give the campaign another name to start anew."
        )
    for source in saved["ledger"]:
        now = job.data_fingerprints.get(source)
        if now is not None and saved["data"].get(source) != now:
            raise MismatchError(
                f"{folder}: the tokens of {source!r} have changed since it was trained, so neither its data "
                "order nor its replay would be what was planned. Put the old tokens back, or give the "
                "campaign another name to start anew."
            )


def _note_other_machine(job: Job, stage: StagePlan, saved: Mapping[str, Any]) -> None:
    """Say when something has changed that makes bits differ."""
    changed = [
        f"{name} {saved['machine'].get(name)} → {value}"
        for name, value in job.machine(stage).items()
        if saved["machine"].get(name) != value
    ]
    if changed:
        message = (
            f"the machine differs ({', '.join(changed)}): the last bits may differ from one run"
        )
        record_event(job.folder(stage), int(saved["step"]), "warning", message)
        job.reporter.say(f"[yellow]{stage.folder}: {message}[/yellow]")


def _as_json(counts: Mapping[str, Count]) -> dict[str, list[int]]:
    return {source: [count.new, count.replayed] for source, count in counts.items()}


def _counts(saved: Mapping[str, list[int]]) -> dict[str, Count]:
    return {source: Count(new, replayed) for source, (new, replayed) in saved.items()}


def _sync(path: Path) -> None:
    """Make what was appended durable before a checkpoint says that it happened."""
    if path.exists():
        with path.open("rb") as file:
            os.fsync(file.fileno())
