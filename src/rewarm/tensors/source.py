"""Where named tensors come from, read in parts, so that no process has to hold a whole model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rewarm.tensors.blocks import Block, slices


class TensorSource(Protocol):
    """Named tensors that can be read in parts.

    The names are those of a model's `state_dict`; a tied tensor has its first name alone.
    """

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the whole shape of every tensor, by name."""
        ...

    def tensors(self, wanted: Mapping[str, Block]) -> Iterator[tuple[str, Tensor]]:
        """Yield each wanted part once, in the order that suits the source.

        Args:
            wanted: names of `shapes`, and which part of each.

        Yields:
            The name, and the part: on the CPU, in memory of its own.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class MemorySource:
    """Tensors that are in memory already; floats are given in float32."""

    by_name: Mapping[str, Tensor]
    """On any device; they must not change while they are read."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every tensor, by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.by_name.items()}

    def tensors(self, wanted: Mapping[str, Block]) -> Iterator[tuple[str, Tensor]]:
        """Yield each wanted part once; see `TensorSource`."""
        for name, block in wanted.items():
            yield name, own_copy(self.by_name[name].detach()[slices(block)])


def own_copy(tensor: Tensor) -> Tensor:
    """Copy a tensor to the CPU, dense, and to float32 if it is a float."""
    to = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.to("cpu", to, copy=True, memory_format=torch.contiguous_format)
