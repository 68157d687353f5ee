"""What a suite came to, as a record: every arm of every seed, and every claim."""

from typing import Literal

from pydantic import Field

from rewarm.runs.records import Record

Verdict = Literal["held", "not held", "undecided"]
"""What several seeds say about a claim, or about a number that it rests on."""


Points = list[tuple[float, float]]
"""Tokens trained on, along the arm, and a value there."""


class StageCurve(Record):
    """What was measured along one stage, over the tokens that its model had been trained on."""

    name: str
    """Name of the stage."""
    losses: dict[str, Points]
    """Validation losses by dataset, nats per token."""
    lr: Points
    """The learning rate, thinned."""


class ArmResult(Record):
    """One arm of one seed. Losses are nats per token of validation text."""

    setting: str
    """The campaign of the suite."""
    arm: str
    """Its name."""
    seed: int
    """The seed."""
    final: dict[str, float]
    """Final loss by dataset."""
    before: dict[str, float]
    """Loss by dataset at step 0 of its last stage."""
    update_tokens: int
    """Training tokens of the update; of an arm from scratch, of all its training."""
    update_flops: float
    """FLOPs of the same."""
    weights_sha256: str
    """Hash of the final weights."""
    forgetting: float | None = None
    """Mean of F over the old datasets; None if nothing is old, and in older records."""
    adaptation: float | None = None
    """A on the newest dataset; None if nothing is new, and in older records."""
    is_reference: bool = False
    """Whether it was trained from scratch."""
    is_union: bool = False
    """Whether it is the retraining on all datasets together."""
    stages: list[str] = Field(default_factory=list[str])
    """Folders of its stages, the first one first, for `SuiteResult.curves`; none in older records."""


class DifferenceResult(Record):
    """A number that a claim depends on."""

    label: str
    """What it is."""
    by_seed: dict[str, float]
    """Its value by seed."""
    mean: float
    """The mean over the seeds."""
    low: float | None
    """Lower end of its 95 % interval (Student's t); None for one seed."""
    high: float | None
    """Upper end."""
    at_least: float | None
    """The claim says that it is not below this; None if it says nothing of the kind."""
    at_most: float | None
    """The claim says that it is not above this."""
    verdict: Verdict
    """Where the interval lies."""


class ClaimResult(Record):
    """A claim and its verdict."""

    text: str
    """The claim."""
    source: str
    """Where the paper makes it."""
    verdict: Verdict
    """Of all its differences together."""
    differences: list[DifferenceResult]
    """What it depends on."""
    ordering: str | None = None
    """Which of the paper's orderings it is part of; None if it is of none."""


class SuiteResult(Record):
    """A suite and what it came to."""

    suite: str
    """Its name."""
    tier: str
    """The size at which it was run."""
    seeds: list[int]
    """The seeds that are finished."""
    arms: list[ArmResult]
    """Every finished arm of every seed."""
    curves: dict[str, StageCurve] = Field(default_factory=dict[str, StageCurve])
    """What was measured along each stage, by its folder; arms that share a stage share its curve."""
    claims: list[ClaimResult]
    """Every claim whose arms are finished."""
    open: list[str]
    """Claims that cannot be judged yet, and what they wait for."""
    parameters: int | None
    """Parameters of the model."""
    versions: dict[str, str]
    """Versions of what made it."""
    machine: dict[str, str]
    """Where it ran."""
