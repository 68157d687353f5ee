"""The data order of a stage: what it reads, what it replays, and that only the position decides."""

import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewarm
from rewarm.replay import Count, Draw, Mixture, NewData, Replay, Stream, Tape, add_counts

PREFIX = 90
SHARES = st.one_of(
    st.sampled_from([Fraction(1, 100), Fraction(1, 20), Fraction(1, 4), Fraction(1, 2)]),
    st.fractions(Fraction(1, 1000), Fraction(999, 1000), max_denominator=1000),
)
MIXTURES = st.dictionaries(
    st.sampled_from("abcde"), st.integers(1, 1000), min_size=1, max_size=4
).map(Mixture.of)
STARTS = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 10**12))
NEW_DATA = st.builds(NewData, MIXTURES, STARTS, st.integers(0, 100))
SEEDS = st.one_of(st.none(), st.integers(0, 2**32))
TAPES = st.builds(
    Tape,
    NEW_DATA,
    st.integers(1, 40),
    cursor=st.integers(0, 100),
    shuffle_seed=SEEDS,
    name=st.sampled_from(["pretrain", "update"]),
)


@st.composite
def replays(draw) -> Replay:
    tapes = draw(st.dictionaries(st.sampled_from(["first", "second", "third"]), TAPES, min_size=1))
    return Replay(draw(SHARES), Mixture.of({t: draw(st.integers(1, 100)) for t in tapes}), tapes)


STREAMS = st.builds(Stream, NEW_DATA, st.one_of(st.none(), replays()), begin=st.integers(0, 100))
SLOW = settings(max_examples=40)


def read(stream: Stream, length: int, start: int = 0) -> list[Draw]:
    return [stream.at(position) for position in range(start, start + length)]


def tally(draws: list[Draw]) -> dict[str, Count]:
    new = Counter(draw.source for draw in draws if not draw.replayed)
    replayed = Counter(draw.source for draw in draws if draw.replayed)
    return {source: Count(new[source], replayed[source]) for source in new | replayed}


def without_zeros(ledger: dict[str, Count]) -> dict[str, Count]:
    return {source: count for source, count in ledger.items() if count.total}


def new_draws(draws: list[Draw]) -> list[tuple[str, int]]:
    return [(draw.source, draw.place) for draw in draws if not draw.replayed]


@SLOW
@given(STREAMS)
def test_counts_are_the_tally_of_what_is_read(stream):
    draws = read(stream, PREFIX)
    for length in range(PREFIX + 1):
        assert without_zeros(stream.counts(length)) == tally(draws[:length])
        assert stream.num_new(length) == len(new_draws(draws[:length]))


@SLOW
@given(STREAMS, st.integers(0, 10**15))
def test_counts_add_up_at_any_length(stream, length):
    counts = stream.counts(length).values()
    assert sum(count.total for count in counts) == length
    assert sum(count.new for count in counts) == stream.num_new(length)
    assert sum(stream.tape_counts(length).values()) == length - stream.num_new(length)


@SLOW
@given(STREAMS, st.integers(0, 10**12))
def test_new_data_is_read_on_without_a_gap(stream, start):
    """Within a source the places of the new data are consecutive, wherever one looks."""
    next_place = {}
    for source, place in new_draws(read(stream, PREFIX, start)):
        assert place == next_place.get(source, place)
        next_place[source] = place + 1


@SLOW
@given(STREAMS, st.integers(0, 10**12), st.integers(1, 60))
def test_any_batch_within_one_sequence_has_its_share_of_replay(stream, start, batch):
    share = stream.replay.share if stream.replay else 0
    replayed = sum(draw.replayed for draw in read(stream, batch, start))
    assert abs(replayed - share * batch) <= 1


@pytest.mark.parametrize("percent", [1, 5, 10, 25, 50])
def test_a_batch_that_divides_evenly_has_exactly_its_share(percent):
    old, new = (NewData(Mixture.of({name: 1}), {}) for name in ("english", "german"))
    replay = Replay(Fraction(percent, 100), Mixture.of({"pretrain": 1}), {"pretrain": Tape(old, 7)})
    stream = Stream(new, replay)
    for batch in range(5):
        assert sum(draw.replayed for draw in read(stream, 100, 100 * batch)) == percent


def test_a_stream_by_hand():
    """One in four: round(n/4) rises at positions 1 and 5. The tape has two sequences, and one was used."""
    tape = Tape(NewData(Mixture.of({"english": 1}), {"english": 10}), 2, cursor=1)
    replay = Replay(Fraction(1, 4), Mixture.of({"pretrain": 1}), {"pretrain": tape})
    stream = Stream(NewData(Mixture.of({"german": 1}), {"german": 5}), replay)
    assert read(stream, 6) == [
        Draw("german", 5, False),
        Draw("english", 11, True),
        Draw("german", 6, False),
        Draw("german", 7, False),
        Draw("german", 8, False),
        Draw("english", 10, True),
    ]
    assert stream.counts(6) == {"german": Count(new=4), "english": Count(replayed=2)}
    assert (stream.tape_counts(6), stream.tape_cursors(6)) == ({"pretrain": 2}, {"pretrain": 3})


@SLOW
@given(STREAMS, st.integers(1, PREFIX), st.integers(0, 200))
def test_replay_is_the_earlier_stages_new_data_sample_by_sample(earlier, length, cursor):
    """In the order of reading, from the cursor, and from the beginning again at the end."""
    seen = new_draws(read(earlier, length))
    if not seen:
        return
    tape = Tape(earlier.new_data(), earlier.num_new(length), cursor=cursor)
    for index in range(3 * len(seen)):
        assert tape.at(index) == seen[(cursor + index) % len(seen)]


@SLOW
@given(STREAMS, st.integers(1, PREFIX), st.integers(0, 2**32))
def test_a_shuffled_lap_reads_each_sequence_that_was_seen_once(earlier, length, seed):
    seen = new_draws(read(earlier, length))
    if not seen:
        return
    tape = Tape(earlier.new_data(), len(seen), shuffle_seed=seed, name="pretrain")
    for lap in range(3):
        replayed = [tape.at(lap * len(seen) + index) for index in range(len(seen))]
        assert sorted(replayed) == sorted(seen)
        assert [source for source, _ in replayed] == [source for source, _ in seen]


def test_laps_seeds_and_names_have_their_own_shuffled_order():
    data = NewData(Mixture.of({"english": 3, "french": 1}), {"english": 1000})
    tapes = [Tape(data, 80, shuffle_seed=seed, name=name) for seed in (1, 2) for name in "ab"]
    laps = [[tape.at(80 * lap + i) for i in range(80)] for tape in tapes for lap in range(3)]
    in_order = [data.at(i) for i in range(80)]
    assert len({tuple(lap) for lap in [*laps, in_order]}) == len(laps) + 1


@SLOW
@given(TAPES)
def test_a_tapes_counts_are_the_tally_of_what_it_plays(tape):
    played = [tape.at(index)[0] for index in range(PREFIX)]
    for length in range(PREFIX + 1):
        counts = {source: count for source, count in tape.counts(length).items() if count}
        assert counts == Counter(played[:length])


@SLOW
@given(STREAMS)
def test_replay_plays_each_tape_on_from_its_cursor(stream):
    """The tapes take turns by their mixture, and the cursors say where each of them stands."""
    if stream.replay is None:
        assert (stream.tape_counts(PREFIX), stream.tape_cursors(PREFIX)) == ({}, {})
        return
    cursors, before = stream.tape_cursors(0), stream.tape_cursors(0)
    new_before = stream.new_data().begin - stream.new.begin
    turns = stream.begin - new_before
    for position in range(PREFIX):
        assert stream.tape_cursors(position) == cursors
        counts = stream.tape_counts(position)
        assert counts == {name: cursors[name] - before[name] for name in cursors}
        draw = stream.at(position)
        if draw.replayed:
            name = stream.replay.mixture.at(turns)[0]
            tape = stream.replay.tapes[name]
            assert draw[:2] == tape.at(cursors[name] - tape.cursor)
            turns, cursors[name] = turns + 1, cursors[name] + 1


def test_a_tape_that_the_mixture_leaves_out_stays_where_it_is():
    """A stage hands on all tapes, also one with so small a weight that it was never played."""
    data = NewData(Mixture.of({"english": 1}), {})
    tapes = {"played": Tape(data, 5), "left out": Tape(data, 5, cursor=3)}
    stream = Stream(data, Replay(Fraction(1, 2), Mixture.of({"played": 1}), tapes))
    assert stream.tape_cursors(10) == {"played": 5, "left out": 3}
    assert stream.tape_counts(10) == {"played": 5}
    assert stream.counts(10) == {"english": Count(5, 5)}


@SLOW
@given(STREAMS, st.one_of(st.integers(0, 100), st.integers(0, 10**12)), st.integers(0, 60))
def test_what_follows_is_the_same_stream_later(stream, k, length):
    later = stream.since(k)
    assert read(later, length) == read(stream, length, k)
    assert later.num_new(length) == stream.num_new(k + length) - stream.num_new(k)
    assert later.tape_cursors(length) == stream.tape_cursors(k + length)
    first, both = stream.tape_counts(k), stream.tape_counts(k + length)
    assert later.tape_counts(length) == {name: both[name] - first[name] for name in both}
    sum_of_parts = add_counts(stream.counts(k), later.counts(length))
    assert without_zeros(sum_of_parts) == without_zeros(stream.counts(k + length))
    num_new = stream.num_new(k)
    for index in range(length):
        assert later.new_data().at(index) == stream.new_data().at(num_new + index)


@SLOW
@given(STREAMS, st.integers(0, 100), st.integers(0, 100))
def test_going_on_twice_is_going_on_once(stream, j, k):
    assert stream.since(j).since(k) == stream.since(j + k)
    assert stream.since(0) == stream


@SLOW
@given(STREAMS, st.lists(st.integers(0, 30), max_size=8), st.integers(1, 7))
def test_the_stream_does_not_know_how_it_is_cut(stream, batches, num_ranks):
    length = sum(batches)
    whole = read(stream, length)
    cut, rest = [], stream
    for batch in batches:
        cut += read(rest, batch)
        rest = rest.since(batch)
    assert cut == whole
    ranks = [[stream.at(p) for p in range(r, length, num_ranks)] for r in range(num_ranks)]
    assert all(ranks[p % num_ranks][p // num_ranks] == whole[p] for p in range(length))


def campaign(lengths: list[int], share: Fraction, seed: int | None = None) -> list[Stream]:
    """Stages as the plan makes them: sources shared by some, read on; replay by the reservoir."""
    mixtures = [{"a": 3, "b": 1}, {"c": 1}, {"b": 1, "d": 2}, {"a": 1}]
    streams: list[Stream] = []
    ledger: dict[str, Count] = {}
    tapes: dict[str, Tape] = {}
    reads: dict[str, int] = {}
    for j, (mixture, length) in enumerate(zip(mixtures, lengths, strict=False)):
        new = NewData(Mixture.of(mixture), {source: count.new for source, count in ledger.items()})
        stream = Stream(new, Replay(share, Mixture.of(reads), dict(tapes)) if tapes else None)
        streams.append(stream)
        ledger = add_counts(ledger, stream.counts(length))
        cursors = stream.tape_cursors(length)
        for name, count in stream.tape_counts(length).items():
            reads[name] += count
            tapes[name] = Tape(
                tapes[name].data,
                tapes[name].length,
                cursor=cursors[name],
                shuffle_seed=seed,
                name=name,
            )
        reads[f"stage {j}"] = stream.num_new(length)
        tapes[f"stage {j}"] = Tape(
            stream.new_data(), stream.num_new(length), shuffle_seed=seed, name=f"stage {j}"
        )
    return streams


LENGTHS = st.lists(st.integers(4, 60), min_size=4, max_size=4)


@SLOW
@given(LENGTHS, st.sampled_from([Fraction(1, 20), Fraction(1, 3), Fraction(1, 2)]), SEEDS)
def test_over_a_campaign_nothing_is_new_twice_and_nothing_unseen_is_replayed(lengths, share, seed):
    seen: list[tuple[str, int]] = []
    for stream, length in zip(campaign(lengths, share, seed), lengths, strict=True):
        draws = read(stream, length)
        replayed = {(draw.source, draw.place) for draw in draws if draw.replayed}
        assert replayed <= set(seen)
        seen += new_draws(draws)
    assert len(seen) == len(set(seen))
    for source in "abcd":
        places = [place for name, place in seen if name == source]
        assert places == list(range(len(places)))


@SLOW
@given(LENGTHS, st.integers(0, 3), st.integers(1, 100))
def test_a_larger_budget_changes_nothing_before_it(lengths, stage, added):
    """Neither the stage itself nor those before it; the stages after it have more to replay."""
    longer = [*lengths[:stage], lengths[stage] + added, *lengths[stage + 1 :]]
    before, after = (campaign(some, Fraction(1, 4)) for some in (lengths, longer))
    assert before[: stage + 1] == after[: stage + 1]
    if stage + 1 < len(lengths):
        assert before[stage + 1] != after[stage + 1]


def test_a_larger_pretraining_is_replayed_from_the_same_beginning():
    short, long = (campaign([n, 30], Fraction(1, 2))[1] for n in (20, 200))
    assert read(short, 30) == read(long, 30)
    assert read(short, 60) != read(long, 60)


CHECK = (
    "import sys; heavy = {{'torch', 'numpy'}}; import {module}; assert not heavy & set(sys.modules)"
)


def imported(module: str) -> subprocess.CompletedProcess[str]:
    source = Path(rewarm.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK.format(module=module)],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_replay_imports_nothing_heavy():
    result = imported("rewarm.replay")
    assert (result.returncode, result.stderr) == (0, "")


def test_the_check_notices_a_heavy_import():
    assert "AssertionError" in imported("numpy").stderr
