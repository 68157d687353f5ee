"""How stages are carried out: optimizer, arithmetic, layout, evaluation, checkpoints."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rewarm.campaign.quantities import Length, Number, Share, parse_quantity
from rewarm.campaign.table import NotNegative, Positive, Table

Packing = Literal["cut", "best-fit"]
"""How documents become sequences."""
Beta = Annotated[Number, Field(ge=0, lt=1)]


class Optimizer(Table):
    """AdamW, as in the paper (Table 13 and the authors' configurations)."""

    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """Decay rates of the two moments."""
    eps: Annotated[Number, Field(gt=0)] = 1e-8
    """Added to the denominator."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.1
    """Decoupled weight decay, on matrices only."""
    clip_norm: Annotated[Number, Field(gt=0)] = 1.0
    """Largest global norm of the gradient."""


class Training(Table):
    """How the steps are carried out."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the matrix products; weights and optimizer state are fp32. fp16 scales the loss."""
    micro_batch: Positive | None = None
    """Sequences that go through the model at once, on each rank that has data of its own; must divide its
    part of the batch. Default: as many as make at most 16,384 tokens."""
    documents: Literal["joined", "isolated"] = "joined"
    """What a token may look back at: all that stands before it in its sequence, as in the paper; or its own
    document alone, where positions are counted anew in each. Keep what the base model was trained with."""
    packing: Packing = "cut"
    """How training documents become sequences. cut: end to end, and cut wherever a sequence ends, as in the
    paper. best-fit: no document that fits is cut; sequences then end with up to a few tokens of nothing, which
    are counted as read but not trained on (0.1% of our corpora). Validation text is cut in any case."""
    not_finite: Literal["stop", "skip", "rewind"] = "stop"
    """After a loss or gradient that is not finite, which never reaches the weights: end; leave the batch
    out; or go back to the newest checkpoint and leave the batch out when it comes again."""
    deterministic: Literal["same-layout", "world-invariant"] = "same-layout"
    """What has the same bits: a resumed run on the same number of ranks; or any number of ranks, where all
    gradients are added in one order (to verify with: fp32 on CPUs, every rank holds the whole model, their
    number is a power of two, and `training.micro_batch` is given)."""


class Parallel(Table):
    """How the work is spread over ranks, one process for each device.

    It changes results by rounding alone, so a run may go on with another spread.
    """

    tensor: Positive | Literal["auto"] = "auto"
    """Ranks over which the matrices of each block are split."""
    pipeline: Positive | Literal["auto"] = "auto"
    """Ranks over which the blocks are laid, end to end."""
    shard: Positive | Literal["auto"] = "auto"
    """Ranks over which weights, gradients and optimizer state are sharded (FSDP2). Where there are more for
    the data than that, the others hold copies (HSDP); 1 means that every one has a copy."""
    reshard: bool | Literal["auto"] = "auto"
    """Whether gathered weights are let go between forward and backward: less memory, more traffic (ZeRO-3);
    without, they are kept until the step is done (the nearest to ZeRO-1)."""
    pipeline_schedule: Literal["1f1b", "interleaved"] = "1f1b"
    """Order of the micro-batches in the pipeline; interleaved gives each rank several runs of blocks."""
    stages_per_rank: Positive | Literal["auto"] = "auto"
    """Runs of blocks on each rank of a pipeline: 1, or 2 and more where it is interleaved."""
    activation_checkpointing: Literal["auto", "none", "selective", "full"] = "auto"
    """What the backward pass computes again instead of keeping: nothing, all but the matrix products of a
    block, or whole blocks."""
    compile: bool = False
    """Whether each block is compiled by torch.compile."""
    device_memory: Annotated[Number, Field(gt=0)] = 80.0
    """Memory of a device in GB (10^9 bytes), nine tenths of which "auto" may fill by the estimate."""
    timeout: Positive = 600
    """Seconds without an answer after which a rank counts as lost."""

    @model_validator(mode="after")
    def _stages_fit_the_schedule(self) -> "Parallel":
        stages, kind = self.stages_per_rank, self.pipeline_schedule
        if stages != "auto" and (stages > 1) != (kind == "interleaved"):
            raise ValueError(
                f"stages_per_rank = {stages} does not go with the schedule {kind}: 1f1b has 1, interleaved "
                "2 or more"
            )
        return self


class Evaluation(Table):
    """When and on what the validation loss is measured, and the prompts that are continued."""

    every: Length = parse_quantity("5%")
    """Distance between evaluations; one more comes at step 0 of every stage."""
    sequences: Positive = 128
    """Validation sequences of each dataset, the same at every evaluation."""
    final_steps: NotNegative = 100
    """The final loss is the mean over the last so many steps, which no stage may be shorter than (0: the last
    step alone) …"""
    final_every: Positive = 10
    """… sampled every so many steps (paper section 6.2)."""
    max_overlap: Share | None = None
    """Largest share of a validation set's documents that may be training text as well, as `rewarm overlap`
    measures it; training does not begin above it, nor before it is measured. No limit by default."""
    prompts: list[str] = []
    """Texts that the finished model of every stage continues."""
    prompt_tokens: Positive = 48
    """How many tokens it adds."""


class Checkpoints(Table):
    """When the state is saved and how many states are kept."""

    every: Length = parse_quantity("10%")
    """Distance between checkpoints; the end of a stage always has one, and where others branch off."""
    keep: Positive | Literal["all"] = 2
    """How many of the newest stay, or "all"; stage ends and branch points stay in any case."""
    keep_every: Length | None = None
    """Distance of checkpoints that stay for good, to branch off from later; none by default."""
    in_background: bool = True
    """Whether a checkpoint is written while training goes on, which then waits for a copy in memory alone."""
