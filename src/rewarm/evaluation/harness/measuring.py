"""A model through tasks of lm-evaluation-harness: its prompts and data, our scores, items and errors."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from lm_eval.evaluator import evaluate  # pyright: ignore[reportMissingImports]  # an extra

from rewarm.errors import DataError, RewarmError
from rewarm.evaluation.evaluate import Battery, OnProgress
from rewarm.evaluation.harness.language_model import HarnessModel
from rewarm.evaluation.harness.loading import AskedTask, load_tasks, quiet
from rewarm.evaluation.harness.samples import Sample, item_of
from rewarm.evaluation.items import Item
from rewarm.evaluation.metrics import measure
from rewarm.evaluation.results import HarnessRecord, TaskRecord, metric_record
from rewarm.evaluation.scoring import Reader

SHOTS_SEED = 1234
"""Of the examples that are drawn, as the harness has it."""
_BY_CHARACTERS = {"hellaswag", "hellaswag_de", "hellaswag_de_cased"}
"""Tasks for which the paper gives accuracies by length; of all others it gives plain ones."""


def battery(names: Sequence[str], data: Path | None, limit: int | None) -> Battery:
    """Return tasks of the harness for `rewarm.evaluation.evaluate.evaluate`; see `load_tasks` and `ask`.

    Raises:
        CampaignError, DataError: as `load_tasks`.
    """
    asked = load_tasks(names, data)
    return Battery(
        ask=partial(ask, asked, limit=limit),
        names=[each.name for each in asked],
        versions={"lm_eval": version("lm_eval")},
    )


def ask(
    asked: Sequence[AskedTask], reader: Reader, on_progress: OnProgress, *, limit: int | None
) -> list[tuple[TaskRecord, Sequence[Item]]]:
    """Put a model through tasks.

    Args:
        asked: the tasks; may be asked again of another model, with the same shots.
        reader: the model, on its device.
        on_progress: told after each batch.
        limit: items of each task to take, the first ones; None takes all.

    Returns:
        The record and the items of each task.

    Raises:
        CampaignError: a task cannot be put to this model, or has no result that fits here.
        DataError: an item does not fit the model, or there are too few examples for shots.
    """
    model = HarnessModel(reader, on_progress)
    tasks = {task.task_name: task for each in asked for task in each.members}
    for task in tasks.values():
        task.set_fewshot_seed(SHOTS_SEED)
    with quiet():
        try:
            samples = evaluate(model, {"tasks": tasks}, limit=limit, bootstrap_iters=0)["samples"]
        except RewarmError:
            raise
        except (AssertionError, ValueError, IndexError, KeyError, TypeError) as error:
            # This is how the harness fails at rows that are not what a task takes them for.
            raise DataError(
                f"lm-evaluation-harness cannot ask these tasks of the rows that it was given "
                f"({type(error).__name__}: {error}). Rows must have the keys that the task has on the hub, and "
                "as many must be there as it takes for shots."
            ) from error
    return [_measured(each, samples, model) for each in asked]


def _measured(
    asked: AskedTask, samples: Mapping[str, Sequence[Mapping[str, Any]]], model: HarnessModel
) -> tuple[TaskRecord, Sequence[Item]]:
    items: list[Item] = []
    digest = hashlib.sha256()
    for task in asked.members:
        own = samples[task.task_name]
        digest.update(orjson.dumps([[each["arguments"], each["target"]] for each in own]))
        prefix = f"{task.task_name}/" if len(asked.members) > 1 else ""
        for sample in own:
            found = Sample(
                task=asked.name,
                id=f"{prefix}{sample['doc_id']}",
                values=sample,
                member=task,
                model=model,
            )
            items.append(item_of(asked.kind, found))
    first = asked.members[0]
    metrics = [metric_record(each) for each in measure(items)]
    headline = "acc_norm" if asked.name in _BY_CHARACTERS else metrics[0].metric
    record = TaskRecord(
        name=asked.name,
        kind=asked.kind,
        file=first.place,
        data_sha256=digest.hexdigest(),
        items=len(items),
        truncated=sum(getattr(item, "truncated", False) for item in items),
        metrics=sorted(metrics, key=lambda each: each.metric != headline),
        harness=HarnessRecord(
            version=str(first.VERSION),
            shots=first.shots,
            members=[task.task_name for task in asked.members],
        ),
    )
    return record, items
