"""A spread over ranks for people and for programs: what each rank holds, what was chosen, and why."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from rewarm.plan.choice import Choice
from rewarm.plan.layout import bubble
from rewarm.plan.memory import RankMemory
from rewarm.plan.plan import Plan
from rewarm.plan.record import run_record
from rewarm.plan.stage import StagePlan

Layouts = Sequence[tuple[list[StagePlan], Choice]]
"""What the stages of a plan come to; stages that come to the same are together."""

_PARTS = (
    ("weights", "parameters"),
    ("gradients", "gradients"),
    ("optimizer", "optimizer"),
    ("gathered", "gathered"),
    ("activations", "activations"),
    ("head", "head"),
    ("buffers", "buffers"),
    ("total", "total"),
)


def print_layouts(console: Console, layouts: Layouts) -> None:
    """Print what each rank holds, by its place in the pipeline.

    Args:
        console: where to.
        layouts: from `choose_layouts`.
    """
    for stages, choice in layouts:
        layout, batch = choice.layout, stages[0].batch_sequences
        where = "" if len(layouts) == 1 else ": " + ", ".join(stage.folder for stage in stages)
        spread = "" if layout.ranks == 1 else f", {layout}"
        console.print(f"[bold]{_counted(layout.ranks)}[/bold]{spread}{where}")
        console.print(
            f"  each data rank has {batch // layout.data:,} of {batch:,} sequences: "
            f"micro-batch {layout.micro_batch}, {layout.micro_batches(batch):,} of them in a step"
        )
        if layout.pipeline > 1:
            console.print(
                f"  a rank of the pipeline waits {bubble(layout, batch):.1%} of a step "
                f"({layout.pipeline_schedule})"
            )
        if choice.memory:
            console.print(_table(choice.memory))
        for reason in choice.reasons:
            console.print(f"  {reason}")
        if choice.note is not None:
            console.print(f"[yellow]note:[/yellow] {choice.note}")


def record_json(plan: Plan, layouts: Layouts | None) -> str:
    """Return the plan as JSON: its record as a run keeps it, or with layouts `{"plan": …, "layouts": […]}`.

    Args:
        plan: the plan.
        layouts: from `choose_layouts`; None where no ranks were given.
    """
    record = run_record(plan)
    if layouts is None:
        return record.model_dump_json(indent=2)
    found = [_record(stages, choice) for stages, choice in layouts]
    return json.dumps({"plan": record.model_dump(mode="json"), "layouts": found}, indent=2)


def _record(stages: list[StagePlan], choice: Choice) -> dict[str, object]:
    layout, batch = choice.layout, stages[0].batch_sequences
    return {
        "stages": [stage.folder for stage in stages],
        "ranks": layout.ranks,
        **asdict(layout),
        "micro_batches": layout.micro_batches(batch),
        "bubble": bubble(layout, batch),
        "memory_bytes": [asdict(rank) | {"total": rank.total} for rank in choice.memory],
        "reasons": list(choice.reasons),
        "note": choice.note,
    }


def _table(memory: tuple[RankMemory, ...]) -> Table:
    table = Table(title="estimate for each rank, in GB (10^9 bytes)", title_justify="left")
    for column in ("pipeline rank", "blocks", "parameters", *(title for title, _ in _PARTS)):
        table.add_column(column, justify="right", overflow="fold")
    for number, rank in enumerate(memory):
        table.add_row(
            f"{number}",
            f"{rank.blocks}",
            f"{rank.held:,}",
            *(f"{getattr(rank, name) / 1e9:.2f}" for _, name in _PARTS),
        )
    return table


def _counted(ranks: int) -> str:
    return "1 rank" if ranks == 1 else f"{ranks:,} ranks"
