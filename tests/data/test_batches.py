"""Batches are the data order carried out, whatever reads them and however far ahead."""

import threading
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from rewarm.data.batches import Batches
from rewarm.data.store import TokenStore
from rewarm.data.writer import write_store
from rewarm.errors import DataError
from rewarm.replay import Mixture, NewData, Replay, SourcePart, Stream, Tape

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
    new, length = readers["new"], readers["new"].order.length
    firsts = sorted(new.read(new.window_numbers(range(length)))[:, 0].tolist())
    assert firsts == [1001 + LENGTH * i for i in range(length)]


def test_reading_ahead_changes_nothing(batches):
    readers = batches.readers()
    for first in (1, 4):
        ahead = list(batches.prefetched(first, 6))
        assert [batch.step for batch in ahead] == list(range(first, 7))
        for batch in ahead:
            assert batch.tokens.tolist() == batches.read(batch.step, readers).tokens.tolist()


@pytest.mark.parametrize("positions", [1, 4, 10, 4096])
@pytest.mark.parametrize("kind", ["shuffled", "blocks", "sequential"])
def test_how_many_positions_are_computed_at_once_changes_nothing(
    batches, monkeypatch, positions, kind
):
    """Ten epochs of the new data and many laps of the tape; in parts, and of two ranks each its rows."""
    kept = SourcePart(start_token=3 * LENGTH, piece=1, num_pieces=2)
    batches = replace(batches, orders={"old": kind, "new": kind}, parts={"new": kept})
    readers = batches.readers()
    singly = [batches.read(step, readers) for step in range(1, 90)]
    monkeypatch.setattr("rewarm.data.batches.POSITIONS_AT_ONCE", positions)
    for rows in (None, range(0, 2), range(1, 4, 2)):
        ranks = replace(batches, rows=rows)
        found = list(ranks.read_range(5, 89, readers))
        assert [batch.step for batch in found] == list(range(5, 90))
        for ahead, single in zip(found, singly[4:], strict=True):
            mine = single.tokens if rows is None else single.tokens[list(rows)]
            assert ahead.tokens.tolist() == mine.tolist()
            for name in ("num_tokens", "new", "replayed"):
                assert getattr(ahead, name) == getattr(single, name)


def test_sources_are_counted_in_the_order_in_which_they_occur(tmp_path):
    """The records of a batch must not depend on which batches were computed with it."""
    weights = Mixture.of({"a": 1, "b": 5, "c": 3})
    batches = Batches(
        stream=Stream(NewData(weights, {})),
        stores={name: store(tmp_path / name, 0, 200) for name in "abc"},
        seed=3,
        batch_sequences=5,
        sequence_length=LENGTH,
    )
    for batch in batches.read_range(1, 30, batches.readers()):
        first = (batch.step - 1) * 5
        seen = Counter(batches.stream.at(position).source for position in range(first, first + 5))
        assert list(batch.new.items()) == list(seen.items())


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
