"""Where the weights of a model come from, read in parts, so that no process has to hold a whole model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Part = tuple[Sequence[int], Sequence[int]]
"""A block of a tensor: where it begins in each dimension, and how long it is in each."""


class TensorSource(Protocol):
    """Named tensors that can be read in parts.

    The names are those of the model's `state_dict`; a tied tensor has its first name alone.
    """

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every tensor, by name."""
        ...

    def tensors(self, wanted: Mapping[str, Part]) -> Iterator[tuple[str, Tensor]]:
        """Yield each wanted part once, in the order that suits the source.

        Args:
            wanted: names of `shapes`, and which part of each.

        Yields:
            The name, and the part: on the CPU, float32 if it is a float, in memory of its own.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class MemorySource:
    """Tensors that are in memory already."""

    by_name: Mapping[str, Tensor]
    """On any device; they must not change while they are read."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every tensor, by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.by_name.items()}

    def tensors(self, wanted: Mapping[str, Part]) -> Iterator[tuple[str, Tensor]]:
        """Yield each wanted part once; see `TensorSource`."""
        for name, part in wanted.items():
            yield name, own_copy(self.by_name[name].detach()[slices(part)])


def whole(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Part]:
    """Return the part of each tensor that is all of it.

    >>> whole({"weight": (3, 2)})
    {'weight': ((0, 0), (3, 2))}
    """
    return {name: ((0,) * len(shape), shape) for name, shape in shapes.items()}


def slices(part: Part) -> tuple[slice, ...]:
    """Return a part as an index.

    >>> slices(((2, 0), (1, 4)))
    (slice(2, 3, None), slice(0, 4, None))
    """
    offset, shape = part
    return tuple(slice(o, o + length) for o, length in zip(offset, shape, strict=True))


def own_copy(tensor: Tensor) -> Tensor:
    """Copy a tensor to the CPU, dense, and to float32 if it is a float."""
    to = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.to("cpu", to, copy=True, memory_format=torch.contiguous_format)
