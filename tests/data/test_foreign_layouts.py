"""Files of other tools are read as what they are, across their edges, and every damage is told."""

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.foreign_files import WRITERS, flat_ids, megatron_index, write_megatron, write_npy

from rewarm.data.adopt import adopt
from rewarm.data.index import MAX_DOCUMENT_TOKENS, index_pieces
from rewarm.data.store import TokenStore, write_store
from rewarm.errors import DataError

BLOCK_BYTES = 64


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rewarm.data.adopt.BLOCK_BYTES", BLOCK_BYTES)
        patch.setattr("rewarm.data.layouts.flat._PIECE_TOKENS", 5)
        yield


DOCUMENTS = st.lists(
    st.lists(st.integers(1, 99), max_size=9).map(lambda ids: [*ids, 0]), min_size=1
)
SHARDS = st.lists(
    st.tuples(st.sampled_from(sorted(WRITERS)), DOCUMENTS),
    min_size=1,
    max_size=5,
    unique_by=lambda each: each[0],
)


def adopted(folder, shards, tokenizer) -> TokenStore:
    paths = [WRITERS[kind](folder, documents) for kind, documents in shards]
    is_flat = any(kind.startswith("flat") for kind, _ in shards)
    made = adopt(paths, tokenizer, dtype="uint16" if is_flat else None)
    assert made.is_new
    return TokenStore.open(made.path, tokenizer=tokenizer.fingerprint)


@settings(deadline=None, max_examples=100)
@given(SHARDS, st.integers(1, 30), st.randoms(use_true_random=False))
def test_shards_of_all_layouts_are_read_as_one(tokenizer, shards, length, draw):
    documents = [document for _, these in shards for document in these]
    tokens = flat_ids(documents)
    with tempfile.TemporaryDirectory() as folder:
        store = adopted(Path(folder), shards, tokenizer)
        assert (store.tokens, store.documents) == (len(tokens), len(documents))
        assert [store.document(n).tolist() for n in range(len(documents))] == documents
        backwards = [store.document(n).tolist() for n in reversed(range(len(documents)))]
        assert backwards == documents[::-1]
        count = (len(tokens) - 1) // length
        numbers = draw.sample(range(count), k=count)
        windows = store.windows(numbers, length)
        assert windows.dtype == np.uint16
        assert windows.tolist() == [tokens[i * length : (i + 1) * length + 1] for i in numbers]
        ranges = [sorted(draw.choices(range(len(tokens)), k=2)) for _ in range(9)]
        firsts, lasts = np.array(ranges).T
        begins = [sum(map(len, documents[:n])) for n in range(len(documents))]
        expected = [
            (number, start)
            for number, (first, last) in enumerate(ranges)
            for start in begins
            if first <= start <= last
        ]
        found = store.document_starts(firsts, lasts)
        assert [*zip(*(each.tolist() for each in found), strict=True)] == expected
        store.verify()


def test_windows_may_be_expected_anywhere_in_shards_of_all_layouts(tmp_path, tokenizer):
    """Ranges end at a shard's end, and begin behind the header of NumPy; nothing read is any different."""
    document = [*range(1, 90), 0]
    shards = [(kind, [document]) for kind in sorted(WRITERS)]
    store = adopted(tmp_path, shards, tokenizer)
    for length in (1, 2, 3):
        numbers = np.arange(store.num_windows(length))
        before = store.windows(numbers, length).tolist()
        for some in (numbers, numbers[::-1], numbers[5:75], numbers[-70:]):
            store.expect(some, length)
        assert store.windows(numbers, length).tolist() == before


def test_a_flat_file_whose_last_document_has_no_end(tmp_path, tokenizer):
    path = write_npy(tmp_path / "x.npy", [[1, 2, 0], [3] * 20], "uint16")
    store = TokenStore.open(adopt([path], tokenizer).path)
    assert store.documents == 2
    assert store.document(1).tolist() == [3] * 20
    with pytest.raises(IndexError, match="no document 2"):
        store.document(2)


def test_documents_and_sequences_without_tokens(tmp_path, tokenizer):
    """Sequences [1, 2], [], [0] and [3, 0] in documents of one, none, two and one sequences, and none."""
    (tmp_path / "x.bin").write_bytes(np.array([1, 2, 0, 3, 0], "<i4").tobytes())
    index = megatron_index([2, 0, 1, 2], [0, 1, 1, 3, 4, 4], "int32")
    (tmp_path / "x.idx").write_bytes(index)
    store = TokenStore.open(adopt([tmp_path / "x"], tokenizer).path)
    assert [store.document(n).tolist() for n in range(5)] == [[1, 2], [], [0], [3, 0], []]
    found = store.document_starts(np.array([0, 1, 4]), np.array([4, 2, 4]))
    assert [each.tolist() for each in found] == [[0, 0, 0, 1], [0, 2, 3, 2]]


def test_documents_without_tokens_in_datatrove_begin_nowhere(tmp_path, tokenizer):
    (tmp_path / "x.ds").write_bytes(np.array([1, 0, 3, 0], "<u2").tobytes())
    ends = np.array([0, 2, 2, 4, 4], "<u8")
    (tmp_path / "x.ds.index").write_bytes(ends.tobytes())
    store = TokenStore.open(adopt([tmp_path / "x.ds"], tokenizer).path)
    assert [store.document(n).tolist() for n in range(5)] == [[], [1, 0], [], [3, 0], []]
    found = store.document_starts(np.array([0, 1]), np.array([3, 1]))
    assert [each.tolist() for each in found] == [[0, 0], [0, 2]]


def test_every_flipped_bit_of_every_file_is_told(tmp_path, tokenizer):
    shards = [(kind, [[1, 2, 0], [*range(1, 60), 0]]) for kind in sorted(WRITERS)]
    store = adopted(tmp_path, shards, tokenizer)
    manifest = next(tmp_path.glob("*.rewarm.json"))
    token_files = {shard.files[0].name for shard in store.manifest.shards}
    draw = random.Random(3)
    for path in sorted(tmp_path.iterdir()):
        good = path.read_bytes()
        early = range(8 * min(len(good), 80))
        for bit in {*draw.sample(early, 20), *(draw.randrange(8 * len(good)) for _ in range(20))}:
            content = bytearray(good)
            content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            block = f".*block {bit // 8 // BLOCK_BYTES} " if path.name in token_files else ""
            with pytest.raises(DataError, match=path.name.replace(".", r"\.") + block):
                TokenStore.open(manifest).verify()
        path.write_bytes(good)
    TokenStore.open(manifest).verify()


def test_shards_that_are_swapped_cut_or_longer_are_told(tmp_path, tokenizer):
    documents = [[1, 2, 0], [3, 4, 0]]
    a, b = (
        write_megatron(tmp_path / f"{n}.bin", documents[:: 1 - 2 * n], "uint16") for n in (0, 1)
    )
    path = adopt([a, b], tokenizer).path
    for change in ("swap", "cut", "longer", "missing", "link"):
        good = a.read_bytes(), b.read_bytes()
        if change == "swap":
            a.write_bytes(good[1])
            b.write_bytes(good[0])
        elif change == "cut":
            a.write_bytes(good[0][:-2])
        elif change == "longer":
            a.write_bytes(good[0] + b"\x00\x00")
        elif change == "missing":
            a.unlink()
        else:
            a.unlink()
            a.symlink_to(b)
        with pytest.raises(DataError, match=r"0\.bin: .*Restore it from a copy\. .*rewarm adopt"):
            TokenStore.open(path).verify()
        a.unlink(missing_ok=True)
        a.write_bytes(good[0])
        b.write_bytes(good[1])
    TokenStore.open(path).verify()


def test_the_order_of_the_shards_is_part_of_the_fingerprint(tmp_path, tokenizer):
    a, b = (write_megatron(tmp_path / f"{n}.bin", [[n, 0]], "uint16") for n in (1, 2))
    one = adopt([a, b], tokenizer, out=tmp_path / "one.rewarm.json").manifest
    two = adopt([b, a], tokenizer, out=tmp_path / "two.rewarm.json").manifest
    assert one.fingerprint != two.fingerprint


def test_a_folder_on_the_way_that_is_a_link_is_refused(tmp_path, tokenizer):
    (tmp_path / "all" / "part").mkdir(parents=True)
    write_megatron(tmp_path / "all" / "part" / "x.bin", [[1, 0]], "uint16")
    made = adopt([tmp_path / "all"], tokenizer, out=tmp_path / "all" / "x.rewarm.json")
    assert made.manifest.shards[0].files[0].name == "part/x.bin"
    TokenStore.open(made.path)
    (tmp_path / "all" / "part").rename(tmp_path / "elsewhere")
    (tmp_path / "all" / "part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is not a plain file"):
        TokenStore.open(made.path)


# What GPT-NeoX's builder writes for the documents [5, 6, 0] and [7, 0] as u16, and Megatron-core's for
# the same as i32 where the first has the sequences [5] and [6, 0]: field by field.
HEAD = "4d4d494449445800 00 0100000000000000"
NEOX_BIN = "0500 0600 0000 0700 0000"
NEOX_IDX = (
    f"{HEAD} 08 0200000000000000 0300000000000000 03000000 02000000 0000000000000000"
    " 0600000000000000 0000000000000000 0100000000000000 0200000000000000"
)
CORE_BIN = "05000000 06000000 00000000 07000000 00000000"
CORE_IDX = (
    f"{HEAD} 04 0300000000000000 0300000000000000 01000000 02000000 02000000 0000000000000000"
    " 0400000000000000 0c00000000000000 0000000000000000 0200000000000000 0300000000000000"
)
DATATROVE_INDEX = "0300000000000000 0500000000000000"


def test_what_is_written_here_is_what_gpt_neox_writes(tmp_path):
    documents = [np.array([5, 6, 0]), np.array([7, 0])]
    write_store(
        tmp_path, documents, vocabulary=50_257, end_of_text=0, tokenizer="f", document_seed=0,
        text_bytes=0, provenance=[],
    )  # fmt: skip
    assert (tmp_path / "tokens.bin").read_bytes() == bytes.fromhex(NEOX_BIN)
    assert (tmp_path / "tokens.idx").read_bytes() == bytes.fromhex(NEOX_IDX)
    assert b"".join(index_pieces(np.array([3, 2], np.int32), np.dtype("<u2"))) == bytes.fromhex(
        NEOX_IDX
    )


@pytest.mark.parametrize(
    ("files", "dtype", "sequences"),
    [
        ({"x.bin": NEOX_BIN, "x.idx": NEOX_IDX}, "uint16", 2),
        ({"x.bin": CORE_BIN, "x.idx": CORE_IDX}, "int32", 3),
        ({"x.bin": CORE_BIN, "x.idx": CORE_IDX + "000000"}, "int32", 3),
        ({"x.ds": NEOX_BIN, "x.ds.index": DATATROVE_INDEX}, "uint16", 2),
        ({"x.ds": CORE_BIN, "x.ds.index": DATATROVE_INDEX}, "uint32", 2),
        ({"x.bin": NEOX_BIN}, "uint16", 2),
        ({"x.bin": CORE_BIN}, "uint32", 2),
    ],
)
def test_bytes_of_other_tools_are_read_as_meant(tmp_path, tokenizer, files, dtype, sequences):
    for name, content in files.items():
        (tmp_path / name).write_bytes(bytes.fromhex(content))
    made = adopt([tmp_path], tokenizer, dtype=dtype if len(files) == 1 else None)
    (shard,) = made.manifest.shards
    assert (shard.dtype, shard.sequences) == (dtype, sequences)
    store = TokenStore.open(tmp_path)
    assert [store.document(n).tolist() for n in range(2)] == [[5, 6, 0], [7, 0]]
    assert store.windows([0, 1], 2).tolist() == [[5, 6, 0], [0, 7, 0]]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"x.bin": NEOX_BIN, "x.idx": NEOX_IDX[:-2]}, "does not fit 2 sequences"),
        ({"x.bin": NEOX_BIN[:-5], "x.idx": NEOX_IDX}, "x.bin: has 8 bytes, but x.idx speaks of 5"),
        ({"x.bin": CORE_BIN, "x.idx": CORE_IDX + "000001"}, "modes other than 0"),
        ({"x.ds": NEOX_BIN}, r"x\.ds\.index: is missing"),
        ({"x.ds": NEOX_BIN, "x.ds.index": DATATROVE_INDEX, "x.ds.loss": "00"}, "no loss"),
        ({"x.ds": NEOX_BIN, "x.ds.index": DATATROVE_INDEX[:-2]}, "not whole numbers of 8 bytes"),
        ({"x.ds": NEOX_BIN, "x.ds.index": DATATROVE_INDEX[:16]}, "neither 2 nor 4 bytes"),
        ({"x.ds": NEOX_BIN, "x.ds.index": "0500000000000000 0300000000000000"}, "document 1 ends before"),
        (
            {"x.ds": NEOX_BIN, "x.ds.index": DATATROVE_INDEX, "x.ds.metadata": "610a36"},
            "line 2 says '6' tokens",
        ),
        ({"x.bin": "0500 06"}, "not whole uint16 ids"),
        ({"x.bin": "88d8 3401 0000"}, "header of llm.c"),
        ({"x.bin": "0500 0600"}, "occurs nowhere"),
        ({"x.bin": "0500 2c01 0000"}, "the id 300 .*outside the vocabulary of 300"),
        ({"x.npy": "934e554d5059 0300 0000"}, "no array of NumPy"),
        ({"x.txt": "00"}, "holds no token files"),
    ],
)  # fmt: skip
def test_files_that_are_not_what_they_seem_are_refused(tmp_path, tokenizer, files, reason):
    for name, content in files.items():
        (tmp_path / name).write_bytes(bytes.fromhex(content))
    is_flat = [*files] == ["x.bin"]
    with pytest.raises(DataError, match=reason):
        adopt([tmp_path], tokenizer, dtype="uint16" if is_flat else None)
    assert not [*tmp_path.glob("*.rewarm.json")]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[1, 0]]), r"shape \(1, 2\)"),
        (np.array([1.0, 0.0]), "holds float64"),
        (np.array([1, 0], ">u2"), "little endian"),
        (np.array([], np.uint16), "shape"),
        (np.array([1, 0], object), "holds object|no array"),
    ],
)
def test_arrays_that_are_no_row_of_ids_are_refused(tmp_path, tokenizer, array, reason):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=reason):
        adopt([tmp_path / "x.npy"], tokenizer)


def test_sequences_that_do_not_lie_back_to_back_are_refused(tmp_path, tokenizer):
    (tmp_path / "x.bin").write_bytes(bytes.fromhex(NEOX_BIN))
    index = bytearray.fromhex(NEOX_IDX)
    index[50] = 4
    (tmp_path / "x.idx").write_bytes(index)
    with pytest.raises(DataError, match="sequence 1 does not begin where the one before it ends"):
        adopt([tmp_path], tokenizer)


def test_negative_ids_are_refused(tmp_path, tokenizer):
    write_megatron(tmp_path / "x.bin", [[1, -1, 0]], "int32")
    with pytest.raises(DataError, match="the id 4294967295"):
        adopt([tmp_path], tokenizer)


def test_the_longest_document_has_a_length_that_fits():
    assert np.iinfo(np.int32).max == MAX_DOCUMENT_TOKENS
