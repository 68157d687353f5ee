"""A range of positions at once: what `rewarm.replay.stream` says of each, in arrays.

Neighbouring positions of a split are neighbouring positions in both of its streams. So a stream is walked from
its root to the sources with ranges, and arrays say only which row a position of a range is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewarm.data.places import permuted
from rewarm.replay import NewData, Split, Stream, Tape
from rewarm.replay.mixture import Node

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The sequences of neighbouring positions; each array is (positions,)."""

    names: list[str]
    """The sources that occur."""
    sources: NDArray[np.int64]
    """Which of the names each is from."""
    places: NDArray[np.uint64]
    """Which sequence of its source, in the order of reading."""
    is_replayed: NDArray[np.bool_]
    """Whether it is re-read from an earlier stage."""


class _Drawn(NamedTuple):
    """Sequences of one source: the rows that they have in the range, and their places."""

    source: str
    rows: Rows
    places: NDArray[np.uint64]


def draws(stream: Stream, first: int, stop: int) -> Draws:
    """Return what `stream.at` says of each position of a range.

    Args:
        stream: the data order.
        first: the first position, at least 0.
        stop: the one after the last. Beyond that, a replay takes time for each lap of a tape.
    """
    first, stop = stream.begin + first, stream.begin + stop
    is_replayed = _is_first(stream.split, first, stop)
    before, after = stream.split.count(first), stream.split.count(stop)
    found = [*_new(stream.new, first - before, stop - after, np.flatnonzero(~is_replayed))]
    if stream.replay is not None:
        roots = _leaves(stream.replay.mixture.root, before, after, np.flatnonzero(is_replayed))
        for name, index, rows in roots:
            found += _replayed(stream.replay.tapes[name], index, rows)
    number_of = {
        name: number for number, name in enumerate(dict.fromkeys(each.source for each in found))
    }
    sources = np.empty(len(is_replayed), np.int64)
    places = np.empty(len(is_replayed), np.uint64)
    for each in found:
        sources[each.rows] = number_of[each.source]
        places[each.rows] = each.places
    return Draws(names=[*number_of], sources=sources, places=places, is_replayed=is_replayed)


def _is_first(split: Split, first: int, stop: int) -> NDArray[np.bool_]:
    """Return which positions of a range belong to the first stream of a split."""
    p, q = split.share.numerator, split.share.denominator
    # The counts since the range began, so that the numbers stay small. Still shares of exact token counts may
    # be too large for 64 bits; then the same is done with Python's whole numbers.
    rest = (2 * first * p + q) % (2 * q)
    fits = rest + 2 * p * (stop - first) < 1 << 63
    steps = np.arange(stop - first + 1, dtype=np.int64 if fits else object)
    counts = (rest + 2 * p * steps) // (2 * q)
    return counts[1:] > counts[:-1]


def _leaves(node: Node, first: int, stop: int, rows: Rows) -> Iterator[tuple[str, int, Rows]]:
    """Yield the sources of a mixture's node: name, index of the first sequence, and the rows of all."""
    if first == stop:
        return
    if node.split is None:
        yield node.name, first, rows
        return
    assert node.first is not None, "an inner node has two children"
    assert node.second is not None, "an inner node has two children"
    is_first = _is_first(node.split, first, stop)
    before, after = node.split.count(first), node.split.count(stop)
    yield from _leaves(node.first, before, after, rows[is_first])
    yield from _leaves(node.second, first - before, stop - after, rows[~is_first])


def _new(data: NewData, first: int, stop: int, rows: Rows) -> Iterator[_Drawn]:
    """Yield the new data at a range of positions, in rows."""
    root = data.mixture.root
    for source, index, its_rows in _leaves(root, data.begin + first, data.begin + stop, rows):
        place = data.starts.get(source, 0) + index
        yield _Drawn(source, its_rows, np.arange(place, place + len(its_rows), dtype=np.uint64))


def _replayed(tape: Tape, index: int, rows: Rows) -> Iterator[_Drawn]:
    """Yield what is replayed of a tape from an index on, in rows; lap by lap."""
    while len(rows):
        lap, position = divmod(tape.cursor + index, tape.length)
        count = min(tape.length - position, len(rows))
        for drawn in _new(tape.data, position, position + count, rows[:count]):
            if tape.shuffle_seed is None:
                yield drawn
                continue
            first, order = tape.reshuffled(drawn.source, lap)
            yield drawn._replace(places=first + permuted(order, drawn.places - np.uint64(first)))
        index, rows = index + count, rows[count:]
