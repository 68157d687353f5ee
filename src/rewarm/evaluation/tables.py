"""Evaluations on the terminal. Several models are called A, B, C, in the order given."""

import math
from collections.abc import Mapping, Sequence

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rewarm.evaluation.items import Item, PromptItem
from rewarm.evaluation.metrics import Measured, averaged
from rewarm.evaluation.results import EvaluationRecord, MetricRecord, metric_record
from rewarm.evaluation.sides import letter
from rewarm.evaluation.statistics import estimate_of, macro_average

Evaluations = Sequence[tuple[EvaluationRecord, Sequence[Item]]]
"""What `evaluate` returned for each model; all of them have the same tasks."""


def results_json(evaluations: Evaluations) -> str:
    """Return the results of all models as a JSON array; the items are in their files."""
    records = [record.model_dump(mode="json") for record, _ in evaluations]
    return orjson.dumps(records, option=orjson.OPT_INDENT_2).decode()


def print_results(console: Console, evaluations: Evaluations) -> None:
    """Print a table with a column for each model, what was truncated, and the continuations of prompts."""
    records = [record for record, _ in evaluations]
    letters = [letter(number) for number in range(len(records))]
    labels = letters if len(records) > 1 else [records[0].model.name]
    if len(records) > 1:
        for each, record in zip(letters, records, strict=True):
            say(console, f"{each}  {record.model.name}")
    table = new_table("task", "metric", right=("items", *labels))
    for number, task in enumerate(records[0].tasks):
        for place, metric in enumerate(task.metrics):
            values = [_value(record.tasks[number].metrics[place]) for record in records]
            name = task.name if place == 0 else ""
            add_row(table, name, metric_name(metric), f"{metric.count:,}", *values)
    headlines = {task.name: task.metrics[0].metric for task in records[0].tasks if task.metrics}
    for metric, names in averaged(headlines).items():
        means = [_average(record, names, metric) for record in records]
        count = f"{means[0].count:,}"
        add_row(table, average_name(names), metric, count, *(_value(mean) for mean in means))
    if table.row_count:
        console.print(table)
        say(console, "value ± standard error by item; bits per byte: less is better")
    for label, record in zip(labels, records, strict=True):
        for line in _truncations(record):
            say(console, f"{label}: {line}")
    said = [[item for item in items if isinstance(item, PromptItem)] for _, items in evaluations]
    for of_all in zip(*said, strict=True):
        continuations = [[item.continuation] for item in of_all]
        print_prompt(console, of_all[0].prompt, dict(zip(labels, continuations, strict=True)))


def print_prompt(console: Console, prompt: str, continuations: Mapping[str, Sequence[str]]) -> None:
    """Print how models go on from a prompt, one under the other.

    Args:
        console: where to.
        prompt: the prompt.
        continuations: of each model by its label, one for each seed.
    """
    say(console, f"{prompt} →")
    for label, texts in continuations.items():
        for text in texts:
            say(console, f"  {label}: {text!r}")


def average_name(tasks: Sequence[str]) -> str:
    """Return what an average over tasks is called."""
    return f"average of {len(tasks)} tasks"


def metric_name(metric: MetricRecord) -> str:
    """Return a metric's name, with the domain if it is of one."""
    return metric.metric if metric.domain is None else f"{metric.metric}, {metric.domain}"


def new_table(*left: str, right: Sequence[str]) -> Table:
    """Return an empty table with columns of words and columns of numbers."""
    table = Table(box=SIMPLE_HEAD)
    for title in left:
        table.add_column(Text(title))
    for title in right:
        table.add_column(Text(title), justify="right")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add a row; nothing in its cells is taken as markup."""
    table.add_row(*(Text(cell) for cell in cells))


def say(console: Console, text: str) -> None:
    """Print a line as it is, however long."""
    console.print(text, markup=False, soft_wrap=True)


def _average(record: EvaluationRecord, tasks: Sequence[str], metric: str) -> MetricRecord:
    """Return the mean of the headlines of these tasks."""
    headlines = [task.metrics[0] for task in record.tasks if task.name in tasks]
    errors = [math.nan if h.standard_error is None else h.standard_error for h in headlines]
    mean = macro_average(
        [estimate_of(h.value, error, h.count) for h, error in zip(headlines, errors, strict=True)]
    )
    return metric_record(Measured(metric=metric, domain=None, items=mean, seeds=(mean.value,)))


def _truncations(record: EvaluationRecord) -> list[str]:
    return [
        f"of {task.truncated:,} of {task.items:,} items of {task.name} the beginning was not read: they are "
        f"longer than {record.context_length:,} tokens"
        for task in record.tasks
        if task.truncated
    ]


def _value(metric: MetricRecord) -> str:
    error = "" if metric.standard_error is None else f" ± {metric.standard_error:.4f}"
    return f"{metric.value:.4f}{error}"
