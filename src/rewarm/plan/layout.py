"""How the ranks divide the work: which hold which part of the model, and which sequences each of them reads.

The ranks form a grid of four sides, pipeline × replicate × shard × tensor; neighbours on the last side are
neighbours in rank, since they talk most. Ranks that differ in replicate or shard have different data; those
that differ in pipeline or tensor alone work on the same.
"""

from dataclasses import dataclass
from typing import Literal

from rewarm.campaign.campaign import Campaign
from rewarm.errors import CampaignError
from rewarm.plan.model import ModelSize


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A spread over ranks, with nothing left to choose."""

    micro_batch: int
    """Sequences that go through the model at once on each data-parallel rank."""
    pipeline: int = 1
    """Ranks over which the blocks are laid, end to end."""
    replicate: int = 1
    """Copies of each shard."""
    shard: int = 1
    """Ranks over which weights, gradients and optimizer state are sharded."""
    tensor: int = 1
    """Ranks over which the matrices of a block are split."""
    reshard: bool = False
    """Whether gathered weights are let go between forward and backward."""
    pipeline_schedule: Literal["1f1b", "interleaved"] = "1f1b"
    """Order of the micro-batches in a pipeline."""
    stages_per_rank: int = 1
    """Runs of blocks on each rank of a pipeline."""
    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    """What the backward pass computes again."""
    compile: bool = False
    """Whether each block is compiled."""

    @property
    def ranks(self) -> int:
        """All ranks."""
        return self.pipeline * self.data * self.tensor

    @property
    def data(self) -> int:
        """Ranks that have sequences of their own."""
        return self.replicate * self.shard

    @property
    def stages(self) -> int:
        """Runs of blocks in the pipeline."""
        return self.pipeline * self.stages_per_rank

    def micro_batches(self, batch_sequences: int) -> int:
        """Return how many micro-batches each rank has in a step."""
        return batch_sequences // self.data // self.micro_batch

    def __str__(self) -> str:
        sides = {
            "pipeline": self.pipeline,
            "replicate": self.replicate,
            "shard": self.shard,
            "tensor": self.tensor,
        }
        named = [f"{name} {count}" for name, count in sides.items() if count > 1]
        return " × ".join(named) or "one rank"


def rows_of(layout: Layout, data_rank: int, batch_sequences: int) -> range:
    """Return the positions in a batch that a data-parallel rank reads: one run of them each, in order.

    Args:
        layout: the spread.
        data_rank: from 0 to `layout.data` - 1.
        batch_sequences: sequences in the batch.

    >>> rows_of(Layout(micro_batch=2, shard=4), 1, 16)
    range(4, 8)
    """
    each = batch_sequences // layout.data
    return range(data_rank * each, (data_rank + 1) * each)


def blocks_of(layers: int, stages: int) -> list[range]:
    """Return the blocks of each stage of a pipeline: runs of them, as even as can be.

    Where they do not come out even, the stages from the second on have one more. The first, which has the
    embedding too, has one more only if all but the last have; the last, which has the head, never.

    Args:
        layers: blocks of the model.
        stages: runs to make, from 1 to `layers`; stage v is on rank v mod `pipeline` of the pipeline.

    >>> blocks_of(10, 4)
    [range(0, 2), range(2, 5), range(5, 8), range(8, 10)]
    """
    assert 1 <= stages <= layers
    each, more = divmod(layers, stages)
    first = 0 if more == stages - 1 else 1
    counts = [each + (first <= stage < first + more) for stage in range(stages)]
    return [range(sum(counts[:stage]), sum(counts[: stage + 1])) for stage in range(stages)]


def plan_layout(campaign: Campaign, size: ModelSize | None, ranks: int) -> Layout:
    """Choose what a campaign leaves open, and refuse what cannot be.

    Args:
        campaign: with its `[parallel]` table.
        size: of the model; None if not known yet, and then nothing is checked against it.
        ranks: how many there are.

    Raises:
        CampaignError: the ranks cannot be divided so, or the batch or the model cannot.
    """
    asked = campaign.parallel
    tensor = 1 if asked.tensor == "auto" else asked.tensor
    pipeline = 1 if asked.pipeline == "auto" else asked.pipeline
    if ranks % (tensor * pipeline):
        raise CampaignError(
            f"{ranks} ranks are not a multiple of parallel.tensor = {tensor} times parallel.pipeline = "
            f"{pipeline}. Use another number of ranks, or change one of them."
        )
    data = ranks // (tensor * pipeline)
    invariant = campaign.training.deterministic == "world-invariant"
    shard = asked.shard if asked.shard != "auto" else 1 if invariant else data
    if data % shard:
        raise CampaignError(
            f"parallel.shard = {shard} does not divide the {data} ranks that have data of their own ({ranks} "
            f"ranks / tensor {tensor} / pipeline {pipeline}). Use a divisor of {data}."
        )
    per_rank = 2 if asked.pipeline_schedule == "interleaved" else 1
    if asked.stages_per_rank != "auto":
        per_rank = asked.stages_per_rank
    layout = Layout(
        micro_batch=_micro_batch(campaign, data, pipeline),
        pipeline=pipeline,
        replicate=data // shard,
        shard=shard,
        tensor=tensor,
        reshard=False if asked.reshard == "auto" else asked.reshard,
        pipeline_schedule=asked.pipeline_schedule,
        stages_per_rank=per_rank if pipeline > 1 else 1,
        activation_checkpointing=(
            "none" if asked.activation_checkpointing == "auto" else asked.activation_checkpointing
        ),
        compile=asked.compile,
    )
    if size is not None:
        _check_model(layout, size)
    if invariant:
        _check_invariant(campaign, layout)
    return layout


def _micro_batch(campaign: Campaign, data: int, pipeline: int) -> int:
    """Return the sequences that a rank takes at once; a pipeline needs a portion for each of its ranks."""
    if campaign.batch_sequences % data:
        raise CampaignError(
            f"the batch of {campaign.batch_sequences:,} sequences cannot be divided among {data} ranks, so "
            "their batches would not be those of one rank. Use a number of ranks that divides it (after "
            "parallel.tensor and parallel.pipeline), or another batch."
        )
    each = campaign.batch_sequences // data
    chosen = campaign.training.micro_batch
    if chosen is None:
        fitting = [n for n in campaign.micro_batches(each) if each // n % pipeline == 0]
        if not fitting:
            raise CampaignError(
                f"a pipeline of {pipeline} ranks needs {pipeline} micro-batches or a multiple of them, but "
                f"each rank has {each:,} sequences of the batch. Use a larger batch, fewer ranks, or a "
                "shorter pipeline."
            )
        return max(fitting)
    if each % chosen:
        raise CampaignError(
            f"training.micro_batch = {chosen} does not divide the {each:,} sequences that each of {data} "
            "ranks has of the batch. Use a divisor of it, or leave it out."
        )
    if each // chosen % pipeline:
        raise CampaignError(
            f"training.micro_batch = {chosen} makes {each // chosen} micro-batches on each rank; a pipeline "
            f"of {pipeline} ranks needs {pipeline} or a multiple of them. Make it smaller."
        )
    return chosen


def _check_model(layout: Layout, size: ModelSize) -> None:
    if layout.stages > size.layers:
        raise CampaignError(
            f"a pipeline of {layout.stages} stages cannot be made of {size.layers} blocks. Use "
            "parallel.pipeline and stages_per_rank whose product is at most that."
        )
    for what, count in (("attention heads", size.heads), ("key-value heads", size.key_value_heads)):
        if count % layout.tensor:
            raise CampaignError(
                f"parallel.tensor = {layout.tensor} does not divide the model's {count} {what}, which are what "
                "it splits. Use a divisor of them."
            )


def _check_invariant(campaign: Campaign, layout: Layout) -> None:
    """Refuse what would not give the same bits on any number of ranks."""
    portions = campaign.batch_sequences // layout.micro_batch
    wrong = (
        "precision must be fp32"
        if campaign.training.precision != "fp32"
        else "every rank must hold the whole model (tensor, pipeline and shard are 1)"
        if layout.replicate != layout.ranks
        else "training.micro_batch must be written down, since it decides bits"
        if campaign.training.micro_batch is None
        else f"{layout.ranks} ranks are not a power of two"
        if layout.ranks & (layout.ranks - 1)
        else f"{portions} micro-batches cannot be divided among {layout.ranks} ranks"
        if portions % layout.ranks
        else "parallel.compile must be off"
        if layout.compile
        else None
    )
    if wrong:
        raise CampaignError(
            f'training.deterministic = "world-invariant": {wrong}. Change that, or use "same-layout".'
        )
