"""What is said of training while it goes on, as text: pure, and the same on a terminal and in a log."""

from collections.abc import Mapping
from dataclasses import dataclass

from rewarm.schedules import Piecewise


@dataclass(frozen=True, kw_only=True)
class Status:
    """How training stands after a step."""

    loss: float
    """Mean loss of the batch, nats per token; NaN if it was left out."""
    lr: float
    """The learning rate that the step used."""
    phase: str
    """Where in the schedule that is, from `phase_text`."""
    tokens_per_second: float
    """Over this session, evaluation and saving included."""
    flops_per_token: float
    """Of training; 0 if not known."""
    wait_share: float
    """Share of the session's time spent waiting for batches."""
    seconds_left: float
    """Until all stages are done, at this speed."""
    seconds_since_saved: float
    """Age of the last state that is saved or being saved: what a crash would cost."""
    validation: Mapping[str, tuple[float, float]]
    """For each dataset the loss at step 0 of the stage, and the last one."""


def status_lines(status: Status) -> tuple[str, str]:
    """Return what changes with every step, and what changes slowly.

    >>> now = Status(
    ...     loss=2.3456, lr=3e-4, phase="cosine ↓", tokens_per_second=12_345.6, flops_per_token=6e6,
    ...     wait_share=0.004, seconds_left=3700, seconds_since_saved=75,
    ...     validation={"english": (2.8, 2.93), "german": (4.1, 1.5)},
    ... )
    >>> for line in status_lines(now):
    ...     print(line)
    loss 2.346  lr 3.00e-04 cosine ↓  12,346 tokens/s  74.1 GFLOP/s  all done in 1:01:40
    validation english 2.930 ↑0.130, german 1.500 ↓2.600  data wait 0%  saved 1:15 ago
    """
    fast = [
        f"loss {status.loss:.3f}",
        f"lr {status.lr:.2e} {status.phase}",
        f"{status.tokens_per_second:,.0f} tokens/s",
        _flops(status.tokens_per_second * status.flops_per_token),
        f"all done in {clock(status.seconds_left)}",
    ]
    slow = [
        validation_text(status.validation),
        f"data wait {status.wait_share:.0%}",
        f"saved {clock(status.seconds_since_saved)} ago",
    ]
    return "  ".join(filter(None, fast)), "  ".join(filter(None, slow))


def validation_text(validation: Mapping[str, tuple[float, float]]) -> str:
    """Write validation losses with what became of them since the start of the stage.

    >>> validation_text({"a": (3.0, 3.00004)}), validation_text({})
    ('validation a 3.000 =', '')
    """
    parts = [
        f"{name} {now:.3f} {_change(now - start)}" for name, (start, now) in validation.items()
    ]
    return f"validation {', '.join(parts)}" if parts else ""


def phase_text(schedule: Piecewise, step: int) -> str:
    """Name the phase of a schedule that a step is in, and whether the rate rises or falls there.

    >>> from rewarm.schedules import warmup_cosine
    >>> schedule = warmup_cosine(max_lr=3e-4, min_lr=3e-5, warmup_steps=10, steps=1000)
    >>> phase_text(schedule, 10), phase_text(schedule, 11)
    ('linear ↑', 'cosine ↓')
    """
    for phase in schedule.phases():
        if step <= phase.last_step:
            if phase.end_lr == phase.start_lr:
                return phase.name
            return f"{phase.name} {'↑' if phase.end_lr > phase.start_lr else '↓'}"
    return "constant"


def clock(seconds: float) -> str:
    """Write a duration as people read it.

    >>> clock(59), clock(3700), clock(200_000)
    ('0:59', '1:01:40', '2 days 7:33:20')
    """
    total = max(0, round(seconds))
    days, rest = divmod(total, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, second = divmod(rest, 60)
    text = f"{hours}:{minutes:02}:{second:02}" if hours or days else f"{minutes}:{second:02}"
    return f"{days} days {text}" if days else text


def _change(change: float) -> str:
    text = f"{abs(change):.3f}"
    return "=" if float(text) == 0 else f"{'↑' if change > 0 else '↓'}{text}"


def _flops(flops_per_second: float) -> str:
    """Write a speed in FLOPs; nothing if it is not known."""
    for size, unit in ((1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s")):
        if flops_per_second >= size:
            return f"{flops_per_second / size:.3g} {unit}"
    return f"{flops_per_second / 1e6:.3g} MFLOP/s" if flops_per_second else ""
