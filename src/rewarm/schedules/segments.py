"""The shapes that schedules are made of: each a frozen value, and a function of its own time t.

A segment runs from t = 0, its start value, to t = steps, its end value, and holds both outside. Below,
x = t / steps is in [0, 1]. Both ends are exact to the last bit, and rounding never carries a value out
of the range between them: it is clamped there. A segment of zero length has its end value.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from rewarm.errors import ScheduleError
from rewarm.schedules.limits import check_lr, check_positive, check_steps

_SMALLEST_ALPHA = 1e-6


@dataclass(frozen=True)
class Linear:
    """A straight line: start + (end - start)·x.

    Raises:
        ScheduleError: a rate is negative or not finite, or the length is not a whole number ≥ 0.

    >>> warmup = Linear(0.0, 3e-4, 100)
    >>> warmup(0), warmup(50), warmup(100)
    (0.0, 0.00015, 0.0003)

    Source: paper section 4.1, the linear warmup; decay to zero: arXiv 2502.15938.
    """

    shape: ClassVar[str] = "linear"
    start: float
    """Learning rate at t = 0."""
    end: float
    """Learning rate at t = steps."""
    steps: int
    """Length in optimizer steps."""

    def __post_init__(self) -> None:
        _check_ends("Linear", self.start, self.end, self.steps)

    def __call__(self, t: float) -> float:
        return _between(self.start, self.end, _progress(t, self.steps))


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave: end + (start - end)/2·(1 + cos(π·x)).

    Raises:
        ScheduleError: a rate is negative or not finite, or the length is not a whole number ≥ 0.

    >>> decay = Cosine(3e-4, 0.0, 100)
    >>> decay(0), round(decay(50), 12), decay(100)
    (0.0003, 0.00015, 0.0)

    Source: paper section 4.1, the cosine decay, and section 7.2, the cosine cooldown.
    """

    shape: ClassVar[str] = "cosine"
    start: float
    """Learning rate at t = 0."""
    end: float
    """Learning rate at t = steps."""
    steps: int
    """Length in optimizer steps."""

    def __post_init__(self) -> None:
        _check_ends("Cosine", self.start, self.end, self.steps)

    def __call__(self, t: float) -> float:
        x = _progress(t, self.steps)
        return _between(self.start, self.end, (1 - math.cos(math.pi * x)) / 2)


@dataclass(frozen=True)
class InverseSqrt:
    """The paper's cooldown: start + (end - start)/h(1)·h(x), with h(x) = 1/sqrt(1 + alpha·x) - 1.

    The inverse square root is shifted and stretched, so that it meets both ends.

    Raises:
        ScheduleError: a rate is negative or not finite, the length is not a whole number ≥ 0, or alpha is
            not positive. Below 1e-6, where the curve is a straight line but for rounding, alpha is
            refused too.

    >>> cooldown = InverseSqrt(3e-4, 1.65e-4, 100)
    >>> cooldown(0), round(cooldown(10), 9), cooldown(100)
    (0.0003, 0.000243391, 0.000165)

    Source: paper section 7.2, the inverse square root cooldown; alpha = 10 in Table 14.
    """

    shape: ClassVar[str] = "inverse-sqrt"
    start: float
    """Learning rate at t = 0."""
    end: float
    """Learning rate at t = steps."""
    steps: int
    """Length in optimizer steps."""
    alpha: float = 10.0
    """Steepness: the larger, the more of the change comes early."""

    def __post_init__(self) -> None:
        _check_ends("InverseSqrt", self.start, self.end, self.steps)
        check_positive("alpha", self.alpha)
        if self.alpha < _SMALLEST_ALPHA:
            raise ScheduleError(
                f"alpha = {self.alpha} is so small that the inverse square root is a straight line and "
                f"drowns in rounding. Use a linear segment, or an alpha of at least {_SMALLEST_ALPHA}."
            )

    def __call__(self, t: float) -> float:
        x = _progress(t, self.steps)
        return _between(self.start, self.end, self._h(x) / self._h(1.0))

    def _h(self, x: float) -> float:
        return 1 / math.sqrt(1 + self.alpha * x) - 1


@dataclass(frozen=True)
class Exponential:
    """The same factor at every step: start·(end/start)^x.

    Raises:
        ScheduleError: a rate is 0, negative or not finite, or the length is not a whole number ≥ 0.

    >>> annealing = Exponential(1.6e-4, 1e-5, 4)
    >>> [annealing(t) for t in range(5)]
    [0.00016, 8e-05, 4e-05, 2e-05, 1e-05]

    Source: paper section 7.2, the annealing phase; WSD's decay in MiniCPM, arXiv 2404.06395.
    """

    shape: ClassVar[str] = "exponential"
    start: float
    """Learning rate at t = 0, above 0."""
    end: float
    """Learning rate at t = steps, above 0."""
    steps: int
    """Length in optimizer steps."""

    def __post_init__(self) -> None:
        _check_ends("Exponential", self.start, self.end, self.steps)
        if self.start == 0 or self.end == 0:
            raise ScheduleError(
                f"an exponential from {self.start} to {self.end} does not exist: it moves evenly on a "
                f"logarithmic scale, and the logarithm of zero is infinite. Give a min_lr above 0, or "
                f"decay to zero with a linear or 1-sqrt shape."
            )

    def __call__(self, t: float) -> float:
        x = _progress(t, self.steps)
        if x in (0, 1):
            return _between(self.start, self.end, x)
        return _clamp(self.start * (self.end / self.start) ** x, self.start, self.end)


@dataclass(frozen=True)
class OneMinusSqrt:
    """The 1-sqrt cooldown: end + (start - end)·(1 - sqrt(x)).

    Raises:
        ScheduleError: a rate is negative or not finite, or the length is not a whole number ≥ 0.

    >>> decay = OneMinusSqrt(4e-4, 0.0, 100)
    >>> decay(0), decay(25), decay(100)
    (0.0004, 0.0002, 0.0)

    Source: Hägele et al., arXiv 2405.18392, the (1-sqrt) cooldown.
    """

    shape: ClassVar[str] = "1-sqrt"
    start: float
    """Learning rate at t = 0."""
    end: float
    """Learning rate at t = steps."""
    steps: int
    """Length in optimizer steps."""

    def __post_init__(self) -> None:
        _check_ends("OneMinusSqrt", self.start, self.end, self.steps)

    def __call__(self, t: float) -> float:
        return _between(self.start, self.end, math.sqrt(_progress(t, self.steps)))


@dataclass(frozen=True)
class ReciprocalSqrt:
    """A decay that does not know its end: start·sqrt(timescale / (timescale + t)).

    The length says only where it is left off; it does not change the curve before that.

    Raises:
        ScheduleError: the rate is negative or not finite, the timescale is not positive, or the length is
            not a whole number ≥ 0.

    >>> decay = ReciprocalSqrt(1e-2, 10_000, 30_000)
    >>> decay(0), decay(30_000)
    (0.01, 0.005)

    Source: Raffel et al. (T5), arXiv 1910.10683, section 3.1.2, and Zhai et al., arXiv 2106.04560.
    """

    shape: ClassVar[str] = "reciprocal-sqrt"
    start: float
    """Learning rate at t = 0."""
    timescale: float
    """Steps after which the rate has fallen to 1/sqrt(2) of its start."""
    steps: int
    """Length in optimizer steps."""

    def __post_init__(self) -> None:
        check_lr("ReciprocalSqrt.start", self.start)
        check_positive("timescale", self.timescale)
        check_steps("ReciprocalSqrt.steps", self.steps)

    def __call__(self, t: float) -> float:
        t = min(max(t, 0), self.steps)
        return self.start * math.sqrt(self.timescale / (self.timescale + t))


@dataclass(frozen=True)
class Constant:
    """The same learning rate throughout.

    Raises:
        ScheduleError: the rate is negative or not finite, or the length is not a whole number ≥ 0.

    >>> Constant(1.65e-4, 100)(37)
    0.000165

    Source: paper section 7.2, the constant phase.
    """

    shape: ClassVar[str] = "constant"
    lr: float
    """Learning rate at every t."""
    steps: int
    """Length in optimizer steps."""

    def __post_init__(self) -> None:
        check_lr("Constant.lr", self.lr)
        check_steps("Constant.steps", self.steps)

    def __call__(self, t: float) -> float:
        return float(self.lr)


Segment: TypeAlias = (
    Linear | Cosine | InverseSqrt | Exponential | OneMinusSqrt | ReciprocalSqrt | Constant
)
"""Any of the shapes."""


def _check_ends(kind: str, start: float, end: float, steps: int) -> None:
    check_lr(f"{kind}.start", start)
    check_lr(f"{kind}.end", end)
    check_steps(f"{kind}.steps", steps)


def _progress(t: float, steps: int) -> float:
    """Return x = t / steps in [0, 1]; a segment of zero length is at its end."""
    return 1.0 if steps == 0 or t >= steps else max(t, 0) / steps


def _between(start: float, end: float, fraction: float) -> float:
    """Return start + (end - start)·fraction, exact where the fraction is 0 or 1."""
    if fraction in (0, 1):
        return float(end if fraction else start)
    return _clamp(start + (end - start) * fraction, start, end)


def _clamp(lr: float, one_end: float, other_end: float) -> float:
    """Return the value, kept between two others."""
    return min(max(lr, min(one_end, other_end)), max(one_end, other_end))
