"""Best-fit packing: every token is there and predicted once, no short document is cut, rows are tight."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rewarm.data.packing import pack

lengths = st.lists(st.integers(1, 60), max_size=80)


def contents(rows):
    """Return the pieces (start, length) of each row."""
    borders = rows.first_pieces.tolist()
    pieces = list(zip(rows.starts.tolist(), rows.lengths.tolist(), strict=True))
    return [pieces[a:b] for a, b in itertools.pairwise(borders)]


def one_by_one(documents, capacity):
    """Best-fit decreasing as a textbook has it, piece by piece: the gap that is left in each row."""
    gaps: list[int] = []
    pieces = []
    for length in documents:
        while length > capacity:
            pieces.append(capacity)
            length -= capacity - 1
        pieces.append(length)
    for piece in sorted(pieces, reverse=True):
        fitting = [gap for gap in gaps if gap >= piece]
        gap = min(fitting) if fitting else capacity
        if fitting:
            gaps.remove(gap)
        gaps.append(gap - piece)
    return sorted(gaps)


@given(lengths, st.integers(1, 20))
def test_no_row_is_too_long_and_none_is_empty(documents, sequence_length):
    rows = pack(np.array(documents, int), sequence_length)
    for row in contents(rows):
        assert row
        assert sum(length for _, length in row) <= sequence_length + 1
    assert rows.num_tokens().tolist() == [sum(n for _, n in row) for row in contents(rows)]


@given(lengths, st.integers(1, 20))
def test_documents_that_fit_are_whole_and_long_ones_lose_nothing(documents, sequence_length):
    pieces = sorted(
        piece for row in contents(pack(np.array(documents, int), sequence_length)) for piece in row
    )
    expected, begin = [], 0
    for length in documents:
        if length <= sequence_length + 1:
            expected.append((begin, length))
        else:
            # Token t of the document is predicted in the one window that holds it behind another token.
            windows = range(0, length - 1, sequence_length)
            expected += [(begin + w, min(sequence_length + 1, length - w)) for w in windows]
        begin += length
    assert pieces == expected


@given(lengths, st.integers(1, 20))
def test_rows_are_filled_as_the_textbook_does(documents, sequence_length):
    rows = pack(np.array(documents, int), sequence_length)
    gaps = sorted((sequence_length + 1 - rows.num_tokens()).tolist())
    assert gaps == one_by_one(documents, sequence_length + 1)


def test_many_documents_waste_little():
    draw = np.random.default_rng(1)
    documents = np.minimum(draw.lognormal(6.5, 1.2, 200_000).astype(int) + 1, 50_000)
    rows = pack(documents, 2048)
    wasted = 1 - rows.num_tokens().sum() / (len(rows) * 2049)
    assert wasted < 0.002
