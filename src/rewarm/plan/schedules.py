"""From a schedule as a campaign file writes it to the learning rate of every step.

Percentages are of the stage's steps. Lengths are rounded down to whole steps; nothing else is changed.
"""

from collections.abc import Callable

from rewarm.campaign.campaign import Campaign
from rewarm.campaign.quantities import Quantity, parse_quantity
from rewarm.campaign.schedule import (
    Anneal,
    Constant,
    ContinuedCosine,
    Cosine,
    Infinite,
    InverseSqrtRaffel,
    InverseSqrtZhai,
    LinearDecay,
    RepeatedCosine,
    Schedule,
    Wsd,
)
from rewarm.errors import ScheduleError
from rewarm.schedules import (
    Piecewise,
    annealing,
    constant,
    continued_cosine,
    infinite,
    inverse_sqrt_raffel,
    inverse_sqrt_zhai,
    repeated_cosine,
    warmup_cosine,
    warmup_linear,
    wsd,
)


def length_in_steps(quantity: Quantity, *, of_steps: int, batch_tokens: int) -> int:
    """Resolve a length to whole optimizer steps, rounded down.

    Args:
        quantity: a percentage, steps or tokens.
        of_steps: what a percentage is of.
        batch_tokens: tokens in one step.

    >>> from rewarm.campaign import parse_quantity
    >>> length_in_steps(parse_quantity("1%"), of_steps=132_366, batch_tokens=2_260_992)
    1323
    """
    if quantity.unit == "%":
        return int(quantity.amount * of_steps / 100)
    if quantity.unit == "tokens":
        return int(quantity.amount // batch_tokens)
    return int(quantity.amount)


def make_schedule(  # noqa: C901, PLR0911  (one case a kind reads better than a table)
    schedule: Schedule, campaign: Campaign, steps: int, lr_before: float | None
) -> Piecewise:
    """Return the learning rate of every step of a stage.

    Args:
        schedule: as written.
        campaign: for the size of a batch.
        steps: length of the stage.
        lr_before: the rate of the last step before the stage; None for a first stage.

    Raises:
        ScheduleError: it makes no sense (what, why and what to do are in the message).
    """

    def length(quantity: Quantity, of_steps: int = steps) -> int:
        return length_in_steps(quantity, of_steps=of_steps, batch_tokens=campaign.batch_tokens)

    match schedule:
        case Cosine(max_lr=max_lr, min_lr=min_lr, warmup=warmup):
            floor = 0.1 * max_lr if min_lr is None else min_lr
            return warmup_cosine(
                max_lr=max_lr, min_lr=floor, warmup_steps=length(warmup), steps=steps
            )
        case Infinite():
            return _infinite(schedule, length, steps)
        case Constant(lr=lr, warmup=warmup):
            return constant(lr=lr, steps=steps, warmup_steps=length(warmup))
        case Wsd(max_lr=max_lr, min_lr=min_lr, warmup=warmup, decay=decay, shape=shape):
            return wsd(
                max_lr=max_lr,
                min_lr=min_lr,
                warmup_steps=length(warmup),
                decay_steps=length(decay),
                steps=steps,
                decay=shape,
            )
        case LinearDecay(max_lr=max_lr, min_lr=min_lr, warmup=warmup):
            return warmup_linear(
                max_lr=max_lr, min_lr=min_lr, warmup_steps=length(warmup), steps=steps
            )
        case InverseSqrtRaffel(max_lr=max_lr, constant=held):
            return inverse_sqrt_raffel(max_lr=max_lr, constant_steps=length(held), steps=steps)
        case InverseSqrtZhai(max_lr=max_lr, warmup=warmup, timescale=timescale, cooldown=cooldown):
            return inverse_sqrt_zhai(
                max_lr=max_lr,
                warmup_steps=length(warmup),
                timescale=length(timescale),
                cooldown_steps=length(cooldown),
                steps=steps,
            )
        case RepeatedCosine(max_lr=max_lr, min_lr=min_lr, warmup=warmup, repeats=repeats):
            if steps % repeats:
                raise ScheduleError(
                    f"{repeats} repeats do not divide the stage's {steps:,} steps; "
                    f"choose a budget of {steps - steps % repeats:,} steps, or other repeats"
                )
            return repeated_cosine(
                max_lr=max_lr,
                min_lr=0.1 * max_lr if min_lr is None else min_lr,
                warmup_steps=length(warmup, steps // repeats),
                steps=steps // repeats,
                repeats=repeats,
            )
        case ContinuedCosine(base_min_lr=base_min_lr, factor=factor):
            return continued_cosine(base_min_lr=base_min_lr, steps=steps, factor=factor)
        case Anneal(min_lr=min_lr, shape=shape):
            assert lr_before is not None, "the references were checked: an annealing has a parent"
            return annealing(start_lr=lr_before, min_lr=min_lr, steps=steps, shape=shape)


def _infinite(schedule: Infinite, length: Callable[[Quantity], int], steps: int) -> Piecewise:
    """Resolve the four phases; what is not given is the rest."""
    max_lr = schedule.max_lr
    min_lr = 0.1 * max_lr if schedule.min_lr is None else schedule.min_lr
    warmup_steps, cooldown_steps = length(schedule.warmup), length(schedule.cooldown)
    rest = steps - warmup_steps - cooldown_steps
    if schedule.constant is not None:
        constant_steps = length(schedule.constant)
    elif schedule.annealing is not None:
        constant_steps = rest - length(schedule.annealing)
    else:
        constant_steps = length(parse_quantity("25%"))
    if schedule.constant is not None and schedule.annealing is not None:
        annealing_steps = length(schedule.annealing)
        if constant_steps + annealing_steps != rest:
            raise ScheduleError(
                f"warmup, cooldown, constant and annealing are {warmup_steps:,} + {cooldown_steps:,} + "
                f"{constant_steps:,} + {annealing_steps:,} steps, which is not the stage's {steps:,}; "
                "leave out constant or annealing to give it the rest"
            )
    return infinite(
        max_lr=max_lr,
        constant_lr=(max_lr + min_lr) / 2 if schedule.constant_lr is None else schedule.constant_lr,
        min_lr=min_lr,
        warmup_steps=warmup_steps,
        cooldown_steps=cooldown_steps,
        constant_steps=constant_steps,
        steps=steps,
        cooldown=schedule.cooldown_shape,
        alpha=schedule.alpha,
    )
