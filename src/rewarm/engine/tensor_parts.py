"""Parts of tensors: what of a tensor this rank has, where that lies in the whole, and who writes it down.

A part is a block of the whole, given by its offset and shape. The whole is put together again from the parts
of any spread, so a checkpoint of four ranks can be read by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from rewarm.engine.grid import REPLICATE, SHARD, TENSOR, Grid
from rewarm.engine.parallelise import local

Block = tuple[Sequence[int], Sequence[int]]
"""Offset and shape of a part of a tensor."""


class TensorSource(Protocol):
    """Named tensors that can be read in parts, so that no rank has to hold a whole model."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the whole shape of every tensor."""
        ...

    def tensors(self, wanted: Mapping[str, Block]) -> Iterator[tuple[str, Tensor]]:
        """Yield the wanted parts, each once, in the order that suits the source."""
        ...


@dataclass(frozen=True, kw_only=True)
class TensorPart:
    """A part of a tensor."""

    tensor: Tensor
    """The part itself, on any device."""
    offset: tuple[int, ...]
    """Where it begins in the whole."""
    whole: tuple[int, ...]
    """Shape of the whole."""

    @property
    def is_whole(self) -> bool:
        """Whether there is no more of the tensor than this."""
        return tuple(self.tensor.shape) == self.whole


def part_of(tensor: Tensor) -> TensorPart:
    """Return the part of a tensor that this rank has."""
    whole = tuple(tensor.shape)
    if not isinstance(tensor, DTensor):
        return TensorPart(tensor=tensor.detach(), offset=(0,) * tensor.ndim, whole=whole)
    (chunk,) = tensor.__create_chunk_list__()
    return TensorPart(tensor=local(tensor.detach()), offset=tuple(chunk.offsets), whole=whole)


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


def overlap(one: Block, other: Block) -> Block | None:
    """Return the block that two blocks of one tensor have in common.

    >>> overlap(((0, 0), (4, 8)), ((2, 4), (4, 8)))
    ((2, 4), (2, 4))
    >>> overlap(((0,), (4,)), ((4,), (4,))) is None
    True
    """
    offset = tuple(map(max, one[0], other[0]))
    ends = [
        min(a + n, b + m) for a, n, b, m in zip(one[0], one[1], other[0], other[1], strict=True)
    ]
    shape = tuple(end - start for start, end in zip(offset, ends, strict=True))
    return None if any(length <= 0 for length in shape) else (offset, shape)


def slices(block: Block, origin: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices that take a block out of a tensor that begins at an origin."""
    return tuple(
        slice(start - zero, start - zero + length)
        for start, length, zero in zip(*block, origin, strict=True)
    )
