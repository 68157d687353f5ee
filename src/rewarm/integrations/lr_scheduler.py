"""A schedule as a torch learning-rate scheduler, for any trainer that wants one.

It sets absolute learning rates, and saves how many steps were made and nothing else: after loading, it is
the schedule given here that says what comes next, whatever the optimizer's own state remembers.
"""

from collections.abc import Callable
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from rewarm.errors import CheckpointError


def scheduled(optimizer: Optimizer, schedule: Callable[[int], float]) -> "ScheduledLR":
    """Return a scheduler that gives every parameter group the schedule's learning rate.

    Once made it has set schedule(1), which the first optimizer step uses; after k calls of `step()` the rate
    is schedule(k + 1). Call `step()` after each `optimizer.step()`, as with torch's own schedulers.

    Args:
        optimizer: its learning rates are overwritten, in every group. It is torch's optimizer itself, not
            a wrapper that a trainer puts around it.
        schedule: learning rate of each optimizer step, counted from 1; absolute.

    Returns:
        A scheduler for torch's interface. To go on after a stop, load the state of optimizer and scheduler,
        in either order. To re-warm from a checkpoint do not load the scheduler's: the new schedule starts at
        its step 1, with the optimizer's state loaded or not.

    >>> import torch
    >>> from rewarm import schedules
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=123.0)
    >>> schedule = schedules.warmup_linear(max_lr=0.4, min_lr=0.0, warmup_steps=2, steps=4)
    >>> scheduler = scheduled(optimizer, schedule)
    >>> for _ in range(4):
    ...     print(optimizer.param_groups[0]["lr"])
    ...     optimizer.step()
    ...     scheduler.step()
    0.2
    0.4
    0.2
    0.0
    """
    return ScheduledLR(optimizer, schedule)


@final
class ScheduledLR(LRScheduler):
    """Torch's scheduler interface over a schedule; made by `scheduled`."""

    def __init__(self, optimizer: Optimizer, schedule: Callable[[int], float]) -> None:
        self._schedule = schedule
        super().__init__(optimizer)
        # Loading an optimizer puts back the rates of the run that saved it; ours must win in either order.
        optimizer.register_load_state_dict_post_hook(self._apply)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of the coming optimizer step, once for each parameter group."""
        lr = self._schedule(self.last_epoch + 1)
        return [lr for _ in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps made, under the name that torch gives it."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the number of steps in a state, and set the learning rate at once.

        The state may come from another torch scheduler: its count is read, its curve is not.

        Raises:
            CheckpointError: the state has no count of steps.
        """
        num_steps = state_dict.get("last_epoch")
        if not isinstance(num_steps, int) or num_steps < 0:
            raise CheckpointError(
                f"last_epoch = {num_steps!r} in the scheduler's state is not a number of steps, so it does "
                f"not say where to go on. Load the state of a torch scheduler, or leave it out to start the "
                f"schedule at its first step."
            )
        self.last_epoch = num_steps
        self._apply(self.optimizer)

    def _apply(self, optimizer: Optimizer) -> None:
        """Set the learning rates that the count of steps asks for."""
        for group, lr in zip(optimizer.param_groups, self.get_lr(), strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self._last_lr = self.get_lr()
