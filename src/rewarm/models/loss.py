"""The cross entropy of a causal language model, without ever holding all of its logits.

The head is applied to a chunk of tokens at a time, and the gradients of the chunk are taken in the same
pass, so nothing is computed twice: three matrix products a chunk, as in an ordinary forward and backward.

Bytes held for a chunk of c tokens and a vocabulary of v: 4·c·v in float32; 6·c·v under bfloat16 autocast,
where the products' type comes beside the float32 softmax. For c = 1,024 and v = 50,304 that is 206 or 309 MB;
all the logits of 16 x 2,048 tokens in float32 would be 6.6 GB, and as much again for their gradient.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORED = -100
"""The target of a token that has no part in the loss."""

CHUNK_TOKENS = 1024
"""Tokens whose logits are held at once."""


def chunked_loss(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk_tokens: int = CHUNK_TOKENS
) -> Tensor:
    """Apply the head and add up the losses of all tokens: sum of -log softmax(W·h)[target].

    Under autocast the matrix products run in its type and the softmax in float32. Gradients are taken
    where they are wanted only: not under no_grad, not for a frozen head, not for a frozen body.

    Args:
        hidden: last hidden states h, (tokens, width).
        weight: the head's matrix W, (vocabulary, width).
        targets: (tokens,); -100 is left out.
        chunk_tokens: tokens whose logits are held at once, at least 1. Another size gives other bits.

    Returns:
        The sum in nats, a scalar, float32 (float64 for a float64 model). Divide it, or its gradients,
        by the number of targets counted over the whole batch.
    """
    assert chunk_tokens >= 1
    grads = torch.is_grad_enabled()
    plan = _Plan(
        chunk_tokens=chunk_tokens,
        product_type=_product_type(hidden),
        hidden_grad=grads and hidden.requires_grad,
        weight_grad=grads and weight.requires_grad,
    )
    return _ChunkedLoss.apply(hidden, weight, targets, plan)


@torch.no_grad()
def sequence_losses(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk_tokens: int = CHUNK_TOKENS
) -> Tensor:
    """Apply the head without gradients and add up the losses of each sequence.

    Args:
        hidden: last hidden states h, (batch, sequence, width).
        weight: the head's matrix W, (vocabulary, width).
        targets: the token that follows each, (batch, sequence); -100 is left out.
        chunk_tokens: tokens whose logits are held at once, at least 1.

    Returns:
        Sums in nats, (batch,), float32 (float64 for a float64 model).
    """
    product_type = _product_type(hidden)
    matrix = weight.to(product_type)
    with torch.autocast(hidden.device.type, enabled=False):
        losses = [
            _losses_and_softmax_(_logits(rows.to(product_type), matrix), wanted)[0]
            for rows, wanted in zip(
                hidden.flatten(0, 1).split(chunk_tokens),
                targets.flatten().split(chunk_tokens),
                strict=True,
            )
        ]
    return torch.cat(losses).view(targets.shape).sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    chunk_tokens: int
    product_type: torch.dtype
    hidden_grad: bool
    weight_grad: bool


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch makes the context's class at run time
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        plan: _Plan,
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            loss, hidden_grad, weight_grad = _forward_and_backward(hidden, weight, targets, plan)
        ctx.save_for_backward(hidden_grad, weight_grad)
        return loss

    @staticmethod
    @once_differentiable
    def backward(  # type: ignore[override]  # the decorator hides the names
        ctx: Any,  # noqa: ANN401  # as above
        *grad_outputs: Tensor,
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        (scale,) = grad_outputs
        hidden_grad, weight_grad = ctx.saved_tensors
        return (
            _scaled(hidden_grad, scale),
            _scaled(weight_grad, scale),
            None,
            None,
        )


def _scaled(gradient: Tensor | None, scale: Tensor) -> Tensor | None:
    """Multiply in the scale's type: 1/n rounded to bfloat16 would shift every gradient alike."""
    if gradient is None:
        return None
    return (gradient.to(scale.dtype) * scale).to(gradient.dtype)


def _forward_and_backward(
    hidden: Tensor, weight: Tensor, targets: Tensor, plan: _Plan
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    sum_type = torch.promote_types(plan.product_type, torch.float32)
    loss = torch.zeros((), dtype=sum_type, device=hidden.device)
    hidden_grad = torch.empty_like(hidden) if plan.hidden_grad else None
    # Summed in float32: bfloat16 would lose what the later chunks add.
    weight_grad = torch.zeros_like(weight, dtype=sum_type) if plan.weight_grad else None
    matrix = weight.to(plan.product_type)
    for start in range(0, len(hidden), plan.chunk_tokens):
        rows = slice(start, start + plan.chunk_tokens)
        chunk = hidden[rows].to(plan.product_type)
        logits = _logits(chunk, matrix)
        losses, softmax = _losses_and_softmax_(logits, targets[rows])
        loss += losses.sum()
        if hidden_grad is None and weight_grad is None:
            continue
        logit_grad = _softmax_to_grad_(softmax, targets[rows]).to(plan.product_type)
        if hidden_grad is not None:
            hidden_grad[rows] = logit_grad @ matrix
        if weight_grad is not None and weight_grad.dtype == plan.product_type:
            weight_grad.addmm_(logit_grad.T, chunk)
        elif weight_grad is not None:
            weight_grad += logit_grad.T @ chunk
    return loss, hidden_grad, None if weight_grad is None else weight_grad.to(weight.dtype)


def _product_type(hidden: Tensor) -> torch.dtype:
    device_type = hidden.device.type
    if torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return hidden.dtype


def _logits(chunk: Tensor, matrix: Tensor) -> Tensor:
    """Return the logits of a chunk, (tokens, vocabulary), in float32 at least."""
    return (chunk @ matrix.T).to(torch.promote_types(chunk.dtype, torch.float32))


def _losses_and_softmax_(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each token, and the softmax of the logits in their own memory."""
    counted = targets != IGNORED
    # Any other negative target must fail in the gather, so -100 alone is replaced.
    chosen = logits.gather(1, targets.where(counted, 0)[:, None])
    largest = logits.amax(dim=1, keepdim=True)
    exponentials = logits.sub_(largest).exp_()
    denominator = exponentials.sum(dim=1, keepdim=True)
    losses = (largest - chosen + denominator.log())[:, 0].where(counted, 0)
    return losses, exponentials.div_(denominator)


def _softmax_to_grad_(softmax: Tensor, targets: Tensor) -> Tensor:
    """Turn the softmax, in place, into the gradient of the summed losses: softmax minus one-hot."""
    counted = targets != IGNORED
    chosen = targets.where(counted, 0)[:, None]
    minus_one = softmax.new_full(chosen.shape, -1.0)
    return softmax.scatter_add_(1, chosen, minus_one).mul_(counted[:, None])
