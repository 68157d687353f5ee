"""A source's reader computes for a batch in arrays what the orders and parts say of each place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.data.source_reader import SourceReader
from rewarm.errors import DataError
from rewarm.replay import SourcePart

KINDS = ["shuffled", "blocks", "sequential"]
NUMBERS = st.one_of(st.integers(1, 5000), st.integers(1, 2**40))


class Counted:
    """A store of which only the number of windows is known; a window is its own number."""

    def __init__(self, num_windows):
        self.num = num_windows

    def num_windows(self, sequence_length):
        return self.num

    def windows(self, numbers, sequence_length):
        return np.asarray(numbers)[:, None]


def reader(num_windows: int, kind: str, part: SourcePart | None = None) -> SourceReader:
    return SourceReader.open(
        "english", Counted(num_windows), seed=5, sequence_length=4, kind=kind, part=part
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(NUMBERS, st.integers(1, 5), st.data())
def test_arrays_say_what_the_order_and_the_part_say(kind, num_windows, num_pieces, data):
    piece = data.draw(st.integers(0, min(num_pieces, num_windows) - 1))
    there = SourcePart(piece=piece, num_pieces=num_pieces).windows("english", num_windows, 4).length
    use = data.draw(st.none() | st.integers(1, there).map(lambda windows: 4 * windows))
    part = SourcePart(piece=piece, num_pieces=num_pieces, use_tokens=use)
    made = reader(num_windows, kind, part)
    near = st.integers(0, made.order.length - 1)
    places = data.draw(st.lists(st.one_of(near, st.integers(0, 2**50)), min_size=1, max_size=30))
    expected = [made.part(made.order(place)) for place in places]
    assert made.window_numbers(places).tolist() == expected
    assert max(expected) < num_windows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_windows", [1, 1023, 1024, 1025, 3 * 1024, 3 * 1024 + 5])
def test_a_whole_epoch_in_arrays_is_a_bijection(kind, num_windows):
    found = reader(num_windows, kind).window_numbers(range(3 * num_windows, 4 * num_windows))
    assert sorted(found.tolist()) == list(range(num_windows))


def test_a_batch_across_the_end_of_an_epoch_reads_both():
    made = reader(10, "sequential")
    assert made.window_numbers(range(7, 13)).tolist() == [7, 8, 9, 0, 1, 2]


def test_a_store_or_a_part_of_less_than_a_sequence_is_refused():
    with pytest.raises(DataError, match="english: its tokens are less than one sequence of 4"):
        reader(0, "shuffled")
    with pytest.raises(DataError, match="piece 3 of 3"):
        reader(2, "shuffled", SourcePart(piece=2, num_pieces=3))
