"""The records that a run writes, one type for each file.

Losses are nats per token; counts are exact; numbers that depend on the clock are in `ThroughputRecord`
alone, so that the metrics of a resumed run are byte for byte those of a run that never stopped.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

EventKind = Literal[
    "started",
    "resumed",
    "restarted",
    "interrupted",
    "damaged",
    "warning",
    "left out",
    "gate",
    "taken over",
    "finished",
]
"""What an event can be."""


class Record(BaseModel):
    """A frozen value that is read back as strictly as it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StepRecord(Record):
    """One optimizer step; a step that was left out has no record."""

    step: int
    """Step within the stage, from 1."""
    tokens: int
    """Tokens trained on in this stage so far, this step included; those of steps left out are not."""
    lr: float
    """The learning rate that this step used."""
    loss: float
    """Mean loss over the batch, before the update."""
    gradient_norm: float
    """Global norm of the gradient before clipping."""
    new: dict[str, int]
    """Sequences of this batch read as new data, by source."""
    replayed: dict[str, int]
    """Sequences of this batch re-read from earlier stages, by source."""


class ThroughputRecord(Record):
    """Speed over the steps since the record before."""

    step: int
    """Last step covered."""
    seconds: float
    """Wall time of these steps, without evaluation and checkpoints."""
    tokens_per_second: float
    """Training tokens a second over these steps; those of steps left out do not count."""
    data_wait_seconds: float
    """Part of the time spent waiting for a batch."""


class EvalRecord(Record):
    """The validation loss on one dataset at one step."""

    step: int
    """Steps done in this stage; 0 is the model as the stage starts."""
    tokens: int
    """Tokens trained on in this stage so far."""
    dataset: str
    """Name of the dataset."""
    loss: float
    """Mean loss over the fixed validation sequences."""
    sequences: int
    """How many sequences were read."""


class EventRecord(Record):
    """Something that happened to the run, in plain words."""

    at: str
    """Time, UTC, ISO 8601."""
    step: int
    """Step at which it happened."""
    kind: EventKind
    """What kind of event."""
    message: str
    """What happened."""


class SampleRecord(Record):
    """A prompt, and how the finished stage continues it (greedy)."""

    prompt: str
    """The text given."""
    continuation: str
    """The text that the model adds."""


class SourceCount(Record):
    """Sequences read from one source (a dataset, or a domain of one)."""

    new: int
    """Read as new data."""
    replayed: int
    """Re-read from what earlier stages had seen."""


class StageRecord(Record):
    """What a stage is; enough to draw it and to audit it."""

    folder: str
    """Name of its folder: `<name>-<key>`."""
    name: str
    """Name in the campaign file."""
    key: str
    """Hash of everything that decides its weights."""
    parent: str | None
    """Folder of the stage that it starts from; None for the base model."""
    start_step: int
    """Step of the parent at which it branches off."""
    steps: int
    """Optimizer steps."""
    batch_sequences: int
    """Sequences in a batch."""
    sequence_length: int
    """Tokens in a sequence."""
    shares: dict[str, float]
    """Share of each source among the new data."""
    replay_share: float
    """Share of the sequences that are replayed."""
    replay_mode: Literal["compute-equivalent", "additive"]
    """Whether replay takes the place of new tokens or adds to them."""
    replay_from: dict[str, float]
    """Share of each replayed source (stage or dataset) among the replay."""
    planned: dict[str, SourceCount]
    """Sequences to read in the whole stage, by source."""
    schedule: list[dict[str, Any]]
    """The learning-rate schedule, as `Piecewise.to_json` writes it."""
    schedule_text: str
    """The schedule in words."""
    optimizer: Literal["reset", "keep"]
    """What happens to the optimizer state at the start."""
    train_flops: float
    """FLOPs of the training, by the counting rule of the plan."""
    evaluation_tokens: int = 0
    """Tokens that its validations read, a third of the FLOPs of training each; 0 in older records."""


class StageResult(Record):
    """What came out of a finished stage."""

    before: dict[str, float]
    """Validation loss of each dataset at step 0 of the stage."""
    final: dict[str, float]
    """Final loss of each dataset: the mean over the last evaluations (see `RunRecord`)."""
    read: dict[str, SourceCount]
    """Sequences really read, by source, counted from the batches."""
    ledger: dict[str, SourceCount]
    """The same, from the base model to the end of this stage."""
    left_out: list[int] = []
    """Steps whose batches were not trained on, because a loss or gradient was not finite; rising."""
    unread: dict[str, SourceCount] = {}
    """Sequences of these batches, by source, as planned: `read` and these add up to the plan."""
    train_seconds: float
    """Wall time spent in training steps."""
    """Wall time spent in training steps."""
    weights_sha256: str
    """Hash of the final weights' file."""


class RunRecord(Record):
    """The plan of a run, as kept in its folder."""

    name: str
    """Name of the campaign."""
    datasets: list[str]
    """D0, D1, …: the datasets in the order in which the model meets them."""
    arms: dict[str, list[str]]
    """For each arm the folders of its stages, first to last (a branch follows its trunk)."""
    stages: list[StageRecord]
    """Every stage once; a parent comes before its children."""
    seed: int
    """Seed of the campaign."""
    parameters: int | None
    """Parameters of the model, embeddings included; None if not known yet."""
    flops_per_token: float | None
    """Training FLOPs per token."""
    flops_rule: str
    """How FLOPs are counted."""
    final_steps: int
    """The final loss is the mean over this many last steps …"""
    final_every: int
    """… sampled every so many steps."""
    history: dict[str, str]
    """What the base model was declared to have seen, in words, by dataset."""


class ExitRecord(Record):
    """How a process that worked in the run folder ended."""

    code: int
    """Exit code."""
    reason: str
    """One sentence."""
    at: str
    """Time, UTC, ISO 8601."""


class ResolvedRecord(Record):
    """The whole campaign as it ran, with provenance."""

    campaign: dict[str, Any]
    """Every value, defaults included."""
    origins: dict[str, str]
    """For each value that was written: where."""
    arms: dict[str, dict[str, str]]
    """The overrides of each arm."""
    settings: list[str]
    """The `--set` overrides, as given."""
    root: str
    """Folder that the campaign's paths are relative to."""
    versions: dict[str, str]
    """Versions of Python, rewarm and the libraries that decide numbers."""
    commit: str | None
    """Commit of the folder of the campaign file, if it is under git."""
    data: dict[str, dict[str, str]]
    """For each dataset and split the fingerprint of its tokens."""
    tokenizer: str
    """Fingerprint of the tokenizer."""
    machine: dict[str, str]
    """What makes bits differ: device, threads, precision, versions."""
    hub_commits: dict[str, str | None] = {}
    """For each `model.from` and `tokenizer.from`, as written: its commit on the hub; None for what is local."""


class TaskLimitRecord(Record):
    """What the gate allows on a task of `rewarm eval`."""

    name: str
    """The task."""
    metric: str | None
    """Which of its metrics; None for its first."""
    domain: str | None
    """Of which domain's documents; None for all."""
    max_worse: float | None
    """How much worse than before it may be, in the metric's unit; None for no such limit."""
    against: str | None
    """The stage whose model counts as before; None for the one before, "base" for the base model."""
    at_worst: float | None
    """The worst value that it may have; None for no such limit."""


class GateRecord(Record):
    """What the campaign's gate allows, as it was last written down."""

    policy: Literal["report", "stop", "anneal-earlier"]
    """What happens in training where it is broken."""
    arms: list[str]
    """The arms that it is for, with their annealed branches."""
    from_scratch: list[str]
    """Folders of the stages that start from random weights, which can forget nothing."""
    base: str | None
    """What the evaluation of the base model is called; None for random weights."""
    max_forgetting: dict[str, float]
    """By dataset, nats per token."""
    max_loss: dict[str, float]
    """By dataset, nats per token."""
    max_overlap: float | None
    """Share of a validation set's documents; None for no limit."""
    tasks: list[TaskLimitRecord]
    """By task."""


ALL_TRAINING = "*"
"""In an `OverlapRecord`: all training text of the campaign together."""


class OverlapCount(Record):
    """How much of one validation set is in some training text."""

    validation: str
    """The validation set, by dataset."""
    train: str
    """The training text: a source, a dataset with all its domains, or `ALL_TRAINING`."""
    documents: int
    """Documents of the validation set."""
    tokens: int
    """Its tokens."""
    exact: int
    """Documents whose words, in their order, are also those of a training document."""
    near: int
    """Documents with a near-duplicate, and no exact one."""
    ngram: int
    """Documents of whose n-grams more than the limit are somewhere in the training text."""
    ngram_share: float
    """Share of all documents' different n-grams that are somewhere in the training text."""
    concerned_documents: int
    """Documents with any of the three."""
    concerned_tokens: int
    """Their tokens."""


class OverlapFound(Record):
    """One validation document that is also training text."""

    validation: str
    """The validation set, by dataset."""
    document: int
    """Its number in the prepared tokens, from 0."""
    begins: str
    """How its text begins."""
    train: str
    """The training text, as in `OverlapCount`; all of it only where no part alone is over the limit."""
    train_document: int
    """Number of the training document; for n-grams, of one that has the most that none before it has.
    It is in `train_source`."""
    train_source: str
    """The source that `train_document` is counted in."""
    kind: Literal["exact", "near", "ngram"]
    """What was found."""
    value: float
    """Jaccard similarity (1 if exact), or the share of its n-grams."""


class OverlapRecord(Record):
    """How much of the validation text is training text, measured for certain prepared tokens."""

    train: dict[str, str]
    """Fingerprints of the training tokens, by source."""
    validation: dict[str, str]
    """Fingerprints of the validation tokens, by dataset."""
    shingle_words: int
    """Words of the runs that near-duplicates share."""
    jaccard: float
    """Jaccard similarity of these from which on documents are near-duplicates."""
    ngram_words: int
    """Words of an n-gram."""
    ngram_limit: float
    """Share of n-grams in training text above which a document counts."""
    counts: list[OverlapCount]
    """Every validation set against every training text."""
    found: list[OverlapFound]
    """The documents concerned."""
