"""The token store: what is read is what was written, or an error."""

import os
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.data.store import TokenStore, neighbourhoods, read_manifest
from rewarm.errors import DataError, MismatchError
from rewarm.replay import EpochOrder, SourcePart
from rewarm.replay.order import BLOCK

BLOCK_BYTES = 64
DOCUMENTS = [[*range(1, 1 + n % 30), 0] for n in range(60)]


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rewarm.data.writer.BLOCK_BYTES", BLOCK_BYTES)
        yield


@pytest.fixture
def folder(tmp_path, write):
    write(tmp_path / "store", DOCUMENTS)
    return tmp_path / "store"


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(1, 99), max_size=20).map(lambda ids: [*ids, 0]), min_size=1),
    st.sampled_from([100, 70_000]),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_windows_and_documents_are_slices_of_the_tokens(write, documents, vocabulary, length, draw):
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), documents, vocabulary)
        store = TokenStore.open(Path(folder), tokenizer="f" * 64)
        tokens = [token for ids in documents for token in ids]
        count = (len(tokens) - 1) // length
        assert (store.tokens, store.documents) == (len(tokens), len(documents))
        assert store.num_windows(length) == count
        indices = draw.choices(range(count), k=7) if count else []
        windows = store.windows(indices, length)
        assert windows.shape == (len(indices), length + 1)
        assert windows.dtype == (np.uint16 if vocabulary == 100 else np.int32)
        assert windows.tolist() == [tokens[i * length : (i + 1) * length + 1] for i in indices]
        assert [store.document(n).tolist() for n in range(len(documents))] == documents
        store.verify()


def test_what_is_read_is_a_copy(folder):
    store = TokenStore.open(folder)
    store.windows([0], 4)[:] = 9
    store.document(1)[:] = 9
    assert store.document(1).tolist() == DOCUMENTS[1]


def test_windows_outside_are_refused(folder):
    store = TokenStore.open(folder)
    count = store.num_windows(8)
    assert len(store.windows([count - 1], 8)) == 1
    for index in (-1, count):
        with pytest.raises(IndexError, match=f"0 to {count - 1}"):
            store.windows([0, index], 8)
    with pytest.raises(TypeError, match="whole numbers"):
        store.windows([0.5], 8)
    with pytest.raises(DataError, match="length of 0"):
        store.windows([0], 0)
    for number in (-1, len(DOCUMENTS)):
        with pytest.raises(IndexError):
            store.document(number)


def test_a_flipped_bit_in_the_tokens_is_found_before_it_is_given_out(folder):
    path = folder / "tokens.bin"
    good = path.read_bytes()
    draw = random.Random(1)
    for _ in range(40):
        bit = draw.randrange(8 * len(good))
        content = bytearray(good)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        store = TokenStore.open(folder)
        block = bit // 8 // BLOCK_BYTES
        with pytest.raises(DataError, match=f"tokens.bin: block {block} "):
            store.windows(range(store.num_windows(1)), 1)
        with pytest.raises(DataError, match=f"block {block} .*rewarm prepare"):
            store.verify()


def test_a_block_that_nobody_touches_does_not_matter(folder):
    path = folder / "tokens.bin"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    store = TokenStore.open(folder)
    assert store.document(1).tolist() == DOCUMENTS[1]
    for _ in range(2):
        with pytest.raises(DataError, match="block"):
            store.document(len(DOCUMENTS) - 1)


def test_a_flipped_bit_in_the_index_is_found_at_opening(folder):
    path = folder / "tokens.idx"
    good = path.read_bytes()
    draw = random.Random(2)
    for _ in range(40):
        bit = draw.randrange(8 * len(good))
        content = bytearray(good)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"tokens\.idx: does not have the hash"):
            TokenStore.open(folder)
    path.write_bytes(good)
    TokenStore.open(folder)


@pytest.mark.parametrize("name", ["tokens.bin", "tokens.idx"])
def test_a_file_that_is_cut_short_is_found_at_opening(folder, name):
    path = folder / name
    good = path.read_bytes()
    for size in (len(good) - 1, len(good) // 2, 0):
        path.write_bytes(good[:size])
        with pytest.raises(DataError, match=f"{name}: has {size:,} bytes"):
            TokenStore.open(folder)
    path.unlink()
    with pytest.raises(DataError, match=f"{name}: cannot be read"):
        TokenStore.open(folder)


def test_a_link_or_a_pipe_in_place_of_a_file_is_refused(folder):
    for name in ("tokens.bin", "tokens.idx", "manifest.json"):
        (folder / name).rename(folder.parent / "elsewhere")
        (folder / name).symlink_to(folder.parent / "elsewhere")
        with pytest.raises(DataError, match=f"{name}: is not a plain file"):
            TokenStore.open(folder)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(DataError, match=f"{name}: is not a plain file"):
            TokenStore.open(folder)
        (folder / name).unlink()
        (folder.parent / "elsewhere").rename(folder / name)
    TokenStore.open(folder)


def test_another_tokenizer_is_refused(folder):
    TokenStore.open(folder, tokenizer="f" * 64)
    with pytest.raises(MismatchError, match="prepared with tokenizer ffffffffffff, not with eeee"):
        TokenStore.open(folder, tokenizer="e" * 64)


def test_ids_outside_the_vocabulary_are_refused(folder):
    """A manifest with good hashes over bad ids, as a faulty foreign tool would write it."""
    manifest = replace(read_manifest(folder), vocabulary=20)
    (folder / "manifest.json").write_bytes(manifest.to_bytes())
    store = TokenStore.open(folder)
    with pytest.raises(DataError, match=r"holds the id 2\d, outside the vocabulary of 20"):
        store.verify()


def test_negative_ids_are_refused(tmp_path, write):
    manifest = write(tmp_path, [[5, 0]], 70_000)
    content = np.array([-1, 0], "<i4").tobytes()
    (tmp_path / "tokens.bin").write_bytes(content)
    shard = replace(manifest.shards[0], blocks=[xxhash.xxh3_64_hexdigest(content)])
    manifest = replace(manifest, shards=[shard])
    (tmp_path / "manifest.json").write_bytes(manifest.to_bytes())
    with pytest.raises(DataError, match="outside the vocabulary"):
        TokenStore.open(tmp_path).document(0)


def test_verification_says_how_far_it_is(folder):
    seen = []
    store = TokenStore.open(folder)
    store.verify(seen.append)
    total = store.manifest.num_bytes
    assert [each.done_bytes for each in seen] == sorted(each.done_bytes for each in seen)
    assert (seen[-1].done_bytes, seen[-1].total_bytes, seen[-1].tokens) == (
        total,
        total,
        store.tokens,
    )


@pytest.mark.parametrize("part", [SourcePart(), SourcePart(piece=1, num_pieces=3)])
@pytest.mark.parametrize("kind", ["blocks", "sequential"])
def test_orders_of_neighbours_are_fetched_ahead_and_little_else(kind, part):
    """Of 20 blocks' worth of reads nearly all lie in the ranges, which hold no more than the part's blocks."""
    windows = part.windows("text", 10**6, sequence_length=1)
    order = EpochOrder(seed=1, name="text", length=windows.length, kind=kind)
    reads = [windows(order(place)) for place in range(100, 100 + 20 * BLOCK)]
    ranges = neighbourhoods(np.array(reads, np.uint64))
    inside = [any(first <= each <= last for first, last in ranges) for each in reads]
    assert sum(inside) > 0.9 * len(reads)
    fetched = sum(last - first + 1 for first, last in ranges)
    assert fetched <= 22 * BLOCK * part.num_pieces


def test_a_shuffled_order_is_not_fetched_ahead():
    order = EpochOrder(seed=1, name="text", length=10**6)
    assert neighbourhoods(np.array([order(place) for place in range(5000)])) == []
