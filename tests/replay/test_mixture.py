"""Exact mixing: the laws of a two-way split and of a mixture of any number of sources."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.replay import Mixture, Split

HALF = Fraction(1, 2)
BOUND = Fraction(168, 100)
FIBONACCI = [1, 1]
while len(FIBONACCI) < 40:
    FIBONACCI.append(FIBONACCI[-2] + FIBONACCI[-1])

SHARES = st.one_of(
    st.fractions(0, 1, max_denominator=50),
    st.fractions(0, 1, max_denominator=10**9),
    st.integers(1, 10**12).map(lambda n: Fraction(1, n)),
    st.integers(1, 10**12).map(lambda n: 1 - Fraction(1, n)),
)
LENGTHS = st.one_of(st.integers(0, 300), st.integers(0, 10**15))
WEIGHTS = st.one_of(
    st.integers(1, 5),
    st.integers(0, 12).flatmap(lambda power: st.integers(1, 9).map(lambda n: n * 10**power)),
    st.integers(1, 10**12),
    st.sampled_from(FIBONACCI),
    st.integers(0, 39).map(lambda power: 2**power),
)
MIXTURES = st.integers(1, 40).flatmap(
    lambda num: st.fixed_dictionaries({f"source {i}": WEIGHTS for i in range(num)})
)
SLOW = settings(max_examples=40)


def walked(mixture: Mixture, length: int, start: int = 0) -> list[dict[str, int]]:
    """Counts before each position, by looking at the positions; their indices must be consecutive."""
    counts = mixture.counts(start)
    found = [dict(counts)]
    for position in range(start, start + length):
        source, index = mixture.at(position)
        assert index == counts[source]
        counts[source] += 1
        found.append(dict(counts))
    return found


def worst_error(weights: dict[str, int], counts: dict[str, int]) -> Fraction:
    """How far a source is from its share, in sequences."""
    length, total = sum(counts.values()), sum(weights.values())
    return max(
        Fraction(abs(counts[name] * total - length * weight), total)
        for name, weight in weights.items()
    )


@given(SHARES, LENGTHS)
def test_a_split_is_within_half_of_its_share_up_to_any_position(share, length):
    assert abs(Split(share).count(length) - length * share) <= HALF


@given(SHARES, LENGTHS, st.integers(0, 10**6))
def test_a_split_is_within_one_of_its_share_in_any_window(share, start, length):
    split = Split(share)
    assert abs(split.count(start + length) - split.count(start) - length * share) <= 1


@given(SHARES, st.integers(0, 10**9))
def test_a_split_is_exact_at_multiples_of_its_denominator(share, times):
    assert Split(share).count(times * share.denominator) == times * share.numerator


@SLOW
@given(SHARES, LENGTHS)
def test_a_split_numbers_both_streams_consecutively(share, start):
    split = Split(share)
    seen = {True: split.count(start), False: start - split.count(start)}
    for position in range(start, start + 200):
        assert split.count(position) == seen[True]
        is_first, index = split.at(position)
        assert index == seen[is_first]
        seen[is_first] += 1


def test_a_split_by_hand():
    """round(n/3) is 0, 0, 1, 1, 1, 2, 2 for n = 0 … 6."""
    split = Split(Fraction(1, 3))
    assert [split.count(n) for n in range(7)] == [0, 0, 1, 1, 1, 2, 2]
    assert [split.at(n)[0] for n in range(6)] == [False, True, False, False, True, False]


@pytest.mark.parametrize("share", [Fraction(-1, 100), Fraction(101, 100)])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Split(share)
    assert (Split(Fraction(0)).at(7), Split(Fraction(1)).at(7)) == ((False, 7), (True, 7))


@SLOW
@given(MIXTURES, st.one_of(st.just(0), st.integers(0, 10**15)))
def test_counts_are_the_tally_of_positions_and_indices_are_consecutive(weights, start):
    mixture = Mixture.of(weights)
    for passed, counts in enumerate(walked(mixture, 150, start)):
        assert mixture.counts(start + passed) == counts


@SLOW
@given(MIXTURES)
def test_every_source_is_near_its_share_at_every_position(weights):
    for counts in walked(Mixture.of(weights), 300):
        assert worst_error(weights, counts) < BOUND


@settings(max_examples=100)
@given(MIXTURES, LENGTHS)
def test_every_source_is_near_its_share_at_any_length(weights, length):
    counts = Mixture.of(weights).counts(length)
    assert sum(counts.values()) == length
    assert worst_error(weights, counts) < BOUND


@SLOW
@given(WEIGHTS, WEIGHTS, LENGTHS)
def test_two_sources_are_within_half_of_their_shares(one, other, length):
    weights = {"one": one, "other": other}
    assert worst_error(weights, Mixture.of(weights).counts(length)) <= HALF
    for counts in walked(Mixture.of(weights), 100):
        assert worst_error(weights, counts) <= HALF


def test_a_cascade_in_the_order_given_would_miss_the_bound():
    """The twin: forty light sources split off one by one leave the heavy one 20 sequences behind."""
    weights = {"heavy": 10**6} | {f"light {i}": 1 for i in range(40)}
    length = sum(weights.values()) // 2 + 50
    counts, rest, weight_left = {}, length, sum(weights.values())
    for name in sorted(weights, reverse=True)[:-1]:
        counts[name] = Split(Fraction(1, weight_left)).count(rest)
        rest, weight_left = rest - counts[name], weight_left - 1
    counts["heavy"] = rest
    assert worst_error(weights, counts) > 10
    assert worst_error(weights, Mixture.of(weights).counts(length)) < BOUND


@SLOW
@given(MIXTURES, st.integers(0, 10**6))
def test_counts_are_exact_at_multiples_of_the_total_weight(weights, times):
    mixture = Mixture.of(weights)
    reduced = dict(mixture.weights)
    counts = mixture.counts(times * sum(reduced.values()))
    assert counts == {name: times * weight for name, weight in reduced.items()}


@SLOW
@given(MIXTURES, st.integers(1, 10**9), st.integers(1, 10**9))
def test_only_proportions_matter(weights, numerator, denominator):
    factor = Fraction(numerator, denominator)
    scaled = Mixture.of({name: weight * factor for name, weight in weights.items()})
    assert scaled == Mixture.of(weights)
    total = sum(weights.values())
    assert scaled.shares == {name: Fraction(weight, total) for name, weight in weights.items()}
    assert sum(scaled.shares.values()) == 1


def test_fractions_are_weights_too():
    mixture = Mixture.of({"a": Fraction(1, 3), "b": Fraction(1, 6), "c": 1})
    assert mixture.weights == (("a", 2), ("b", 1), ("c", 6))


def test_a_mixture_of_three_by_hand():
    """b and c (1 each) are joined first, then split 2 : 2 from a; a split of one half starts with its first."""
    mixture = Mixture.of({"a": 2, "b": 1, "c": 1})
    assert [mixture.at(position) for position in range(6)] == [
        ("c", 0), ("a", 0), ("b", 0), ("a", 1), ("c", 1), ("a", 2),
    ]  # fmt: skip


def test_a_tiny_share_comes_at_its_time():
    """One in 10^12 + 1: its first sequence comes half-way, its millionth after as many rounds."""
    mixture = Mixture.of({"heavy": 10**12, "tiny": 1})
    assert mixture.counts(10**12 // 2)["tiny"] == 0
    assert mixture.counts(10**12 // 2 + 1)["tiny"] == 1
    assert mixture.at(10**12 // 2) == ("tiny", 0)
    assert mixture.counts(10**6 * (10**12 + 1))["tiny"] == 10**6


def test_sources_take_turns_when_weights_are_equal():
    mixture = Mixture.of(dict.fromkeys("abcdefg", 1))
    turns = [Counter(mixture.at(7 * turn + place)[0] for place in range(7)) for turn in range(5)]
    assert turns == [Counter("abcdefg")] * 5


@pytest.mark.parametrize("weight", [0, -1, Fraction(-1, 10**9)])
def test_a_weight_that_is_not_positive_is_refused(weight):
    with pytest.raises(ValueError, match=r"weight of 'b' must be positive"):
        Mixture.of({"a": 1, "b": weight})
    assert Mixture.of({"a": 1, "b": Fraction(1, 10**9)}).counts(10**9 + 1)["b"] == 1


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one source"):
        Mixture.of({})
    assert Mixture.of({"a": 5}).at(10**12) == ("a", 10**12)


TABLE_1 = {
    "Wikipedia": 400,
    "Book": 420,
    "C4": 2669,
    "Stack Exchange": 337,
    "GitHub": 522,
    "Common Crawl": 5209,
    "arXiv": 443,
}
"""Sampling percentages of SlimPajama's domains (paper, Table 1), in hundredths of a percent."""


def test_the_papers_domains_have_their_exact_shares_in_every_cycle():
    """The percentages add up to 100.00 and have no common divisor: a cycle is 10,000 sequences."""
    mixture = Mixture.of(TABLE_1)
    assert sum(TABLE_1.values()) == 10_000
    assert mixture.shares == {name: Fraction(weight, 10_000) for name, weight in TABLE_1.items()}
    for cycle in (1, 2, 14_617):
        assert mixture.counts(cycle * 10_000) == {n: cycle * w for n, w in TABLE_1.items()}


def test_every_batch_of_the_paper_has_its_domains_to_within_the_bound():
    """1,104 sequences; after 625 batches the cycles and the batches begin together again.

    A batch is what lies between two positions, each within 1.68 sequences of its share.
    """
    mixture, batch = Mixture.of(TABLE_1), 1104
    counts = [mixture.counts(batch * step) for step in range(626)]
    assert counts[625] == {name: 69 * weight for name, weight in TABLE_1.items()}
    for before, after in pairwise(counts):
        read = {name: after[name] - before[name] for name in TABLE_1}
        assert sum(read.values()) == batch
        assert worst_error(TABLE_1, read) < 2 * BOUND
        assert worst_error(TABLE_1, after) < BOUND
