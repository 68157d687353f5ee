"""How the ranks divide the work: which hold which part of the model, and which sequences each of them reads.

The ranks form a grid of four sides, pipeline × replicate × shard × tensor; neighbours on the last side are
neighbours in rank, since they talk most. Ranks that differ in replicate or shard have different data; those
that differ in pipeline or tensor alone work on the same.
"""

from dataclasses import dataclass
from typing import Literal


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


def bubble(layout: Layout, batch_sequences: int) -> float:
    """Return the share of a step in which a rank of the pipeline waits for others.

    (p - 1) / (v·m + p - 1), with p ranks, v runs of blocks on each and m micro-batches in a step. It takes
    every run of blocks to last equally long and sending to last no time.

    Args:
        layout: the spread.
        batch_sequences: sequences in the batch.

    >>> bubble(Layout(micro_batch=4, pipeline=4), 16)
    0.42857142857142855

    Source: 2104.04473, sections 2.2.1 and 2.2.2, which has the waiting over the working, (p - 1)/(v·m).
    """
    waiting = layout.pipeline - 1
    return waiting / (layout.stages_per_rank * layout.micro_batches(batch_sequences) + waiting)
