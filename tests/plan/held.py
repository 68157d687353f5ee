"""What a rank really holds: the bytes of weights, gradients and moments, and of what autograd keeps."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def state_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Return the bytes of this rank's part of weights, gradients and moments, each storage once.

    The names are those of `RankMemory`. Sharded and split tensors count by what is here of them.
    """
    parameters = list(model.parameters())
    gradients = [p.grad for p in parameters if p.grad is not None]
    moments = [
        value
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.dim()
    ]
    return {
        "parameters": storage_bytes(parameters),
        "gradients": storage_bytes(gradients),
        "optimizer": storage_bytes(moments),
    }


def storage_bytes(tensors: list[Tensor]) -> int:
    """Return the bytes of the storages of some tensors, each once."""
    return sum(storage.nbytes() for storage in _storages(tensors).values())


def living_tensors() -> list[Tensor]:
    """Return every tensor that Python knows of; what autograd alone holds is not among them."""
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]


@contextmanager
def kept_for_backward(model: nn.Module) -> Iterator[Callable[[], tuple[int, int]]]:
    """Give what autograd keeps in this block: bytes of activations, and of 16-bit copies of weights."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    def counted() -> tuple[int, int]:
        weights = _storages(list(model.parameters()))
        found = {key: s for key, s in _storages(kept).items() if key not in weights}
        shapes = {tuple(p.shape[::-1]) for p in model.parameters() if p.dim() == 2}
        copies = {
            key
            for key, tensor in ((_key(tensor), tensor) for tensor in kept)
            if tensor.dtype is torch.bfloat16
            and tuple(tensor.shape) in shapes
            and not tensor.is_contiguous()
        }
        copied = sum(found[key].nbytes() for key in copies if key in found)
        return sum(storage.nbytes() for storage in found.values()) - copied, copied

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield counted


def _local(tensor: Tensor) -> Tensor:
    to_local = getattr(tensor, "to_local", None)
    return to_local() if to_local is not None else tensor


def _key(tensor: Tensor) -> int:
    return _local(tensor).untyped_storage().data_ptr()


def _storages(tensors: list[Tensor]) -> dict[int, torch.UntypedStorage]:
    return {_key(tensor): _local(tensor).untyped_storage() for tensor in tensors}
