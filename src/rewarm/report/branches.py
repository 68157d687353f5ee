"""The trunk with its branches: every stage as a line along the tokens that its model has seen."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from rewarm.report.curves import drawn
from rewarm.report.frame import TOKENS_HOVER, framed, stage_label, stage_style, tokens_axis
from rewarm.report.gallery import RUN_FIGURES
from rewarm.report.lineage import tokens_before
from rewarm.report.loading import Run, StageRun
from rewarm.report.styles import SHARED_COLOUR, ArmStyle
from rewarm.report.wording import figure_text, share_text
from rewarm.runs.records import StageRecord

_LANE_PX = 46


def lanes(stages: Sequence[StageRecord]) -> dict[str, int]:
    """Return the row of each stage, from 0 downwards.

    A stage that starts where its parent ends goes on in the parent's row, if it is the first to do so; every
    other one gets a row of its own. Of the branches of a stage the last to leave it comes first, so that no
    line down to a branch crosses another branch.

    Args:
        stages: a parent comes before its children.
    """
    children: dict[str | None, list[StageRecord]] = {None: []}
    for record in stages:
        children[record.folder] = []
        children[record.parent].append(record)
    found: dict[str, int] = {}
    # Stages whose row is still to be chosen, the next one last.
    waiting = [(record, -1) for record in reversed(children[None])]
    while waiting:
        record, row = waiting.pop()
        found[record.folder] = max(found.values(), default=-1) + 1 if row < 0 else row
        of_record = sorted(children[record.folder], key=lambda child: -child.start_step)
        goes_on = next((child for child in of_record if child.start_step == record.steps), None)
        waiting += [(child, -1) for child in reversed(of_record) if child is not goes_on]
        if goes_on is not None:
            waiting.append((goes_on, found[record.folder]))
    return found


def _has_branches(run: Run) -> bool:
    """Say whether a stage of the run is left by several, or before its end."""
    starts = [r for r in run.record.stages if r.parent is not None]
    parents = [record.parent for record in starts]
    return len(set(parents)) < len(parents) or any(
        record.start_step < run.stages[record.parent or ""].record.steps for record in starts
    )


@RUN_FIGURES.figure(
    title="Trunk and branches",
    caption="Each line is a stage along the tokens that its model has seen, from where it leaves the stage "
    "before it; a large point is the model of an arm, and a dotted end is still to be trained.",
    place="stages",
    note="Grey stages are shared by several arms.",
    when=_has_branches,
)
def trunk(run: Run, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw the stages as lines along the tokens, each from where it leaves its parent.

    Args:
        run: the run, finished or not.
        styles: the look of every arm.
    """
    rows = lanes(run.record.stages)
    ends = {folders[-1] for folders in run.record.arms.values()}
    figure = go.Figure()
    for folder, stage in run.stages.items():
        parent = stage.record.parent
        start = tokens_before(run, folder)
        if parent is not None and rows[parent] != rows[folder]:
            figure.add_trace(_fork(start, rows[parent], rows[folder]))
        for trace in _line(run, stage, start, rows[folder], styles, is_end=folder in ends):
            figure.add_trace(trace)
        figure.add_annotation(
            text=figure_text(stage_label(run, folder), longest=60),
            x=start,
            y=-rows[folder],
            xanchor="left",
            yanchor="bottom",
            xshift=4,
            yshift=3,
            showarrow=False,
        )
    count = max(rows.values()) + 1
    framed(figure, 110 + _LANE_PX * count)
    figure.update_xaxes(tokens_axis("tokens trained on, along the arm"))
    figure.update_yaxes(visible=False, range=[0.5 - count, 0.75])
    return figure


def _fork(start: int, parent_row: int, row: int) -> go.Scatter:
    """Return the line from a stage down to a branch of it."""
    return go.Scatter(
        x=drawn(np.array([start, start])),
        y=[-parent_row, -row],
        name="branch",
        mode="lines",
        line={"color": SHARED_COLOUR, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )


def _line(
    run: Run,
    stage: StageRun,
    start: int,
    row: int,
    styles: Mapping[str, ArmStyle],
    *,
    is_end: bool,
) -> list[go.Scatter]:
    """Return what of a stage is trained, and what is still to be."""
    folder = stage.record.folder
    style = stage_style(run, folder, styles)
    done = start + stage.trained_steps(stage.steps_done) * stage.tokens_per_step
    to_do = done + (stage.record.steps - stage.steps_done) * stage.tokens_per_step
    name = figure_text(stage_label(run, folder), longest=60)
    facts = f"{stage.record.steps:,} steps, replay {share_text(stage.record.replay_share)}"
    parts = [(start, done, "solid", is_end and to_do == done)]
    if to_do > done:
        parts.append((done, to_do, "dot", False))
    return [
        go.Scatter(
            x=drawn(np.array([first, last])),
            y=[-row, -row],
            name=name,
            mode="lines+markers",
            line={"color": style.colour, "width": 3, "dash": dash},
            marker={"symbol": [style.symbol] * 2, "size": [0, 12 if has_point else 0]},
            cliponaxis=False,
            hovertemplate=f"%{{fullData.name}}<br>{TOKENS_HOVER}<br>{facts}<extra></extra>",
            showlegend=False,
        )
        for first, last, dash, has_point in parts
    ]
