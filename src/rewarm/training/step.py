"""One optimizer step: gradients of the batch, agreement on what they are, clipping, the rate, the update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from rewarm.data.batches import Batch
from rewarm.engine.gradients import clip, multiply
from rewarm.engine.loss_scale import LossScale
from rewarm.engine.optimizer import set_lr
from rewarm.training.model import TrainedModel


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step measured, before its update; the same on all ranks."""

    loss: float
    """Mean loss over the batch, nats per token."""
    gradient_norm: float
    """Global norm of the gradient before clipping."""
    flags: list[float]
    """The flags of all ranks, added up."""

    @property
    def is_finite(self) -> bool:
        """Whether the weights were updated."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)


def train_step(
    model: TrainedModel,
    optimizer: Optimizer,
    batch: Batch,
    lr: float,
    *,
    clip_norm: float,
    scale: LossScale,
    flags: Sequence[float] = (),
) -> StepResult:
    """Do one step. If the loss or the gradient is not finite, on any rank, no rank touches its weights.

    The loss is Σ token losses / number of tokens of the whole batch, whatever the micro-batches and the
    ranks, so they change nothing but the order of floating-point sums.

    Args:
        model: in training mode.
        optimizer: over its parameters.
        batch: this rank's sequences of it, and the counts of all.
        lr: learning rate of this step, absolute.
        clip_norm: largest global norm of the gradient.
        scale: of the loss.
        flags: numbers to be added up over all ranks on the way.
    """
    divisor = batch.num_tokens / scale.value
    loss = model.backward(batch.tokens, divisor)
    total, norm, sums = model.totals(loss, flags)
    norm = norm / scale.value
    # One list, so that the device is waited for once.
    measured = torch.stack([total / batch.num_tokens, norm.double(), *sums]).tolist()
    result = StepResult(loss=measured[0], gradient_norm=measured[1], flags=measured[2:])
    if result.is_finite:
        parameters = model.parameters()
        if scale.value != 1:
            multiply(parameters, 1 / scale.value)
        clip(parameters, norm, clip_norm)
        set_lr(optimizer, lr)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return result
