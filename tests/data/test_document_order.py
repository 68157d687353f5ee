"""The order of the documents, against SplitMix64 written out in plain integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.data.order import document_order, split_mix_64
from rewarm.errors import DataError


def reference(seed, count):
    """SplitMix64, one step at a time."""
    numbers = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) % 2**64
        mixed = seed
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        numbers.append(mixed ^ (mixed >> 31))
    return numbers


def test_the_numbers_are_those_of_the_published_generator():
    """The first five for seed 1234567, as Rosetta Code lists them."""
    assert split_mix_64(1234567, 5).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.integers(0, 2**64 - 1), st.integers(0, 200))
def test_the_order_is_a_permutation_sorted_by_key(seed, count):
    order = document_order(seed, count).tolist()
    keys = reference(seed, count)
    assert split_mix_64(seed, count).tolist() == keys
    assert order == sorted(range(count), key=keys.__getitem__)


def test_another_seed_gives_another_order():
    assert document_order(1, 100).tolist() != document_order(2, 100).tolist()


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(DataError, match="out of range"):
        document_order(seed, 3)
