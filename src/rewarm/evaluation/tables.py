"""Evaluations and comparisons on the terminal."""

from collections.abc import Sequence

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rewarm.evaluation.comparison import Comparison, Difference
from rewarm.evaluation.items import Item, PromptItem
from rewarm.evaluation.results import EvaluationRecord, MetricRecord

Evaluations = Sequence[tuple[EvaluationRecord, Sequence[Item]]]
"""What `evaluate` returned for each model; all of them have the same tasks."""


def results_json(evaluations: Evaluations) -> str:
    """Return the results of all models as a JSON array; the items are in their files."""
    records = [record.model_dump(mode="json") for record, _ in evaluations]
    return orjson.dumps(records, option=orjson.OPT_INDENT_2).decode()


def print_results(console: Console, evaluations: Evaluations) -> None:
    """Print a table with a column for each model, what was truncated, and the continuations of prompts."""
    records = [record for record, _ in evaluations]
    table = Table(box=SIMPLE_HEAD)
    for title in ("task", "metric", "items"):
        table.add_column(title, justify="right" if title == "items" else "left")
    for record in records:
        table.add_column(Text(record.model.name), justify="right")
    for number, task in enumerate(records[0].tasks):
        for place, metric in enumerate(task.metrics):
            values = [_value(record.tasks[number].metrics[place]) for record in records]
            table.add_row(
                Text(task.name if place == 0 else ""),
                Text(_name(metric)),
                f"{metric.count:,}",
                *values,
            )
    if table.row_count:
        console.print(table)
        console.print("value ± standard error by item; bits per byte: less is better")
    for record, items in evaluations:
        for line in (*_truncations(record), *_continuations(items)):
            _say(console, f"{record.model.name}: {line}")


def print_comparison(console: Console, compared: Comparison) -> None:
    """Print the differences, and a sentence on each task."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("task")
    table.add_column("metric")
    for title in (Text(compared.first), Text(compared.second), "difference", "95 % interval"):
        table.add_column(title, justify="right")
    for task in compared.tasks:
        for place, each in enumerate(task.differences):
            table.add_row(Text(task.task if place == 0 else ""), *_cells(each))
    console.print(table)
    console.print(
        "difference: the second minus the first, paired by item; bits per byte: less is better"
    )
    for task in compared.tasks:
        headline = task.differences[0]
        verdict = "significant" if task.is_significant else "not significant"
        seen = headline.smallest_visible
        visible = (
            "how small a difference would have been seen cannot be told from them"
            if seen is None
            else f"a true difference of {seen:.4f} would be seen in four of five such comparisons"
        )
        _say(
            console,
            f"{task.task}: the difference in {headline.difference.metric} is {verdict} "
            f"(p = {task.p_value:.3g}, {task.adjusted_p_value:.3g} over all tasks); {task.items:,} items, "
            f"{visible}",
        )
    for note in compared.notes:
        _say(console, f"note: {note}")


def _truncations(record: EvaluationRecord) -> list[str]:
    return [
        f"of {task.truncated:,} of {task.items:,} items of {task.name} the beginning was not read: they are "
        f"longer than {record.context_length:,} tokens"
        for task in record.tasks
        if task.truncated
    ]


def _continuations(items: Sequence[Item]) -> list[str]:
    return [
        f"{item.prompt} → {item.continuation!r}" for item in items if isinstance(item, PromptItem)
    ]


def _cells(each: Difference) -> list[Text]:
    found = each.difference
    interval = "-" if found.low is None else f"{found.low:+.4f} to {found.high:+.4f}"
    texts = (
        _name(found),
        f"{each.first:.4f}",
        f"{each.second:.4f}",
        f"{found.value:+.4f}",
        interval,
    )
    return [Text(text) for text in texts]


def _name(metric: MetricRecord) -> str:
    return metric.metric if metric.domain is None else f"{metric.metric}, {metric.domain}"


def _value(metric: MetricRecord) -> str:
    error = "" if metric.standard_error is None else f" ± {metric.standard_error:.4f}"
    return f"{metric.value:.4f}{error}"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
