"""Parts of a source: disjoint, complete, in stored order, and the same for whoever asks."""

from itertools import chain, pairwise
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.errors import DataError
from rewarm.replay import SourcePart
from rewarm.replay.part import Windows

SLOW = settings(max_examples=60)
SPANS = st.integers(1, 400)
PIECES = st.integers(1, 9)


def read(windows: Windows) -> list[int]:
    return [windows(index) for index in range(windows.length)]


def pieces(span: int, num_pieces: int, first: int = 0) -> list[list[int]]:
    every = range(num_pieces)
    return [read(Windows(first=first, span=span, piece=k, num_pieces=num_pieces)) for k in every]


@SLOW
@given(SPANS, PIECES, st.integers(0, 10**12))
def test_the_pieces_share_nothing_and_are_everything(span, num_pieces, first):
    found = pieces(span, num_pieces, first)
    assert sorted(chain(*found)) == list(range(first, first + span))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@SLOW
@given(SPANS, PIECES, st.data())
def test_a_part_keeps_the_stored_order(span, num_pieces, data):
    piece = data.draw(st.integers(0, num_pieces - 1))
    windows = Windows(first=5, span=span, piece=piece, num_pieces=num_pieces)
    sample = data.draw(st.none() | st.integers(1, max(1, windows.length)))
    if windows.length:
        found = read(Windows(first=5, span=span, piece=piece, num_pieces=num_pieces, sample=sample))
        assert found == sorted(set(found))
        assert len(found) == (sample or windows.length)
        assert set(found) <= set(read(windows))


@SLOW
@given(st.integers(0, 10**15), PIECES, st.data())
def test_one_window_of_a_huge_part_is_found_alone(groups, num_pieces, data):
    """A group is divided among the pieces, wherever it lies."""
    span = (groups + 1) * num_pieces
    every = [Windows(first=0, span=span, piece=k, num_pieces=num_pieces) for k in range(num_pieces)]
    group = data.draw(st.integers(0, groups))
    start = group * num_pieces
    assert sorted(piece(group) for piece in every) == list(range(start, start + num_pieces))


@SLOW
@given(SPANS, st.data())
def test_samples_are_drawn_from_strata_that_are_everything(span, data):
    """Each window of the sample lies in its own run of span/sample windows, rounded up or down."""
    sample = data.draw(st.integers(1, span))
    found = read(Windows(first=0, span=span, sample=sample))
    size, larger = divmod(span, sample)
    sizes = [size + 1] * larger + [size] * (sample - larger)
    start = 0
    for window, run in zip(found, sizes, strict=True):
        assert start <= window < start + run
        start += run
    assert start == span


def test_everything_is_as_it_was():
    windows = SourcePart().windows("english", 10, 8)
    assert read(windows) == list(range(10))
    assert SourcePart().to_json() == {}


def test_pieces_and_samples_are_drawn_evenly():
    """Over 30,000 windows, each place in a group and a stratum as often as chance allows, to 5 deviations."""
    windows = pieces(30_000, 3)[0]
    for place in range(3):
        count = sum(window % 3 == place for window in windows)
        assert abs(count - 10_000 / 3) < 5 * sqrt(10_000 * 2 / 9)
    sample = read(Windows(first=0, span=30_000, sample=10_000))
    for place in range(3):
        count = sum(window % 3 == place for window in sample)
        assert abs(count - 10_000 / 3) < 5 * sqrt(10_000 * 2 / 9)


def test_neighbours_in_a_piece_do_not_follow_a_pattern():
    """The turns of two neighbouring groups are equal in a third of the cases, to 5 deviations."""
    turns = [window % 3 for window in pieces(30_000, 3)[1]]
    same = sum(a == b for a, b in pairwise(turns))
    assert abs(same - 9999 / 3) < 5 * sqrt(9999 * 2 / 9)


def test_parts_compose_range_first_then_split_then_use():
    """Windows of 4 tokens: tokens 40 to 100 are windows 10 to 24, and 5 of these are the second third."""
    part = SourcePart(start_token=40, end_token=100, piece=1, num_pieces=3)
    windows = part.windows("english", 50, 4)
    assert windows.length == 5
    assert all(10 + 3 * k <= window < 13 + 3 * k for k, window in enumerate(read(windows)))
    used = SourcePart(start_token=40, end_token=100, piece=1, num_pieces=3, use_tokens=11)
    chosen = read(used.windows("english", 50, 4))
    assert len(chosen) == 2
    assert set(chosen) < set(read(windows))
    assert used.to_json() == {"range": [40, 100], "split": [1, 3], "use": 11}


@SLOW
@given(st.integers(1, 10), st.integers(2, 40), st.data())
def test_ranges_that_touch_share_nothing_and_are_everything(sequence_length, num_windows, data):
    """Also where they touch in the middle of a window: it belongs to the range of its first token."""
    last = (num_windows + 1) * sequence_length
    cut = data.draw(st.integers(1, last - 1))
    found = []
    for part in (SourcePart(end_token=cut), SourcePart(start_token=cut)):
        try:
            found += read(part.windows("english", num_windows, sequence_length))
        except DataError:
            continue
    assert found == list(range(num_windows))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (SourcePart(end_token=205), "range ends at token 205, but there are only 200"),
        (SourcePart(start_token=200), "of 50 sequences of 4 tokens its part has none"),
        (SourcePart(start_token=41, end_token=44), "its part has none"),
        (SourcePart(piece=50, num_pieces=51), r"none \(tokens 0 to the end, piece 51 of 51\)"),
        (SourcePart(use_tokens=3), "use asks for 3 tokens in sequences of 4"),
        (SourcePart(piece=1, num_pieces=2, use_tokens=104), "there are 100 tokens to choose from"),
    ],
)
def test_what_makes_less_than_a_window_or_is_not_there_is_refused(part, message):
    with pytest.raises(DataError, match=f"data.english: .*{message}"):
        part.windows("english", 50, 4)


@pytest.mark.parametrize(
    ("part", "length"),
    [
        (SourcePart(end_token=204), 50),
        (SourcePart(start_token=196), 1),
        (SourcePart(start_token=41, end_token=45), 1),
        (SourcePart(piece=49, num_pieces=50), 1),
        (SourcePart(use_tokens=4), 1),
        (SourcePart(piece=1, num_pieces=2, use_tokens=100), 25),
    ],
)
def test_what_just_makes_a_window_is_read(part, length):
    assert part.windows("english", 50, 4).length == length
