"""Batches: a stage's data order carried out over the token stores.

Batch number s holds positions (s-1)·B … s·B-1 of the stage's stream, so its content depends on nothing but
the stream, the stores and s: not on micro-batches, ranks, restarts or the budget. Of several ranks each reads
its own rows.
"""

import queue
import threading
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.data.source_reader import SourceReader, WindowStore
from rewarm.replay import OrderKind, SourcePart, Stream

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
    stores: Mapping[str, WindowStore]
    """Training tokens by source."""
    seed: int
    """Seed of the orders within the sources."""
    batch_sequences: int
    """Sequences in a batch, B."""
    sequence_length: int
    """Tokens in a sequence."""
    orders: Mapping[str, OrderKind] = field(default_factory=dict[str, OrderKind])
    """The order of each source; shuffled where none is given."""
    parts: Mapping[str, SourcePart] = field(default_factory=dict[str, SourcePart])
    """The part of each source that is read; all of it where none is given."""
    rows: range | None = None
    """The rows of every batch that are read here; all of them by default."""

    def readers(self) -> dict[str, SourceReader]:
        """Return the reader of each source.

        Raises:
            DataError: a source, or the part of it, has fewer tokens than one sequence.
        """
        return {
            source: SourceReader.open(
                source,
                store,
                seed=self.seed,
                sequence_length=self.sequence_length,
                kind=self.orders.get(source, "shuffled"),
                part=self.parts.get(source),
            )
            for source, store in self.stores.items()
        }

    def read(self, step: int, readers: Mapping[str, SourceReader]) -> Batch:
        """Read the batch of a step.

        Args:
            step: from 1.
            readers: what `readers` returned; kept by the caller, since they keep what is costly to make.
        """
        first = (step - 1) * self.batch_sequences
        draws = [self.stream.at(first + row) for row in range(self.batch_sequences)]
        mine = draws if self.rows is None else [draws[row] for row in self.rows]
        rows_of: dict[str, list[int]] = {}
        for row, draw in enumerate(mine):
            rows_of.setdefault(draw.source, []).append(row)
        parts = {
            source: readers[source].read([mine[row].place for row in rows])
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
                readers = self.readers()
                for step in range(first_step, last_step + 1):
                    if closed.is_set():
                        return
                    put(self.read(step, readers))
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
