"""What a stage comes to in another trainer: its data as a blend, its schedule as warmup, hold and decay.

A blend is weights of token files. It has a stage's shares, but not its order, and it always begins at the
beginning. What a blend cannot do is refused here; `megatron` and `neox` write down the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from rewarm.campaign.quantities import percent
from rewarm.errors import CampaignError
from rewarm.plan.plan import Plan
from rewarm.plan.record import in_words
from rewarm.plan.schedules import length_in_steps
from rewarm.plan.stage import StagePlan
from rewarm.replay import SourcePart, Tape
from rewarm.schedules import Constant, Linear, Piecewise, Segment

Arguments = TypeVar("Arguments")

CHECKPOINTS = "checkpoints"
"""Folder in which the exported arguments keep the checkpoints of each stage."""


@dataclass(frozen=True, kw_only=True)
class TokenFiles:
    """Where a campaign's prepared tokens lie, and how many there are."""

    train: Mapping[str, str]
    """Prefix of the `.bin` and `.idx` of each source."""
    validation: Mapping[str, str]
    """Prefix of the validation tokens of each dataset."""
    tokenizer: str
    """Path of the `tokenizer.json`."""
    tokens: Mapping[str, int]
    """Tokens of each source, prepared or declared; sources of unknown size are missing."""


@dataclass(frozen=True, kw_only=True)
class Exported(Generic[Arguments]):
    """A stage in another trainer's words."""

    arguments: Arguments
    """What to give it."""
    notes: tuple[str, ...]
    """Where it does otherwise than rewarm would, and what it must be told besides."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A schedule of three phases: a warmup from 0 to max_lr, max_lr held, a decay to the stage's end."""

    max_lr: float
    """Rate that is held, absolute."""
    warmup_steps: int
    """Length of the linear warmup."""
    hold_steps: int
    """Length of the constant phase."""
    decay: Segment | None
    """The whole decay, from max_lr down; None if there is none."""

    @property
    def min_lr(self) -> float:
        """Rate of the last step."""
        return self.max_lr if self.decay is None else self.decay(self.decay.steps)


def find_stage(plan: Plan, arm: str | None, stage: str) -> StagePlan:
    """Return the stage of an arm.

    Args:
        plan: the plan.
        arm: the arm; may be None where all arms have the same stage of that name.
        stage: its name in the campaign file.

    Raises:
        CampaignError: there is none, or several that differ.
    """
    if arm is not None and arm not in plan.arms:
        raise CampaignError(f"--arm {arm}: there is no such arm; there are {', '.join(plan.arms)}")
    arms = plan.arms if arm is None else {arm: plan.arms[arm]}
    found = {s.key: s for stages in arms.values() for s in stages if s.name == stage}
    if not found:
        names = dict.fromkeys(s.name for stages in arms.values() for s in stages)
        raise CampaignError(
            f"--stage {stage}: there is no such stage; there are {', '.join(names)}"
        )
    if len(found) > 1:
        having = [a for a, stages in plan.arms.items() if any(s.name == stage for s in stages)]
        raise CampaignError(
            f"--stage {stage} is not the same in all arms; choose one with --arm: {', '.join(having)}"
        )
    return next(iter(found.values()))


def stage_interval(stage: StagePlan, key: str) -> int:
    """Return the steps between two of a stage's evaluations ("evaluation") or checkpoints ("checkpoints")."""
    campaign = stage.campaign
    every = campaign.evaluation.every if key == "evaluation" else campaign.checkpoints.every
    return length_in_steps(every, of_steps=stage.steps, batch_tokens=stage.batch_tokens)


def check_reset(stage: StagePlan, trainer: str) -> None:
    """Refuse a stage that keeps the optimizer state: a new count of steps goes with a new optimizer.

    Raises:
        CampaignError: the stage has optimizer = "keep".
    """
    if stage.parent is not None and stage.stage.optimizer == "keep":
        raise refusal(
            stage,
            'optimizer = "keep"',
            f"{trainer} starts a new count of steps only together with a new optimizer",
            'set optimizer = "reset", or train this stage with rewarm',
        )


def shape_of(stage: StagePlan, trainer: str) -> Shape:
    """Take a stage's schedule apart into warmup, hold and decay.

    Raises:
        CampaignError: it is not made of these.
    """
    schedule = stage.schedule.until(stage.steps)
    parts = [part for part in schedule.parts if part.steps]
    warmup_steps = hold_steps = 0
    if isinstance(first := parts[0].segment, Linear) and first.start == 0 < first.end:
        _check_whole(stage, parts[0].steps, first, schedule, trainer)
        warmup_steps = first.steps
        parts = parts[1:]
    max_lr = schedule(0) if warmup_steps == 0 else schedule(warmup_steps)
    while parts and isinstance(held := parts[0].segment, Constant) and held.lr == max_lr:
        hold_steps += parts[0].steps
        parts = parts[1:]
    if len(parts) > 1:
        raise _not_expressible(stage, schedule, trainer)
    if not parts:
        return Shape(max_lr=max_lr, warmup_steps=warmup_steps, hold_steps=hold_steps, decay=None)
    decay = parts[0].segment
    _check_whole(stage, parts[0].steps, decay, schedule, trainer)
    if decay(0) != max_lr or decay(decay.steps) > max_lr:
        raise _not_expressible(stage, schedule, trainer)
    return Shape(max_lr=max_lr, warmup_steps=warmup_steps, hold_steps=hold_steps, decay=decay)


def blend(
    stage: StagePlan, files: TokenFiles, trainer: str
) -> tuple[dict[str, Fraction], list[str]]:
    """Return the share of each source among a stage's sequences, replay included, and what differs.

    Args:
        stage: the stage.
        files: the sizes of the sources, as far as they are known.
        trainer: name of the trainer, for messages.

    Returns:
        The shares, which add up to 1, and notes.

    Raises:
        CampaignError: the stage reads on from where an earlier one stopped, replays in the order in which
            it was read, or replays what it also reads as new.
    """
    stream, length = stage.stream, stage.sequence_length
    new = stream.new_data()
    for source in new.mixture.shares:
        _check_whole_text(stage, source, trainer)
        first = new.starts.get(source, 0) + new.mixture.counts(new.begin)[source]
        _check_begins(stage, source, first, files.tokens.get(source), trainer)
    if stream.replay is None:
        return dict(new.mixture.shares), []
    replay, cursors = stream.replay, stream.tape_cursors(0)
    for name, tape in replay.tapes.items():
        _check_tape(stage, name, tape, cursors[name], trainer)
    shares = {source: share * (1 - replay.share) for source, share in new.mixture.shares.items()}
    read: dict[str, int] = {}
    for name, weight in replay.mixture.shares.items():
        tape = replay.tapes[name]
        for source, count in tape.data.counts(tape.length).items():
            _check_whole_text(stage, source, trainer)
            if source in new.mixture.shares:
                raise refusal(
                    stage,
                    "replay",
                    f"{source} is read as new and replayed as well, and a blend has one order for both",
                    "leave it out of data or of replay.weights",
                )
            read[source] = read.get(source, 0) + count
            part = replay.share * weight * Fraction(count, tape.length)
            shares[source] = shares.get(source, Fraction(0)) + part
    notes = [_coverage(source, n, length, files.tokens.get(source)) for source, n in read.items()]
    return {s: share for s, share in shares.items() if share}, [note for note in notes if note]


def refusal(stage: StagePlan, key: str, why: str, remedy: str) -> CampaignError:
    """Return the error for what another trainer cannot do: what, why, and what to do instead."""
    return CampaignError(
        f"stages.{stage.name}: {key} cannot be said to another trainer: {why}. {remedy[0].upper()}{remedy[1:]}."
    )


def _check_whole(
    stage: StagePlan, steps: int, segment: Segment, schedule: Piecewise, trainer: str
) -> None:
    """Refuse a phase that is only a part of a curve: another trainer's phases begin at their beginning."""
    if steps != segment.steps:
        raise refusal(
            stage,
            "schedule",
            f"it carries on an earlier stage's {segment.shape} half-way ({in_words(schedule)}), and "
            f"{trainer} has curves from their beginning to their end alone",
            "give the stage a schedule of its own",
        )


def _not_expressible(stage: StagePlan, schedule: Piecewise, trainer: str) -> CampaignError:
    return refusal(
        stage,
        "schedule",
        f"it is {in_words(schedule)}, and {trainer} has a warmup from 0, a constant rate, and one decay "
        "to the end",
        "use a cosine, constant, linear or wsd schedule, or `rewarm.integrations.lr_scheduler` there",
    )


def _check_whole_text(stage: StagePlan, source: str, trainer: str) -> None:
    """Refuse what a blend of token files cannot leave out or keep in its order."""
    text, _ = stage.campaign.leaves()[source]
    if text.part != SourcePart():
        raise refusal(
            stage,
            f"the part of data.{source} that range, split or use leave",
            f"a blend of {trainer} reads all of its token files",
            "put that part into a dataset of its own",
        )
    if text.order == "sequential":
        raise refusal(
            stage,
            f'data.{source}.order = "sequential"',
            f"a blend of {trainer} shuffles",
            "leave the order out, if it need not be as stored",
        )


def _check_begins(
    stage: StagePlan, source: str, first: int, tokens: int | None, trainer: str
) -> None:
    """Refuse new data that does not begin at the beginning of an epoch."""
    num_sequences = (tokens - 1) // stage.sequence_length if tokens else None
    if first and (not num_sequences or first % num_sequences):
        raise refusal(
            stage,
            "data",
            f"{source} is read on after the {first:,} sequences that earlier stages read, and a blend of "
            f"{trainer} begins at the beginning: it would read some of them again as new",
            "keep what is to be read now in a dataset of its own",
        )


def _check_tape(stage: StagePlan, name: str, tape: Tape, cursor: int, trainer: str) -> None:
    """Refuse an order of replay that a blend does not have."""
    if tape.shuffle_seed is None:
        raise refusal(
            stage,
            'replay.order = "as-seen"',
            f"a blend of {trainer} shuffles, and does not know in which order {name} was read",
            'set order = "shuffled" in the stage\'s replay table',
        )
    if cursor % tape.length:
        raise refusal(
            stage,
            'replay.start = "continue"',
            f"{name} was replayed before, up to sequence {cursor % tape.length:,} of {tape.length:,}, and a "
            f"blend of {trainer} begins at the beginning",
            'set start = "beginning" in the stage\'s replay table',
        )


def _coverage(source: str, sequences: int, length: int, tokens: int | None) -> str:
    """Say how much of a replayed source was really read; "" if all of it."""
    known = (tokens - 1) // length if tokens else 0
    if known and sequences >= known:
        return ""
    part = f"{percent(Fraction(sequences, known))} of it" if known else "a part that is not known"
    return (
        f"the replay draws on all of {source}; earlier stages have read {sequences * length:,} tokens, "
        f"{part}, so it can meet text that the model has not seen"
    )
