"""How much memory a rank needs, from the sizes of the model and of the layout; nothing is measured here.

Counted is what is held for long: weights, gradients, optimizer state, gathered weights, what the backward
pass keeps, the head, and the buffers of a pipeline. Left out are the temporaries of single operations, the
buffers of collectives, what an allocator wastes, and the context of a device.
"""

from dataclasses import dataclass
from math import ceil

from rewarm.plan.layout import Layout, blocks_of
from rewarm.plan.model import ModelSize

HEAD_TOKENS = 1024
"""Tokens whose logits are held at once (the chunk of the loss)."""


@dataclass(frozen=True, kw_only=True)
class RankMemory:
    """What one rank holds, in bytes; all ranks at one place of the pipeline hold equally much."""

    blocks: int
    """Blocks of the model that it has."""
    held: int
    """Parameters that it computes with: its part after pipeline and tensor, before sharding."""
    parameters: int
    """fp32 weights, sharded."""
    gradients: int
    """fp32 gradients: sharded, or whole while they are added up over micro-batches without resharding."""
    optimizer: int
    """The two fp32 moments of AdamW, sharded."""
    gathered: int
    """Whole fp32 weights gathered from the shards, and the 16-bit copies that matrix products use."""
    activations: int
    """What the blocks keep for the backward pass, of all micro-batches in flight."""
    head: int
    """On the last rank: logits of a chunk, the head's 16-bit copy and gradient, and the final norm."""
    buffers: int
    """What a pipeline receives into, and what it has sent and still keeps."""

    @property
    def total(self) -> int:
        """All of it."""
        return (
            self.parameters
            + self.gradients
            + self.optimizer
            + self.gathered
            + self.activations
            + self.head
            + self.buffers
        )


def rank_memory(
    size: ModelSize,
    layout: Layout,
    *,
    batch_sequences: int,
    sequence_length: int,
    precision: str,
) -> list[RankMemory]:
    """Estimate what each rank of the pipeline needs while it trains.

    With n the parameters that a rank computes with, sharded over s ranks: weights 4·n/s, moments 8·n/s,
    gradients 4·n/s, or 4·n where micro-batches are added up without resharding. Where there are several
    ranks for the data, gathered weights come on top: 4·n, or those of two blocks and of what is outside
    of the blocks when they are resharded. In 16 bits every matrix has a copy of 2 bytes a parameter, which the
    backward pass keeps whether or not weights are resharded.

    Args:
        size: of the model.
        layout: the spread.
        batch_sequences: sequences in the batch.
        sequence_length: tokens in a sequence.
        precision: of matrix products; all but "fp32" have 16 bits.

    Returns:
        One for each rank of the pipeline, in order.

    Source: what torch allocates, by `tests/plan/test_memory.py`; see `activation_bytes` and `in_flight` too.
    """
    return [
        _memory_of(size, layout, rank, batch_sequences, sequence_length, precision)
        for rank in range(layout.pipeline)
    ]


def activation_bytes(
    size: ModelSize, *, tensor: int, precision: str, checkpointing: str
) -> tuple[int, int]:
    """Return what a block keeps of each token for the backward pass, and what it needs while recomputing.

    With w the width, a and k the widths of all queries and of all keys, f the width inside the feed-forward
    part, b the bytes of a matrix product's number (4 or 2) and t the tensor ranks, a GPT-NeoX block keeps

        4·w         its input, which both norms read
        2·b·w       the outputs of the norms, as the matrix products take them
        b·(a + 2·k)/t       queries, keys and values as they come from their matrix
        b·(a + k)/t         queries and keys, rotated
        2·b·a/t     the output of attention, and the same with the heads side by side
        2·b·f/t     the feed-forward part before and after its activation function
        16 + 4·heads/t      means and deviations of the norms, and the sums of attention's exponentials

    which is 72·w in fp32 and 38·w in 16 bits, and little more. A Llama block reads the stream twice and keeps
    a product inside each norm, 16·w in all; it casts the norms' outputs for each matrix anew (2·b·w in fp32,
    5·b·w in 16 bits), copies no attention, and keeps four of f. "full" keeps the input, 4·w, and recomputes
    the rest of one block at a time; "selective" keeps also what matrix products and attention put out.

    Args:
        size: of the model.
        tensor: ranks that split what is inside attention and feed-forward part.
        precision: of matrix products.
        checkpointing: "none", "selective" or "full".

    Returns:
        Bytes kept of each token by each block, and bytes needed once on top.

    Source: measured, `tests/plan/test_memory.py`. 2205.05198, Eq. 2, has 34·w in 16 bits: with masks of
    dropout, without the rotation and the second copy of attention's output.
    """
    number = 4 if precision == "fp32" else 2
    queries = size.attention_width
    keys = queries // size.heads * size.key_value_heads
    width, inner = size.width, size.intermediate
    sums = 4 * size.heads
    if size.gated:
        normed = 2 if precision == "fp32" else 5
        whole = 16 * width + normed * number * width + 8
        split = number * (2 * queries + 2 * keys + 4 * inner) + sums
        products = number * (2 * queries + 2 * keys + 2 * inner) + sums
    else:
        whole = 4 * width + 2 * number * width + 16
        split = number * (4 * queries + 3 * keys + 2 * inner) + sums
        products = number * (2 * queries + 2 * keys + inner) + sums
    everything = whole + split // tensor
    kept = {
        "none": everything,
        "selective": 4 * width + 2 * number * width + products // tensor,
        "full": 4 * width,
    }[checkpointing]
    return kept, everything - kept


def in_flight(layout: Layout, rank: int, micro_batches: int) -> int:
    """Return the runs of blocks whose activations a rank of the pipeline holds at once, at most.

    1f1b: min(p - rank, m). Interleaved, with v runs of blocks on each rank:
    min(2·(p - rank - 1) + (v - 1)·p + 1, v·m).

    Args:
        layout: the spread.
        rank: in the pipeline, from 0.
        micro_batches: m, in a step.

    Source: 2104.04473, section 2.2; the steps before the first backward pass, and one.
    """
    behind = layout.pipeline - rank - 1
    runs = layout.stages_per_rank
    if runs == 1:
        return min(behind + 1, micro_batches)
    return min(2 * behind + (runs - 1) * layout.pipeline + 1, runs * micro_batches)


def _memory_of(
    size: ModelSize,
    layout: Layout,
    rank: int,
    batch_sequences: int,
    sequence_length: int,
    precision: str,
) -> RankMemory:
    micro_batches = layout.micro_batches(batch_sequences)
    tokens = layout.micro_batch * sequence_length
    is_last = rank == layout.pipeline - 1
    blocks = _blocks_on(size, layout, rank)
    split = size.block_split // layout.tensor
    root = _root(size, layout, rank)
    held = blocks * (split + size.block_whole) + root
    has_data_ranks = layout.data > 1
    adds_up_whole = has_data_ranks and not layout.reshard and micro_batches > 1
    two_blocks = min(2, blocks) * (split + size.block_whole)
    gathered = 4 * (two_blocks + root if layout.reshard else held) if has_data_ranks else 0
    copies = 0 if precision == "fp32" else 2 * blocks * split
    kept, once = activation_bytes(
        size,
        tensor=layout.tensor,
        precision=precision,
        checkpointing=layout.activation_checkpointing,
    )
    flying = in_flight(layout, rank, micro_batches)
    return RankMemory(
        blocks=blocks,
        held=held,
        parameters=ceil(4 * held / layout.shard),
        gradients=4 * held if adds_up_whole else ceil(4 * held / layout.shard),
        optimizer=ceil(8 * held / layout.shard),
        gathered=gathered + copies,
        activations=tokens * (ceil(flying * blocks / layout.stages_per_rank) * kept + once),
        head=_head(size, tokens, precision) if is_last else 0,
        buffers=_buffers(layout, rank, micro_batches, flying) * 4 * tokens * size.width,
    )


def _blocks_on(size: ModelSize, layout: Layout, rank: int) -> int:
    """Return how many blocks a rank of the pipeline has, over all its runs of them."""
    stages = blocks_of(size.layers, layout.stages)
    return sum(len(stage) for stage in stages[rank :: layout.pipeline])


def _root(size: ModelSize, layout: Layout, rank: int) -> int:
    """Return the parameters outside of blocks: embedding on the first rank, final norm and head on the last."""
    matrix = size.vocabulary * size.width
    first, last = rank == 0, rank == layout.pipeline - 1
    shared = size.tied and first and last
    return first * matrix + last * (size.outside + (0 if shared else matrix))


def _head(size: ModelSize, tokens: int, precision: str) -> int:
    """Return the bytes of the final norm, the head and the loss (`models/loss.py`)."""
    chunk = min(HEAD_TOKENS, tokens)
    matrix = size.vocabulary * size.width
    logits = chunk * size.vocabulary * (4 if precision == "fp32" else 6)
    copy = 0 if precision == "fp32" else 2 * matrix
    # The norm's input and output and the gradient of its output; a gated model's norm has a product inside.
    states = (4 if size.gated else 3) * 4 * tokens * size.width
    return logits + copy + 4 * matrix + states


def _buffers(layout: Layout, rank: int, micro_batches: int, flying: int) -> int:
    """Return how many hidden states of a micro-batch a pipeline's rank has outside of its activations.

    Each run of blocks receives all micro-batches of a step into buffers of their own, hidden states and
    gradients; those in flight are among the activations. What it sent is kept until its backward pass.
    """
    if layout.pipeline == 1:
        return 0
    runs = layout.stages_per_rank
    inputs = (runs - (rank == 0)) * micro_batches
    gradients = (runs - (rank == layout.pipeline - 1)) * micro_batches
    sent = flying if gradients else 0
    return max(0, inputs - flying) + gradients + sent
