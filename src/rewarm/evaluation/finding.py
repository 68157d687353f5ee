"""What is found of one limit of the gate: a value against what is allowed, and the sentence that says it."""

import math
from dataclasses import dataclass
from typing import Literal

from rewarm.runs.records import Record

State = Literal["held", "broken", "not measured"]
"""What is not measured is not held."""


class Finding(Record):
    """What is found of one limit, for one stage or for the whole run."""

    limit: str
    """The limit, by its key in `[gate]`, such as `max_forgetting.english`."""
    stage: str | None
    """Folder of the stage; None for what is of the whole run."""
    arms: list[str]
    """The arms whose model it is."""
    measured: float | None
    """The value; None if it is not measured."""
    allowed: float
    """The limit."""
    standard_error: float | None
    """Of the value; None where it is not known."""
    state: State
    """What is found."""
    message: str
    """What it is, how far from the limit, and what can be done."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit and what it is for."""

    key: str
    """As in `Finding`."""
    allowed: float
    """The value at which it still holds."""
    what: str
    """What is limited, as the beginning of a sentence."""
    unit: str
    """Behind the value; begins with a space, or is empty."""
    is_most: bool = True
    """Whether the value may be that at most; at least otherwise."""
    stage: str | None
    """As in `Finding`."""
    arms: tuple[str, ...]
    """As in `Finding`."""

    def holds(self, value: float) -> bool:
        """Return whether a value keeps to the limit; one that is not a number does not."""
        return value <= self.allowed if self.is_most else value >= self.allowed

    def judged(self, value: float, remedy: str, standard_error: float | None = None) -> Finding:
        """Return the finding of a value.

        Args:
            value: what was measured.
            remedy: what can be done where it is broken, as sentences.
            standard_error: of the value, if known.
        """
        holds = self.holds(value)
        side = "above" if value > self.allowed else "below"
        distance = abs(value - self.allowed)
        place = f"{distance:.3g} {side}" if distance else "just at"
        text = f"{self.what}: {value:.4f}{self.unit}, {place} the limit of {self.allowed:g}"
        if standard_error is not None and not math.isnan(standard_error):
            text += f"; standard error {standard_error:.2g}"
            if distance < 2 * standard_error:
                text += ", so which side of the limit it is on may be chance"
        return self._found(
            "held" if holds else "broken",
            f"{text}. {remedy}" if not holds else text,
            value,
            standard_error,
        )

    def not_measured(self, reason: str) -> Finding:
        """Return the finding where there is no value; the reason says how to get one."""
        text = f"{self.what}: not measured, so the limit of {self.allowed:g} is not held. {reason}"
        return self._found("not measured", text)

    def _found(
        self,
        state: State,
        message: str,
        measured: float | None = None,
        standard_error: float | None = None,
    ) -> Finding:
        return Finding(
            limit=self.key,
            stage=self.stage,
            arms=list(self.arms),
            measured=measured,
            allowed=self.allowed,
            standard_error=standard_error,
            state=state,
            message=message,
        )
