"""Evaluations as `rewarm eval` writes them, without a model."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from rewarm.evaluation.items import (
    AnswerItem,
    DocumentItem,
    Item,
    PromptItem,
    QuestionItem,
    ShareItem,
)
from rewarm.evaluation.metrics import measure
from rewarm.evaluation.results import (
    EvaluationRecord,
    Kind,
    ModelRecord,
    TaskRecord,
    metric_record,
    packed_items,
    write_results,
)

_KINDS: Mapping[type[Item], Kind] = {
    DocumentItem: "documents",
    QuestionItem: "questions",
    AnswerItem: "generate",
    ShareItem: "shares",
    PromptItem: "prompts",
}


def evaluation(
    name: str,
    tasks: Sequence[Sequence[Item]],
    *,
    weights: Mapping[str, str],
    data_sha256: str = "data",
) -> tuple[EvaluationRecord, bytes]:
    """Return the record of a model's evaluation, and its packed items.

    Args:
        name: of the model.
        tasks: the items of each task.
        weights: SHA-256 of its weights files, by file.
        data_sha256: of the data of every task.
    """
    packed = packed_items([item for items in tasks for item in items])
    record = EvaluationRecord(
        model=ModelRecord(
            name=name,
            place=name,
            family="gpt_neox",
            parameters=1,
            weights=dict(weights),
            tokenizer="t",
            end_of_text="e",
        ),
        tasks=[
            TaskRecord(
                name=items[0].task,
                kind=_KINDS[type(items[0])],
                file=f"{items[0].task}.jsonl",
                data_sha256=data_sha256,
                items=len(items),
                truncated=0,
                metrics=[metric_record(each) for each in measure(items)],
            )
            for items in tasks
        ],
        context_length=16,
        batch=1,
        precision="fp32",
        device="cpu",
        answer_tokens=1,
        prompt_tokens=1,
        versions={},
        items_sha256=hashlib.sha256(packed).hexdigest(),
    )
    return record, packed


def write_evaluation(
    folder: Path,
    name: str,
    tasks: Sequence[Sequence[Item]],
    *,
    weights: Mapping[str, str],
    data_sha256: str = "data",
) -> None:
    """Write it into a folder; the arguments are those of `evaluation`."""
    write_results(folder, *evaluation(name, tasks, weights=weights, data_sha256=data_sha256))
