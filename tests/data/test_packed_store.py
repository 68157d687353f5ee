"""Rows of whole documents, read from a real store: what is in them, and what a batch counts."""

import numpy as np
import pytest

from rewarm.data.batches import Batches
from rewarm.data.packed import NOTHING, PackedStore
from rewarm.data.store import TokenStore
from rewarm.plan.layout import Layout, rows_of
from rewarm.replay import Mixture, NewData, Stream

LENGTH = 16


@pytest.fixture
def documents():
    draw = np.random.default_rng(3)
    lengths = draw.integers(1, 60, 200)
    return [[*draw.integers(1, 100, length - 1).tolist(), 0] for length in lengths]


@pytest.fixture
def store(tmp_path, write, documents):
    write(tmp_path / "store", documents)
    return TokenStore.open(tmp_path / "store")


def test_short_documents_are_whole_and_long_ones_are_all_there(store, documents):
    packed = PackedStore(store)
    rows = packed.windows(range(packed.num_windows(LENGTH)), LENGTH)
    texts = [" ".join(map(str, row[row != NOTHING].tolist())) + " " for row in rows]
    for document in documents:
        if len(document) <= LENGTH + 1:
            assert any(" ".join(map(str, document)) + " " in text for text in texts)
    # Windows of a long document share a token, so each has one fewer that is new; its last may be no target.
    new = sum(len(d) for d in documents) + sum(
        (len(d) - 2) // LENGTH for d in documents if len(d) > LENGTH + 1
    )
    assert (rows != NOTHING).sum() == new
    assert (rows[:, :2] != NOTHING).any(axis=1).all()


def test_nothing_stands_behind_everything(store):
    packed = PackedStore(store)
    rows = packed.windows(range(packed.num_windows(LENGTH)), LENGTH)
    is_nothing = rows == NOTHING
    assert (np.diff(is_nothing.astype(int), axis=1) >= 0).all()
    assert is_nothing.any()


def test_a_row_that_is_not_there_is_refused(store):
    packed = PackedStore(store)
    with pytest.raises(IndexError, match="were asked for"):
        packed.windows([packed.num_windows(LENGTH)], LENGTH)


def batches(store, rows=None):
    return Batches(
        stream=Stream(NewData(Mixture.of({"text": 1}), {})),
        stores={"text": store},
        seed=1,
        batch_sequences=8,
        sequence_length=LENGTH,
        rows=rows,
    )


def test_a_batch_counts_the_targets_of_all_ranks(store):
    packed = PackedStore(store)
    whole = batches(packed)
    layout = Layout(micro_batch=2, shard=2)
    halves = [batches(packed, rows_of(layout, rank, 8)) for rank in range(2)]
    counts = set()
    for step in range(1, 12):
        batch = whole.read(step, whole.readers())
        assert batch.num_tokens == (batch.tokens[:, 1:] != NOTHING).sum()
        counts.add(batch.num_tokens)
        for half in halves:
            part = half.read(step, half.readers())
            assert part.num_tokens == batch.num_tokens
            assert part.tokens.tolist() == batch.tokens[list(half.rows)].tolist()
    assert len(counts) > 1


def test_cut_windows_have_as_many_targets_as_ever(store):
    batch = batches(store).read(1, batches(store).readers())
    assert batch.num_tokens == 8 * LENGTH
