"""What is done when a loss or a gradient is not finite. The weights have not been touched, on any rank."""

from typing import Literal

from rewarm.errors import NumericsError
from rewarm.plan import StagePlan
from rewarm.training.journal import Journal
from rewarm.training.state import TrainState
from rewarm.training.step import StepResult

MOST_IN_A_ROW = 20
"""Batches left out in a row after which it is not the batches that are wrong."""

MOST_REWINDS = 3
"""Times that a process goes back in a stage."""


def remedy(
    stage: StagePlan,
    state: TrainState,
    journal: Journal,
    step: int,
    result: StepResult,
    *,
    rewinds: int,
) -> Literal["leave out", "go back"]:
    """Decide how to go on after a step whose loss or gradient is not finite, and write it down.

    Args:
        stage: its campaign says what to do.
        state: before the step.
        journal: where it is written down.
        step: the step.
        result: what it measured.
        rewinds: times that this process has gone back in the stage.

    Raises:
        NumericsError: the campaign says to stop, or neither leaving batches out nor going back has helped.
    """
    found = f"loss {result.loss}, gradient norm {result.gradient_norm}"
    if stage.campaign.training.precision == "fp16" and state.scale.value > 1:
        to = state.scale.after(overflow=True).value
        message = f"overflow in fp16 ({found}); loss scale {state.scale.value:g} → {to:g}"
        journal.event(step, "left out", message)
        return "leave out"
    policy = stage.campaign.training.not_finite
    if policy == "stop":
        raise _not_finite(step, found)
    if _in_a_row(state, step) >= MOST_IN_A_ROW:
        raise _not_finite(
            step, f"{found}, and {MOST_IN_A_ROW} batches before it were left out already"
        )
    if policy == "skip":
        journal.event(step, "left out", f"{found}; the batch is left out")
        return "leave out"
    if rewinds == MOST_REWINDS:
        raise _not_finite(
            step, f"{found}, and the stage was taken back {MOST_REWINDS} times already"
        )
    message = f"{found}; back to the newest checkpoint, and the batches up to this one are left out"
    journal.event(step, "left out", message)
    return "go back"


def _not_finite(step: int, found: str) -> NumericsError:
    """Return the error that ends the training."""
    return NumericsError(
        f"step {step:,}: {found}. The weights were not touched and the last checkpoint is good. A smaller "
        "max_lr, a longer warmup or fp32 precision usually helps; look at this batch if it happens again at "
        "the same step."
    )


def _in_a_row(state: TrainState, step: int) -> int:
    """Return how many steps right before this one were left out."""
    left_out = set(state.left_out)
    count = 0
    while step - 1 - count in left_out:
        count += 1
    return count
