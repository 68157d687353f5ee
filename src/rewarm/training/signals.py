"""Stopping when asked: the first signal lets the current step finish and be saved, a second one does not."""

import os
import signal
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import FrameType

from rewarm.errors import InterruptedRunError

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 75}
"""130 as shells have it; 75 (EX_TEMPFAIL) tells a scheduler to start the job again."""

SAME_SECONDS = 2.0
"""Signals so close together are one: schedulers and launchers may each pass the same one on."""


class StopRequest:
    """Whether a signal has asked to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """What has come to this process."""
        self.came_at = 0.0
        """When, on the monotonic clock."""
        self.agreed: signal.Signals | None = None
        """What all ranks know of, and stop for at the same step."""

    def flags(self) -> list[float]:
        """Return which signal has come, in numbers that can be added up over ranks."""
        return [float(self.signal == number) for number in EXIT_CODES]

    def agree(self, flags: Sequence[float]) -> None:
        """Take over a signal that has come to any rank.

        Args:
            flags: of all ranks, added up.
        """
        come = [number for number, count in zip(EXIT_CODES, flags, strict=True) if count]
        self.agreed = come[-1] if come else None

    def interruption(self, what: str) -> InterruptedRunError:
        """Return the error that ends the run, saying what was saved."""
        come = self.agreed or self.signal
        assert come is not None, "only called after a signal"
        return InterruptedRunError(
            f"stopped by {come.name}; {what}. The same command goes on from there.",
            EXIT_CODES[come],
        )


@contextmanager
def stop_on_signals() -> Generator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request; a second one, a while later, acts at once."""
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in EXIT_CODES}

    def ask(number: int, _frame: FrameType | None) -> None:
        if request.signal is None:
            request.signal = signal.Signals(number)
            request.came_at = time.monotonic()
        elif time.monotonic() - request.came_at > SAME_SECONDS:
            for each, handler in before.items():
                signal.signal(each, handler)
            os.kill(os.getpid(), number)

    for number in EXIT_CODES:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
