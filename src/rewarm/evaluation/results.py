"""What an evaluation leaves behind: `results.json`, written last, and `items.jsonl.gz` beside it."""

import gzip
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
from pydantic import ValidationError

from rewarm.errors import CampaignError, CheckpointError
from rewarm.evaluation.items import ITEM, Item
from rewarm.evaluation.metrics import Measured
from rewarm.runs.files import read_record, write_bytes, write_record
from rewarm.runs.records import Record

Kind = Literal["documents", "questions", "generate", "shares", "prompts"]
"""What a task asks of a model."""


class MetricRecord(Record):
    """A metric's value."""

    metric: str
    """Its name."""
    domain: str | None
    """Of which documents; None for all."""
    value: float
    """Bits per byte, or a share of right answers."""
    standard_error: float | None
    """By item; None where one item cannot tell."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    """Upper end."""
    count: int
    """Items that it rests on."""


class HarnessRecord(Record):
    """How lm-evaluation-harness asks a task."""

    version: str
    """Of the task, as the harness counts."""
    shots: int
    """Examples before each question."""
    members: list[str]
    """The tasks of the harness that it is made of."""


class TaskRecord(Record):
    """A task and what came out."""

    name: str
    """As it was given."""
    kind: Kind
    """What was asked."""
    file: str | None
    """Where its rows are; None for built-in prompts."""
    data_sha256: str
    """Of the file, or of the prompts; of a task of the harness of all that the model is asked."""
    items: int
    """How many were taken, the first ones."""
    truncated: int
    """Items whose context's beginning was not read."""
    metrics: list[MetricRecord]
    """The headline first."""
    harness: HarnessRecord | None = None
    """Of a task of lm-evaluation-harness."""


class ModelRecord(Record):
    """Which model was evaluated."""

    name: str
    """What it is called in tables."""
    place: str
    """Where it was read from."""
    family: str
    """Its type in transformers."""
    parameters: int
    """Numbers in it."""
    weights: dict[str, str]
    """SHA-256 of its weights files, by file."""
    tokenizer: str
    """Fingerprint of its tokenizer."""
    end_of_text: str
    """The token that stands before what has no context, and ends what the model writes."""


class EvaluationRecord(Record):
    """One model, evaluated: `results.json`."""

    model: ModelRecord
    """The model."""
    tasks: list[TaskRecord]
    """The tasks, in the order given."""
    context_length: int
    """Tokens read at once."""
    batch: int
    """Requests read at once; another number may give other last bits."""
    precision: str
    """Of the matrix products."""
    device: str
    """What it ran on."""
    answer_tokens: int
    """Tokens of a free answer at most."""
    prompt_tokens: int
    """Tokens that a prompt is continued by at most."""
    versions: dict[str, str]
    """Of Python and the libraries."""
    items_sha256: str
    """Of `items.jsonl.gz`."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """An evaluation, read back."""

    folder: Path
    """Where it is."""
    record: EvaluationRecord
    """What came out."""
    items: Sequence[Item]
    """All items, task by task."""

    @property
    def weights_sha256(self) -> str:
        """Return the hash of the weights as the result of a stage has it (docs/run_folder.md)."""
        hashes = [sha for _, sha in sorted(self.record.model.weights.items())]
        together = "".join(hashes)
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(together.encode()).hexdigest()

    def of(self, task: str) -> list[Item]:
        """Return the items of a task."""
        return [item for item in self.items if item.task == task]


def metric_record(measured: Measured) -> MetricRecord:
    """Return a metric as it is written; what is not known becomes null, since JSON has no NaN."""
    found = measured.estimate
    numbers = {"standard_error": found.standard_error, "low": found.low, "high": found.high}
    return MetricRecord(
        metric=measured.metric,
        domain=measured.domain,
        value=found.value,
        count=found.count,
        **{name: None if math.isnan(number) else number for name, number in numbers.items()},
    )


def results_file(folder: Path) -> Path:
    """Return where the metrics are."""
    return folder / "results.json"


def items_file(folder: Path) -> Path:
    """Return where the items are."""
    return folder / "items.jsonl.gz"


def packed_items(items: Sequence[Item]) -> bytes:
    """Return the content of `items.jsonl.gz`: the same for the same items."""
    lines = b"".join(orjson.dumps(item.model_dump(mode="json")) + b"\n" for item in items)
    return gzip.compress(lines, mtime=0)


def refuse_existing(folder: Path) -> None:
    """Refuse a folder that has results.

    Raises:
        CampaignError: it has.
    """
    if results_file(folder).exists():
        raise CampaignError(
            f"{folder} has the results of an evaluation, which were not touched. Give another folder with "
            "--out, or move them away."
        )


def write_results(folder: Path, record: EvaluationRecord, packed: bytes) -> None:
    """Write an evaluation; the results appear when everything is there.

    Raises:
        StorageError: the disk is full or refuses to write.
    """
    write_bytes(items_file(folder), packed)
    write_record(results_file(folder), record)


def read_results(folder: Path) -> Results:
    """Read an evaluation back.

    Raises:
        CheckpointError: there is none, or its files do not belong together.
    """
    record = read_record(results_file(folder), EvaluationRecord)
    path = items_file(folder)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    if hashlib.sha256(content).hexdigest() != record.items_sha256:
        raise CheckpointError(
            f"{path}: is not the file that results.json was written with, so the items would not be those of "
            "its metrics. Evaluate again."
        )
    try:
        items = [ITEM.validate_json(line) for line in gzip.decompress(content).splitlines()]
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: its items are not those of this version of rewarm."
        ) from error
    return Results(folder=folder, record=record, items=items)
