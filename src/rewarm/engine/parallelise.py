"""Spreading a part of a model over the ranks: matrices split, blocks recomputed, compiled and sharded.

What is asked for takes effect or is refused. Losses and gradients are sums, so nothing here divides by the
number of ranks.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from rewarm.engine.grid import SHARD, TENSOR, Grid
from rewarm.errors import CampaignError

_STYLES: dict[str, ParallelStyle] = {
    "colwise": ColwiseParallel(),
    "rowwise": RowwiseParallel(),
    "colwise_gather_output": ColwiseParallel(output_layouts=Replicate()),
    "rowwise_split_input": RowwiseParallel(input_layouts=Replicate()),
}
"""What transformers' names of tensor-parallel styles mean in torch's terms."""

SUMMED = "replicated_with_grad_allreduce"
"""The style of a weight that every tensor rank has whole but uses on its own heads alone, so that its
gradient is the sum of theirs."""

_KEPT_BY_SELECTIVE = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
}
"""Products that cost most to compute again; selective checkpointing keeps what they give."""


def spread(
    part: nn.Module,
    blocks: Sequence[nn.Module],
    styles: Mapping[str, str],
    grid: Grid,
    *,
    materialise: Callable[[nn.Module], None],
    sharded: bool = True,
) -> None:
    """Spread a part of a model over the ranks, in place.

    Memory is taken for one block at a time, and let go but for this rank's shard before the next.

    Args:
        part: its parameters are on the meta device.
        blocks: of the part.
        styles: how its matrices are split, by the name of the module.
        grid: where this rank is.
        materialise: gives the parameters of a module memory on the device.
        sharded: False leaves the model whole on every rank of the data side, for gradients that are added
            up elsewhere.

    Raises:
        CampaignError: something that the layout asks for is not possible, or did not take effect.
    """
    layout = grid.layout
    if layout.tensor > 1:
        _split_matrices(part, styles, grid)
    shards = sharded and layout.data > 1
    for block in blocks:
        if layout.activation_checkpointing != "none":
            _recompute(block, selective=layout.activation_checkpointing == "selective")
        if layout.compile:
            block.compile(dynamic=False)
        materialise(block)
        if shards:
            fully_shard(block, mesh=grid.data_mesh, reshard_after_forward=layout.reshard)
    materialise(part)
    if shards:
        fully_shard(part, mesh=grid.data_mesh, reshard_after_forward=False)
        _check_sharded(part)
        for module in part.modules():
            if isinstance(module, FSDPModule):
                # Gradients are added up, not averaged: each is of a sum over its rank's tokens.
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)


def _split_matrices(model: nn.Module, styles: Mapping[str, str], grid: Grid) -> None:
    ways = grid.layout.tensor
    assert grid.mesh is not None, "one rank splits nothing"
    unknown = sorted({style for style in styles.values() if style not in (*_STYLES, SUMMED)})
    if unknown:
        raise CampaignError(
            f"parallel.tensor = {ways}: the model's own plan for splitting uses {', '.join(unknown)}, which is "
            "not known here, and leaving it out would train another model. Use parallel.tensor = 1."
        )
    plan = {name: _STYLES[style] for name, style in styles.items() if style in _STYLES}
    parallelize_module(model, grid.mesh[TENSOR], plan, src_data_rank=None)
    for name in plan:
        if not is_split(model.get_submodule(name).get_parameter("weight")):
            raise CampaignError(
                f"{name} was to be split over {ways} ranks and was not. Use parallel.tensor = 1, and please "
                "report it."
            )


def _recompute(block: nn.Module, *, selective: bool) -> None:
    """Let the backward pass compute a block again instead of keeping all it made."""
    contexts: dict[str, Any] = {}
    if selective:
        contexts["context_fn"] = partial(create_selective_checkpoint_contexts, _selective)
    block.forward = _recomputed(block.forward, contexts)


def _recomputed(forward: Any, contexts: dict[str, Any]) -> Any:  # noqa: ANN401  (any signature)
    def recomputed(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **contexts, **kwargs)

    return recomputed


def _selective(_context: object, operation: object, *_args: object, **_kwargs: object) -> object:
    kept = operation in _KEPT_BY_SELECTIVE
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


def _check_sharded(part: nn.Module) -> None:
    """Refuse a model of which something was left whole."""
    whole = [
        name
        for name, parameter in part.named_parameters()
        if not isinstance(parameter, DTensor)
        or SHARD not in (parameter.device_mesh.mesh_dim_names or ())
    ]
    if whole:
        raise CampaignError(
            f"{len(whole)} parameters were to be sharded and were not ({whole[0]}, …). Use parallel.shard = 1, "
            "and please report it."
        )


def is_split(parameter: Tensor) -> bool:
    """Return whether a parameter is split over the tensor side."""
    if not isinstance(parameter, DTensor):
        return False
    names = parameter.device_mesh.mesh_dim_names or ()
    return TENSOR in names and not parameter.placements[names.index(TENSOR)].is_replicate()
