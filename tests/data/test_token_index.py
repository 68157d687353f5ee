"""The pair of files on disk, against bytes written by hand from the description of the format."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.data.index import index_bytes, index_pieces, parse_index
from rewarm.errors import DataError

# Two documents, [5, 6, 0] and [7, 0]. Fields: magic, version, type, sequences, document array
# length; lengths; byte offsets; document array.
HEAD = "4d4d494449445800 00 0100000000000000"
COUNTS = "0200000000000000 0300000000000000 03000000 02000000"
DOCUMENTS = "0000000000000000 0100000000000000 0200000000000000"
GOLDEN = {
    100: (
        "0500 0600 0000 0700 0000",
        f"{HEAD} 08 {COUNTS} 0000000000000000 0600000000000000 {DOCUMENTS}",
    ),
    70_000: (
        "05000000 06000000 00000000 07000000 00000000",
        f"{HEAD} 04 {COUNTS} 0000000000000000 0c00000000000000 {DOCUMENTS}",
    ),
}


@pytest.mark.parametrize("vocabulary", GOLDEN)
def test_the_pair_is_the_bytes_of_the_format(tmp_path, write, vocabulary):
    tokens, index = (bytes.fromhex(text) for text in GOLDEN[vocabulary])
    write(tmp_path, [[5, 6, 0], [7, 0]], vocabulary)
    assert (tmp_path / "tokens.bin").read_bytes() == tokens
    assert (tmp_path / "tokens.idx").read_bytes() == index


@given(st.lists(st.integers(1, 1000), max_size=50), st.sampled_from(["<u2", "<i4"]))
def test_an_index_comes_back_as_it_was_written(lengths, dtype):
    dtype = np.dtype(dtype)
    content = b"".join(index_pieces(np.array(lengths, np.int32), dtype))
    assert len(content) == index_bytes(len(lengths), len(lengths))
    index = parse_index("i", np.frombuffer(content, np.uint8))
    assert index.lengths.tolist() == lengths
    assert (index.dtype, index.tokens) == (dtype, sum(lengths))
    assert index.documents.tolist() == [*range(len(lengths) + 1)]
    starts = [sum(lengths[:number]) * dtype.itemsize for number in range(len(lengths))]
    assert index.offsets.tolist() == starts


def test_slices_join_without_a_seam(monkeypatch):
    lengths = np.arange(1, 12, dtype=np.int32)
    whole = b"".join(index_pieces(lengths, np.dtype("<u2")))
    monkeypatch.setattr("rewarm.data.index._SLICE", 3)
    assert b"".join(index_pieces(lengths, np.dtype("<u2"))) == whole
    parse_index("i", np.frombuffer(whole, np.uint8))


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (0, 0, "not a Megatron index"),
        (9, 2, "not a Megatron index"),
        (17, 6, "code 6, floating-point"),
        (17, 9, "code 9, a type that nobody knows"),
        (18, 3, "does not fit 3 sequences"),
        (26, 2, "does not fit"),
        (34, 9, "sequence 1 does not begin where"),
        (42, 2, "sequence 0 does not begin where"),
        (58, 1, "do not rise from sequence 0"),
        (66, 3, "do not rise"),
        (74, 1, "the last ends at 1.*GPT-NeoX's merging"),
    ],
)
def test_an_index_that_says_something_else_is_refused(position, value, reason):
    content = bytearray.fromhex(GOLDEN[100][1])
    parse_index("i", np.frombuffer(content, np.uint8))
    content[position] = value
    with pytest.raises(DataError, match=reason):
        parse_index("i", np.frombuffer(content, np.uint8))


def test_a_stub_of_an_index_is_refused():
    with pytest.raises(DataError, match="too short"):
        parse_index("i", np.zeros(33, np.uint8))
