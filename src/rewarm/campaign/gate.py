"""The release gate: what a new checkpoint may lose, and what happens where it loses more.

It is no part of what a stage is: limits can be changed at any time, and no finished stage is done again.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rewarm.campaign.quantities import Length, Number, Share, parse_quantity
from rewarm.campaign.table import Name, Table

Loss = Annotated[Number, Field(ge=0)]
Policy = Literal["report", "stop", "anneal-earlier"]
"""What happens in training where a limit is broken."""


class TaskLimit(Table):
    """A limit on a task of `rewarm eval`, for the last stage of each arm: one `[[gate.task]]` each."""

    name: Annotated[str, Field(min_length=1)]
    """The task, as `rewarm eval` is given it: the NAME of `--documents NAME=FILE` and the like."""
    metric: str | None = None
    """Which of its metrics; the task's first one if not given."""
    domain: str | None = None
    """Of which domain's documents; of all if not given."""
    max_worse: Loss | None = None
    """How much worse than before it may be, in the metric's unit: bits per byte, or a share of right
    answers."""
    against: Name | None = None
    """The stage whose model counts as before, where the way to this one leaves it; the stage before if not
    given; "base" is the base model."""
    at_worst: Number | None = None
    """The worst value that it may have: the least of an accuracy, the most of bits per byte."""

    @model_validator(mode="after")
    def _limits_something(self) -> "TaskLimit":
        if self.max_worse is None and self.at_worst is None:
            raise ValueError("states no limit; give max_worse (against before), at_worst, or both")
        if self.against is not None and self.max_worse is None:
            raise ValueError("against says what max_worse is compared with; give max_worse too")
        return self


class Gate(Table):
    """What a new checkpoint may lose. Judged when a stage ends, and by `rewarm gate` (see gate.md)."""

    policy: Policy = "report"
    """What happens in training at the end of a stage that breaks a limit. report: it is said, and training
    goes on; stop: no stage behind it is begun, other arms go on, and `rewarm train` ends with exit code 10;
    anneal-earlier: the last stage of an arm that breaks a limit on losses is annealed from its last
    checkpoint at which they held, and that branch is judged instead; elsewhere as stop."""
    anneal: Length = parse_quantity("10%")
    """With anneal-earlier: length of the annealing; a percentage is of the stage."""
    arms: list[str] = []
    """The arms that it is for, with their annealed branches; all if not given."""
    max_forgetting: dict[Name, Loss] = {}
    """For each dataset: how far the final loss of a stage may be above the best with which it, or any stage
    on the way to it, began; in nats per token."""
    max_loss: dict[Name, Annotated[Number, Field(gt=0)]] = {}
    """For each dataset: the largest final loss of the last stage of an arm, in nats per token."""
    max_overlap: Share | None = None
    """Largest share of a validation set's documents that may be training text as well, as `rewarm overlap`
    measures it. (`evaluation.max_overlap` does not even let training begin.)"""
    tasks: list[TaskLimit] = Field(default=[], alias="task")
    """Limits on tasks, in the file `[[gate.task]]`."""

    @model_validator(mode="after")
    def _limits_something(self) -> "Gate":
        if not (self.max_forgetting or self.max_loss or self.tasks) and self.max_overlap is None:
            raise ValueError(
                "states no limit, so everything would pass; give max_forgetting, max_loss, max_overlap or a "
                "[[gate.task]], or leave [gate] out"
            )
        return self
