"""One stage as it will be done: its steps, its rates, its data order, and the ledger before and after.

A stage is known by its key, the hash of everything that decides its weights. Stages of different arms with
the same key are the same work.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import orjson

from rewarm.campaign.campaign import Campaign, Stage, leaf_weights
from rewarm.campaign.datasets import Text
from rewarm.campaign.quantities import percent
from rewarm.errors import CampaignError
from rewarm.plan.schedules import length_in_steps, make_schedule
from rewarm.replay import Count, Mixture, NewData, Replay, Stream, Tape, add_counts
from rewarm.schedules import Piecewise

KEY_FORMAT = 1
"""Part of every key; a change of what a stage means raises it, so that older work is not taken for new."""


class ReadBefore(NamedTuple):
    """What was read so far."""

    tapes: Mapping[str, Tape]
    """What each stage, and the declared history, read as new data."""
    reads: Mapping[str, int]
    """Sequences read of each tape, replays included: its weight in a replay (Eq. 5)."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """What a stage will do."""

    name: str
    """Name in the campaign file."""
    key: str
    """Hash of everything that decides its weights (64 hexadecimal digits)."""
    parent: "StagePlan | None"
    """The stage that it starts from; None for the base model."""
    start_step: int
    """Step of the parent at which it branches off; 0 for the base model."""
    steps: int
    """Optimizer steps."""
    batch_sequences: int
    """Sequences in a batch."""
    sequence_length: int
    """Tokens in a sequence."""
    schedule: Piecewise
    """Learning rate of each step."""
    stream: Stream
    """Which sequence comes at each position."""
    stage: Stage
    """As written."""
    campaign: Campaign
    """The arm's campaign: seed, model, optimizer and precision of this stage."""
    shares: Mapping[str, Fraction]
    """Share of each dataset among the new data."""

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.name}-{self.key[:8]}"

    @property
    def batch_tokens(self) -> int:
        """Tokens in a batch."""
        return self.batch_sequences * self.sequence_length

    @property
    def tokens(self) -> int:
        """Tokens trained on, replay included."""
        return self.steps * self.batch_tokens

    @property
    def lineage(self) -> "list[StagePlan]":
        """The stages from the base model to this one."""
        return [*(self.parent.lineage if self.parent else []), self]

    def counts(self, steps: int | None = None) -> dict[str, Count]:
        """Return the sequences read from each source in the first steps (all of them by default)."""
        return self.stream.counts((self.steps if steps is None else steps) * self.batch_sequences)

    def counts_of(self, steps: Iterable[int]) -> dict[str, Count]:
        """Return the sequences from each source in the batches of some steps, such as those left out."""
        found: dict[str, Count] = {}
        for step in steps:
            before, after = self.counts(step - 1), self.counts(step)
            for source, count in after.items():
                was = before.get(source, Count())
                batch = Count(count.new - was.new, count.replayed - was.replayed)
                if batch.total:
                    found[source] = found.get(source, Count()) + batch
        return found

    def ledger(self, steps: int | None = None) -> dict[str, Count]:
        """Return the sequences read from each source from the base model up to a step of this stage."""
        return add_counts(self._ledger_before, self.counts(steps))

    @cached_property
    def _ledger_before(self) -> dict[str, Count]:
        """The ledger where this stage begins. Kept, as all stages after this one ask for it."""
        return self.parent.ledger(self.start_step) if self.parent else {}

    @cached_property
    def read_before(self) -> ReadBefore:
        """What had been read where this stage begins. Kept, as the stages after this one build on it."""
        return _read_before(self.campaign, self.parent, self.start_step)

    def read_as_new(self) -> dict[str, int]:
        """Return the sequences of each source read as new by its end, the declared history included."""
        seen = _seen(self.campaign, self, self.steps)
        return {source: count.new for source, count in seen.items()}


def plan_stage(campaign: Campaign, stage: Stage, parent: StagePlan | None) -> StagePlan:
    """Resolve one stage.

    Args:
        campaign: the arm's campaign.
        stage: one of its stages.
        parent: the plan of the stage that it starts from; None for the base model.

    Raises:
        CampaignError: the budget makes no whole step, the branch lies outside the parent, or replay has
            nothing to read.
        ScheduleError: the schedule makes no sense.
    """
    steps = _budget_steps(campaign, stage)
    start_step = _start_step(campaign, stage, parent)
    schedule = _schedule(campaign, stage, parent, start_step, steps)
    stream = _stream(campaign, stage, parent, start_step)
    return StagePlan(
        name=stage.name,
        key=_key(campaign, stage, parent, start_step, steps, schedule, stream),
        parent=parent,
        start_step=start_step,
        steps=steps,
        batch_sequences=campaign.batch_sequences,
        sequence_length=campaign.sequence_length,
        schedule=schedule,
        stream=stream,
        stage=stage,
        campaign=campaign,
        shares=campaign.shares(stage),
    )


def _budget_steps(campaign: Campaign, stage: Stage) -> int:
    """Return the whole steps that the budget pays for; additive replay makes it larger."""
    amount = stage.budget.amount
    if stage.replay.mode == "additive":
        amount = amount / (1 - stage.replay.share)
    steps = int(amount) if stage.budget.unit == "steps" else int(amount // campaign.batch_tokens)
    if steps < 1:
        raise CampaignError(
            f"stage {stage.name!r}: the budget of {stage.budget} is less than one batch of "
            f"{campaign.batch_tokens:,} tokens; raise the budget or make the batch smaller"
        )
    return steps


def _start_step(campaign: Campaign, stage: Stage, parent: StagePlan | None) -> int:
    if parent is None:
        return 0
    if stage.at is None:
        return parent.steps
    step = length_in_steps(stage.at, of_steps=parent.steps, batch_tokens=campaign.batch_tokens)
    if not 1 <= step <= parent.steps:
        raise CampaignError(
            f"stage {stage.name!r}: at = {str(stage.at)!r} is step {step:,} of {parent.name!r}, which has "
            f"steps 1 to {parent.steps:,}"
        )
    return step


def _schedule(
    campaign: Campaign, stage: Stage, parent: StagePlan | None, start_step: int, steps: int
) -> Piecewise:
    if stage.schedule is None:
        assert parent is not None, "the references were checked: a first stage has a schedule"
        return parent.schedule.since(start_step).until(steps)
    lr_before = parent.schedule(start_step) if parent else None
    return make_schedule(stage.schedule, campaign, steps, lr_before)


def _stream(campaign: Campaign, stage: Stage, parent: StagePlan | None, start_step: int) -> Stream:
    """Make the data order: the parent's, gone on with, or new data with replay among it."""
    if stage.data is None:
        assert parent is not None, "the references were checked: a first stage has data"
        return parent.stream.since(start_step * parent.batch_sequences)
    before = _seen(campaign, parent, start_step)
    weights = leaf_weights(campaign, campaign.shares(stage))
    starts = {source: before[source].new for source in weights if source in before}
    replay = _replay(campaign, stage, parent, start_step) if stage.replay.share else None
    return Stream(NewData(Mixture.of(weights), starts), replay)


def _replay(campaign: Campaign, stage: Stage, parent: StagePlan | None, start_step: int) -> Replay:
    """Make the replay of a stage from what its ancestors and the base model have seen."""
    tapes, reads = _read_before(campaign, parent, start_step)
    weights = {name: Fraction(count) for name, count in reads.items() if count}
    if stage.replay.weights:
        seen = _seen(campaign, parent, start_step)
        tapes = {f"data:{d}": _dataset_tape(campaign, stage, d, seen) for d in stage.replay.weights}
        weights = {f"data:{d}": weight for d, weight in stage.replay.weights.items()}
    if not weights:
        raise CampaignError(
            f"stage {stage.name!r}: replay = {percent(stage.replay.share)}, but what was seen so far is less "
            "than one sequence; raise the history's tokens, or set replay to 0"
        )
    cursors = stage.replay.start == "continue"
    seed = campaign.seed if stage.replay.order == "shuffled" else None
    return Replay(
        stage.replay.share,
        Mixture.of(weights),
        {
            name: Tape(
                tape.data,
                tape.length,
                cursor=tape.cursor if cursors else 0,
                shuffle_seed=seed,
                name=name,
            )
            for name, tape in tapes.items()
        },
    )


def _read_before(campaign: Campaign, parent: StagePlan | None, start_step: int) -> ReadBefore:
    """Return what was read up to a step of a stage, from the base model on."""
    if parent is None:
        history = _history_tapes(campaign)
        return ReadBefore(history, {name: tape.length for name, tape in history.items()})
    before = parent.read_before
    tapes, reads = dict(before.tapes), dict(before.reads)
    stream, sequences = parent.stream, start_step * parent.batch_sequences
    tapes[parent.name] = Tape(stream.new_data(), stream.num_new(sequences))
    reads[parent.name] = reads.get(parent.name, 0) + tapes[parent.name].length
    cursors = stream.tape_cursors(sequences)
    for name, count in stream.tape_counts(sequences).items():
        assert stream.replay is not None, "only a replay has tapes"
        used = stream.replay.tapes[name]
        reads[name] = reads.get(name, 0) + count
        tapes[name] = Tape(used.data, used.length, cursor=cursors[name])
    return ReadBefore(tapes, reads)


def _history_tapes(campaign: Campaign) -> dict[str, Tape]:
    """Return the declared history of the base model as tapes."""
    tapes: dict[str, Tape] = {}
    for dataset, history in campaign.history.items():
        length = int(history.tokens.amount) // campaign.sequence_length
        if length:
            data = NewData(Mixture.of(leaf_weights(campaign, {dataset: Fraction(1)})), {})
            tapes[f"history:{dataset}"] = Tape(data, length)
    return tapes


def _seen(campaign: Campaign, parent: StagePlan | None, start_step: int) -> dict[str, Count]:
    """Return the ledger up to the beginning of a stage, the declared history included."""
    return add_counts(_history_counts(campaign), parent.ledger(start_step) if parent else {})


def _history_counts(campaign: Campaign) -> dict[str, Count]:
    counts: dict[str, Count] = {}
    for tape in _history_tapes(campaign).values():
        read = {s: Count(new=n) for s, n in tape.data.mixture.counts(tape.length).items()}
        counts = add_counts(counts, read)
    return counts


def _dataset_tape(
    campaign: Campaign, stage: Stage, dataset: str, seen: Mapping[str, Count]
) -> Tape:
    """Return everything of one dataset that was read as new, as one tape."""
    leaves = campaign.data[dataset].leaves(dataset)
    counts = {leaf: seen[leaf] for leaf in leaves if leaf in seen and seen[leaf].new}
    if not counts:
        raise CampaignError(
            f"stage {stage.name!r}: replay.weights names {dataset!r}, which no earlier stage has read; "
            "replay never reads what the model has not seen"
        )
    data = NewData(Mixture.of({leaf: count.new for leaf, count in counts.items()}), {})
    length = sum(count.new for count in counts.values())
    return Tape(data, length, cursor=sum(count.replayed for count in counts.values()))


def _key(
    campaign: Campaign,
    stage: Stage,
    parent: StagePlan | None,
    start_step: int,
    steps: int,
    schedule: Piecewise,
    stream: Stream,
) -> str:
    """Hash everything that decides the weights; evaluation and checkpoints are not part of it."""
    sources = {source for source, _ in stream.new.mixture.weights}
    if stream.replay is not None:
        for tape in stream.replay.tapes.values():
            sources |= {source for source, _ in tape.data.mixture.weights}
    if campaign.tokenizer.train is not None:
        for dataset in campaign.tokenizer.train.on:
            sources |= set(campaign.data[dataset].leaves(dataset))
    leaves = campaign.leaves()
    content: dict[str, Any] = {
        "format": KEY_FORMAT,
        "name": stage.name,
        "seed": campaign.seed,
        "sequence_length": campaign.sequence_length,
        "batch_sequences": campaign.batch_sequences,
        "model": campaign.model.model_dump(mode="json"),
        "tokenizer": campaign.tokenizer.model_dump(mode="json"),
        "optimizer": campaign.optimizer.model_dump(mode="json"),
        "precision": campaign.training.precision,
        "sources": {
            source: _source_json(campaign, source, leaves[source][0]) for source in sorted(sources)
        },
        "parent": parent.key if parent else None,
        "start_step": start_step,
        "steps": steps,
        "optimizer_state": stage.optimizer,
        "schedule": schedule.to_json(),
        "stream": stream.to_json(),
    }
    if campaign.training.documents != "joined":
        content["documents"] = campaign.training.documents
    if campaign.training.packing != "cut":
        content["packing"] = campaign.training.packing
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _source_json(campaign: Campaign, source: str, text: Text) -> dict[str, Any]:
    """Describe a source: its text, and how it is read as far as that is not shuffled and as a whole."""
    order = {} if text.order == "shuffled" else {"order": text.order}
    return campaign.identity_of(source, text) | order | text.part.to_json()
