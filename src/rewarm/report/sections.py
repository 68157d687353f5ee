"""What the page shows beside tables and figures: stages, samples, events, provenance, what is unfinished.

All of it is plain text; the template escapes it.
"""

from dataclasses import dataclass

from rewarm.report.arms import unfinished_arms
from rewarm.report.evaluations import continuations, model_label
from rewarm.report.frame import stage_label
from rewarm.report.lineage import arms_of, has_trained_base, update_part
from rewarm.report.loading import Run, StageRun
from rewarm.report.wording import count_text, list_text, share_text
from rewarm.runs.records import StageRecord
from rewarm.runs.steps import steps_text


@dataclass(frozen=True, kw_only=True)
class StageLine:
    """One stage in the table of the stages."""

    label: str
    """Its name, and its arm if it is not shared."""
    folder: str
    """Its folder."""
    starts_from: str
    """Its parent, in words."""
    state: str
    """How far it is."""
    steps: str
    """Steps, and what a step holds."""
    tokens: str
    """Its token budget."""
    new: str
    """Its new data."""
    replay: str
    """Its replay."""
    schedule: str
    """Its learning rate, in words."""
    optimizer: str
    """What happens to the optimizer state."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt, continued by several models."""

    prompt: str
    """The text given."""
    continuations: tuple[tuple[str, str], ...]
    """Name of the model and what it wrote."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of the run."""

    at: str
    """Time, UTC."""
    stage: str
    """Label of the stage."""
    step: int
    """Step of the stage."""
    kind: str
    """What kind."""
    message: str
    """What happened."""


@dataclass(frozen=True, kw_only=True)
class GateLine:
    """One limit of the gate."""

    state: str
    """Held, broken or not measured."""
    limit: str
    """Its key in the campaign."""
    stage: str
    """Label of the stage, or the whole run."""
    measured: float | None
    """The value; None if it is not measured."""
    allowed: float
    """The limit."""
    message: str
    """What it is, and what can be done."""


def stage_lines(run: Run) -> list[StageLine]:
    """Return the table of the stages, in the order of the plan."""
    return [_stage_line(run, stage) for stage in run.stages.values()]


def _stage_line(run: Run, stage: StageRun) -> StageLine:
    """Describe one stage."""
    record = stage.record
    steps = f"{record.steps:,} × {record.batch_sequences:,} × {record.sequence_length:,}"
    return StageLine(
        label=stage_label(run, record.folder),
        folder=record.folder,
        starts_from=_starts_from(run, stage),
        state=_state(stage),
        steps=steps,
        tokens=count_text(record.steps * stage.tokens_per_step),
        new=_mixture(record.shares),
        replay=_replay(stage),
        schedule=record.schedule_text,
        optimizer=record.optimizer,
    )


def _state(stage: StageRun) -> str:
    """Say how far a stage is, and how many of its steps were left out."""
    without = f", {len(stage.left_out):,} left out" if stage.left_out else ""
    if stage.state != "unfinished":
        return stage.state + without
    part = share_text(round(stage.steps_done / stage.record.steps, 3)) if stage.record.steps else ""
    return f"{stage.steps_done:,} of {stage.record.steps:,} steps ({part}){without}"


def _starts_from(run: Run, stage: StageRun) -> str:
    """Say what a stage starts from."""
    record = stage.record
    if record.parent is None:
        return "the base model" if has_trained_base(run) else "scratch"
    parent = stage_label(run, record.parent)
    at_end = record.start_step == run.stages[record.parent].record.steps
    return parent if at_end else f"{parent}, at step {record.start_step:,}"


def _mixture(shares: dict[str, float]) -> str:
    """Write the shares of a mixture."""
    return ", ".join(f"{name} {share_text(share)}" for name, share in shares.items() if share > 0)


def _replay(stage: StageRun) -> str:
    """Describe the replay of a stage."""
    record = stage.record
    if record.replay_share == 0:
        return "none"
    return (
        f"{share_text(record.replay_share)}, {record.replay_mode}, "
        f"from {_mixture(record.replay_from) or 'what was seen'}"
    )


def prompts(run: Run) -> list[Prompt]:
    """Return every prompt with its continuations: the models that updates start from, the arms, evaluations."""
    shown = {record.parent: None for arm in run.record.arms for record in [_first(run, arm)]}
    shown |= {folders[-1]: None for folders in run.record.arms.values()}
    texts: dict[str, list[tuple[str, str]]] = {}
    for folder in shown:
        if folder is None:
            continue
        for sample in run.stages[folder].samples:
            texts.setdefault(sample.prompt, []).append(
                (model_label(run, folder), sample.continuation)
            )
    for label, prompt, continuation in continuations(run):
        if (label, continuation) not in texts.setdefault(prompt, []):
            texts[prompt].append((label, continuation))
    return [Prompt(prompt=prompt, continuations=tuple(found)) for prompt, found in texts.items()]


def _first(run: Run, arm: str) -> StageRecord:
    """Return the record of the first stage of an arm's update."""
    return update_part(run, arm)[0].stage.record


def events(run: Run) -> list[Event]:
    """Return all events in the order of time; those of one instant in the order of the plan."""
    found = [
        Event(
            at=event.at,
            stage=stage_label(run, folder),
            step=event.step,
            kind=event.kind,
            message=event.message,
        )
        for folder, stage in run.stages.items()
        for event in stage.events
    ]
    return sorted(found, key=lambda event: event.at)


def gate_lines(run: Run) -> list[GateLine]:
    """Return what is found of each limit of the gate, what is not held first."""
    if run.gate is None:
        return []
    order = ("broken", "not measured", "held")
    return [
        GateLine(
            state=finding.state,
            limit=finding.limit,
            stage="the run" if finding.stage is None else stage_label(run, finding.stage),
            measured=finding.measured,
            allowed=finding.allowed,
            message=finding.message,
        )
        for finding in sorted(run.gate.findings, key=lambda found: order.index(found.state))
    ]


def left_out(run: Run) -> list[str]:
    """Say for each stage which steps were left out, and what part of it that is."""
    return [
        f"{stage_label(run, folder)}: {steps_text(stage.left_out)} left out "
        f"({share_text(len(stage.left_out) / stage.record.steps)} of the stage, "
        f"{count_text(len(stage.left_out) * stage.tokens_per_step)} tokens)"
        for folder, stage in run.stages.items()
        if stage.left_out
    ]


def unfinished(run: Run) -> list[str]:
    """Say for each unfinished arm what is still to be done."""
    lines = [
        f"{arm}: "
        + list_text([f"{stage_label(run, s.record.folder)}, {_state(s)}" for s in stages])
        for arm, stages in unfinished_arms(run).items()
    ]
    ended = {folders[-1] for folders in run.record.arms.values()}
    for folder, stage in run.stages.items():
        if stage.result is None and folder not in ended and arms_of(run, folder) == []:
            lines.append(f"{stage_label(run, folder)}: {_state(stage)}")
    return lines


def provenance(run: Run) -> list[tuple[str, str]]:
    """Return what decides the numbers, as pairs of a title and a text."""
    record, resolved = run.record, run.resolved
    pairs = [
        ("campaign", record.name),
        ("seed", str(record.seed)),
        ("final loss", _final_rule(run)),
        ("parameters", "not known" if record.parameters is None else f"{record.parameters:,}"),
        ("FLOPs", _flops_rule(run)),
    ]
    pairs += [(f"base model, {name}", text) for name, text in record.history.items()]
    if resolved is None:
        pairs.append(("versions and data", "not recorded: the run folder has no resolved.json"))
        return pairs
    pairs += [
        ("versions", _pairs_text(resolved.versions)),
        ("machine", _pairs_text(resolved.machine)),
        ("commit", resolved.commit or "not under version control"),
        ("tokenizer", resolved.tokenizer),
    ]
    pairs += [("--set", setting) for setting in resolved.settings]
    pairs += [(f"data, {name}", _pairs_text(prints)) for name, prints in resolved.data.items()]
    pairs += [(f"arm {arm}", _pairs_text(changes)) for arm, changes in resolved.arms.items()]
    pairs += [
        (f"weights, {stage_label(run, folder)}", f"sha256:{stage.result.weights_sha256}")
        for folder, stage in run.stages.items()
        if stage.result is not None
    ]
    return pairs


def _final_rule(run: Run) -> str:
    """Say what a final loss is."""
    if run.record.final_steps == 0:
        return "the evaluation after the last step"
    return f"mean over the last {run.record.final_steps:,} steps, sampled every {run.record.final_every:,}"


def _flops_rule(run: Run) -> str:
    """Say how FLOPs are counted."""
    each = run.record.flops_per_token
    return run.record.flops_rule + ("" if each is None else f"; {count_text(each)} for each token")


def _pairs_text(pairs: dict[str, object] | dict[str, str]) -> str:
    """Write names and values on one line."""
    return ", ".join(f"{name} {value}" for name, value in pairs.items()) or "nothing"
