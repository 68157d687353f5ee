"""The tables of a run, for the terminal and for documents; and every number behind them.

This is the module to import from: `read_run` first, then what is wanted of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rewarm.report.arms import ArmRow, arm_rows, unfinished_arms
from rewarm.report.audit import SourceAudit, StageAudit, replay_audit
from rewarm.report.loading import Run, StageRun, Steps, read_run
from rewarm.report.verdict import verdict
from rewarm.report.wording import (
    change_text,
    count_text,
    flops_text,
    is_zero,
    loss_text,
    markdown_text,
    printable,
    share_text,
)

__all__ = [
    "ArmRow",
    "Column",
    "Headline",
    "Run",
    "SourceAudit",
    "StageAudit",
    "StageRun",
    "Steps",
    "arm_rows",
    "headline",
    "markdown",
    "read_run",
    "replay_audit",
    "terminal_table",
    "trained_tokens",
    "unfinished_arms",
    "verdict",
]

_REFERENCE_MARK = " †"
_BEST_MARK = " *"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the table of the arms, as text; nothing in it is escaped."""

    title: str
    """What it holds, in words."""
    short: str | None
    """The same for a narrow table; None if it is left out there."""
    cells: tuple[str, ...]
    """One for each finished arm."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The table of the finished arms."""

    columns: tuple[Column, ...]
    """The first holds the names of the arms, the others numbers."""
    notes: tuple[str, ...]
    """What the marks mean."""

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells, arm by arm."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


def headline(run: Run) -> Headline:
    """Return the table of the finished arms, in the order of the campaign."""
    rows = arm_rows(run)
    names = run.record.datasets
    best = min((row.average for row in rows if row.average is not None), default=None)

    def column(title: str, short: str | None, write: Callable[[ArmRow], str]) -> Column:
        return Column(
            title=printable(title),
            short=None if short is None else printable(short),
            cells=tuple(write(row) for row in rows),
        )

    columns = [
        column("arm", "arm", lambda row: printable(row.arm) + _REFERENCE_MARK * row.is_reference),
        column("replay", "replay", lambda row: share_text(row.replay_share)),
    ]
    columns += [
        column(f"loss {name}", f"loss {name}", lambda row, n=name: loss_text(row.final.get(n)))
        for name in names
    ]
    columns.append(column("average", "average", lambda row: _average(row, best)))
    columns += [
        column(
            f"forgetting {name}", f"F {name}", lambda r, n=name: change_text(r.forgetting.get(n))
        )
        for name in names
        if any(name in row.forgetting for row in rows)
    ]
    columns += [
        column(
            f"adaptation {name}",
            f"A {name}",
            lambda row, n=name: change_text(row.adaptation if row.newest == n else None),
        )
        for name in names
        if any(name == row.newest for row in rows)
    ]
    columns += [
        column("update tokens", "tokens", lambda row: count_text(row.update_tokens)),
        column("all tokens", None, lambda row: count_text(row.total_tokens)),
        column("update FLOPs", None, lambda row: flops_text(row.update_flops)),
        column("compute ratio", None, lambda row: _ratio(row.compute_ratio)),
        column("to union", "to union", lambda r: "-" if r.is_union else change_text(r.union_gap)),
    ]
    return Headline(columns=tuple(columns), notes=_notes(rows))


def _average(row: ArmRow, best: float | None) -> str:
    """Write the average, the best one with a mark."""
    is_best = row.average is not None and best is not None and is_zero(row.average - best)
    return loss_text(row.average) + _BEST_MARK * is_best


def _ratio(ratio: float | None) -> str:
    """Write the compute ratio."""
    return "-" if ratio is None else f"{ratio:.2f}"


def _notes(rows: list[ArmRow]) -> tuple[str, ...]:
    """Return the footnotes that the table needs."""
    notes = ["* the best average." for row in rows if row.average is not None][:1]
    if any(row.is_reference for row in rows):
        notes.append(
            "† trained from scratch; forgetting and adaptation are measured from where the first "
            "updated arm starts."
        )
    return tuple(notes)


def terminal_table(run: Run) -> Table:
    """Return the table of the finished arms for the terminal: fewer columns, shorter titles.

    Args:
        run: the run.
    """
    content = headline(run)
    notes = ["F is forgetting, A is adaptation, nats per token.", *content.notes]
    table = Table(
        title=Text(printable(run.record.name)),
        caption=Text(" ".join(notes)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        collapse_padding=True,
    )
    columns = [column for column in content.columns if column.short is not None]
    for place, column in enumerate(columns):
        table.add_column(
            Text((column.short or "").replace(" ", "\n", 1)),
            justify="left" if place == 0 else "right",
            overflow="fold",
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell) for cell in cells))
    return table


def markdown(run: Run) -> str:
    """Return the verdict and the table of the arms as Markdown, the same bytes for the same run.

    Args:
        run: the run.
    """
    table = headline(run)
    lines = [f"## {markdown_text(run.record.name)}", "", markdown_text(verdict(run)), ""]
    if table.rows:
        lines.append(_markdown_row([column.title for column in table.columns]))
        lines.append("| --- |" + " ---: |" * (len(table.columns) - 1))
        lines.extend(_markdown_row(row) for row in table.rows)
        lines.append("")
        lines.extend(f"{markdown_text(note)}  " for note in table.notes)
        lines.append("")
    versions = run.resolved.versions if run.resolved is not None else {}
    written = ", ".join(f"{name} {versions[name]}" for name in sorted(versions)) or "not recorded"
    lines += [
        f"Seed {run.record.seed}. {count_text(trained_tokens(run))} training tokens in "
        f"{len(run.stages)} stages.  ",
        f"Versions: {markdown_text(written)}.  ",
        f"Made by `rewarm report runs/{printable(run.name).replace('`', '')} --markdown table.md`.",
    ]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    """Write one row of a Markdown table."""
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"


def trained_tokens(run: Run) -> int:
    """Return the tokens trained on in the whole run so far, stages that arms share counted once."""
    return sum(
        stage.trained_steps(stage.steps_done) * stage.tokens_per_step
        for stage in run.stages.values()
    )
