"""Which parts of its tensors a rank writes down, so that a checkpoint has every part once."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from rewarm.engine.grid import REPLICATE, SHARD, TENSOR, Grid
from rewarm.tensors.held import TensorPart, part_of


def whole_parts(named: Mapping[str, Tensor]) -> dict[str, TensorPart]:
    """Return what a rank alone writes of tensors: all of each."""
    return {name: part_of(tensor) for name, tensor in named.items()}


def parts_to_write(named: Mapping[str, Tensor], grid: Grid) -> dict[str, TensorPart]:
    """Return the parts that this rank writes down, so that of several ranks with the same one does.

    Args:
        named: tensors of this rank; those that another pipeline rank writes are left out by the caller.
        grid: where this rank is.
    """
    found: dict[str, TensorPart] = {}
    for name, tensor in named.items():
        copies = {REPLICATE, SHARD, TENSOR} - _divided_sides(tensor)
        if any(grid.at(side) for side in copies):
            continue
        part = part_of(tensor)
        if part.tensor.numel() or not torch.Size(part.whole).numel():
            found[name] = part
    return found


def _divided_sides(tensor: Tensor) -> set[str]:
    """Return the sides along which a tensor is divided."""
    if not isinstance(tensor, DTensor):
        return set()
    names = tensor.device_mesh.mesh_dim_names or ()
    return {
        name
        for name, place in zip(names, tensor.placements, strict=True)
        if not place.is_replicate()
    }
