"""One optimizer step: micro-batches, one mean over the whole batch, clipping, the rate, the update."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.optim import Optimizer
from transformers import PreTrainedModel

from rewarm.data.batches import Batch
from rewarm.engine.optimizer import clip_gradients, set_lr
from rewarm.engine.world import Precision, World, autocast
from rewarm.errors import NumericsError
from rewarm.models.loss import head_and_loss


class StepResult(NamedTuple):
    """What a step measured, before its update."""

    loss: float
    """Mean loss over the batch, nats per token."""
    gradient_norm: float
    """Global norm of the gradient before clipping."""


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """How every step of a campaign is carried out."""

    micro_batch: int
    """Sequences that go through the model at once; divides the batch."""
    clip_norm: float
    """Largest global norm of the gradient."""
    precision: Precision
    """Arithmetic of the matrix products."""
    world: World
    """The device."""


def train_step(
    model: PreTrainedModel, optimizer: Optimizer, batch: Batch, lr: float, settings: StepSettings
) -> StepResult:
    """Do one step.

    The loss is Σ token losses / number of tokens of the whole batch, whatever the micro-batches, so they
    change nothing but the order of floating-point sums.

    Args:
        model: in training mode.
        optimizer: over its parameters.
        batch: the sequences.
        lr: learning rate of this step, absolute.
        settings: how it is carried out.

    Raises:
        NumericsError: the loss or the gradient is not finite; the weights were not touched.
    """
    tokens = torch.from_numpy(batch.tokens.astype(np.int64))
    num_tokens = tokens[:, 1:].numel()
    total = torch.zeros((), dtype=torch.float64, device=settings.world.device)
    for part in tokens.split(settings.micro_batch):
        rows = part.to(settings.world.device, non_blocking=True)
        with autocast(settings.world, settings.precision):
            loss = head_and_loss(model, rows[:, :-1], rows[:, 1:])
        (loss / num_tokens).backward()
        total += loss.detach()
    norm = clip_gradients(model, settings.clip_norm)
    result = StepResult((total / num_tokens).item(), norm.item())
    if not np.isfinite(result).all():
        optimizer.zero_grad(set_to_none=True)
        raise NumericsError(
            f"step {batch.step:,}: loss {result.loss}, gradient norm {result.gradient_norm}. The weights "
            "were not touched and the last checkpoint is good. A smaller max_lr, a longer warmup or fp32 "
            "precision usually helps; look at this batch if it happens again at the same step."
        )
    set_lr(optimizer, lr)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return result
