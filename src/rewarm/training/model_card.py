"""The model card of an exported model: where it comes from, in numbers that its run folder holds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape

from rewarm import __version__
from rewarm.campaign.quantities import percent
from rewarm.replay import Count

_PAPER = "https://arxiv.org/abs/2403.08763"


@dataclass(frozen=True, kw_only=True)
class LossChange:
    """The validation loss on one dataset over a stage, in nats per token."""

    dataset: str
    """Its name."""
    before: float
    """As the stage started."""
    after: float
    """At the end, or at the exported step."""
    is_new: bool
    """Whether the stage reads the dataset as new data."""
    was_seen: bool
    """Whether an earlier stage, or the base model, has read it."""


@dataclass(frozen=True, kw_only=True)
class StageStory:
    """What one stage did on the way to the exported weights."""

    name: str
    """Name in the campaign."""
    steps: int
    """Steps that the exported weights have of it."""
    of_steps: int
    """Steps that it was planned to have."""
    left_out: int
    """Steps among these whose batches were not trained on: a loss or a gradient was not finite."""
    tokens: int
    """Tokens trained on in the others, replayed ones included."""
    schedule: str
    """The learning rate, in words."""
    replay_share: Fraction
    """Share of the sequences that are replayed."""
    optimizer: str
    """`reset` or `keep`, at its start."""
    losses: Sequence[LossChange]
    """One for each dataset that was measured."""
    measured: str
    """How the loss after was taken."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that a card says."""

    campaign: str
    """Name of the campaign."""
    arm: str
    """Name of the arm."""
    family: str
    """The model's type in transformers, such as `gpt_neox`."""
    base: str
    """What training started from, in words."""
    base_model: str | None
    """Its name on the hub; None if it has none."""
    stages: Sequence[StageStory]
    """From the base model to the exported weights."""
    sequence_length: int
    """Tokens in a sequence."""
    ledger: Mapping[str, Count]
    """Sequences read from each source since the base model."""
    history: Mapping[str, str]
    """What the base model was declared to have seen, in words, by dataset."""
    seed: int
    """Of the campaign."""
    versions: Mapping[str, str]
    """Of Python and the libraries that trained it."""
    commit: str | None
    """Git commit of the campaign's folder."""
    weights: Mapping[str, str]
    """SHA-256 of the weights files in the checkpoint, by file."""
    stage_key: str
    """Hash of everything that decides the weights."""
    dtype: str
    """Type of the exported weights."""
    load_from: str
    """Name of the folder, for the example."""


def model_card(facts: Facts) -> str:
    """Return the card, Markdown with a YAML head; names from the campaign are escaped."""
    last = facts.stages[-1]
    parts = [
        _head(facts),
        f"# {_text(facts.campaign)}: {_text(last.name)}\n",
        f"A causal language model of the family {_text(facts.family)}. It is arm {_text(facts.arm)} of the "
        f"campaign {_text(facts.campaign)}, stage {_text(last.name)}, {_progress(last)}. It started from "
        f"{facts.base}.\n",
        _how_to_load(facts),
        "## What it was trained on\n",
        _ledger(facts),
        _history(facts),
        "## How\n",
        *(_stage(number, stage) for number, stage in enumerate(facts.stages, start=1)),
        "## Losses\n",
        "Mean validation loss in nats per token. Forgetting is after minus before on a dataset that was seen "
        "earlier, above 0 is worse; adaptation is before minus after on a dataset that the stage reads as "
        "new, above 0 is better.\n",
        *(_losses(stage) for stage in facts.stages),
        "## Where it comes from\n",
        _origin(facts),
    ]
    return "\n".join(part for part in parts if part)


def _head(facts: Facts) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if facts.base_model is not None:
        lines.append(f"base_model: {json.dumps(facts.base_model)}")
    tags = ["continual-pretraining", "rewarm", facts.family]
    lines += ["tags:", *(f"- {tag}" for tag in tags), "---", ""]
    return "\n".join(lines)


def _how_to_load(facts: Facts) -> str:
    folder = json.dumps(facts.load_from)
    return "\n".join(
        [
            "```python",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f"model = AutoModelForCausalLM.from_pretrained({folder})",
            f"tokenizer = AutoTokenizer.from_pretrained({folder})",
            "```",
            "",
        ]
    )


def _ledger(facts: Facts) -> str:
    rows = ["| source | new tokens | replayed tokens |", "| --- | ---: | ---: |"]
    length = facts.sequence_length
    for source, count in facts.ledger.items():
        rows.append(f"| {_text(source)} | {count.new * length:,} | {count.replayed * length:,} |")
    new = sum(count.new for count in facts.ledger.values())
    replayed = sum(count.replayed for count in facts.ledger.values())
    rows.append(f"| together | {new * length:,} | {replayed * length:,} |")
    share = percent(Fraction(replayed, max(1, new + replayed)))
    rows += [
        "",
        f"Counted from the batches. {share} of the tokens were read again from earlier data.",
        "",
    ]
    return "\n".join(rows)


def _history(facts: Facts) -> str:
    if not facts.history:
        return ""
    lines = ["The base model was declared to have seen, before that:\n"]
    lines += [f"- {_text(dataset)}: {_text(words)}" for dataset, words in facts.history.items()]
    return "\n".join([*lines, ""])


def _stage(number: int, stage: StageStory) -> str:
    replay = percent(stage.replay_share) if stage.replay_share else "none"
    without = (
        f", {stage.left_out:,} of them left out because a loss or gradient was not finite"
        if stage.left_out
        else ""
    )
    return (
        f"{number}. {_text(stage.name)}, {_progress(stage)}{without}: {stage.tokens:,} tokens, replay "
        f"{replay}, optimizer state {'reset' if stage.optimizer == 'reset' else 'kept'} at the start. "
        f"Learning rate: {_text(stage.schedule)}.\n"
    )


def _progress(stage: StageStory) -> str:
    if stage.steps == stage.of_steps:
        return f"all {stage.steps:,} steps"
    return f"{stage.steps:,} of {stage.of_steps:,} steps"


def _losses(stage: StageStory) -> str:
    if not stage.losses:
        return f"{_text(stage.name)}: none was measured up to this step.\n"
    rows = [
        f"{_text(stage.name)} ({stage.measured}):\n",
        "| dataset | before | after | |",
        "| --- | ---: | ---: | --- |",
    ]
    rows += [
        f"| {_text(change.dataset)} | {change.before:.4f} | {change.after:.4f} | {_change(change)} |"
        for change in stage.losses
    ]
    return "\n".join([*rows, ""])


def _change(change: LossChange) -> str:
    if change.is_new:
        return f"adaptation {change.before - change.after:+.4f}"
    if change.was_seen:
        return f"forgetting {change.after - change.before:+.4f}"
    return f"not trained on, {change.after - change.before:+.4f}"


def _origin(facts: Facts) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in sorted(facts.versions.items()))
    lines = [
        f"- Seed {facts.seed}; weights exported as {facts.dtype}.",
        f"- Key of the stage: {_code(facts.stage_key)}.",
        *(
            f"- SHA-256 of the checkpoint's {_code(name)}: {_code(digest)}."
            for name, digest in facts.weights.items()
        ),
        f"- Commit of the campaign's folder: {_code(facts.commit) if facts.commit else 'not under git'}.",
        f"- Trained with {_text(versions)}; exported with rewarm {__version__}.",
        f"- Method: [Simple and Scalable Strategies to Continually Pre-train Large Language Models]({_PAPER}).",
    ]
    return "\n".join([*lines, ""])


def _code(text: str) -> str:
    """Write a text as code; what could end the code is left out."""
    return f"`{''.join(c for c in text if c.isprintable() and c != '`')}`"


def _text(text: str) -> str:
    r"""Escape a text for Markdown, in a paragraph or a cell of a table.

    >>> print(_text("a|b <i> *c*\n# d"))
    a\|b &lt;i&gt; \*c\* \# d
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    safe = escape(line, quote=False).replace("\\", "\\\\")
    for mark in "|*_`[]#~$":
        safe = safe.replace(mark, f"\\{mark}")
    return safe
