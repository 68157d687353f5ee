"""What a suite is: a question of the paper, the campaigns that answer it, claims that can turn out wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewarm.suites.outcome import Outcome
from rewarm.suites.tier import Tier

Outcomes = Mapping[str, Outcome]
"""What came out of one seed: an `Outcome` for each `setting/arm`."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One campaign of a suite, run once for each seed."""

    datasets: Sequence[str]
    """Datasets of the tier that it has; the losses are measured on these."""
    stages: Sequence[Mapping[str, Any]]
    """Its stages, as in a campaign file."""
    arms: Mapping[str, Mapping[str, Any]]
    """Its arms, as in a campaign file."""
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Tables of the tier's frame that it has otherwise."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A number that a claim says something about, one for each seed; nats per token by default."""

    label: str
    """What it is, such as `forgetting, 5% less 0%`."""
    value: Callable[[Outcomes], float]
    """From the outcomes of one seed, which are paired: same base, same data order, same validation text."""
    at_least: float = float("-inf")
    """The claim says that it is not below this …"""
    at_most: float = float("inf")
    """… and not above this."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the paper, and the numbers that it stands or falls with."""

    text: str
    """The statement in one sentence."""
    source: str
    """Where the paper says it."""
    differences: Sequence[Difference]
    """All of them must be within their bounds."""
    ordering: str | None = None
    """Which of the paper's orderings it is part of, by its letter in `rewarm.suites.orderings`."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One comparison of the paper."""

    name: str
    """Its name."""
    question: str
    """What it asks, in one sentence."""
    source: str
    """Where it is in the paper."""
    settings: Callable[[Tier], Mapping[str, Setting]]
    """Its campaigns at the size of a tier, by name."""
    claims: Sequence[Claim]
    """What is to be shown."""
