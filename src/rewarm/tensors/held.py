"""What of a model's tensors this process holds, and filling it: all of each, or of a DTensor a part."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from rewarm.tensors.source import TensorSource


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


def local(tensor: Tensor) -> Tensor:
    """Return what this process has of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: Tensor) -> TensorPart:
    """Return the part of a tensor that this process has; it shares the tensor's memory."""
    whole = tuple(tensor.shape)
    if not isinstance(tensor, DTensor):
        return TensorPart(tensor=tensor.detach(), offset=(0,) * tensor.ndim, whole=whole)
    (chunk,) = tensor.__create_chunk_list__()
    return TensorPart(tensor=local(tensor.detach()), offset=tuple(chunk.offsets), whole=whole)


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and persistent buffers by name; a tied one under its first name alone.

    Args:
        model: the tensors are its own, not copies. Where it is sharded they are the shards.
    """
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    # Not `named_parameters`: after a forward pass without a backward, as in an evaluation, FSDP2 leaves whole
    # parameters in the place of the shards that the optimizer knows. `state_dict` puts the shards back.
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor
    return tensors


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the whole shapes of `own_tensors`, by name."""
    return {name: tuple(tensor.shape) for name, tensor in own_tensors(model).items()}


@torch.no_grad()
def fill(named: Mapping[str, Tensor], source: TensorSource) -> None:
    """Copy from a source what this process has of some tensors, in place.

    Args:
        named: in memory; they are written to.
        source: has a tensor of each name and of the same whole shape.
    """
    shapes = source.shapes()
    assert all(shapes.get(name) == tuple(tensor.shape) for name, tensor in named.items())
    parts = {name: part_of(tensor) for name, tensor in named.items()}
    wanted = {name: (part.offset, tuple(part.tensor.shape)) for name, part in parts.items()}
    for name, tensor in source.tensors(wanted):
        parts[name].tensor.copy_(tensor)
