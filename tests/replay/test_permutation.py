"""Shuffled orders that are computed: bijections at any length, in constant memory, and well mixed."""

import pickle
from itertools import pairwise
from statistics import correlation, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.replay import EpochOrder, Permutation, derive_key
from rewarm.replay.permutation import _mix

KEYS = st.integers(0, 2**64 - 1)
HUGE = st.one_of(st.integers(2, 2**62), st.integers(0, 60).map(lambda bits: 2**bits + 1))


def order_of(length: int, key: int) -> list[int]:
    permutation = Permutation(length, key)
    return [permutation(index) for index in range(length)]


def inverse(permutation: Permutation, image: int) -> int:
    """The rounds undone from the last to the first, and the walk taken backwards."""
    bits = (permutation.length - 1).bit_length()
    while True:
        widths = [bits - bits // 2, bits // 2]
        left, right = image >> widths[1], image % (1 << widths[1])
        for key in reversed(permutation.keys):
            widths.reverse()
            left, right = (right ^ _mix(left ^ key)) % (1 << widths[0]), left
        image = (left << widths[1]) + right
        if image < permutation.length:
            return image


@given(st.integers(1, 2000), KEYS)
def test_it_is_a_bijection(length, key):
    assert sorted(order_of(length, key)) == list(range(length))


@pytest.mark.parametrize("key", [0, 1, derive_key("any")])
def test_it_is_a_bijection_at_every_small_length(key):
    for length in range(1, 140):
        assert sorted(order_of(length, key)) == list(range(length))


@given(HUGE, KEYS, st.data())
def test_every_image_leads_back_to_its_index(length, key, data):
    permutation = Permutation(length, key)
    index = data.draw(st.integers(0, length - 1))
    image = permutation(index)
    assert 0 <= image < length
    assert inverse(permutation, image) == index
    assert permutation(inverse(permutation, index)) == index


def test_a_huge_order_takes_no_more_memory_than_a_small_one():
    small, huge = Permutation(10, 7), Permutation(10**18, 7)
    assert small(0) < 10
    images = {huge(index) for index in [*range(1000), *range(10**18 - 1000, 10**18)]}
    assert len(images) == 2000
    assert len(pickle.dumps(huge)) <= len(pickle.dumps(small)) + 8


@pytest.mark.parametrize("index", [-1, 10, 10**12])
def test_an_index_outside_is_refused(index):
    with pytest.raises(IndexError, match="outside 0 … 9"):
        Permutation(10, key=7)(index)
    assert {Permutation(10, key=7)(0), Permutation(10, key=7)(9)} <= set(range(10))


def test_an_empty_permutation_is_refused():
    with pytest.raises(ValueError, match="at least one index"):
        Permutation(0, key=7)
    assert Permutation(1, key=7)(0) == 0


def mean_displacement(order: list[int]) -> float:
    """How far an index is sent, as a fraction of the length."""
    return fmean(abs(image - index) for index, image in enumerate(order)) / len(order)


def neighbour_correlation(order: list[int]) -> float:
    return correlation(order[:-1], order[1:])


@pytest.mark.parametrize("length", [1000, 1024, 1025, 4000])
def test_it_mixes_like_a_random_permutation(length):
    """A random one sends an index N/3 away on average, and neighbours to places that do not know each other.

    Over eight keys the standard error of both means is about 1 % at the smallest length.
    """
    orders = [order_of(length, derive_key("mixing", trial)) for trial in range(8)]
    assert fmean(map(mean_displacement, orders)) == pytest.approx(1 / 3, abs=0.02)
    assert fmean(map(neighbour_correlation, orders)) == pytest.approx(0, abs=0.05)


def test_an_order_that_is_not_mixed_would_be_noticed():
    straight = list(range(1000))
    blocks = [start + place for start in range(0, 1000, 100) for place in order_of(100, start)]
    for order in (straight, blocks):
        assert mean_displacement(order) < 0.1
        assert neighbour_correlation(order) > 0.5


@pytest.mark.parametrize("length", [3, 5, 8, 12])
def test_over_many_keys_an_index_goes_everywhere_equally_often(length):
    """Pearson's statistic has mean L - 1 and variance 2·(L - 1); five standard deviations are allowed."""
    trials = 3000
    for index in (0, length - 1):
        images = [Permutation(length, derive_key(trial))(index) for trial in range(trials)]
        expected = trials / length
        pearson = sum((images.count(i) - expected) ** 2 / expected for i in range(length))
        assert pearson < length - 1 + 5 * (2 * (length - 1)) ** 0.5


def test_other_keys_give_other_orders():
    orders = {tuple(order_of(40, derive_key(trial))) for trial in range(500)}
    assert len(orders) == 500


def test_a_key_depends_on_every_part_and_on_their_order():
    parts = [(1, "english", 0), (1, "english", 1), (2, "english", 0), (1, "german", 0)]
    parts += [("english", 1, 0), (1, "english"), (1, "englis", "h0"), (1, "english0")]
    keys = {derive_key(*some) for some in parts}
    assert len(keys) == len(parts)
    assert all(0 <= key < 2**64 for key in keys)


def test_a_key_is_the_same_for_ever():
    """The first eight bytes of a SHA-256, least first; checked against `printf '1\\x1fa' | sha256sum`."""
    assert derive_key(1, "a") == int.from_bytes(bytes.fromhex("aaa8be88bd4afa32"), "little")


LENGTHS = st.integers(1, 200)


@given(LENGTHS, st.integers(), st.text(max_size=8), st.integers(0, 10**9))
def test_each_epoch_is_covered_exactly_once(length, seed, name, epoch):
    order = EpochOrder(seed=seed, name=name, length=length)
    places = [order(epoch * length + place) for place in range(length)]
    assert sorted(places) == list(range(length))


@given(LENGTHS, st.lists(st.integers(0, 5000), max_size=60))
def test_the_order_does_not_depend_on_how_it_is_walked(length, walk):
    """Whatever was asked for before, over any number of epochs, an index has its place."""
    order = EpochOrder(seed=3, name="english", length=length)
    afresh = [EpochOrder(seed=3, name="english", length=length)(index) for index in walk]
    assert [order(index) for index in walk] == afresh


def test_epochs_names_and_seeds_have_their_own_orders():
    def epoch(*, seed: int = 1, name: str = "english", number: int = 0) -> tuple[int, ...]:
        order = EpochOrder(seed=seed, name=name, length=50)
        return tuple(order(number * 50 + place) for place in range(50))

    orders = {epoch(number=number) for number in range(20)}
    orders |= {epoch(name=name) for name in ("german", "english/news", "")}
    orders |= {epoch(seed=seed) for seed in (0, -1, 10**30)}
    assert len(orders) == 20 + 3 + 3
    assert all(any(a > b for a, b in pairwise(order)) for order in orders)


def test_an_order_answers_far_beyond_its_first_epoch():
    order = EpochOrder(seed=1, name="english", length=10**12)
    assert 0 <= order(10**15 + 3) < 10**12
