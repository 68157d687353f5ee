"""`rewarm` with clocks around the parts of its training loop: run by `overhead.py` and others.

    python timed_training.py CLOCKS.json train campaign.toml …

What follows the file are the arguments of `rewarm`. Each call of a part becomes one entry of the file: the
parts that it is within and its own name, when it began, and its seconds. Nothing else about the run differs; a
clock costs about a microsecond.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from resident import resident_bytes

from rewarm.cli import main
from rewarm.data.batches import Batch, Batches
from rewarm.engine import saver
from rewarm.training import loop, state, step
from rewarm.training.journal import Journal
from rewarm.training.model import TrainedModel
from rewarm.training.progress import Reporter

PARTS = (
    (loop, "_train", "loop"),
    (loop, "train_step", "step"),
    (TrainedModel, "backward", "gradients"),
    (TrainedModel, "_on_device", "copy"),
    (TrainedModel, "totals", "norm"),
    (step, "clip", "clip"),
    (torch.optim.AdamW, "step", "update"),
    (state.TrainState, "advance", "count"),
    (Journal, "append", "record"),
    (Reporter, "step", "show"),
    (loop, "evaluate", "evaluate"),
    (loop, "save_state", "save"),
    (saver, "save", "write"),
    (loop, "resume_stage", "resume"),
    (state, "newest_valid", "verify"),
    (state, "load_tensors", "load"),
)
"""Where each part is found, and its name here."""


class Clocks:
    """The calls of all parts so far."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float, float]] = []
        self._within = threading.local()

    def around(self, place: Any, name: str, part: str) -> None:  # noqa: ANN401 - a module or a class
        """Put a clock around a function or a method."""
        work: Callable[..., object] = getattr(place, name)

        def timed(*arguments: object, **named: object) -> object:
            return self.call(part, lambda: work(*arguments, **named))

        setattr(place, name, timed)

    def call(self, part: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it returns
        """Do a piece of work and note how long it took."""
        outer: str = getattr(self._within, "path", "")
        path = self._within.path = f"{outer}/{part}" if outer else part
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.calls.append((path, began, time.perf_counter() - began))
            self._within.path = outer

    def around_batches(self) -> None:
        """Put a clock around waiting for each batch."""
        prefetched = Batches.prefetched

        def timed(batches: Batches, first_step: int, last_step: int) -> Generator[Batch]:
            with closing(prefetched(batches, first_step, last_step)) as source:
                for _ in range(first_step, last_step + 1):
                    yield self.call("wait", lambda: next(source))

        Batches.prefetched = timed


def run() -> None:
    """Carry out the command, and write down the clocks and the memory."""
    clocks, file, built = Clocks(), Path(sys.argv[1]), list[int]()
    for place, name, part in PARTS:
        clocks.around(place, name, part)
    clocks.around_batches()
    begin_stage = loop.begin_stage

    def begun(*arguments: Any) -> Any:  # noqa: ANN401 - as the function
        made = begin_stage(*arguments)
        built.append(resident_bytes("VmRSS"))
        return made

    loop.begin_stage = begun
    sys.argv = ["rewarm", *sys.argv[2:]]
    try:
        main()
    finally:
        found = {
            "calls": clocks.calls,
            "built_bytes": built,
            "peak_bytes": resident_bytes("VmHWM"),
        }
        file.write_text(json.dumps(found))


if __name__ == "__main__":
    run()
