"""Batches: a stage's data order carried out over the token stores.

Batch number s holds positions (s-1)·B … s·B-1 of the stage's stream, so its content depends on nothing but
the stream, the stores and s: not on micro-batches, ranks, restarts or the budget. Of several ranks each reads
its own rows.
"""

import queue
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.data.draws import Draws, draws
from rewarm.data.source_reader import SourceReader, WindowStore
from rewarm.replay import OrderKind, SourcePart, Stream

PREFETCHED_BATCHES = 2
"""Batches read ahead of the training step."""

POSITIONS_AT_ONCE = 16_384
"""Positions of which is computed at once what comes there. A call of numpy costs as much as 1,000 numbers do,
so for one small batch at a time it would take longer than to read the tokens."""


TOKENS_AT_ONCE = 1 << 25
"""Tokens that are fetched from the disk ahead at most, unless one batch has more."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The sequences of one optimizer step."""

    step: int
    """The step, from 1."""
    tokens: NDArray[Any]
    """Token ids, (sequences, sequence_length + 1), in the stored type; of the rows that this rank reads. Where
    documents are packed whole, -1 is where a row has nothing."""
    num_tokens: int
    """Targets in the whole batch."""
    new: dict[str, int]
    """Sequences of the whole batch read as new data, by source."""
    replayed: dict[str, int]
    """Sequences of the whole batch re-read from earlier stages, by source."""


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A batch of which is known what it holds, and which is not read yet."""

    names: list[str]
    """Sources."""
    sources: NDArray[np.int64]
    """Which of the names each row is from, of the rows that are read here."""
    windows: NDArray[np.uint64]
    """Which window of its source each of them is."""
    num_tokens: int
    """As in `Batch`."""
    new: dict[str, int]
    """As in `Batch`."""
    replayed: dict[str, int]
    """As in `Batch`."""


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
        return next(self.read_range(step, step, readers))

    def read_range(
        self, first_step: int, last_step: int, readers: Mapping[str, SourceReader]
    ) -> Iterator[Batch]:
        """Read the batches of steps first_step … last_step, one after the other, as `read` would.

        What comes at which position is computed for many batches at once, and told to the stores before those
        batches are read; tokens are read batch by batch.
        """
        positions = min(POSITIONS_AT_ONCE, TOKENS_AT_ONCE // self.sequence_length)
        steps_at_once = max(1, positions // self.batch_sequences)
        begins = range(first_step, last_step + 1, steps_at_once)
        plans = (
            self._planned(begin, min(begin + steps_at_once, last_step + 1), readers)
            for begin in begins
        )
        # Pairs, so that a plan's tokens are fetched while those of the plan before are read.
        for begin, (plan, _) in zip(begins, pairwise(chain(plans, [[]])), strict=True):
            for step, planned in enumerate(plan, begin):
                yield Batch(
                    step=step,
                    tokens=self._tokens(planned, readers),
                    num_tokens=planned.num_tokens,
                    new=planned.new,
                    replayed=planned.replayed,
                )

    def _planned(
        self, first_step: int, stop_step: int, readers: Mapping[str, SourceReader]
    ) -> list[_Planned]:
        """Return what the batches of some steps hold, computed for all of them together."""
        first, stop = ((step - 1) * self.batch_sequences for step in (first_step, stop_step))
        drawn = draws(self.stream, first, stop)
        windows = np.empty_like(drawn.places)
        targets = np.empty(len(windows), np.int64)
        for name, here in zip(drawn.names, _rows_by_source(drawn), strict=True):
            windows[here] = numbers = readers[name].window_numbers(drawn.places[here])
            targets[here] = readers[name].num_targets(numbers)
            readers[name].expect(numbers)
        by_batch = (stop_step - first_step, self.batch_sequences)
        mine = slice(None)
        if self.rows is not None:
            mine = slice(self.rows.start, self.rows.stop, self.rows.step)
        return [
            _Planned(
                names=drawn.names,
                sources=sources,
                windows=numbers,
                num_tokens=num_tokens,
                new=new,
                replayed=replayed,
            )
            for sources, numbers, num_tokens, new, replayed in zip(
                drawn.sources.reshape(by_batch)[:, mine],
                windows.reshape(by_batch)[:, mine],
                targets.reshape(by_batch).sum(axis=1).tolist(),
                _counts(drawn, ~drawn.is_replayed, by_batch),
                _counts(drawn, drawn.is_replayed, by_batch),
                strict=True,
            )
        ]

    def _tokens(self, planned: _Planned, readers: Mapping[str, SourceReader]) -> NDArray[Any]:
        """Read the rows of a batch, all of a source at once."""
        first, *others = dict.fromkeys(planned.sources.tolist())
        if not others:
            return readers[planned.names[first]].read(planned.windows)
        tokens = None
        for number in (first, *others):
            here = planned.sources == number
            part = readers[planned.names[number]].read(planned.windows[here])
            if tokens is None:
                tokens = np.empty((len(here), self.sequence_length + 1), part.dtype)
            tokens[here] = part
        assert tokens is not None, "there is a first source"
        return tokens

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
                for batch in self.read_range(first_step, last_step, self.readers()):
                    if closed.is_set():
                        return
                    put(batch)
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


def _rows_by_source(drawn: Draws) -> list[NDArray[np.intp]]:
    """Return the rows of each source, found by one sort, however many sources there are."""
    order = np.argsort(drawn.sources, kind="stable")
    begins = np.searchsorted(drawn.sources[order], range(1, len(drawn.names)))
    return np.split(order, begins)


def _counts(
    drawn: Draws, is_counted: NDArray[np.bool_], by_batch: tuple[int, int]
) -> list[dict[str, int]]:
    """Return for each batch how many of some rows are from each source, in the order in which they occur."""
    num_batches, batch_sequences = by_batch
    rows = np.flatnonzero(is_counted)
    sources_of_batches = rows // batch_sequences * len(drawn.names) + drawn.sources[rows]
    _, firsts, counts = np.unique(sources_of_batches, return_index=True, return_counts=True)
    found: list[dict[str, int]] = [{} for _ in range(num_batches)]
    for first, count in sorted(zip(firsts.tolist(), counts.tolist(), strict=True)):
        row = int(rows[first])
        found[row // batch_sequences][drawn.names[drawn.sources[row]]] = count
    return found
