"""What is saved of a stage: weights, optimizer, random numbers, and counters. Nothing else.

No schedule and no setting is in it: both come from the campaign, every time. There are two ways in, and they
are not the same. A *new stage* takes weights (and, if asked, the optimizer) from another stage and starts
its own count. A *resume* takes everything from a checkpoint of the very same stage, or refuses.
"""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW

from rewarm import __version__
from rewarm.data.batches import Batch
from rewarm.engine.checkpoint import Checkpoint, Groups, load
from rewarm.engine.loss_scale import LossScale
from rewarm.engine.optimizer import build_adamw
from rewarm.engine.retention import newest_valid, prune, sweep
from rewarm.engine.saver import Saver
from rewarm.engine.snapshot import (
    load_model_tensors,
    load_optimizer_tensors,
    load_random_tensors,
    optimizer_tensors,
    random_tensors,
)
from rewarm.engine.tensor_parts import parts_to_write, whole_parts
from rewarm.engine.world import World, derive_seed
from rewarm.errors import CheckpointError, MismatchError
from rewarm.models.head import check_head, check_head_of
from rewarm.plan import StagePlan
from rewarm.replay import Count, add_counts
from rewarm.tensors.held import fill, own_tensors
from rewarm.training.base import BaseModel, base_model
from rewarm.training.job import Job
from rewarm.training.model import TrainedModel

MODEL, OPTIMIZER, RANDOM = "model", "optimizer", "random"


@dataclass(kw_only=True)
class TrainState:
    """A stage under way."""

    model: TrainedModel
    """The weights."""
    optimizer: AdamW
    """Its moments."""
    scale: LossScale
    """Of the loss, for fp16."""
    step: int = 0
    """Steps done."""
    read: dict[str, Count] = field(default_factory=dict[str, Count])
    """Sequences really read in this stage, by source."""
    ledger_before: dict[str, Count] = field(default_factory=dict[str, Count])
    """Sequences read from the base model up to the beginning of this stage."""
    left_out: list[int] = field(default_factory=list[int])
    """Steps whose batches were left out because something was not finite."""

    @property
    def trained_steps(self) -> int:
        """Steps done, those left out not counted."""
        return self.step - len(self.left_out)

    @property
    def ledger(self) -> dict[str, Count]:
        """Sequences read from the base model up to now."""
        return add_counts(self.ledger_before, self.read)

    def advance(self, batch: Batch) -> None:
        """Count a batch that was trained on."""
        self.step = batch.step
        # In place, so that a step costs what is in its batch, and not what is in the campaign.
        for source, count in batch.new.items():
            self.read[source] = self.read.get(source, Count()) + Count(new=count)
        for source, count in batch.replayed.items():
            self.read[source] = self.read.get(source, Count()) + Count(replayed=count)

    def leave_out(self, step: int) -> None:
        """Count a step whose batch was not trained on."""
        self.step = step
        self.left_out.append(step)


def begin_stage(job: Job, stage: StagePlan) -> TrainState:
    """Start a stage: the parent's or the base model's weights, its own count, its own random numbers.

    Raises:
        CheckpointError: the parent's checkpoint, or the base model, cannot be used.
        MismatchError: data of this stage has changed since the parent read it.
    """
    base, state = _fresh(job, stage)
    what = "the base model"
    if stage.parent is None:
        weights = base.weights()
        for model in state.model.models:
            fill(own_tensors(model), weights)
    else:
        saved = load(job.folder(stage.parent).checkpoint(stage.start_step), job.ranks)
        _check_same(saved, {"stage": stage.parent.key, "step": stage.start_step})
        _check_data(job, saved)
        load_tensors(state, saved, optimizer=stage.stage.optimizer == "keep")
        state.ledger_before = _counts(saved.state["ledger"])
        what = (
            f"{stage.parent.folder} at step {stage.start_step:,}, optimizer {stage.stage.optimizer}"
        )
    _check_head(job, base, state)
    torch.manual_seed(_seed(state, stage))
    journal = job.journal(stage)
    journal.cut_back(-1)
    journal.event(0, "started", f"started from {what}")
    return state


def resume_stage(job: Job, stage: StagePlan) -> TrainState | None:
    """Take a stage up again at its newest good checkpoint.

    Returns:
        None if there is no checkpoint yet.

    Raises:
        MismatchError: the data or the tokenizer has changed.
    """
    folder, journal = job.folder(stage), job.journal(stage)
    job.ranks.first_alone(lambda: sweep(folder.checkpoints))

    def damaged(path: Path, reason: str) -> None:
        message = f"{path.name} is damaged and was passed over: {reason}"
        journal.event(0, "damaged", message)
        job.reporter.say(f"{stage.folder}: {message}", style="yellow")

    saved = newest_valid(folder.checkpoints, damaged, job.ranks)
    if saved is None:
        return None
    _check_same(saved, {"stage": stage.key})
    _check_data(job, saved)
    _check_machine(job, stage, saved)
    base, state = _fresh(job, stage)
    load_tensors(state, saved, optimizer=True)
    _check_head(job, base, state)
    state.step = int(saved.state["step"])
    state.read = _counts(saved.state["read"])
    state.ledger_before = _counts(saved.state["ledger_before"])
    state.left_out = list(saved.state.get("left_out", []))
    if "loss_scale" in saved.state:
        value, good_steps = saved.state["loss_scale"]
        state.scale = LossScale(value=value, good_steps=good_steps)
    again = journal.cut_back(state.step)
    job.reporter.say(f"{stage.folder}: resumed from step {state.step:,}")
    journal.event(
        state.step,
        "resumed",
        f"resumed from step {state.step:,}; {again} later steps are done again",
    )
    _load_random(job, stage, state, saved)
    return state


def save_state(job: Job, stage: StagePlan, state: TrainState, saver: Saver) -> None:
    """Save the state, and then let go of checkpoints that are no longer needed.

    Raises:
        StorageError: the disk is full; older checkpoints are intact.
    """
    folder = job.folder(stage)
    job.journal(stage).sync()
    saved = {
        "rewarm": __version__,
        "stage": stage.key,
        "step": state.step,
        "read": _as_json(state.read),
        "ledger_before": _as_json(state.ledger_before),
        "ledger": _as_json(state.ledger),
        "left_out": list(state.left_out),
        "loss_scale": [state.scale.value, state.scale.good_steps],
        "data": dict(job.data_fingerprints),
        "tokenizer": job.data.tokenizer.fingerprint,
        "machine": job.machine(stage),
    }
    saver.save(
        folder.checkpoint(state.step),
        tensors_to_write(state),
        saved,
        _pruning(job, stage, state.step),
    )


def tensors_to_write(state: TrainState) -> Groups:
    """Return what this rank writes down of a state."""
    model, world = state.model, state.model.grid.world
    weights = {
        name: tensor
        for part in model.models
        for name, tensor in own_tensors(part).items()
        if name not in model.copied
    }
    moments = {
        name: tensor
        for part in model.models
        for name, tensor in optimizer_tensors(part, state.optimizer).items()
        if name.rpartition(".")[0] not in model.copied
    }
    draws = random_tensors(world.device)
    return {
        MODEL: parts_to_write(weights, model.grid),
        OPTIMIZER: parts_to_write(moments, model.grid),
        RANDOM: whole_parts({_random_name(world, name): draw for name, draw in draws.items()}),
    }


def _random_name(world: World, name: str) -> str:
    return name if world.ranks.size == 1 else f"{world.ranks.rank}.{name}"


def _pruning(job: Job, stage: StagePlan, step: int) -> Callable[[], None]:
    """Return what is done when the checkpoint of a step is committed."""
    keep = job.plan.campaign.checkpoints.keep

    def pruned() -> None:
        job.written.setdefault(stage.key, set()).add(step)
        if keep != "all":
            lasting = job.plan.lasting_steps(stage)
            prune(job.folder(stage).checkpoints, keep, lasting, intact=job.written[stage.key])

    return pruned


def _fresh(job: Job, stage: StagePlan) -> tuple[BaseModel, TrainState]:
    """Make the model of a stage in memory, its weights undefined, and its optimizer."""
    # What a stage before has left is held together by cycles, and a device's memory would not wait for it.
    gc.collect()
    if job.layout(stage).compile:
        torch.compiler.reset()  # so that no stage runs into the limit of what others have compiled
    base = base_model(job, stage)
    campaign = stage.campaign
    model = TrainedModel(
        base.empty,
        job.grid(stage),
        precision=campaign.training.precision,
        entries=job.data.tokenizer.vocabulary,
        isolated_by=(
            job.data.tokenizer.end_of_text if campaign.training.documents == "isolated" else None
        ),
        in_one_order=campaign.training.deterministic == "world-invariant",
    )
    settings = campaign.optimizer
    optimizer = build_adamw(
        nn.ModuleList(model.parts),
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )
    scale = LossScale.first(campaign.training.precision)
    return base, TrainState(model=model, optimizer=optimizer, scale=scale)


def load_tensors(state: TrainState, saved: Checkpoint, *, optimizer: bool) -> None:
    """Take over what this rank needs of the weights of a checkpoint, written on whatever layout.

    Args:
        state: of the same architecture.
        saved: the checkpoint.
        optimizer: whether the optimizer is taken over as well.

    Raises:
        CheckpointError: it was made by another model.
    """
    names = state.model.names
    for model in state.model.models:
        load_model_tensors(model, saved.groups[MODEL], elsewhere=names)
        if optimizer:
            load_optimizer_tensors(model, state.optimizer, saved.groups[OPTIMIZER], elsewhere=names)


def _check_head(job: Job, base: BaseModel, state: TrainState) -> None:
    """Check once that the losses are the model's own, whatever the rank that has it whole."""
    if job.ranks.size == 1:
        check_head(state.model.models[0])
        return
    job.ranks.first_alone(lambda: check_head_of(base.config))


def _seed(state: TrainState, stage: StagePlan, *labels: str) -> int:
    """Return the seed of a rank's draws; ranks with different data draw differently."""
    data_rank = state.model.grid.data_rank
    place = (f"data rank {data_rank}",) if data_rank else ()
    return derive_seed(stage.campaign.seed, "stage", stage.name, *labels, *place)


def _load_random(job: Job, stage: StagePlan, state: TrainState, saved: Checkpoint) -> None:
    """Set the generators to where they were; on another layout, to a new seed of this step."""
    draws = saved.groups[RANDOM].whole()
    before, here = saved.state["machine"], job.machine(stage)
    if all(before.get(name, here[name]) == here[name] for name in ("ranks", "layout")):
        mine = {
            name.split(".")[-1]: draw
            for name, draw in draws.items()
            if name == _random_name(job.world, name.split(".")[-1])
        }
        load_random_tensors(mine, job.world.device)
        return
    torch.manual_seed(_seed(state, stage, f"step {state.step}"))


def _check_same(saved: Checkpoint, expected: Mapping[str, object]) -> None:
    """Refuse a checkpoint that is not what its place says."""
    for name, value in expected.items():
        if saved.state.get(name) != value:
            raise CheckpointError(
                f"{saved.folder}: is a checkpoint of {name} {saved.state.get(name)!r}, expected {value!r}; a "
                "folder was copied or renamed. Put the right one back, or remove it to train the stage again."
            )


def _check_data(job: Job, saved: Checkpoint) -> None:
    """Refuse to go on with other tokens than those the checkpoint was trained on."""
    if saved.state["tokenizer"] != job.data.tokenizer.fingerprint:
        raise MismatchError(
            f"{saved.folder}: was trained with another tokenizer than {job.data.tokenizer.path}. Put the old "
            "tokenizer back, or give the campaign another name to start anew."
        )
    for source in saved.state["ledger"]:
        now = job.data_fingerprints.get(source)
        if now is not None and saved.state["data"].get(source) != now:
            raise MismatchError(
                f"{saved.folder}: the tokens of {source!r} have changed since it was trained, so neither its "
                "data order nor its replay would be what was planned. Put the old tokens back, or give the "
                "campaign another name to start anew."
            )


def _check_machine(job: Job, stage: StagePlan, saved: Checkpoint) -> None:
    """Say when something has changed that makes bits differ, or refuse if bits are what counts.

    Raises:
        MismatchError: something has changed, and `--require-bitwise` was given.
    """
    before: dict[str, Any] = saved.state["machine"]
    changed = [
        f"{name} {before.get(name)} → {value}"
        for name, value in job.machine(stage).items()
        if before.get(name, value) != value
    ]
    if not changed:
        return
    if job.existing.require_bitwise:
        raise MismatchError(
            f"{saved.folder}: the machine differs ({', '.join(changed)}), so the last bits would differ from "
            "one run. Go on where it was begun, or without --require-bitwise."
        )
    message = f"the machine differs ({', '.join(changed)}): the last bits may differ from one run"
    job.journal(stage).event(int(saved.state["step"]), "warning", message)
    job.reporter.say(f"{stage.folder}: {message}", style="yellow")


def _as_json(counts: Mapping[str, Count]) -> dict[str, list[int]]:
    return {source: [count.new, count.replayed] for source, count in counts.items()}


def _counts(saved: Mapping[str, list[int]]) -> dict[str, Count]:
    return {source: Count(new, replayed) for source, (new, replayed) in saved.items()}
