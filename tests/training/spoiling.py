"""Losses, gradients and processes that really go wrong, at batches that a test chooses.

A hook of torch's on every module sees what the model is given. Where it finds a chosen sequence, it makes the
loss or its gradient not finite, or kills the process. So it goes by the data: the same batch is bad again
after a resume, and in another process.
"""

import os
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from rewarm.data.batches import Batches
from rewarm.data.datasets import open_campaign
from rewarm.models.part import Part
from rewarm.plan import Plan, StagePlan

Kind = Literal["loss", "gradient", "overflow"]
"""A loss that is not a number; a gradient that is none; a gradient that is too large."""


@dataclass
class Seen:
    """What the hook has met."""

    parts: list[Part] = field(default_factory=list)
    """The models in training, the newest last."""


def sequences_of(plan: Plan, prepared: Any, stage: StagePlan, steps: Collection[int]) -> set[bytes]:
    """Return the first sequence of the batches of some steps, none of which occurs at another step."""
    data = open_campaign(plan.campaign, plan.loaded.root, prepared)
    batches = Batches(
        stream=stage.stream,
        stores=data.train,
        seed=stage.campaign.seed,
        batch_sequences=stage.batch_sequences,
        sequence_length=stage.sequence_length,
    )
    readers = batches.readers()
    rows = {
        step: [
            key(row) for row in torch.from_numpy(batches.read(step, readers).tokens.astype("i8"))
        ]
        for step in range(1, stage.steps + 1)
    }
    everything = [row for batch in rows.values() for row in batch]
    chosen = {rows[step][0] for step in steps}
    assert all(everything.count(row) == 1 for row in chosen), "a sequence must give its step away"
    return chosen


def key(row: Tensor) -> bytes:
    """Return what a sequence is known by; its last token is a target alone."""
    return row[:-1].numpy().tobytes()


@contextmanager
def spoiled(
    bad: Collection[bytes], kind: Kind = "loss", *, deadly: Collection[bytes] = ()
) -> Generator[Seen]:
    """Let training meet trouble where it reads certain sequences.

    Args:
        bad: sequences at which something is not finite.
        kind: what.
        deadly: sequences at which the process is killed.
    """
    seen = Seen()

    def look(module: nn.Module, given: tuple[Tensor, ...], loss: Tensor) -> Tensor | None:
        if not isinstance(module, Part) or not torch.is_grad_enabled():
            return None
        if not seen.parts or seen.parts[-1] is not module:
            seen.parts.append(module)
        rows = {row.numpy().tobytes() for row in given[0]}
        if rows & set(deadly):
            os._exit(137)
        if not rows & set(bad):
            return None
        if kind == "loss":
            return loss * float("nan")
        factor = 1e30 if kind == "overflow" else float("nan")
        loss.register_hook(lambda gradient: gradient * factor)
        return None

    hook = register_module_forward_hook(look)
    try:
        yield seen
    finally:
        hook.remove()
