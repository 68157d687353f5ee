"""The schedules people use, each a few segments joined.

Learning rates are absolute. Lengths are whole optimizer steps, and `steps` is the length of the whole
stage, warmup included. Any phase may have zero length. In the formulas t is the step, from 1 to steps.
"""

from typing import Literal, TypeAlias

from rewarm.errors import ScheduleError
from rewarm.schedules.limits import check_fit, check_lr, check_order, check_positive, check_steps
from rewarm.schedules.piecewise import Piecewise
from rewarm.schedules.segments import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    Linear,
    OneMinusSqrt,
    ReciprocalSqrt,
    Segment,
)

CooldownShape: TypeAlias = Literal["cosine", "inverse-sqrt"]
"""Shapes of the infinite schedule's cooldown."""
DecayShape: TypeAlias = Literal["1-sqrt", "linear", "exponential", "cosine"]
"""Shapes of a decay to the end of a run."""


def warmup_cosine(*, max_lr: float, min_lr: float, warmup_steps: int, steps: int) -> Piecewise:
    """Return the linear warmup and cosine decay of nearly all pre-training.

        max_lr·t/W                                                         t ≤ W = warmup_steps
        min_lr + (max_lr - min_lr)/2·(1 + cos(π·(t - W)/(steps - W)))      otherwise

    Re-warming and re-decaying is this schedule once more, in a new stage.

    Args:
        max_lr: peak, reached at step `warmup_steps`.
        min_lr: floor, reached at step `steps`; at most max_lr. The paper has a tenth of max_lr.
        warmup_steps: length of the warmup; the paper has 1 % of the stage.
        steps: length of the stage.

    Raises:
        ScheduleError: the warmup is longer than the stage, the rates are in the wrong order, or a value is
            negative or not a number.

    >>> schedule = warmup_cosine(max_lr=3e-4, min_lr=3e-5, warmup_steps=10, steps=1000)
    >>> schedule(5), schedule(10), schedule(1000)
    (0.00015, 0.0003, 3e-05)

    Source: paper section 4.1; its settings are in Table 14.
    """
    _check_fall("max_lr", max_lr, "min_lr", min_lr)
    check_fit({"warmup_steps": warmup_steps}, steps)
    return Piecewise.of(
        Linear(0.0, max_lr, warmup_steps), Cosine(max_lr, min_lr, steps - warmup_steps)
    )


def infinite(  # noqa: PLR0913 - the paper's schedule has these nine numbers
    *,
    max_lr: float,
    constant_lr: float,
    min_lr: float,
    warmup_steps: int,
    cooldown_steps: int,
    constant_steps: int,
    steps: int,
    cooldown: CooldownShape = "cosine",
    alpha: float = 10.0,
) -> Piecewise:
    """Return the paper's infinite schedule: warmup, cooldown, constant, annealing.

        max_lr·t/t_cd                                                       t ≤ t_cd
        f((t - t_cd)/(t_const - t_cd))                               t_cd < t ≤ t_const
        constant_lr                                                 t_const < t ≤ t_ann
        constant_lr·(min_lr/constant_lr)^((t - t_ann)/(steps - t_ann))        t_ann < t

    with t_cd = warmup_steps, t_const = t_cd + cooldown_steps, t_ann = t_const + constant_steps, and
    f a cosine, constant_lr + (max_lr - constant_lr)/2·(1 + cos(π·x)), or an inverse square root,
    max_lr + (constant_lr - max_lr)/h(1)·h(x) with h(x) = 1/sqrt(1 + alpha·x) - 1.

    The annealing has what the other phases leave. If they leave nothing, the schedule is a trunk: it stays
    at constant_lr, and min_lr is not used and may be anything from 0 up.

    Args:
        max_lr: peak, reached at step `warmup_steps`.
        constant_lr: rate of the trunk, from min_lr to max_lr. The paper has their midpoint.
        min_lr: floor, reached at step `steps`; above 0 if there is an annealing.
        warmup_steps: length of the warmup; the paper has 1 % of the stage.
        cooldown_steps: length of the cooldown; the paper has 60 %.
        constant_steps: length of the constant phase; the paper has 25 %.
        steps: length of the stage.
        cooldown: shape of f, "cosine" or "inverse-sqrt".
        alpha: steepness of the inverse square root; a cosine has no use for it.

    Raises:
        ScheduleError: the phases are longer than the stage, the rates are in the wrong order, min_lr is 0
            where the annealing needs its logarithm, or a value is negative or not a number.

    >>> rates = dict(max_lr=3e-4, constant_lr=1.65e-4, min_lr=3e-5)
    >>> schedule = infinite(**rates, warmup_steps=10, cooldown_steps=600, constant_steps=250, steps=1000)
    >>> schedule(10), schedule(610), schedule(860), schedule(1000)
    (0.0003, 0.000165, 0.000165, 3e-05)

    Source: paper section 7.2; its settings are in Table 14.
    """
    phases = {
        "warmup_steps": warmup_steps,
        "cooldown_steps": cooldown_steps,
        "constant_steps": constant_steps,
    }
    check_fit(phases, steps)
    annealing_steps = steps - sum(phases.values())
    _check_fall("max_lr", max_lr, "constant_lr", constant_lr)
    check_lr("min_lr", min_lr)
    trunk = Piecewise.of(
        Linear(0.0, max_lr, warmup_steps),
        _cooldown(cooldown, max_lr, constant_lr, cooldown_steps, alpha),
        Constant(constant_lr, constant_steps),
    )
    if annealing_steps == 0:
        return trunk
    check_order("min_lr", min_lr, "constant_lr", constant_lr)
    return trunk.then(Exponential(constant_lr, min_lr, annealing_steps))


def constant(*, lr: float, steps: int, warmup_steps: int = 0) -> Piecewise:
    """Return one learning rate, with or without a warmup to it: min(t/warmup_steps, 1)·lr.

    At the base's min_lr it is the paper's "no re-warming"; at max_lr with a warmup, "re-warmed, not
    re-decayed".

    Args:
        lr: the rate.
        steps: length of the stage.
        warmup_steps: length of the warmup.

    Raises:
        ScheduleError: the warmup is longer than the stage, or a value is negative or not a number.

    >>> schedule = constant(lr=3e-4, steps=100, warmup_steps=2)
    >>> schedule(1), schedule(2), schedule(100)
    (0.00015, 0.0003, 0.0003)

    Source: paper section 6.1, the runs of Fig. 3.
    """
    check_lr("lr", lr)
    check_fit({"warmup_steps": warmup_steps}, steps)
    return Piecewise.of(Linear(0.0, lr, warmup_steps), Constant(lr, steps - warmup_steps))


def wsd(
    *,
    max_lr: float,
    min_lr: float,
    warmup_steps: int,
    decay_steps: int,
    steps: int,
    decay: DecayShape = "1-sqrt",
) -> Piecewise:
    """Return warmup, stable, decay: a constant rate between a warmup and a short decay at the end.

        max_lr·t/W                                       t ≤ W = warmup_steps
        max_lr                                           W < t ≤ t_d = steps - decay_steps
        min_lr + (max_lr - min_lr)·g(x)                  t_d < t,  x = (t - t_d)/decay_steps

    with g(x) = 1 - sqrt(x), 1 - x, or (1 + cos(π·x))/2; the exponential decay is max_lr·(min_lr/max_lr)^x.

    Args:
        max_lr: rate of the stable phase.
        min_lr: floor, reached at step `steps`; at most max_lr, and above 0 for the exponential decay.
        warmup_steps: length of the warmup.
        decay_steps: length of the decay; 10 to 20 % of the stage is usual.
        steps: length of the stage.
        decay: shape of the decay.

    Raises:
        ScheduleError: the phases are longer than the stage, the rates are in the wrong order, min_lr is 0
            with an exponential decay, or a value is negative or not a number.

    >>> schedule = wsd(max_lr=4e-4, min_lr=0.0, warmup_steps=10, decay_steps=100, steps=1000)
    >>> schedule(10), schedule(900), schedule(925), schedule(1000)
    (0.0004, 0.0004, 0.0002, 0.0)

    Source: MiniCPM, arXiv 2404.06395 (exponential); Hägele et al., arXiv 2405.18392 (linear, 1-sqrt).
    """
    _check_fall("max_lr", max_lr, "min_lr", min_lr)
    check_fit({"warmup_steps": warmup_steps, "decay_steps": decay_steps}, steps)
    return Piecewise.of(
        Linear(0.0, max_lr, warmup_steps),
        Constant(max_lr, steps - warmup_steps - decay_steps),
        _decay("decay", decay, max_lr, min_lr, decay_steps),
    )


def warmup_linear(*, max_lr: float, min_lr: float, warmup_steps: int, steps: int) -> Piecewise:
    """Return a linear warmup and a linear decay; with min_lr = 0 it is "decay to zero".

        max_lr·t/W                                                    t ≤ W = warmup_steps
        max_lr - (max_lr - min_lr)·(t - W)/(steps - W)                otherwise

    Args:
        max_lr: peak, reached at step `warmup_steps`.
        min_lr: floor, reached at step `steps`; at most max_lr.
        warmup_steps: length of the warmup.
        steps: length of the stage.

    Raises:
        ScheduleError: the warmup is longer than the stage, the rates are in the wrong order, or a value is
            negative or not a number.

    >>> schedule = warmup_linear(max_lr=4e-4, min_lr=0.0, warmup_steps=10, steps=110)
    >>> schedule(10), schedule(60), schedule(110)
    (0.0004, 0.0002, 0.0)

    Source: "Straight to Zero", arXiv 2502.15938.
    """
    _check_fall("max_lr", max_lr, "min_lr", min_lr)
    check_fit({"warmup_steps": warmup_steps}, steps)
    return Piecewise.of(
        Linear(0.0, max_lr, warmup_steps), Linear(max_lr, min_lr, steps - warmup_steps)
    )


def inverse_sqrt_raffel(*, max_lr: float, constant_steps: int, steps: int) -> Piecewise:
    """Return T5's inverse square root: max_lr·sqrt(k/max(t, k)), with k = constant_steps.

    Args:
        max_lr: rate of the first k steps. T5 has 0.01, which is 1/sqrt(k).
        constant_steps: k, at least 1. T5 has 10,000.
        steps: length of the stage.

    Raises:
        ScheduleError: k is 0 or longer than the stage, or a value is negative or not a number.

    >>> schedule = inverse_sqrt_raffel(max_lr=1e-2, constant_steps=100, steps=400)
    >>> schedule(1), schedule(100), schedule(400)
    (0.01, 0.01, 0.005)

    Source: Raffel et al., arXiv 1910.10683, section 3.1.2: the rate there is 1/sqrt(max(t, k)); ours is
    scaled to the peak.
    """
    check_lr("max_lr", max_lr)
    check_fit({"constant_steps": constant_steps}, steps)
    check_positive("constant_steps", constant_steps)
    return Piecewise.of(
        Constant(max_lr, constant_steps),
        ReciprocalSqrt(max_lr, constant_steps, steps - constant_steps),
    )


def inverse_sqrt_zhai(
    *, max_lr: float, warmup_steps: int, timescale: float, cooldown_steps: int, steps: int
) -> Piecewise:
    """Return the reciprocal square root with warmup and with a linear cooldown to zero.

        max_lr·t/W                                             t ≤ W = warmup_steps
        max_lr·sqrt(τ/(τ + t - W))                             W < t ≤ t_c = steps - cooldown_steps
        max_lr·sqrt(τ/(τ + t_c - W))·(steps - t)/cooldown_steps                            t_c < t

    Args:
        max_lr: peak, reached at step `warmup_steps`.
        warmup_steps: length of the warmup. The source has 10,000.
        timescale: τ, in steps, above 0. The source has 10,000.
        cooldown_steps: length of the cooldown. The source has 50,000.
        steps: length of the stage.

    Raises:
        ScheduleError: the phases are longer than the stage, τ is not positive, or a value is negative or
            not a number.

    >>> schedule = inverse_sqrt_zhai(
    ...     max_lr=8e-4, warmup_steps=10, timescale=10, cooldown_steps=50, steps=90
    ... )
    >>> schedule(10), schedule(40), schedule(65), schedule(90)
    (0.0008, 0.0004, 0.0002, 0.0)

    Source: Zhai et al., arXiv 2106.04560, section 3.5. Ours cools from the rate where the cooldown
    begins in a straight line; multiplying the still falling curve by a straight line is another reading.
    """
    check_lr("max_lr", max_lr)
    check_positive("timescale", timescale)
    check_fit({"warmup_steps": warmup_steps, "cooldown_steps": cooldown_steps}, steps)
    fall = ReciprocalSqrt(max_lr, timescale, steps - warmup_steps - cooldown_steps)
    return Piecewise.of(
        Linear(0.0, max_lr, warmup_steps), fall, Linear(fall(fall.steps), 0.0, cooldown_steps)
    )


def repeated_cosine(
    *, max_lr: float, min_lr: float, warmup_steps: int, steps: int, repeats: int
) -> Piecewise:
    """Return warmup and cosine decay over and over: η(t) = warmup_cosine((t - 1) mod steps + 1).

    As in the paper each repeat warms up from 0, so the rate drops from min_lr to max_lr/warmup_steps where
    one begins. It is what `repeats` stages of `warmup_cosine` are together.

    Args:
        max_lr: peak of each repeat.
        min_lr: floor of each repeat; at most max_lr.
        warmup_steps: length of each warmup.
        steps: length of each repeat.
        repeats: how many, at least 1.

    Raises:
        ScheduleError: there is no repeat, the warmup is longer than one, the rates are in the wrong order,
            or a value is negative or not a number.

    >>> schedule = repeated_cosine(max_lr=3e-4, min_lr=3e-5, warmup_steps=10, steps=100, repeats=3)
    >>> schedule.steps, schedule(110), schedule(200)
    (300, 0.0003, 3e-05)

    Source: paper section 7.4, the baseline of Fig. 9.
    """
    check_steps("repeats", repeats)
    check_positive("repeats", repeats)
    once = warmup_cosine(max_lr=max_lr, min_lr=min_lr, warmup_steps=warmup_steps, steps=steps)
    return once.then(*(once for _ in range(repeats - 1)))


def continued_cosine(*, base_min_lr: float, steps: int, factor: float = 0.01) -> Piecewise:
    """Return a cosine decay that goes on below where the base model's ended, with no warmup.

        m·(factor + (1 - factor)/2·(1 + cos(π·t/steps)))               m = base_min_lr

    It is meant for a weak shift on a very well trained base; a strong shift or a large corpus wants re-warming.

    Args:
        base_min_lr: rate at which the base model's pre-training ended. The source has 4.5e-5.
        steps: length of the stage.
        factor: end rate as a fraction of base_min_lr, from 0 to 1.

    Raises:
        ScheduleError: the factor is not from 0 to 1, or a value is negative or not a number.

    >>> schedule = continued_cosine(base_min_lr=4.5e-5, steps=1000)
    >>> round(schedule(500), 10), round(schedule(1000), 10)
    (2.2725e-05, 4.5e-07)

    Source: "Reuse, Don't Retrain", arXiv 2407.07263.
    """
    check_lr("base_min_lr", base_min_lr)
    check_lr("factor", factor)
    if factor > 1:
        raise ScheduleError(
            f"factor = {factor} is above 1: the schedule would rise from base_min_lr = {base_min_lr} "
            f"without a warmup. Give a factor from 0 to 1, or use warmup_cosine to re-warm."
        )
    check_steps("steps", steps)
    return Piecewise.of(Cosine(base_min_lr, factor * base_min_lr, steps))


def annealing(
    *, start_lr: float, min_lr: float, steps: int, shape: DecayShape = "exponential"
) -> Piecewise:
    """Return a decay alone: the branch that makes a model to release from a trunk.

        start_lr·(min_lr/start_lr)^(t/steps)              for the exponential shape, the paper's

    The other shapes are those of `wsd`. It is joined with `trunk.until(step).then(annealing(…))`, where
    start_lr is `trunk(step)`; anything else is a jump.

    Args:
        start_lr: rate where the annealing begins.
        min_lr: floor, reached at step `steps`; at most start_lr, and above 0 for the exponential shape.
        steps: length of the annealing; the paper has 14 % of the stage.
        shape: shape of the decay.

    Raises:
        ScheduleError: the rates are in the wrong order, one is 0 with the exponential shape, or a value is
            negative or not a number.

    >>> trunk = constant(lr=1.65e-4, steps=1000)
    >>> branch = trunk.until(860).then(annealing(start_lr=trunk(860), min_lr=3e-5, steps=140))
    >>> branch(860), round(branch(930), 12), branch(1000)
    (0.000165, 7.0356236e-05, 3e-05)

    Source: paper section 7.2, the annealing phase, and section 7.4, where it is a branch.
    """
    _check_fall("start_lr", start_lr, "min_lr", min_lr)
    check_steps("steps", steps)
    return Piecewise.of(_decay("shape", shape, start_lr, min_lr, steps))


def _check_fall(high_name: str, high: float, low_name: str, low: float) -> None:
    """Refuse two rates that are not rates, or between which the schedule would rise."""
    check_lr(high_name, high)
    check_lr(low_name, low)
    check_order(low_name, low, high_name, high)


def _cooldown(
    shape: CooldownShape, max_lr: float, constant_lr: float, steps: int, alpha: float
) -> Segment:
    """Return the cooldown of the infinite schedule."""
    match shape:
        case "cosine":
            return Cosine(max_lr, constant_lr, steps)
        case "inverse-sqrt":
            return InverseSqrt(max_lr, constant_lr, steps, alpha)
        case _:
            raise _unknown_shape("cooldown", shape, "cosine, inverse-sqrt")


def _decay(name: str, shape: DecayShape, start: float, end: float, steps: int) -> Segment:
    """Return a decay of the given shape."""
    match shape:
        case "1-sqrt":
            return OneMinusSqrt(start, end, steps)
        case "linear":
            return Linear(start, end, steps)
        case "exponential":
            return Exponential(start, end, steps)
        case "cosine":
            return Cosine(start, end, steps)
        case _:
            raise _unknown_shape(name, shape, "1-sqrt, linear, exponential, cosine")


def _unknown_shape(name: str, shape: str, known: str) -> ScheduleError:
    return ScheduleError(
        f"{name} = {shape!r} is not a known shape, so there is no curve to follow. Known are: {known}."
    )
