"""Index maps of other trainers: their samples in their order, against a walk token by token."""

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.foreign_files import write_megatron, write_npy

from rewarm.data.adopt import adopt
from rewarm.data.index_map import IndexMap, IndexMapFiles
from rewarm.data.store import TokenStore
from rewarm.errors import DataError, MismatchError

SEQUENCES = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=8)


def build(folder: Path, sequences, length, epochs, draw, rows="int32"):
    """Write index maps as GPT-NeoX describes them: all tokens of all epochs are named one by one, and a
    sample begins at every length-th.

    Returns the files, and the samples in the order in which they are read.
    """
    order = [number for _ in range(epochs) for number in range(len(sequences))]
    draw.shuffle(order)
    places = [
        (place, offset) for place, n in enumerate(order) for offset in range(len(sequences[n]))
    ]
    tokens = [sequences[order[place]][offset] for place, offset in places]
    begins = [place for number, place in enumerate(places) if number % length == 0]
    num_samples = (len(tokens) - 1) // length
    shuffle = [*range(num_samples)]
    draw.shuffle(shuffle)
    arrays = {
        "documents": np.array(order, "int32"),
        "samples": np.array(begins[: num_samples + 1], rows),
        "shuffle": np.array(shuffle, "uint32" if rows == "int32" else "int64"),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    samples = [tokens[s * length : (s + 1) * length + 1] for s in shuffle]
    return IndexMapFiles(**{name: folder / f"{name}.npy" for name in arrays}), samples


def open_pair(folder, sequences, tokenizer, pieces=1) -> TokenStore:
    path = write_megatron(folder / "x.bin", sequences, "uint16", pieces)
    return TokenStore.open(adopt([path], tokenizer).path)


@settings(deadline=None, max_examples=100)
@given(
    SEQUENCES,
    st.integers(1, 12),
    st.integers(1, 3),
    st.sampled_from(["int32", "int64"]),
    st.randoms(use_true_random=False),
)
def test_the_samples_are_those_of_the_run_in_its_order(
    tokenizer, sequences, length, epochs, rows, draw
):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = open_pair(folder, sequences, tokenizer)
        files, samples = build(folder, sequences, length, epochs, draw, rows)
        if not samples:
            with pytest.raises(DataError, match="not one row of numbers"):
                IndexMap.open(store, files, consumed=1)
            return
        consumed = draw.randint(1, len(samples))
        maps = IndexMap.open(store, files, consumed=consumed)
        assert (maps.num_windows(length), maps.sequence_length) == (consumed, length)
        assert (maps.tokens, maps.documents) == (consumed * length, len(sequences))
        assert maps.windows(range(consumed), length).tolist() == samples[:consumed]
        some = draw.choices(range(consumed), k=5)
        found = maps.windows(np.array(some), length)
        assert found.tolist() == [samples[number] for number in some]
        assert found.dtype == np.uint16
        assert maps.windows([], length).shape == (0, length + 1)


@pytest.fixture
def run(tmp_path, tokenizer):
    """A pair of 20 sequences and the maps of a run over two epochs, with the number of samples."""
    draw = random.Random(4)
    sequences = [[draw.randint(1, 99) for _ in range(draw.randint(1, 15))] for _ in range(20)]
    store = open_pair(tmp_path, sequences, tokenizer)
    files, samples = build(tmp_path, sequences, 8, 2, draw)
    return store, files, len(samples)


def test_what_was_not_consumed_is_not_there(run):
    store, files, _ = run
    maps = IndexMap.open(store, files, consumed=3)
    assert len(maps.windows([2], 8)) == 1
    with pytest.raises(IndexError, match="it has 0 to 2"):
        maps.windows([3], 8)


def test_another_sequence_length_is_refused(run):
    store, files, samples = run
    maps = IndexMap.open(store, files, consumed=samples)
    with pytest.raises(MismatchError, match="its samples have 8 predictions, not 4"):
        maps.num_windows(4)
    with pytest.raises(MismatchError, match="Set sequence_length to 8"):
        maps.windows([0], 4)


def changed(path: Path, place, value) -> None:
    array = np.load(path)
    array[place] = value
    np.save(path, array)


@pytest.mark.parametrize(
    ("name", "place", "value", "reason"),
    [
        ("documents", 3, 20, r"names sequences outside 0 to 19"),
        ("documents", 3, -1, r"names sequences outside"),
        ("samples", (5, 0), 0, "row 5 goes back"),
        ("samples", (5, 1), -1, "row 5 goes back"),
        ("samples", (-1, 0), 40, "leads out of the 40 places"),
        ("shuffle", 0, 4_000, "names samples outside"),
    ],
)
def test_maps_that_cannot_be_of_this_pair_are_refused(run, name, place, value, reason):
    store, files, samples = run
    IndexMap.open(store, files, consumed=samples)
    changed(getattr(files, name), place, value)
    with pytest.raises(DataError, match=reason):
        IndexMap.open(store, files, consumed=samples)


def test_a_sample_that_comes_twice_is_refused(run):
    store, files, samples = run
    changed(files.shuffle, 1, int(np.load(files.shuffle)[0]))
    with pytest.raises(DataError, match="names a sample twice among the first"):
        IndexMap.open(store, files, consumed=samples)
    IndexMap.open(store, files, consumed=1)


def test_more_samples_than_there_are_were_not_consumed(run):
    store, files, samples = run
    for consumed in (0, samples + 1):
        with pytest.raises(DataError, match=f"{consumed} samples consumed; it has {samples}"):
            IndexMap.open(store, files, consumed=consumed)


def test_a_sample_of_another_length_is_told_when_it_is_read(run):
    """As in Megatron-core's last sample, which may be short, or in maps of other documents."""
    store, files, samples = run
    shuffle = np.load(files.shuffle).tolist()
    array = np.load(files.samples)
    row = next(n for n in range(2, samples) if array[n, 1] > 0 and array[n, 0] < array[n + 1, 0])
    changed(files.samples, (row, 1), int(array[row, 1]) - 1)
    maps = IndexMap.open(store, files, consumed=samples)
    with pytest.raises(DataError, match=f"sample {row:,} has 10 tokens, not 9"):
        maps.windows([shuffle.index(row)], 8)
    changed(files.samples, (row, 1), 10_000)
    maps = IndexMap.open(store, files, consumed=samples)
    with pytest.raises(DataError, match="damaged, or of another pair"):
        maps.windows([shuffle.index(row)], 8)


def test_every_change_of_the_maps_changes_the_fingerprint_or_is_refused(run):
    store, files, samples = run
    good = IndexMap.open(store, files, consumed=samples).fingerprint
    assert IndexMap.open(store, files, consumed=samples - 1).fingerprint != good
    draw, told = random.Random(5), []
    for path in (files.documents, files.samples, files.shuffle):
        content = path.read_bytes()
        for _ in range(40):
            bit = draw.randrange(8 * len(content))
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            try:
                found = IndexMap.open(store, files, consumed=samples).fingerprint
            except DataError as error:
                told.append(str(error))
            else:
                assert found != good
        path.write_bytes(content)
    assert told
    assert all(".npy: " in message for message in told)


def test_maps_go_with_one_pair_alone(tmp_path, tokenizer, run):
    _, files, _ = run
    array = write_npy(tmp_path / "y.npy", [[1, 0]], "uint16")
    store = TokenStore.open(adopt([array], tokenizer).path)
    with pytest.raises(DataError, match="index maps are of one Megatron pair"):
        IndexMap.open(store, files, consumed=1)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 3), "int32"), r"shape \(3, 3\), not rows of two numbers"),
        (np.zeros(3, "int32"), "not rows of two"),
        (np.asfortranarray(np.zeros((3, 2), "int32")), "column by column"),
        (np.zeros((3, 2)), "holds float64"),
    ],
)
def test_arrays_that_are_no_index_are_refused(run, array, reason):
    store, files, _ = run
    np.save(files.samples, array)
    with pytest.raises(DataError, match=reason):
        IndexMap.open(store, files, consumed=1)


def test_a_map_that_is_cut_short_is_refused(run):
    store, files, _ = run
    files.shuffle.write_bytes(files.shuffle.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"shuffle\.npy: was cut short"):
        IndexMap.open(store, files, consumed=1)
