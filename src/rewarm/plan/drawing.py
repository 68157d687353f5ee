# leather and plotext carry no types.
# pyright: basic
"""The learning rate over all stages: drawn in the terminal by plotext, as an SVG file by leather."""

from pathlib import Path

import leather
import plotext
from rich.text import Text

from rewarm.plan.plan import Plan
from rewarm.plan.stage import StagePlan
from rewarm.runs.files import write_bytes

# Okabe and Ito's colours: told apart by people with any colour vision.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def write_picture(plan: Plan, path: Path) -> None:
    """Write the learning rate of every arm over its steps as an SVG file.

    Args:
        plan: the plan.
        path: the file.

    Raises:
        StorageError: the disk is full or refuses to write.
    """
    chart = leather.Chart(f"{plan.campaign.name}: learning rate")
    for number, (arms, line) in enumerate(distinct_lines(plan).items()):
        steps, rates = curve(line)
        color = _COLORS[number % len(_COLORS)]
        chart.add_line(list(zip(steps, rates, strict=True)), name=arms, stroke_color=color)
    chart.add_x_axis(
        name="optimizer steps from the base model", tick_formatter=lambda x, *_: f"{x:,.0f}"
    )
    chart.add_y_axis(name="learning rate", tick_formatter=lambda y, *_: f"{float(y):.1e}")
    drawn = chart.to_svg(width=1000, height=400)
    assert drawn is not None, "without a path the picture is returned"
    write_bytes(path, drawn.encode())


def distinct_lines(plan: Plan) -> dict[str, list[StagePlan]]:
    """Return the lines of stages that differ in their learning rate, named for the arms that share them."""
    found: dict[tuple[tuple[int, ...], tuple[float, ...]], list[str]] = {}
    lines: dict[str, list[StagePlan]] = {}
    for arm, stages in plan.arms.items():
        steps, rates = curve(stages[-1].lineage)
        found.setdefault((tuple(steps), tuple(rates)), []).append(arm)
    for arms in found.values():
        lines[", ".join(arms)] = plan.arms[arms[0]][-1].lineage
    return lines


def curve(line: list[StagePlan], points: int = 400) -> tuple[list[int], list[float]]:
    """Sample the learning rate along a line of stages: steps from the base model, and rates."""
    steps: list[int] = []
    rates: list[float] = []
    offset = 0
    for number, stage in enumerate(line):
        end = line[number + 1].start_step if number + 1 < len(line) else stage.steps
        marks = {1, end, *(p.last_step for p in stage.schedule.phases() if p.last_step <= end)}
        for step in sorted(marks | {max(1, end * k // points) for k in range(points + 1)}):
            steps.append(offset + step)
            rates.append(stage.schedule(step))
        offset += end
    return steps, rates


def draw_learning_rate(arms: str, line: list[StagePlan], width: int) -> Text:
    """Draw the learning rate over a line of stages.

    Returns:
        Lines of text, 10 high.
    """
    steps, rates = curve(line)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, 10)
    plotext.plot(steps, rates, marker="braille")
    low, high = min(rates), max(rates)
    ticks = [low + (high - low) * k / 3 for k in range(4)]
    plotext.yticks(ticks, [f"{tick:.1e}" for tick in ticks])
    marks = [steps[0] + (steps[-1] - steps[0]) * k // 4 for k in range(5)]
    plotext.xticks(marks, [f"{mark:,}" for mark in marks])
    plotext.title(f"learning rate over steps: {arms}")
    return Text.from_ansi(plotext.build())
