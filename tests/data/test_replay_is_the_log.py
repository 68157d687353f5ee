"""Replay is what earlier stages read: the same tokens, sequence by sequence, across the edges of stages.

The campaign has three stages, domains and real token stores. Every sequence has tokens of its own, so a row
says which it is.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from rewarm.campaign import load_campaign
from rewarm.data.batches import Batches
from rewarm.data.store import TokenStore
from rewarm.data.writer import write_store
from rewarm.plan import StagePlan, make_plan
from rewarm.replay import reservoir_shares

LENGTH, BATCH = 4, 10
CAMPAIGN = """
name = "log"
seed = 3
sequence_length = 4
batch = "10 sequences"
model = { preset = "neox-0.1m", vocabulary = 300 }
tokenizer = { from = "tokenizer.json" }
evaluation = { every = "10 steps", final_steps = 0 }
checkpoints = { every = "10 steps" }

[data.english]
train = ["english.jsonl"]
validation = ["valid.jsonl"]
READING

[data.german]
validation = ["valid.jsonl"]
domains.web = { train = ["web.jsonl"], weight = 52.09 }
domains.law = { train = ["law.jsonl"], weight = 3.37 }
READING

[data.french]
train = ["french.jsonl"]
validation = ["valid.jsonl"]

[[stage]]
name = "first"
data = { english = 0.75, german = 0.25 }
budget = "40 steps"
schedule = { kind = "cosine", max_lr = 1e-3 }

[[stage]]
name = "second"
data = { german = 1.0 }
replay = { share = "25%", REPLAY }
budget = "30 steps"
schedule = { kind = "cosine", max_lr = 1e-3 }

[[stage]]
name = "third"
data = { french = 1.0 }
replay = { share = "30%", REPLAY }
budget = "35 steps"
schedule = { kind = "cosine", max_lr = 1e-3 }
"""
SEQUENCES = {"english": 3100, "german/web": 2100, "german/law": 90, "french": 400}
"""Several blocks of two sources; one that is read more than once; one less than a block."""


@dataclass(frozen=True)
class Log:
    """What one stage read."""

    stage: StagePlan
    new: list[bytes]
    replayed: list[bytes]


def stores(folder) -> dict[str, TokenStore]:
    """Consecutive tokens, so that no two sequences begin alike."""
    first, found = 1, {}
    for source, sequences in SEQUENCES.items():
        tokens = sequences * LENGTH + 1
        write_store(
            folder / source,
            [np.append(np.arange(first, first + tokens - 1), 0).astype(np.int32)],
            vocabulary=100_000,
            end_of_text=0,
            tokenizer="none",
            document_seed=0,
            text_bytes=tokens,
            provenance=[],
        )
        found[source] = TokenStore.open(folder / source)
        first += tokens
    return found


def logs(folder, reading: str = "", replay: str = 'order = "as-seen"') -> list[Log]:
    """Read all batches of all stages; which rows are replayed is what the stream says."""
    path = folder / "campaign.toml"
    text = CAMPAIGN.replace("READING", reading).replace("REPLAY", replay)
    path.write_text(text, encoding="utf-8")
    plan = make_plan(load_campaign(path))
    opened = stores(folder)
    return [Log(stage, *rows_of(stage, opened)) for stage in plan.stages]


def rows_of(stage: StagePlan, opened: dict[str, TokenStore]) -> tuple[list[bytes], list[bytes]]:
    leaves = {leaf: text for leaf, (text, _) in stage.campaign.leaves().items()}
    batches = Batches(
        stream=stage.stream,
        stores=opened,
        orders={leaf: text.order for leaf, text in leaves.items()},
        parts={leaf: text.part for leaf, text in leaves.items()},
        seed=stage.campaign.seed,
        batch_sequences=stage.batch_sequences,
        sequence_length=stage.sequence_length,
    )
    new, replayed, readers = [], [], batches.readers()
    for step in range(1, stage.steps + 1):
        for row, tokens in enumerate(batches.read(step, readers).tokens):
            draw = stage.stream.at((step - 1) * BATCH + row)
            (replayed if draw.replayed else new).append(tokens.tobytes())
    return new, replayed


def again(log: list[bytes], start: int) -> Iterator[bytes]:
    """The log from a sequence on, over and over."""
    while True:
        yield log[start % len(log)]
        start += 1


READINGS = {
    "shuffled": "",
    "blocks": 'order = "blocks"',
    "sequential": 'order = "sequential"',
    "a part of a split": 'split = "2/3"',
    "a part of a split, in blocks": 'split = "2/2"\norder = "blocks"',
}


@pytest.mark.parametrize("reading", READINGS)
def test_replay_over_a_stage_edge_is_the_log_sequence_by_sequence(tmp_path, reading):
    first, second, _ = logs(tmp_path, READINGS[reading])
    assert len(second.replayed) == 75
    assert second.replayed == first.new[:75]
    assert len(set(first.new)) > 300


@pytest.mark.parametrize("reading", READINGS)
def test_a_third_stage_replays_both_logs_each_from_where_it_stood(tmp_path, reading):
    """Of each log in its order: the first goes on behind what the second stage replayed of it."""
    first, second, third = logs(tmp_path, READINGS[reading])
    tapes = {"first": again(first.new, 75), "second": again(second.new, 0)}
    counts = dict.fromkeys(tapes, 0)
    replay = third.stage.stream.replay
    for number, row in enumerate(third.replayed):
        tape, _ = replay.mixture.at(number)
        assert row == next(tapes[tape])
        counts[tape] += 1
    assert sum(counts.values()) == len(third.replayed) == 105
    assert third.stage.stream.tape_counts(third.stage.steps * BATCH) == counts


def test_the_third_stage_weighs_the_logs_as_the_reservoir_does(tmp_path):
    """Eq. 5 with stages of 400 and 300 sequences, of which a quarter of the second was replay."""
    *_, third = logs(tmp_path)
    shares = reservoir_shares([400, 300], second_share := third.stage.parent.stage.replay.share)
    counts = third.stage.stream.tape_counts(third.stage.steps * BATCH)
    assert second_share * 4 == 1
    for name, share in zip(("first", "second"), shares, strict=True):
        assert abs(counts[name] - share * 105) <= 0.5


def test_replay_from_the_beginning_reads_the_log_from_there(tmp_path):
    first, second, third = logs(tmp_path, replay='start = "beginning"')
    tapes = {"first": again(first.new, 0), "second": again(second.new, 0)}
    for number, row in enumerate(third.replayed):
        tape, _ = third.stage.stream.replay.mixture.at(number)
        assert row == next(tapes[tape])


def test_a_reshuffled_replay_is_the_log_in_another_order(tmp_path):
    """The twin: the same sequences, but not one by one. 75 of 400 in place would be chance."""
    first, second, _ = logs(tmp_path, replay='order = "shuffled"')
    assert set(second.replayed) <= set(first.new)
    assert second.replayed != first.new[:75]


def test_domains_are_replayed_in_the_mixture_in_which_they_were_read(tmp_path):
    """Which source a row is of is told by its tokens, which rise from store to store."""
    _, second, _ = logs(tmp_path)
    ends = np.cumsum([sequences * LENGTH + 1 for sequences in SEQUENCES.values()])
    names = [
        list(SEQUENCES)[np.searchsorted(ends, np.frombuffer(row, np.int32)[0])]
        for row in second.replayed
    ]
    assert Counter(names) == {"english": 56, "german/web": 18, "german/law": 1}
    planned = {source: count.replayed for source, count in second.stage.counts().items()}
    assert Counter(names) == Counter(planned)


def test_parts_of_one_text_share_no_sequence_and_are_all_of_it(tmp_path):
    """Three campaigns with another seed and order each read one epoch of one third."""
    opened = stores(tmp_path)
    read = []
    for number, (seed, order) in enumerate([(1, "shuffled"), (2, "blocks"), (3, "sequential")], 1):
        path = tmp_path / "campaign.toml"
        reading = f'split = "{number}/3"\norder = "{order}"'
        text = CAMPAIGN.replace("READING", reading).replace("REPLAY", 'start = "continue"')
        path.write_text(text.replace("seed = 3", f"seed = {seed}"), encoding="utf-8")
        campaign = load_campaign(path).campaign
        english = campaign.data["english"]
        reader = Batches(
            stream=make_plan(load_campaign(path)).stages[0].stream,
            stores={"english": opened["english"]},
            orders={"english": english.order},
            parts={"english": english.part},
            seed=campaign.seed,
            batch_sequences=BATCH,
            sequence_length=LENGTH,
        ).readers()["english"]
        read += [
            row.tobytes() for row in reader.read(reader.window_numbers(range(reader.order.length)))
        ]
    everything = opened["english"].windows(range(SEQUENCES["english"]), LENGTH)
    assert sorted(read) == sorted(row.tobytes() for row in everything)
