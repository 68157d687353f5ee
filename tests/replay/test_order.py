"""The orders of a source: bijections of every epoch, functions of the place alone."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.replay import EpochOrder
from rewarm.replay.order import BLOCK, Blocks

SLOW = settings(max_examples=25)
KINDS = ["shuffled", "blocks", "sequential"]
LENGTHS = st.one_of(
    st.integers(1, 40),
    st.integers(BLOCK - 2, BLOCK + 2),
    st.integers(2 * BLOCK, 5 * BLOCK),
    st.integers(1, 4).map(lambda blocks: blocks * BLOCK),
)


@pytest.mark.parametrize("kind", KINDS)
@SLOW
@given(LENGTHS, st.integers(), st.integers(0, 10**6))
def test_every_order_is_a_bijection_of_each_epoch(kind, length, seed, epoch):
    order = EpochOrder(seed=seed, name="english", length=length, kind=kind)
    found = [order(epoch * length + place) for place in range(length)]
    assert sorted(found) == list(range(length))


@SLOW
@given(LENGTHS, st.integers(0, 2**64 - 1))
def test_blocks_are_read_one_after_the_other(length, key):
    """As many changes of block as there are blocks, and within each all of its sequences."""
    found = [Blocks(length, key)(place) // BLOCK for place in range(length)]
    changes = sum(a != b for a, b in pairwise(found))
    assert changes == -(-length // BLOCK) - 1


def test_a_shuffled_order_would_change_its_block_all_the_time():
    """The twin: of ten blocks the next sequence is in another one nine times in ten."""
    order = EpochOrder(seed=1, name="english", length=10 * BLOCK)
    found = [order(place) // BLOCK for place in range(1000)]
    assert sum(a != b for a, b in pairwise(found)) > 800


def test_blocks_are_shuffled_and_so_is_what_is_in_them():
    epochs = []
    for epoch in range(20):
        order = EpochOrder(seed=1, name="english", length=5 * BLOCK + 7, kind="blocks")
        start = epoch * order.length
        epochs.append([order(start + place) for place in range(order.length)])
    sequences = {tuple(dict.fromkeys(n // BLOCK for n in epoch)) for epoch in epochs}
    assert len(sequences) > 15
    assert {sequence.index(5) for sequence in sequences} == set(range(6)), "the rest comes anywhere"
    firsts = [[n for n in epoch if n < BLOCK] for epoch in epochs]
    assert all(first != sorted(first) for first in firsts)
    assert len({tuple(first) for first in firsts}) == 20


def test_within_blocks_each_block_has_an_order_of_its_own():
    order = Blocks(4 * BLOCK, key=3)
    within = {tuple(order.within(block)(place) for place in range(BLOCK)) for block in range(4)}
    assert len(within) == 4


def test_sequential_is_as_stored_in_every_epoch():
    order = EpochOrder(seed=1, name="english", length=7, kind="sequential")
    assert [order(place) for place in range(14)] == [*range(7), *range(7)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_answers_far_beyond_its_first_epoch(kind):
    order = EpochOrder(seed=1, name="english", length=10**12 + 3, kind=kind)
    assert 0 <= order(10**15 + 3) < 10**12 + 3


def test_the_orders_are_the_same_for_ever():
    """Work that exists was read in these orders. Another number here is another order of all data."""
    shuffled = EpochOrder(seed=1234, name="english", length=5000)
    blocks = EpochOrder(seed=1234, name="english", length=5000, kind="blocks")
    assert [shuffled(place) for place in (0, 1, 4999, 5000)] == [3838, 2146, 4719, 2436]
    assert [blocks(place) for place in (0, 1, 4999, 5000)] == [1361, 1929, 764, 4596]
