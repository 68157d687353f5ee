"""Several runs compared on the terminal: what the seeds say, and the table of the arms."""

from collections.abc import Sequence
from pathlib import Path

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from rewarm.report.loading import read_run
from rewarm.report.merging import comparisons
from rewarm.report.panel_tables import Table, comparison_table, seed_table
from rewarm.report.panel_verdict import panel_verdict, runs_left
from rewarm.report.wording import printable


def print_runs(console: Console, run_paths: Sequence[Path]) -> None:
    """Print for each set of comparable arms a verdict and a table, and what is not finished.

    Args:
        console: where to.
        run_paths: run folders.

    Raises:
        CampaignError: a folder is not that of a run.
        CheckpointError: a record is damaged.
    """
    runs = [read_run(path) for path in run_paths]
    for found in comparisons(runs):
        _say(console, panel_verdict(found))
        console.print(_terminal(comparison_table(found.panel)))
    _say(
        console,
        "± is the standard error over seeds; 95 % intervals are in the report and in --json. Losses, "
        "forgetting, adaptation and the distances to the best arm and to the union arm are nats per token. "
        "† trained from scratch.",
    )
    if left := runs_left(runs):
        _say(console, left)


def runs_json(run_paths: Sequence[Path]) -> str:
    """Return the same as JSON: verdict, means and every seed of each set of comparable arms."""
    found = comparisons([read_run(path) for path in run_paths])
    content = [
        {
            "verdict": panel_verdict(each),
            "means": _records(comparison_table(each.panel)),
            "seeds": _records(seed_table(each.panel, "run")),
        }
        for each in found
    ]
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()


def _records(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def _terminal(table: Table) -> RichTable:
    made = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for place, title in enumerate(table.columns):
        justify = "left" if place == 0 else "right"
        made.add_column(
            Text(printable(title).replace(" ", "\n", 1)), justify=justify, overflow="fold"
        )
    for row in table.rows:
        made.add_row(*map(_cell, row))
    return made


def _cell(cell: str) -> Text:
    """Write a value with its error below it, without the interval, so that a line holds all columns."""
    value, _, error = printable(cell.partition("\n")[0]).partition(" ± ")
    return Text(f"{value}\n±{error}" if error else value)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
