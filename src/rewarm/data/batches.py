"""Batches: a stage's data order carried out over the token stores.

Batch number s holds positions (s-1)·B … s·B-1 of the stage's stream, so its content depends on nothing but
the stream, the stores and s: not on micro-batches, ranks, restarts or the budget. Of several ranks each reads
its own rows.
"""

import queue
import threading
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.data.windows import Windows
from rewarm.errors import DataError
from rewarm.replay import EpochOrder, Stream

PREFETCHED_BATCHES = 2
"""Batches read ahead of the training step."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The sequences of one optimizer step."""

    step: int
    """The step, from 1."""
    tokens: NDArray[Any]
    """Token ids, (sequences, sequence_length + 1), in the stored type; of the rows that this rank reads."""
    num_tokens: int
    """Targets in the whole batch."""
    new: dict[str, int]
    """Sequences of the whole batch read as new data, by source."""
    replayed: dict[str, int]
    """Sequences of the whole batch re-read from earlier stages, by source."""


@dataclass(frozen=True, kw_only=True)
class Batches:
    """All batches of a stage."""

    stream: Stream
    """The stage's data order."""
    stores: Mapping[str, Windows]
    """Training tokens by source."""
    seed: int
    """Seed of the orders within the sources."""
    batch_sequences: int
    """Sequences in a batch, B."""
    sequence_length: int
    """Tokens in a sequence."""
    rows: range | None = None
    """The rows of every batch that are read here; all of them by default."""

    def orders(self) -> dict[str, EpochOrder]:
        """Return the shuffled order of each source.

        Raises:
            DataError: a source has fewer tokens than one sequence.
        """
        found: dict[str, EpochOrder] = {}
        for source, store in self.stores.items():
            length = store.num_windows(self.sequence_length)
            if length < 1:
                raise DataError(
                    f"{source}: {store.tokens:,} tokens are less than one sequence of "
                    f"{self.sequence_length:,}; add text, or make sequence_length smaller"
                )
            found[source] = EpochOrder(seed=self.seed, name=source, length=length)
        return found

    def read(self, step: int, orders: Mapping[str, EpochOrder]) -> Batch:
        """Read the batch of a step.

        Args:
            step: from 1.
            orders: what `orders` returned; kept by the caller, since it is costly to make anew.
        """
        first = (step - 1) * self.batch_sequences
        draws = [self.stream.at(first + row) for row in range(self.batch_sequences)]
        mine = draws if self.rows is None else [draws[row] for row in self.rows]
        rows_of: dict[str, list[int]] = {}
        for row, draw in enumerate(mine):
            rows_of.setdefault(draw.source, []).append(row)
        parts = {
            source: self.stores[source].windows(
                [orders[source](mine[row].place) for row in rows], self.sequence_length
            )
            for source, rows in rows_of.items()
        }
        shape = (len(mine), self.sequence_length + 1)
        tokens = np.empty(shape, next(iter(parts.values())).dtype)
        for source, rows in rows_of.items():
            tokens[rows] = parts[source]
        return Batch(
            step=step,
            tokens=tokens,
            num_tokens=self.batch_sequences * self.sequence_length,
            new=dict(Counter(draw.source for draw in draws if not draw.replayed)),
            replayed=dict(Counter(draw.source for draw in draws if draw.replayed)),
        )

    def prefetched(self, first_step: int, last_step: int) -> Generator[Batch]:
        """Yield the batches of steps first_step … last_step, read ahead by one thread.

        An error in the thread is raised here. Closing the iterator ends the thread.
        """
        ready: queue.Queue[Batch | BaseException] = queue.Queue(PREFETCHED_BATCHES)
        closed = threading.Event()

        def put(item: Batch | BaseException) -> None:
            while not closed.is_set():
                try:
                    ready.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return

        def work() -> None:
            try:
                orders = self.orders()
                for step in range(first_step, last_step + 1):
                    if closed.is_set():
                        return
                    put(self.read(step, orders))
            except BaseException as error:  # handed to the reader, which raises it
                put(error)

        thread = threading.Thread(target=work, name="batches", daemon=True)
        thread.start()
        try:
            for _ in range(first_step, last_step + 1):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            closed.set()
            thread.join()
