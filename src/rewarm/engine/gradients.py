"""Gradients across ranks: sums of what several hold, the global norm, and sums in one order on any number."""

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rewarm.engine.grid import REPLICATE, Grid
from rewarm.engine.parallelise import is_split
from rewarm.tensors.held import local


def add_up(parameters: Sequence[nn.Parameter], group: dist.ProcessGroup) -> None:
    """Add up the gradients of parameters that several ranks hold alike but have used on different parts.

    Args:
        parameters: with gradients; they are changed in place.
        group: the ranks.
    """
    for parameter in parameters:
        assert parameter.grad is not None
        dist.all_reduce(local(parameter.grad), group=group)


def norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the L2 norm of all gradients where this rank has them all, a scalar."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


def square_sum(parameters: Sequence[nn.Parameter], grid: Grid) -> Tensor:
    """Return this rank's part of the squared norm of all gradients, so that the parts add up over all ranks.

    Each rank adds up the squares of what it has, each divided by the number of ranks that have the same.

    Args:
        parameters: those to count; one that another pipeline rank counts is left out by the caller.
        grid: where this rank is.

    Returns:
        A float64 scalar on the device.
    """
    layout = grid.layout
    holders = layout.ranks // layout.pipeline
    total = torch.zeros((), dtype=torch.float64, device=grid.world.device)
    for split in (True, False):
        chosen = [local(p.grad) for p in parameters if p.grad is not None and is_split(p) == split]
        if chosen:
            shards = layout.shard * (layout.tensor if split else 1)
            total += nn.utils.get_total_norm(chosen).double().square() / (holders // shards)
    return total


def clip(parameters: Sequence[nn.Parameter], norm: Tensor, max_norm: float) -> None:
    """Scale all gradients down, in place, so that their global L2 norm is at most `max_norm`.

    They are multiplied by min(1, max_norm / (norm + 10^-6)).

    Args:
        parameters: of this rank.
        norm: of the gradients of all ranks, a scalar.
        max_norm: > 0.
    """
    factor = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
    multiply(parameters, factor)


def multiply(parameters: Sequence[nn.Parameter], factor: Tensor | float) -> None:
    """Multiply all gradients, in place."""
    gradients = [local(p.grad) for p in parameters if p.grad is not None]
    if gradients:
        torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage]


def tree_sum(
    parameters: Sequence[nn.Parameter], portions: int, backward: Callable[[int], Tensor], grid: Grid
) -> Tensor:
    """Add up the gradients of all portions of a batch in one order, whatever the number of ranks.

    The order is a tree: n portions are the sum of the first half and the second half while n is even, and one
    after the other when it is odd. Each of 2^k ranks adds up one branch of it, and the ranks' sums are the
    top k levels. So 1, 2, 4, … ranks give the same bits.

    Args:
        parameters: whole on every rank; their gradients are set.
        portions: micro-batches of this rank.
        backward: adds the gradients of one of them (numbered from 0) and returns its loss.
        grid: where this rank is; the ranks are copies of each other.

    Returns:
        The summed loss of all ranks.
    """

    def leaf(number: int) -> list[Tensor]:
        loss = backward(number)
        taken = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        return [loss, *taken]

    def branch(first: int, count: int) -> list[Tensor]:
        if count % 2:
            total = leaf(first)
            for number in range(first + 1, first + count):
                total = added(total, leaf(number))
            return total
        return added(branch(first, count // 2), branch(first + count // 2, count // 2))

    def added(one: list[Tensor], other: list[Tensor]) -> list[Tensor]:
        return [a.add_(b) for a, b in zip(one, other, strict=True)]

    loss, *sums = branch(0, portions)
    if grid.layout.ranks > 1:
        group = grid.group(REPLICATE)
        loss, *sums = [_sum_of_ranks(tensor, group) for tensor in (loss, *sums)]
    for parameter, gradient in zip(parameters, sums, strict=True):
        parameter.grad = gradient
    return loss


def _sum_of_ranks(tensor: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Add up a tensor of all ranks, neighbours first."""
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, tensor.contiguous(), group=group)
    while len(parts) > 1:
        parts = [one + other for one, other in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]
