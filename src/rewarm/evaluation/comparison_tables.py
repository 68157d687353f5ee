"""Comparisons on the terminal, and what a comparison could see."""

from collections.abc import Mapping, Sequence

import orjson
from rich.console import Console
from rich.table import Table

from rewarm.evaluation.compared import Comparison, Difference, TaskComparison
from rewarm.evaluation.metrics import SHARES
from rewarm.evaluation.power import ANSWERS_AGREE, DOCUMENTS_AGREE, Power, SidePower
from rewarm.evaluation.tables import (
    add_row,
    average_name,
    metric_name,
    new_table,
    print_prompt,
    say,
)


def print_comparison(console: Console, compared: Comparison) -> None:
    """Print the differences from the reference, a sentence on each task, and prompts side by side."""
    first = compared.first.letter
    for side in (compared.first, *(model.second for model in compared.models)):
        for folder, place in zip(side.folders, side.places, strict=True):
            say(console, f"{side.letter}  {folder} (of {place})")
    titles = ("task", "metric", "model")
    table = new_table(*titles, right=("value", f"minus {first}", "95 % interval"))
    for (title, *_), found in _blocks(compared).items():
        _add_block(table, title, first, found)
    console.print(table)
    say(
        console,
        f"minus {first}: paired by item{_and_seed(compared)}, with the error over {compared.over}; bits per "
        "byte: less is better",
    )
    _say_verdicts(console, compared)
    for model in compared.models:
        for note in model.notes:
            say(console, f"note on {first} and {model.second.letter}: {note}")
    for each in compared.prompts:
        print_prompt(console, each.prompt, each.continuations)


def print_power(console: Console, sides: Sequence[SidePower]) -> None:
    """Print what comparisons could see, a table for each side, and what was assumed."""
    titles = ("items", "value", "disagree", "error", "can see", "items for 0.01")
    for side in sides:
        say(console, ", ".join(side.folders))
        table = new_table("task", "metric", right=titles)
        for each in side.tasks:
            add_row(table, *_power_cells(each))
        console.print(table)
    say(
        console,
        "error: the standard error to expect of a difference; can see: the true difference found in four of "
        "five comparisons of one task; items for 0.01: how many would see one point, or 0.01 bits per byte",
    )
    say(
        console,
        f"assumed of two models: right answers correlate by {ANSWERS_AGREE}, so that so many answers "
        f"disagree; bits of documents by {DOCUMENTS_AGREE}",
    )
    if any(each.seeds == 1 for side in sides for each in side.tasks):
        say(
            console,
            "over items alone: trainings with other seeds differ by more. Give evaluations of several seeds, "
            "A1,A2,A3, to have their spread in it.",
        )


def power_json(sides: Sequence[SidePower]) -> str:
    """Return what comparisons could see as a JSON array."""
    found = [side.model_dump(mode="json") for side in sides]
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()


def _blocks(compared: Comparison) -> dict[tuple[str, ...], dict[str, Sequence[Difference]]]:
    """Return all differences by title, of averages also by the tasks behind it, and by model."""
    found: dict[tuple[str, ...], dict[str, Sequence[Difference]]] = {}
    for model in compared.models:
        for task in model.tasks:
            found.setdefault((task.task,), {})[model.second.letter] = task.differences
    for model in compared.models:
        for each in model.averages:
            title = (average_name(each.tasks), *each.tasks)
            found.setdefault(title, {})[model.second.letter] = [each.difference]
    return found


def _add_block(
    table: Table, title: str, first: str, found: Mapping[str, Sequence[Difference]]
) -> None:
    """Add a row for each metric of the reference, and one beneath it for each other model."""
    for place, reference in enumerate(next(iter(found.values()))):
        name = metric_name(reference.difference)
        add_row(table, title if place == 0 else "", name, first, f"{reference.first:.4f}", "", "")
        for letter, differences in found.items():
            each = differences[place]
            gain = each.difference
            interval = "-" if gain.low is None else f"{gain.low:+.4f} to {gain.high:+.4f}"
            add_row(table, "", "", letter, f"{each.second:.4f}", f"{gain.value:+.4f}", interval)


def _say_verdicts(console: Console, compared: Comparison) -> None:
    num_tests = sum(len(model.tasks) for model in compared.models)
    first = compared.first.letter
    for model in compared.models:
        for task in model.tasks:
            say(
                console,
                f"{task.task}: {_verdict(task, first, model.second.letter)} (p = {task.p_value:.3g}, "
                f"{task.adjusted_p_value:.3g} over {num_tests} tests); {task.items:,} items, "
                f"{_visible(task.differences[0])}",
            )
    if compared.over == "items":
        say(
            console,
            "Each side is one training, so this says nothing of another training of the same recipe. For "
            "that, give the evaluations of several seeds, joined by commas: rewarm compare A1,A2,A3 B1,B2,B3",
        )


def _verdict(task: TaskComparison, first: str, second: str) -> str:
    metric = task.differences[0].difference.metric
    if task.over == "items":
        if task.is_significant:
            return f"{first} and {second} differ on these items in {metric}"
        return f"{first} and {second}: no difference seen on these items in {metric}"
    verdict = "significant" if task.is_significant else "not significant"
    return f"{first} and {second}: the difference in {metric} is {verdict}"


def _visible(headline: Difference) -> str:
    seen = headline.smallest_visible
    if seen is None:
        return "how small a difference would have been seen cannot be told from them"
    return (
        f"a true difference of {_in_units(headline.difference.metric, seen)} would be seen in four of five "
        "such comparisons"
    )


def _in_units(metric: str, difference: float) -> str:
    if metric in SHARES:
        return f"{100 * difference:.1f} points"
    return f"{difference:.4f} bits per byte"


def _power_cells(each: Power) -> tuple[str, ...]:
    return (
        each.tasks[0] if len(each.tasks) == 1 else average_name(each.tasks),
        each.metric,
        f"{each.items:,}",
        f"{each.value:.4f}",
        "" if each.disagreeing is None else f"{100 * each.disagreeing:.0f} %",
        "-" if each.standard_error is None else f"{each.standard_error:.4f}",
        "-" if each.smallest_visible is None else _in_units(each.metric, each.smallest_visible),
        "" if each.items_wanted is None else f"{each.items_wanted:,}",
    )


def _and_seed(compared: Comparison) -> str:
    return "" if compared.over == "items" else " and by seed"
