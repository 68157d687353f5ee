"""The figures of a run, one function for each; the main one is in `losses`, and is shown first.

Names come from files of other people, so every one that goes into a figure passes `figure_text`; plotly would
otherwise read marks such as `<a href>` in it.
"""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rewarm.report.arms import ArmRow, arm_rows, pareto_front
from rewarm.report.audit import SourceAudit, StageAudit, replay_audit
from rewarm.report.branches import trunk
from rewarm.report.curves import drawn, kept_points
from rewarm.report.frame import (
    TOKENS_HOVER,
    framed,
    label_places,
    leave_room,
    owner,
    stage_label,
    stage_style,
    tokens_axis,
)
from rewarm.report.gallery import RUN_FIGURES
from rewarm.report.lineage import dataset_of, tokens_before
from rewarm.report.loading import Run
from rewarm.report.losses import losses
from rewarm.report.panel_plots import front_line
from rewarm.report.styles import ArmStyle, shade
from rewarm.report.wording import change_text, figure_text, loss_text, share_text

__all__ = ["RUN_FIGURES", "compute", "frontier", "losses", "mixture", "throughput", "trunk"]


@RUN_FIGURES.figure(
    title="Forgetting against adaptation",
    caption="Up and to the left is better: more learnt, less forgotten; the dashed line joins the updated "
    "arms that no other beats, and hollow points are references.",
    place="arms",
    when=lambda run: len(_traded(run)) > 1,
)
def frontier(run: Run, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw adaptation over forgetting, a point for each arm, and the Pareto front of the updated arms.

    Args:
        run: the run.
        styles: the look of every arm.
    """
    points = _traded(run)
    figure = go.Figure()
    updated = [point for row, point in points if not _is_hollow(row)]
    front = [updated[place] for place in pareto_front(updated)]
    figure.add_trace(front_line(front))
    _add_arms(figure, [row for row, _ in points], [point for _, point in points], styles)
    framed(figure, 430)
    figure.update_xaxes(title={"text": "forgetting on old data, nats per token"})
    figure.update_yaxes(title={"text": "adaptation to new data, nats per token"})
    leave_room(figure, [point for _, point in points])
    return figure


def _traded(run: Run) -> list[tuple[ArmRow, tuple[float, float]]]:
    """Return the arms that have both, with forgetting and adaptation."""
    return [
        (row, (row.mean_forgetting, row.adaptation))
        for row in arm_rows(run)
        if row.mean_forgetting is not None and row.adaptation is not None
    ]


@RUN_FIGURES.figure(
    title="Average loss against compute",
    caption="Down and to the left is better: a lower loss for less; a point stands at the cost of the "
    "update, and the tick at the end of its dotted line at the cost with the training of its base.",
    place="arms",
    when=lambda run: sum(row.average is not None for row in arm_rows(run)) > 1,
)
def compute(run: Run, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw the average loss over what an arm's update costs, and what it costs with its base.

    Args:
        run: the run.
        styles: the look of every arm.

    Source: paper Figure 1.
    """
    rows = [row for row in arm_rows(run) if row.average is not None]
    has_flops = all(row.update_flops > 0 for row in rows)
    costs = [
        (row.update_flops, row.total_flops) if has_flops else (row.update_tokens, row.total_tokens)
        for row in rows
    ]
    figure = go.Figure()
    for row, (update, total) in zip(rows, costs, strict=True):
        if total > update:
            figure.add_trace(
                go.Scatter(
                    x=[update, total],
                    y=[row.average, row.average],
                    mode="lines+markers",
                    name=figure_text(row.arm),
                    meta="with the training of its base",
                    line={"color": styles[row.arm].colour, "width": 1, "dash": "dot"},
                    marker={
                        "symbol": "line-ns-open",
                        "size": [0, 11],
                        "color": styles[row.arm].colour,
                    },
                    hovertemplate="with the training of its base: %{x:.3s}<extra></extra>",
                    showlegend=False,
                )
            )
    points = [(update, row.average or 0.0) for row, (update, _) in zip(rows, costs, strict=True)]
    _add_arms(figure, rows, points, styles)
    framed(figure, 430)
    unit = "training FLOPs" if has_flops else "training tokens"
    figure.update_xaxes(tokens_axis(f"{unit} of the update"))
    if has_flops:
        figure.update_xaxes(exponentformat="power")
    figure.update_yaxes(title={"text": "average loss, nats per token (less is better)"})
    leave_room(figure, points)
    dearest = max((total for _, total in costs), default=1.0)
    figure.update_xaxes(range=[0, 1.12 * dearest])
    return figure


def _add_arms(
    figure: go.Figure,
    rows: list[ArmRow],
    points: list[tuple[float, float]],
    styles: Mapping[str, ArmStyle],
) -> None:
    """Add one labelled point for each arm; references are hollow."""
    sides = label_places(points, [row.arm for row in rows])
    for row, (x, y), side in zip(rows, points, sides, strict=True):
        style = styles[row.arm]
        name = figure_text(row.arm)
        facts = (
            f"replay {share_text(row.replay_share)}, average {loss_text(row.average)}<br>"
            f"forgetting {change_text(row.mean_forgetting)}, adaptation {change_text(row.adaptation)}"
        )
        figure.add_trace(
            go.Scatter(
                x=[float(f"{x:.6g}")],
                y=[float(f"{y:.6g}")],
                name=name,
                text=[name],
                customdata=[facts],
                mode="markers+text",
                textposition=side,
                cliponaxis=False,
                marker={
                    "color": style.colour,
                    "symbol": style.symbol + ("-open" if _is_hollow(row) else ""),
                    "size": 12,
                    "line": {"width": 2 if _is_hollow(row) else 0, "color": style.colour},
                },
                hovertemplate="%{fullData.name}<br>%{customdata}<extra></extra>",
                showlegend=False,
            )
        )


def _is_hollow(row: ArmRow) -> bool:
    """Say whether an arm is there to compare with."""
    return row.is_reference or row.is_union


@RUN_FIGURES.figure(
    title="What was read",
    caption="Each bar is what a stage really read, hatched where it was replayed; the hatching should end "
    "at the red tick, the planned share.",
    place="data",
    when=lambda run: any(stage.steps_done for stage in run.stages.values()),
)
def mixture(run: Run, _styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw for each stage what it read: replayed and new sequences by dataset, and the planned replay.

    Args:
        run: the run.
    """
    audits = replay_audit(run)
    figure = go.Figure()
    named: set[str] = set()
    for place, audit in enumerate(audits):
        for dataset, kind, share in _shares(run, audit):
            number = run.record.datasets.index(dataset) if dataset in run.record.datasets else -1
            name = f"{figure_text(dataset)}, {kind}"
            figure.add_trace(
                go.Bar(
                    x=[float(f"{share:.6g}")],
                    y=[-place],
                    orientation="h",
                    width=0.42,
                    name=name,
                    meta=figure_text(stage_label(run, audit.folder), longest=60),
                    legendgroup=name,
                    showlegend=name not in named,
                    text=[share_text(share)] if share >= 0.04 else [""],
                    textposition="inside",
                    insidetextanchor="middle",
                    textangle=0,
                    insidetextfont={"color": "#111111"},
                    marker={
                        "color": shade(number),
                        "line": {"color": "#555555", "width": 0.5},
                        "pattern": {
                            "shape": "/" if kind == "replayed" else "",
                            "fillmode": "overlay",
                            "fgcolor": "#333333",
                            "size": 7,
                            "solidity": 0.12,
                        },
                    },
                    hovertemplate="%{fullData.name}: %{x:.2%}<extra></extra>",
                )
            )
            named.add(name)
        figure.add_annotation(
            text=figure_text(stage_label(run, audit.folder), longest=60)
            + ("" if audit.is_finished else ", unfinished"),
            x=0,
            y=-place,
            xanchor="left",
            yanchor="bottom",
            yshift=11,
            showarrow=False,
        )
    _mark_planned(figure, audits)
    framed(figure, 120 + 50 * len(audits))
    figure.update_layout(barmode="stack", uniformtext={"minsize": 9, "mode": "hide"})
    figure.update_xaxes(
        range=[0, 1], tickformat=".0%", dtick=0.25, title={"text": "share of the sequences read"}
    )
    figure.update_yaxes(visible=False, range=[0.3 - max(len(audits), 1), 0.75])
    return figure


def _shares(run: Run, audit: StageAudit) -> list[tuple[str, str, float]]:
    """Return dataset, kind and share of what a stage read, replay first."""
    total = sum(source.read_new + source.read_replayed for source in audit.sources) or 1
    shares: dict[tuple[str, str], int] = {}
    for kind in ("replayed", "new"):
        for source in audit.sources:
            dataset = dataset_of(source.source, run.record.datasets)
            key = (dataset, kind)
            shares[key] = shares.get(key, 0) + _sequences(source, kind)
    return [(dataset, kind, n / total) for (dataset, kind), n in shares.items() if n]


def _sequences(source: SourceAudit, kind: str) -> int:
    """Return the sequences read of a source, as new data or replayed."""
    return source.read_replayed if kind == "replayed" else source.read_new


def _mark_planned(figure: go.Figure, audits: list[StageAudit]) -> None:
    """Mark the planned replay share of every stage."""
    figure.add_trace(
        go.Scatter(
            x=[audit.planned_replay_share for audit in audits],
            y=[-place for place in range(len(audits))],
            name="planned replay",
            mode="markers",
            cliponaxis=False,
            marker={"symbol": "line-ns-open", "size": 24, "color": "#cc3311", "line": {"width": 3}},
            hovertemplate="planned replay: %{x:.2%}<extra></extra>",
        )
    )


@RUN_FIGURES.figure(
    title="Throughput",
    caption="Higher is faster; dips that line up with a high data wait are the input's fault.",
    place="speed",
    when=lambda run: any(stage.throughput for stage in run.stages.values()),
)
def throughput(run: Run, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw the training speed over the tokens of each arm, and the time spent waiting for data.

    Args:
        run: the run.
        styles: the look of every arm.
    """
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.09
    )
    named: set[str] = set()
    for folder, stage in run.stages.items():
        if not stage.throughput:
            continue
        speed = np.array([record.tokens_per_second for record in stage.throughput])
        wait = np.array(
            [r.data_wait_seconds / r.seconds if r.seconds else 0 for r in stage.throughput]
        )
        tokens = np.array(
            [stage.trained_steps(r.step) * stage.tokens_per_step for r in stage.throughput]
        )
        arm = owner(run, folder)
        name = "shared stages" if arm is None else figure_text(arm)
        style = stage_style(run, folder, styles)
        for row, values, what, text in (
            (1, speed, "tokens per second", "%{y:.4s} tokens/s"),
            (2, wait, "data wait", "waiting %{y:.1%}"),
        ):
            kept = kept_points(values)
            figure.add_trace(
                go.Scatter(
                    x=drawn(tokens_before(run, folder) + tokens[kept]),
                    y=drawn(values[kept]),
                    name=name,
                    legendgroup=name,
                    showlegend=row == 1 and name not in named,
                    meta=figure_text(f"{stage.record.name}, {what}"),
                    mode="lines+markers",
                    line={"color": style.colour, "width": 1.4},
                    marker={"symbol": style.symbol, "size": 6, "maxdisplayed": 9},
                    hovertemplate=f"%{{fullData.name}}<br>{TOKENS_HOVER}<br>{text}<extra></extra>",
                ),
                row,
                1,
            )
        named.add(name)
    framed(figure, 420)
    figure.update_yaxes(title={"text": "tokens/s"}, exponentformat="B", rangemode="tozero", row=1)
    figure.update_yaxes(
        title={"text": "data wait"}, tickformat=".2~%", rangemode="tozero", nticks=4, row=2
    )
    figure.update_xaxes(tokens_axis("tokens trained on, along the arm"), row=2, col=1)
    return figure
