"""Batches are the data order carried out, whatever reads them and however far ahead."""

import threading
from fractions import Fraction

import numpy as np
import pytest

from rewarm.data.batches import Batches
from rewarm.data.store import TokenStore
from rewarm.data.writer import write_store
from rewarm.errors import DataError
from rewarm.replay import Mixture, NewData, Replay, Stream, Tape

LENGTH = 8


def store(folder, first: int, num_tokens: int) -> TokenStore:
    ids = np.append(np.arange(first + 1, first + num_tokens), 0).astype(np.uint16)
    write_store(
        folder,
        [ids],
        vocabulary=60_000,
        end_of_text=0,
        tokenizer="none",
        document_seed=0,
        text_bytes=num_tokens,
        provenance=[],
    )
    return TokenStore.open(folder)


@pytest.fixture
def batches(tmp_path) -> Batches:
    old = NewData(Mixture.of({"old": 1}), {})
    new = NewData(Mixture.of({"new": 1}), {})
    replay = Replay(Fraction(1, 4), Mixture.of({"pretrain": 1}), {"pretrain": Tape(old, 12)})
    return Batches(
        stream=Stream(new, replay),
        stores={"old": store(tmp_path / "old", 0, 200), "new": store(tmp_path / "new", 1000, 400)},
        seed=3,
        batch_sequences=4,
        sequence_length=LENGTH,
    )


def test_a_batch_holds_the_sequences_of_its_positions(batches):
    readers = batches.readers()
    for step in (1, 2, 9):
        batch = batches.read(step, readers)
        assert batch.tokens.shape == (4, LENGTH + 1)
        for row, tokens in enumerate(batch.tokens):
            draw = batches.stream.at((step - 1) * 4 + row)
            window = readers[draw.source].order(draw.place)
            expected = batches.stores[draw.source].windows([window], LENGTH)[0]
            assert tokens.tolist() == expected.tolist()
        assert (batch.new, batch.replayed) == ({"new": 3}, {"old": 1})


def test_one_epoch_reads_every_sequence_once(batches):
    readers = batches.readers()
    length = readers["new"].order.length
    firsts = sorted(readers["new"].read(range(length))[:, 0].tolist())
    assert firsts == [1001 + LENGTH * i for i in range(length)]


def test_reading_ahead_changes_nothing(batches):
    readers = batches.readers()
    for first in (1, 4):
        ahead = list(batches.prefetched(first, 6))
        assert [batch.step for batch in ahead] == list(range(first, 7))
        for batch in ahead:
            assert batch.tokens.tolist() == batches.read(batch.step, readers).tokens.tolist()


def test_closing_ends_the_thread(batches):
    reader = batches.prefetched(1, 1000)
    next(reader)
    reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]


def test_an_error_while_reading_ahead_is_raised_where_the_batch_is_wanted(batches, tmp_path):
    content = bytearray((tmp_path / "new" / "tokens.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "new" / "tokens.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"tokens\.bin"):
        list(batches.prefetched(1, 3))


def test_too_few_tokens_for_a_sequence_are_refused(batches, tmp_path):
    short = Batches(
        stream=batches.stream,
        stores={"new": store(tmp_path / "short", 0, LENGTH)},
        seed=3,
        batch_sequences=4,
        sequence_length=LENGTH,
    )
    with pytest.raises(DataError, match="less than one sequence"):
        short.readers()
