"""The ledger and the paper's discrete reservoir, which a simulated series of stages must come to."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.replay import (
    Count,
    Mixture,
    NewData,
    Replay,
    Stream,
    Tape,
    add_counts,
    composition,
    reservoir_shares,
)

ALPHAS = st.fractions(0, Fraction(9, 10), max_denominator=40)
COUNTS = st.builds(Count, st.integers(0, 50), st.integers(0, 50))
LEDGERS = st.dictionaries(st.sampled_from("abcdef"), COUNTS)


def next_stage(ledger: dict[str, Count], name: str, alpha: Fraction) -> Stream:
    """A stage on a new source, replaying all that was seen, in the proportion in which it was seen."""
    new = NewData(Mixture.of({name: 1}), {})
    if not ledger or not alpha:
        return Stream(new)
    tapes = {
        source: Tape(NewData(Mixture.of({source: 1}), {}), count.new, cursor=count.replayed)
        for source, count in ledger.items()
    }
    return Stream(new, Replay(alpha, Mixture.of(composition(ledger)), tapes))


def exact_size(stream: Stream, times: int) -> int:
    """A size at which the stage's replay and its parts are whole numbers of sequences."""
    if stream.replay is None:
        return times
    return (
        times * stream.replay.share.denominator * sum(w for _, w in stream.replay.mixture.weights)
    )


def shares_by_name(sizes: list[int], alpha: Fraction) -> dict[str, Fraction]:
    return {f"D{j}": share for j, share in enumerate(reservoir_shares(sizes, alpha))}


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5), ALPHAS)
def test_stages_read_one_by_one_come_to_the_papers_recursion(multiples, alpha):
    ledger, sizes = {}, []
    for j, times in enumerate(multiples):
        stream = next_stage(ledger, f"D{j}", alpha)
        sizes.append(exact_size(stream, times))
        ledger = add_counts(ledger, stream.counts(sizes[-1]))
        assert sum(count.total for count in ledger.values()) == sum(sizes)
        assert composition(ledger) == shares_by_name(sizes, alpha)


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=6), ALPHAS)
def test_at_any_size_they_differ_from_it_by_a_few_sequences(sizes, alpha):
    """A stage rounds its replay by 1/2 and each source by 1.68, and hands on what the buffer was off by."""
    ledger, seen, error = {}, 0, Fraction(0)
    for j, size in enumerate(sizes):
        stream = next_stage(ledger, f"D{j}", alpha)
        ledger = add_counts(ledger, stream.counts(size))
        error += (error * alpha * size / seen if seen else 0) + Fraction(218, 100)
        seen += size
        found = composition(ledger)
        for name, share in shares_by_name(sizes[: j + 1], alpha).items():
            assert abs(found.get(name, 0) - share) * seen <= error


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=8), ALPHAS)
def test_the_shares_add_up_to_one(sizes, alpha):
    shares = reservoir_shares(sizes, alpha)
    assert sum(shares) == 1
    assert min(shares) > 0


def test_two_stages_by_hand():
    """300 of D0; then 100 of which 5 are D0 again: 305 and 95 of 400."""
    assert reservoir_shares([300, 100], Fraction(1, 20)) == [Fraction(305, 400), Fraction(95, 400)]


def test_three_stages_by_hand():
    """100, 100, 100 at 10 %. After two: 110 and 90. The third replays 5.5 and 4.5 and reads 90."""
    shares = reservoir_shares([100, 100, 100], Fraction(1, 10))
    assert shares == [Fraction(1155, 3000), Fraction(945, 3000), Fraction(900, 3000)]


def test_without_replay_the_shares_are_those_of_the_sizes():
    assert reservoir_shares([3, 1, 4], Fraction(0)) == [Fraction(n, 8) for n in (3, 1, 4)]


def test_the_first_stage_is_all_there_is_to_replay_in_the_second():
    assert reservoir_shares([7], Fraction(1, 4)) == [1]


def test_reservoir_weights_that_leave_replay_out_would_be_noticed():
    """The twin: weighting the buffer by new data alone is another mixture from the third stage on."""
    alpha, ledger, sizes = Fraction(1, 4), {}, []
    for j in range(3):
        new_alone = {name: Count(count.new) for name, count in ledger.items()}
        stream = next_stage(new_alone, f"D{j}", alpha)
        sizes.append(exact_size(stream, 10))
        ledger = add_counts(ledger, stream.counts(sizes[-1]))
    assert composition(ledger) != shares_by_name(sizes, alpha)


def test_composition_counts_replay_as_seen_and_leaves_out_what_was_not():
    ledger = {"a": Count(3, 1), "b": Count(0, 4), "c": Count()}
    assert composition(ledger) == {"a": Fraction(1, 2), "b": Fraction(1, 2)}


@given(LEDGERS, LEDGERS)
def test_ledgers_add_up_source_by_source(a, b):
    added = add_counts(a, b)
    for name in "abcdef":
        one, other = a.get(name, Count()), b.get(name, Count())
        assert added.get(name, Count()) == Count(one.new + other.new, one.replayed + other.replayed)
    assert add_counts(b, a) == added


@given(LEDGERS, LEDGERS)
def test_sources_stay_in_the_order_in_which_they_were_met(a, b):
    """A ledger is written out, so its order must not hang on Python's hashing of strings."""
    assert list(add_counts(a, b)) == [*a, *(name for name in b if name not in a)]


@pytest.mark.parametrize(("count", "total"), [(Count(), 0), (Count(3), 3), (Count(3, 4), 7)])
def test_a_total_is_new_and_replayed(count, total):
    assert count.total == total
