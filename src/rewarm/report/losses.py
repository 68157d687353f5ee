"""The main figure: every dataset's validation loss over the tokens of each arm, the learning rate below.

A stage that several arms share is drawn once, in grey. An untrained model's loss would flatten all else, so
the first view leaves out the first tenth of the stages that start from scratch; a double click shows all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rewarm.report.curves import drawn, kept_points
from rewarm.report.frame import (
    TOKENS_HOVER,
    framed,
    owner,
    padded,
    stage_label,
    stage_style,
    title_panels,
    x_view,
)
from rewarm.report.gallery import RUN_FIGURES
from rewarm.report.lineage import dataset_of, tokens_before
from rewarm.report.loading import Run, StageRun
from rewarm.report.styles import ArmStyle, dash
from rewarm.report.wording import figure_text
from rewarm.runs.steps import steps_text

_LEFT_OUT_SHARE = 0.1
_PANEL_PX, _LR_PX, _REST_PX = 230, 150, 190


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """The validations of one dataset in one stage."""

    stage: StageRun
    dataset: str
    tokens: list[float]
    loss: list[float]
    step: list[int]


@RUN_FIGURES.figure(
    title="Losses and learning rate",
    caption="Read each column downwards: after the dotted line where a stage starts, a rising curve on old "
    "data is forgetting, a falling one on new data is adaptation, and the learning rate at the bottom tells "
    "when they happen.",
    place="arms",
    note="Grey stages are shared by several arms. A click in the legend hides or shows an arm, or the "
    "training loss; a double click in a panel shows its whole range.",
    when=lambda run: any(stage.evals or len(stage.steps.step) for stage in run.stages.values()),
)
def losses(run: Run, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw validation losses over tokens, one panel for each dataset, and the learning rate below.

    Args:
        run: the run, finished or not.
        styles: the look of every arm.
    """
    names = run.record.datasets
    curves = [_curve(run, stage, name) for stage in run.stages.values() for name in names]
    heights = [_PANEL_PX] * len(names) + [_LR_PX]
    figure = make_subplots(
        rows=len(heights),
        cols=1,
        shared_xaxes=True,
        row_heights=heights,
        vertical_spacing=40 / sum(heights),
    )
    named: set[str] = set()
    for curve in curves:
        if curve.tokens:
            figure.add_trace(
                _loss_trace(run, curve, styles, named), names.index(curve.dataset) + 1, 1
            )
    for stage in run.stages.values():
        if len(stage.steps.step):
            figure.add_trace(_lr_trace(run, stage, styles), len(heights), 1)
            figure.add_trace(_training_trace(run, stage, styles, named), _main_panel(run, stage), 1)
        if stage.left_out:
            figure.add_trace(_left_out_trace(run, stage, named), len(heights), 1)
    framed(figure, sum(heights) + _REST_PX)
    _title_panels(figure, run, curves)
    _mark_boundaries(figure, run)
    _offer_views(figure, run, curves)
    return figure


def _curve(run: Run, stage: StageRun, dataset: str) -> _Curve:
    """Collect the validations of one dataset in one stage, thinned if they are very many."""
    records = [record for record in stage.evals if record.dataset == dataset]
    kept = kept_points(np.array([record.loss for record in records], dtype=np.float64))
    start_tokens = tokens_before(run, stage.record.folder)
    return _Curve(
        stage=stage,
        dataset=dataset,
        tokens=[float(start_tokens + records[i].tokens) for i in kept],
        loss=drawn(np.array([records[i].loss for i in kept])),
        step=[records[i].step for i in kept],
    )


def _loss_trace(
    run: Run, curve: _Curve, styles: Mapping[str, ArmStyle], named: set[str]
) -> go.Scatter:
    """Return one validation curve; the first of an arm stands in the legend for all."""
    folder = curve.stage.record.folder
    style = stage_style(run, folder, styles)
    arm = owner(run, folder)
    group = "shared" if arm is None else f"arm {arm}"
    is_first = group not in named
    named.add(group)
    return go.Scatter(
        x=curve.tokens,
        y=curve.loss,
        customdata=curve.step,
        name="shared stages" if arm is None else figure_text(arm),
        meta=figure_text(
            f"{curve.stage.record.name}, validation loss on {curve.dataset}", longest=80
        ),
        legendgroup=figure_text(group, longest=200),
        showlegend=is_first,
        mode="lines+markers",
        line={
            "color": style.colour,
            "width": 1.8,
            "dash": dash(run.record.datasets.index(curve.dataset)),
        },
        marker={"symbol": style.symbol, "size": 7, "maxdisplayed": 9},
        hovertemplate=f"%{{fullData.name}}<br>{TOKENS_HOVER}, step %{{customdata}} of the stage"
        "<br>loss %{y:.4f}<extra></extra>",
    )


def _training_trace(
    run: Run, stage: StageRun, styles: Mapping[str, ArmStyle], named: set[str]
) -> go.Scatter:
    """Return the training loss of a stage, hidden until it is asked for in the legend."""
    kept = kept_points(stage.steps.loss)
    is_first = "training" not in named
    named.add("training")
    return go.Scatter(
        x=drawn(tokens_before(run, stage.record.folder) + stage.steps.tokens[kept]),
        y=drawn(stage.steps.loss[kept]),
        name="training loss",
        meta=figure_text(stage_label(run, stage.record.folder)),
        legendgroup="training",
        showlegend=is_first,
        visible="legendonly",
        mode="lines",
        opacity=0.45,
        line={"color": stage_style(run, stage.record.folder, styles).colour, "width": 1},
        hovertemplate=f"training loss<br>{TOKENS_HOVER}<br>%{{y:.4f}}<extra></extra>",
    )


def _lr_trace(run: Run, stage: StageRun, styles: Mapping[str, ArmStyle]) -> go.Scatter:
    """Return the learning rate that a stage used."""
    kept = kept_points(stage.steps.lr)
    arm = owner(run, stage.record.folder)
    return go.Scatter(
        x=drawn(tokens_before(run, stage.record.folder) + stage.steps.tokens[kept]),
        y=drawn(stage.steps.lr[kept]),
        name="shared stages" if arm is None else figure_text(arm),
        meta=figure_text(f"{stage.record.name}, learning rate"),
        legendgroup=figure_text("shared" if arm is None else f"arm {arm}", longest=200),
        showlegend=False,
        mode="lines",
        line={"color": stage_style(run, stage.record.folder, styles).colour, "width": 1.8},
        hovertemplate=f"%{{fullData.name}}<br>{TOKENS_HOVER}<br>learning rate %{{y:.3e}}<extra></extra>",
    )


def _left_out_trace(run: Run, stage: StageRun, named: set[str]) -> go.Scatter:
    """Return a cross at the foot of the learning rate wherever a stage left steps out.

    They take no room along the axis, which counts tokens trained on.
    """
    places: dict[int, list[int]] = {}
    for step in stage.left_out:
        places.setdefault(stage.trained_steps(step), []).append(step)
    start_tokens = tokens_before(run, stage.record.folder)
    is_first = "left out" not in named
    named.add("left out")
    return go.Scatter(
        x=drawn(np.array([start_tokens + n * stage.tokens_per_step for n in places])),
        y=[0.0] * len(places),
        customdata=[steps_text(steps) for steps in places.values()],
        name="steps left out",
        legendgroup="left out",
        showlegend=is_first,
        mode="markers",
        cliponaxis=False,
        marker={"symbol": "x", "size": 8, "color": "#cc3311"},
        hovertemplate=f"%{{customdata}} left out<br>{TOKENS_HOVER}<extra></extra>",
    )


def _main_panel(run: Run, stage: StageRun) -> int:
    """Return the panel of the dataset that makes up most of a stage's new data."""
    names = run.record.datasets
    weights = dict.fromkeys(names, 0.0)
    for source, share in stage.record.shares.items():
        name = dataset_of(source, names)
        weights[name] = weights.get(name, 0.0) + share
    return names.index(max(names, key=lambda name: weights[name])) + 1


def _title_panels(figure: go.Figure, run: Run, curves: list[_Curve]) -> None:
    """Name every panel at its upper left, and set the first view."""
    titles = [
        f"{figure_text(name)} (D{place}): validation loss, nats per token"
        for place, name in enumerate(run.record.datasets)
    ]
    title_panels(figure, titles)
    for row, name in enumerate(run.record.datasets, start=1):
        figure.update_yaxes(range=_whole_view(curves, name), row=row, col=1)


def _mark_boundaries(figure: go.Figure, run: Run) -> None:
    """Draw a line where stages start, with their names above."""
    starts: dict[int, list[str]] = {}
    for folder, stage in run.stages.items():
        names = starts.setdefault(tokens_before(run, folder), [])
        if stage.record.name not in names:
            names.append(stage.record.name)
    for tokens, names in starts.items():
        if tokens == 0:
            continue
        figure.add_shape(
            type="line",
            xref="x",
            yref="paper",
            x0=tokens,
            x1=tokens,
            y0=0,
            y1=1,
            line={"color": "#888888", "width": 1, "dash": "dot"},
        )
        figure.add_annotation(
            text="▸ " + figure_text(", ".join(names)),
            xref="x",
            yref="paper",
            x=tokens,
            y=1,
            xanchor="left",
            yanchor="bottom",
            yshift=18,
            showarrow=False,
        )


def _whole_view(curves: list[_Curve], dataset: str) -> list[float] | None:
    """Return the first view's losses of a dataset: all but the start of a training from scratch."""
    return padded(
        [
            loss
            for curve in curves
            if curve.dataset == dataset
            for loss, step in zip(curve.loss, curve.step, strict=True)
            if curve.stage.record.parent is not None
            or step >= _LEFT_OUT_SHARE * curve.stage.steps_done
        ]
    )


def _last_view(run: Run, curves: list[_Curve], dataset: str, start: float) -> list[float] | None:
    """Return the losses to show from a number of tokens on; of new data, not its steep start."""
    values: list[float] = []
    for curve in curves:
        if curve.dataset != dataset:
            continue
        shares = curve.stage.record.shares
        is_new = dataset in {dataset_of(source, run.record.datasets) for source in shares}
        skipped_steps = _LEFT_OUT_SHARE * curve.stage.steps_done if is_new else 0
        for tokens, loss, step in zip(curve.tokens, curve.loss, curve.step, strict=True):
            is_after = tokens > start or (tokens == start and step == 0)
            if is_after and step >= skipped_steps:
                values.append(loss)
    return padded(values)


def _offer_views(figure: go.Figure, run: Run, curves: list[_Curve]) -> None:
    """Leave two views for the page's buttons: the whole line, and what follows the last boundary."""
    names = run.record.datasets
    ends = [tokens for curve in curves for tokens in curve.tokens]
    start = max((tokens_before(run, folder) for folder in run.stages), default=0)
    if not ends or start == 0 or max(ends) <= start:
        return
    whole: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for row, name in enumerate([*names, None], start=1):
        axis = f"axis{row if row > 1 else ''}.range"
        whole["x" + axis] = x_view(0, max(ends))
        last["x" + axis] = x_view(start, max(ends))
        if name is not None:
            whole["y" + axis] = _whole_view(curves, name)
            last["y" + axis] = _last_view(run, curves, name, start)
    figure.update_xaxes(range=whole["xaxis.range"])
    views = [
        {"label": "whole run", "ranges": whole},
        {"label": "since the last stage boundary", "ranges": last},
    ]
    figure.update_layout(meta={"views": views})
