"""From a campaign and a number of ranks to a layout: what is asked for, what "auto" comes to, and why.

"auto" tries layouts from the least to the most that slows training down, and takes the first that fits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rewarm.campaign.campaign import Campaign
from rewarm.errors import CampaignError
from rewarm.plan.layout import Layout
from rewarm.plan.memory import RankMemory, rank_memory
from rewarm.plan.model import ModelSize
from rewarm.plan.plan import Plan
from rewarm.plan.stage import StagePlan

USABLE = 0.9
"""Part of a device that a layout may fill by the estimate; the rest is for what the estimate leaves out."""

_TENSORS = (1, 2, 4, 8)
_GB = 1e9

Checkpointing = Literal["none", "selective", "full"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A layout and why it is this one."""

    layout: Layout
    """The spread."""
    memory: tuple[RankMemory, ...]
    """What each rank of the pipeline needs; empty while the model's size is not known."""
    reasons: tuple[str, ...]
    """Why, one sentence each."""
    note: str | None = None
    """What is wrong with it: nothing that was tried fits. Training is not refused for an estimate."""

    @property
    def most_bytes(self) -> int:
        """What the rank needs that needs most; 0 while the model's size is not known."""
        return max((rank.total for rank in self.memory), default=0)


def plan_layout(campaign: Campaign, size: ModelSize | None, ranks: int) -> Layout:
    """Choose what a campaign leaves open, and refuse what cannot be.

    Args:
        campaign: with its `[parallel]` table.
        size: of the model; None if not known yet, and then nothing is checked against it.
        ranks: how many there are.

    Raises:
        CampaignError: the ranks cannot be divided so, or the batch or the model cannot.
    """
    return choose_layout(campaign, size, ranks).layout


def choose_layout(campaign: Campaign, size: ModelSize | None, ranks: int) -> Choice:
    """Choose a layout as `plan_layout` does, and say why.

    Where the campaign says "auto", the first of these is taken that fits in nine tenths of
    `parallel.device_memory`: sharded over all ranks that have data of their own; resharded; with selective
    activation checkpointing; with full; the same over tensor 2, 4, 8; the same over pipeline 2, 4, 8, … If none
    fits, it is the smallest, with a note.

    Args:
        campaign: with its `[parallel]` table.
        size: of the model; None if not known yet.
        ranks: how many there are.

    Raises:
        CampaignError: the ranks cannot be divided so, or the batch or the model cannot.
    """
    first, *others = _options(campaign, size, ranks)
    plain = _layout(campaign, size, ranks, first)
    if size is None:
        reason = "the model's size is not known yet, so nothing was chosen by memory"
        return Choice(layout=plain, memory=(), reasons=(reason,))
    usable_bytes = USABLE * campaign.parallel.device_memory * _GB
    tried: dict[_Option, Choice] = {}
    for option in (first, *others):
        layout = plain if option == first else _layout_or_none(campaign, size, ranks, option)
        if layout is None:
            continue
        tried[option] = choice = Choice(
            layout=layout, memory=_memory(campaign, size, layout), reasons=()
        )
        if choice.most_bytes <= usable_bytes:
            return replace(choice, reasons=_reasons(campaign, option, tried))
    option = min(tried, key=lambda option: tried[option].most_bytes)
    smallest = tried[option]
    return replace(
        smallest,
        reasons=_reasons(campaign, option, tried),
        note=(
            f"by the estimate this does not fit: a rank needs {_gb(smallest.most_bytes)} GB at the least, of "
            f"all that was tried; a device has {campaign.parallel.device_memory:g} GB, and a tenth is left "
            "free. Use more ranks or a smaller training.micro_batch, or leave more of [parallel] to auto"
        ),
    )


def choose_layouts(plan: Plan, ranks: int) -> list[tuple[list[StagePlan], Choice]]:
    """Choose a layout for every stage of a plan; those that come to the same are together.

    Args:
        plan: whose arms may have models, batches and settings of their own.
        ranks: how many there are.

    Raises:
        CampaignError: a stage cannot be spread so.
    """
    found: list[tuple[list[StagePlan], Choice]] = []
    for stage in plan.stages:
        choice = choose_layout(stage.campaign, plan.size_of(stage), ranks)
        same = [stages for stages, other in found if _same_work(stages[0], stage, other, choice)]
        if same:
            same[0].append(stage)
        else:
            found.append(([stage], choice))
    return found


def _same_work(one: StagePlan, other: StagePlan, *choices: Choice) -> bool:
    return one.batch_sequences == other.batch_sequences and choices[0] == choices[1]


def for_one_rank(campaign: Campaign) -> Campaign:
    """Return a campaign as one rank would carry it out, whatever spread it asks for."""
    alone = {"tensor": 1, "pipeline": 1, "shard": 1}
    return campaign.model_copy(update={"parallel": campaign.parallel.model_copy(update=alone)})


@dataclass(frozen=True, kw_only=True)
class _Option:
    """One setting of all that may be left to "auto"."""

    pipeline: int
    tensor: int
    reshard: bool
    checkpointing: Checkpointing


def _options(campaign: Campaign, size: ModelSize | None, ranks: int) -> Iterator[_Option]:
    """Yield what may be chosen, best first; which of it is possible is found out later."""
    asked = campaign.parallel
    alone = size is None or campaign.training.deterministic == "world-invariant"
    pipelines = [1] if asked.pipeline == "auto" else [asked.pipeline]
    can_be_longer = not alone and campaign.training.documents == "joined"
    if asked.pipeline == "auto" and size is not None and can_be_longer:
        pipelines += [2**n for n in range(1, min(size.layers, ranks).bit_length())]
    tensors = [asked.tensor] if asked.tensor != "auto" else [1] if alone else _TENSORS
    for pipeline in pipelines:
        for tensor in tensors:
            for reshard, checkpointing in _savings(campaign, alone or ranks <= tensor * pipeline):
                yield _Option(
                    pipeline=pipeline, tensor=tensor, reshard=reshard, checkpointing=checkpointing
                )


def _savings(campaign: Campaign, has_whole_weights: bool) -> Iterator[tuple[bool, Checkpointing]]:
    """Yield whether to reshard and what to recompute: first nothing, then all the more."""
    asked = campaign.parallel
    reshards = [False] if has_whole_weights else [False, True]
    if asked.reshard != "auto":
        reshards = [asked.reshard]
    levels: tuple[Checkpointing, ...] = ("none", "selective", "full")
    if asked.activation_checkpointing != "auto":
        levels = (asked.activation_checkpointing,)
    for reshard in reshards:
        yield reshard, levels[0]
    for level in levels[1:]:
        yield reshards[-1], level


def _memory(campaign: Campaign, size: ModelSize, layout: Layout) -> tuple[RankMemory, ...]:
    return tuple(
        rank_memory(
            size,
            layout,
            batch_sequences=campaign.batch_sequences,
            sequence_length=campaign.sequence_length,
            precision=campaign.training.precision,
        )
    )


def _reasons(campaign: Campaign, taken: _Option, tried: dict[_Option, Choice]) -> tuple[str, ...]:
    """Say what was chosen, and what would have been needed with less of it, by what was tried."""
    choice = tried[taken]
    layout = choice.layout
    said: list[str] = []
    if layout.shard > 1:
        said.append(_sharded(choice))
    if layout.replicate > 1:
        said.append(f"replicate {layout.replicate}: so many copies of each shard, as asked for")
    usable = f"{USABLE * campaign.parallel.device_memory:g} GB"
    same_sides = [o for o in tried if (o.pipeline, o.tensor) == (taken.pipeline, taken.tensor)]
    less = {
        f"pipeline {taken.pipeline}": [o for o in tried if o.pipeline < taken.pipeline],
        f"tensor {taken.tensor}": [
            o for o in tried if o.pipeline == taken.pipeline and o.tensor < taken.tensor
        ],
        "reshard": [o for o in same_sides if taken.reshard and not o.reshard],
        f"{taken.checkpointing} activation checkpointing": [
            o
            for o in same_sides
            if o.reshard == taken.reshard and o.checkpointing != taken.checkpointing
        ],
    }
    for what, options in less.items():
        if options:
            least = _gb(min(tried[option].most_bytes for option in options))
            said.append(f"{what}: {least} GB without it, which do not fit in {usable}")
    said.append(
        f"a rank needs {_gb(choice.most_bytes)} GB at most, of {campaign.parallel.device_memory:g} GB"
    )
    return tuple(said)


def _sharded(choice: Choice) -> str:
    """Say what is divided: gradients are not, where micro-batches are added up without resharding."""
    most, shard = max(choice.memory, key=lambda rank: rank.held), choice.layout.shard
    if most.gradients < 4 * most.held:
        return (
            f"shard {shard}: weights, gradients and optimizer state of {_gb(16 * most.held)} GB are divided by "
            f"{shard}"
        )
    return (
        f"shard {shard}: weights and optimizer state of {_gb(12 * most.held)} GB are divided by {shard}; "
        f"gradients of {_gb(most.gradients)} GB are whole on each rank, since micro-batches are added up in "
        "them without resharding (parallel.reshard)"
    )


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / _GB:.3g}"


def _layout_or_none(
    campaign: Campaign, size: ModelSize, ranks: int, option: _Option
) -> Layout | None:
    """Return the layout of an option that nobody asked for; None if it cannot be."""
    try:
        return _layout(campaign, size, ranks, option)
    except CampaignError:
        return None


def _layout(campaign: Campaign, size: ModelSize | None, ranks: int, option: _Option) -> Layout:
    """Make the layout of an option, or refuse it with the reason."""
    asked = campaign.parallel
    tensor, pipeline = option.tensor, option.pipeline
    if ranks % (tensor * pipeline):
        raise CampaignError(
            f"parallel.tensor = {tensor} times parallel.pipeline = {pipeline} does not divide the number of "
            f"ranks, {ranks:,}. Use another number of ranks (--ranks), or change one of them."
        )
    data = ranks // (tensor * pipeline)
    invariant = campaign.training.deterministic == "world-invariant"
    shard = asked.shard if asked.shard != "auto" else 1 if invariant else data
    if data % shard:
        raise CampaignError(
            f"parallel.shard = {shard} does not divide the number of ranks that have data of their own, "
            f"{data:,} ({ranks:,} in all / tensor {tensor} / pipeline {pipeline}). Use a divisor of it."
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
        reshard=option.reshard,
        pipeline_schedule=asked.pipeline_schedule,
        stages_per_rank=per_rank if pipeline > 1 else 1,
        activation_checkpointing=option.checkpointing,
        compile=asked.compile,
    )
    if pipeline > 1 and campaign.training.documents == "isolated":
        raise CampaignError(
            'training.documents = "isolated": documents are found by their token ids, and of a pipeline the '
            "first rank alone has them. Use parallel.pipeline = 1."
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
    split = {
        "attention heads": size.heads,
        "key-value heads": size.key_value_heads,
        "numbers inside the feed-forward part": size.intermediate,
    }
    for what, count in split.items():
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
