"""What a length, a learning rate and a shape number may be, refused in one wording everywhere.

Nothing is ever rounded or clipped into range: a value is as the user wrote it, or there is an error.
"""

import math

from rewarm.errors import ScheduleError


def check_steps(name: str, value: object) -> None:
    """Refuse a length that is not a whole number of optimizer steps, 0 or more.

    Args:
        name: what the length is called where the user wrote it.
        value: the length.

    Raises:
        ScheduleError: it is negative or not an integer.

    >>> check_steps("warmup_steps", 0)
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ScheduleError(
            f"{name} = {value!r} is not a whole number: lengths are counted in optimizer steps. "
            f"Give an int; round it yourself, so that the sum of the phases stays what you mean."
        )
    if value < 0:
        raise ScheduleError(
            f"{name} = {value} is negative: nothing can last less than 0 optimizer steps. "
            f"Give 0 to leave it out, or a positive number of steps."
        )


def check_lr(name: str, value: object) -> None:
    """Refuse a learning rate that is not a finite number, 0 or more.

    Args:
        name: what the rate is called where the user wrote it.
        value: the rate, absolute.

    Raises:
        ScheduleError: it is negative, infinite, not a number, or of another type.

    >>> check_lr("min_lr", 0.0)
    """
    number = _finite(name, value, "a learning rate")
    if number < 0:
        raise ScheduleError(
            f"{name} = {value} is negative: such a learning rate climbs the loss. "
            f"Give the absolute learning rate, 0 or more."
        )


def check_positive(name: str, value: object) -> None:
    """Refuse a number of a curve's shape that is not finite and above 0.

    Args:
        name: what the number is called where the user wrote it.
        value: the number.

    Raises:
        ScheduleError: it is 0, negative, infinite, not a number, or of another type.

    >>> check_positive("timescale", 10_000)
    """
    number = _finite(name, value, "a number")
    if number <= 0:
        raise ScheduleError(
            f"{name} = {value} is not above 0: the curve is not defined there. "
            f"Give a positive number."
        )


def check_order(low_name: str, low: float, high_name: str, high: float) -> None:
    """Refuse two learning rates in the wrong order; equal ones are in order.

    Raises:
        ScheduleError: `low` is above `high`.

    >>> check_order("min_lr", 3e-5, "max_lr", 3e-4)
    """
    if low > high:
        raise ScheduleError(
            f"{low_name} = {low} is above {high_name} = {high}: the schedule would rise where it is "
            f"to fall. Exchange them, or mend the one that is wrong."
        )


def check_fit(phases: dict[str, int], steps: int) -> None:
    """Refuse phases that last longer than the stage they are in.

    Args:
        phases: lengths in optimizer steps, by the names the user knows them by.
        steps: length of the stage in optimizer steps.

    Raises:
        ScheduleError: a length is not one, or the phases add up to more than the stage.

    >>> check_fit({"warmup_steps": 10, "decay_steps": 90}, 100)
    """
    for name, length in phases.items():
        check_steps(name, length)
    check_steps("steps", steps)
    total = sum(phases.values())
    if total > steps:
        listed = " + ".join(f"{name} {length}" for name, length in phases.items())
        summed = f"{listed} = {total}" if len(phases) > 1 else listed
        raise ScheduleError(
            f"{summed} is longer than the stage, which has {steps} steps: the end of the schedule "
            f"would never be reached. Shorten the phases by {total - steps} steps, or lengthen the stage."
        )


def _finite(name: str, value: object, what: str) -> float:
    """Return the value if it is a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ScheduleError(
            f"{name} = {value!r} is not {what}: the schedule must give a finite number at every step. "
            f"Give a finite float."
        )
    return value
