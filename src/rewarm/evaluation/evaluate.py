"""One model through all tasks, and its results on the disk."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import orjson
from torch import nn

from rewarm.engine.doctor import versions
from rewarm.engine.world import Precision, World, autocast
from rewarm.errors import CampaignError
from rewarm.evaluation import tasks
from rewarm.evaluation.items import AnswerItem, Item, QuestionItem
from rewarm.evaluation.metrics import measure
from rewarm.evaluation.model import Evaluated
from rewarm.evaluation.results import (
    EvaluationRecord,
    ModelRecord,
    TaskRecord,
    metric_record,
    packed_items,
    write_results,
)
from rewarm.evaluation.rows import read_asks, read_documents, read_questions
from rewarm.evaluation.scoring import Reader

FileKind = Literal["documents", "questions", "generate"]
"""What the rows of a file can be."""

OnProgress = Callable[[str, int, int], None]
"""Told of a task how many requests are done, and of how many."""


@dataclass(frozen=True, kw_only=True)
class Battery:
    """Somebody else's tasks."""

    ask: Callable[[Reader, OnProgress], Sequence[tuple[TaskRecord, Sequence[Item]]]]
    """Puts a model through them, and returns what came out of each."""
    names: Sequence[str]
    """Of the tasks."""
    versions: Mapping[str, str]
    """Of the libraries that they come from."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to ask of every model."""

    name: str
    """As it was given."""
    kind: FileKind | Literal["prompts"]
    """What is asked."""
    file: str | None
    """Where the rows are."""
    data_sha256: str
    """Of the file, or of the prompts."""
    rows: Sequence[Any]
    """Documents, questions, questions to be answered freely, or prompts."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to ask it."""

    batch: int = 8
    """Requests that the model reads at once."""
    precision: Precision = "fp32"
    """Of the matrix products."""


_READERS = {"documents": read_documents, "questions": read_questions, "generate": read_asks}


def read_tasks(
    files: Mapping[FileKind, Mapping[str, str]],
    *,
    german_prompts: bool,
    limit: int | None,
    others: Sequence[str] = (),
) -> list[Task]:
    """Read and check the rows of all tasks, before any model is loaded.

    Args:
        files: by kind (`documents`, `questions`, `generate`) the file of each task by name.
        german_prompts: whether the paper's German prompts are a task too.
        limit: how many rows of each file to take, the first ones; None takes all.
        others: names of what else is asked.

    Raises:
        CampaignError: there is no task, or two have one name.
        DataError: a file or a row cannot be used.
    """
    found: list[Task] = []
    for kind, named in files.items():
        for name, file in named.items():
            read = _READERS[kind](file, limit)
            found.append(
                Task(name=name, kind=kind, file=file, data_sha256=read.sha256, rows=read.rows)
            )
    if german_prompts:
        found.append(_german_prompts())
    names = [*(task.name for task in found), *others]
    for name in names:
        if names.count(name) > 1:
            raise CampaignError(
                f"two tasks are called {name!r}; results go by names, so rename one"
            )
    if not names:
        raise CampaignError(
            "nothing is asked of the models; give --documents, --questions, --generate, --german-prompts or "
            "--harness"
        )
    return found


def _german_prompts() -> Task:
    """Return the paper's German prompts as a task."""
    digest = hashlib.sha256(orjson.dumps(tasks.GERMAN_PROMPTS)).hexdigest()
    return Task(
        name="german-prompts",
        kind="prompts",
        file=None,
        data_sha256=digest,
        rows=tasks.GERMAN_PROMPTS,
    )


def evaluate(
    evaluated: Evaluated,
    asked: Sequence[Task],
    out: Path,
    *,
    world: World,
    settings: Settings,
    on_progress: OnProgress,
    battery: Battery | None = None,
) -> tuple[EvaluationRecord, list[Item]]:
    """Put a model through tasks and write the results.

    Args:
        evaluated: the model; it is moved to the device.
        asked: the tasks, of different names.
        out: folder of the results.
        world: where to run.
        settings: how.
        on_progress: told after each batch.
        battery: what else to ask, after the tasks.

    Returns:
        What was written: the results and the items.

    Raises:
        CampaignError: the model reads too few tokens at once to write as many as a task asks for.
        DataError: an item does not fit the model.
        NumericsError: a log-likelihood is not finite.
        StorageError: the disk is full or refuses to write.
    """
    _check_room(evaluated, asked)
    nn.Module.to(evaluated.model, world.device)  # transformers hides the types of its own
    evaluated.model.eval()
    reader = Reader(
        model=evaluated.model,
        tokenizer=evaluated.tokenizer,
        context_length=evaluated.context_length,
        batch=settings.batch,
        precision=partial(autocast, world, settings.precision),
    )
    items: list[Item] = []
    records: list[TaskRecord] = []
    for task in asked:
        found = _items(reader, task, partial(on_progress, task.name))
        items += found
        records.append(_task_record(task, found))
    for other, found in battery.ask(reader, on_progress) if battery else ():
        items += found
        records.append(other)
    packed = packed_items(items)
    record = EvaluationRecord(
        model=_model_record(evaluated),
        tasks=records,
        context_length=evaluated.context_length,
        batch=settings.batch,
        precision=settings.precision,
        device=world.device.type,
        answer_tokens=tasks.ANSWER_TOKENS,
        prompt_tokens=tasks.PROMPT_TOKENS,
        versions=versions() | dict(battery.versions if battery else {}),
        items_sha256=hashlib.sha256(packed).hexdigest(),
    )
    write_results(out, record, packed)
    return record, items


def _check_room(evaluated: Evaluated, asked: Sequence[Task]) -> None:
    """Refuse tasks that would leave no room for what the model is asked."""
    written = {"generate": tasks.ANSWER_TOKENS, "prompts": tasks.PROMPT_TOKENS}
    for task in asked:
        if written.get(task.kind, 0) >= evaluated.context_length:
            raise CampaignError(
                f"{task.name}: {evaluated.name} reads {evaluated.context_length:,} tokens at once, and what it "
                f"writes may have {written[task.kind]}, so nothing would be left for what it is asked. Leave "
                "this task out, or evaluate with a longer --context if the model allows it."
            )


def _items(reader: Reader, task: Task, on_done: tasks.OnDone) -> Sequence[Item]:
    match task.kind:
        case "documents":
            return tasks.read_all(reader, task.rows, task.name, on_done)
        case "questions":
            return tasks.choose_all(reader, task.rows, task.name, on_done)
        case "generate":
            return tasks.answer_all(reader, task.rows, task.name, on_done)
        case "prompts":
            return tasks.continue_all(reader, task.rows, task.name, on_done)


def _task_record(task: Task, items: Sequence[Item]) -> TaskRecord:
    return TaskRecord(
        name=task.name,
        kind=task.kind,
        file=task.file,
        data_sha256=task.data_sha256,
        items=len(items),
        truncated=sum(isinstance(i, QuestionItem | AnswerItem) and i.truncated for i in items),
        metrics=[metric_record(measured) for measured in measure(items)],
    )


def _model_record(evaluated: Evaluated) -> ModelRecord:
    model, tokenizer = evaluated.model, evaluated.tokenizer
    return ModelRecord(
        name=evaluated.name,
        place=evaluated.place,
        family=model.config.model_type,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights=dict(evaluated.weights),
        tokenizer=tokenizer.fingerprint,
        end_of_text=tokenizer.end_of_text_token,
    )
