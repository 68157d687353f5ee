"""Draws of a range in arrays are what the stream says of one position after the other."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replay.test_stream import STREAMS

from rewarm.data.draws import draws
from rewarm.replay import Draw, Mixture, NewData, Replay, Stream, Tape


def in_arrays(stream: Stream, first: int, stop: int) -> list[Draw]:
    found = draws(stream, first, stop)
    sources = [found.names[number] for number in found.sources.tolist()]
    rows = zip(sources, found.places.tolist(), found.is_replayed.tolist(), strict=True)
    return [Draw(*row) for row in rows]


def one_at_a_time(stream: Stream, first: int, stop: int) -> list[Draw]:
    return [stream.at(position) for position in range(first, stop)]


@settings(max_examples=150)
@given(STREAMS, st.one_of(st.integers(0, 200), st.integers(0, 10**15)), st.integers(1, 120))
def test_arrays_say_what_the_stream_says(stream, first, length):
    """Any mixture, tapes of a few sequences with many laps, reshuffled or not, at any position."""
    assert in_arrays(stream, first, first + length) == one_at_a_time(stream, first, first + length)


@pytest.mark.parametrize("size", [10**9, 2**57, 10**40], ids=["small", "near 64 bits", "beyond"])
def test_shares_of_any_size_are_exact(size):
    """Exact counts of tokens as weights: their products do not fit 64 bits. The share is just off 2/3."""
    new = NewData(Mixture.of({"a": 2 * size + 1, "b": size, "c": 7}), {})
    old = NewData(Mixture.of({"a": size, "d": size + 3}), {"a": 5})
    replay = Replay(Fraction(size, 3 * size + 1), Mixture.of({"old": 1}), {"old": Tape(old, 10**9)})
    stream = Stream(new, replay)
    for first in (0, min(size, 2**60) - 40, 10**12):
        assert in_arrays(stream, first, first + 300) == one_at_a_time(stream, first, first + 300)


def test_a_lap_that_ends_within_the_range_has_another_order():
    """What one permutation for the whole range would not show."""
    tape = Tape(NewData(Mixture.of({"old": 1}), {}), 40, shuffle_seed=3, name="first")
    new = NewData(Mixture.of({"new": 1}), {})
    found = draws(
        Stream(new, Replay(Fraction(1, 2), Mixture.of({"first": 1}), {"first": tape})), 0, 160
    )
    laps = found.places[found.is_replayed].reshape(2, 40)
    assert sorted(laps[0].tolist()) == sorted(laps[1].tolist()) == list(range(40))
    assert not np.array_equal(*laps)
