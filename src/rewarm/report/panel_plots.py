"""The figures of arms over their seeds, one function for each: what they keep and learn, and what they cost.

Labels come from files of other people, so every one passes `figure_text`; see `rewarm.report.plots`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from rewarm.evaluation.statistics import Estimate, mean
from rewarm.report.arms import pareto_front
from rewarm.report.curves import drawn
from rewarm.report.frame import framed, label_places, leave_room, tokens_axis
from rewarm.report.gallery import Gallery
from rewarm.report.panels import Panel, SeededArm
from rewarm.report.styles import SHARED_COLOUR, ArmStyle
from rewarm.report.wording import figure_text, list_text

PANEL_FIGURES = Gallery[Panel]("arms")
"""The figures of a panel, beside each other above its table."""
_SEEDS_CAPTION = (
    "A large point is the mean of an arm over its seeds, the small ones are the seeds; "
)
_HEIGHT_PX = 420
_Seeds = tuple[Sequence[float], Sequence[float]]
"""Across and upwards, for each seed of an arm."""


@PANEL_FIGURES.figure(
    title="Average loss against compute",
    caption="As in the paper's Figure 1: lower is better, further left is cheaper, given what an update "
    "starts from; bars are 95 % intervals over the seeds.",
    place="arms",
    when=lambda panel: len(set(panel.costs)) > 1,
)
def compute(panel: Panel, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw the average loss over what an update costs, with its 95 % interval over the seeds.

    Args:
        panel: arms that differ in what they cost.
        styles: the look of every arm.

    Source: paper Figure 1.
    """
    figure = go.Figure()
    points = [
        ([cost] * len(arm.seeds), arm.losses(panel.datasets))
        for arm, cost in zip(panel.arms, panel.costs, strict=True)
    ]
    _add_arms(figure, panel.arms, points, styles, interval_of="y")
    framed(figure, _HEIGHT_PX)
    leave_room(figure, [*_seeds(points), *_interval_ends(points)])
    unit = "training FLOPs" if panel.has_flops else "training tokens"
    figure.update_xaxes(
        tokens_axis(f"{unit} of the update"), range=[0, 1.3 * max(panel.costs)], nticks=6
    )
    if panel.has_flops:
        figure.update_xaxes(exponentformat="power")
    figure.update_yaxes(title={"text": "average loss, nats per token"})
    return figure


@PANEL_FIGURES.figure(
    title="Final loss",
    caption=_SEEDS_CAPTION + "to the left is better; bars are 95 % intervals over the seeds.",
    place="arms",
    when=lambda panel: not panel.new or len(set(panel.costs)) == 1,
)
def final_loss(panel: Panel, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw the mean of the final losses, the arms below each other.

    Args:
        panel: any arms.
        styles: the look of every arm.
    """
    figure = go.Figure()
    for place, arm in enumerate(panel.arms):
        point = (arm.losses(panel.datasets), [float(place)] * len(arm.seeds))
        _add_arm(figure, arm, point, styles[arm.label], interval_of="x")
    framed(figure, 110 + 44 * len(panel.arms))
    figure.update_xaxes(title={"text": _loss_on(panel.datasets)})
    figure.update_yaxes(
        tickvals=list(range(len(panel.arms))),
        ticktext=[figure_text(arm.label) for arm in panel.arms],
        range=[len(panel.arms) - 0.5, -0.5],
    )
    return figure


@PANEL_FIGURES.figure(
    title="Forgetting against adaptation",
    caption=_SEEDS_CAPTION
    + "up and to the left is better, the dashed line joins the updated arms whose means no other beats, "
    "and hollow points are references.",
    place="arms",
    when=lambda panel: len(panel.traded) > 1,
)
def frontier(panel: Panel, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw adaptation over forgetting, and the Pareto front of the means of the updated arms.

    Args:
        panel: arms of which both are known.
        styles: the look of every arm.
    """
    figure = go.Figure()
    points = [
        (
            arm.values(lambda seed: seed.forgetting) or [],
            arm.values(lambda seed: seed.adaptation) or [],
        )
        for arm in panel.traded
    ]
    updated = [
        (mean(xs).value, mean(ys).value)
        for arm, (xs, ys) in zip(panel.traded, points, strict=True)
        if not _is_hollow(arm)
    ]
    figure.add_trace(front_line([updated[place] for place in pareto_front(updated)]))
    _add_arms(figure, panel.traded, points, styles)
    framed(figure, _HEIGHT_PX)
    leave_room(figure, _seeds(points))
    figure.update_xaxes(title={"text": "forgetting on old data, nats per token"})
    figure.update_yaxes(title={"text": "adaptation to new data, nats per token"})
    return figure


@PANEL_FIGURES.figure(
    title="What is kept and what is learnt",
    caption=_SEEDS_CAPTION + "down and to the left is better.",
    place="arms",
    when=lambda panel: bool(panel.new) and len(panel.traded) <= 1,
)
def kept_and_learnt(panel: Panel, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw the final loss on new data over that on D0.

    Args:
        panel: arms that are measured on new data too.
        styles: the look of every arm.
    """
    figure = go.Figure()
    points = [(arm.losses(panel.old), arm.losses(panel.new)) for arm in panel.arms]
    _add_arms(figure, panel.arms, points, styles)
    framed(figure, _HEIGHT_PX)
    leave_room(figure, _seeds(points))
    figure.update_xaxes(title={"text": _loss_on(panel.old)})
    figure.update_yaxes(title={"text": _loss_on(panel.new)})
    return figure


def front_line(points: Sequence[tuple[float, float]]) -> go.Scatter:
    """Return the dashed line that joins the points of a Pareto front."""
    return go.Scatter(
        x=drawn(np.array([x for x, _ in points])),
        y=drawn(np.array([y for _, y in points])),
        name="Pareto front",
        mode="lines",
        line={"color": SHARED_COLOUR, "width": 1.2, "dash": "dash", "shape": "hv"},
        hoverinfo="skip",
        showlegend=False,
    )


def interval_bar(half_width: float, colour: str) -> dict[str, Any]:
    """Return the bar of a 95 % interval around a point."""
    array = drawn(np.array([half_width]))
    return {"type": "data", "array": array, "color": colour, "thickness": 2, "width": 5}


def _add_arms(
    figure: go.Figure,
    arms: Sequence[SeededArm],
    points: Sequence[_Seeds],
    styles: Mapping[str, ArmStyle],
    interval_of: Literal["x", "y"] | None = None,
) -> None:
    """Add every arm with its label beside its mean."""
    means = [(mean(xs).value, mean(ys).value) for xs, ys in points]
    obstacles = [*_seeds(points), *(_interval_ends(points) if interval_of == "y" else ())]
    sides = label_places(means, [arm.label for arm in arms], obstacles)
    for arm, point, side in zip(arms, points, sides, strict=True):
        _add_arm(figure, arm, point, styles[arm.label], side=side, interval_of=interval_of)


def _add_arm(
    figure: go.Figure,
    arm: SeededArm,
    point: _Seeds,
    style: ArmStyle,
    *,
    side: str | None = None,
    interval_of: Literal["x", "y"] | None = None,
) -> None:
    """Add the seeds of an arm, small, and their mean, large."""
    name = figure_text(arm.label)
    symbol = style.symbol + ("-open" if _is_hollow(arm) else "")
    figure.add_trace(
        go.Scatter(
            x=drawn(np.array(point[0])),
            y=drawn(np.array(point[1])),
            name=name,
            meta="seeds",
            customdata=[seed.seed for seed in arm.seeds],
            mode="markers",
            marker={"color": style.colour, "symbol": symbol, "size": 6, "opacity": 0.55},
            hovertemplate="%{fullData.name}, seed %{customdata}<br>%{x:.4s}, %{y:.4f}<extra></extra>",
            showlegend=False,
        )
    )
    x, y = (mean(values) for values in point)
    figure.add_trace(
        go.Scatter(
            x=drawn(np.array([x.value])),
            y=drawn(np.array([y.value])),
            error_x=_bar(x, style) if interval_of == "x" else None,
            error_y=_bar(y, style) if interval_of == "y" else None,
            name=name,
            meta="mean over the seeds",
            text=[name],
            mode="markers+text" if side else "markers",
            textposition=side,
            cliponaxis=False,
            marker={
                "color": style.colour,
                "symbol": symbol,
                "size": 12,
                "line": {"width": 2 if _is_hollow(arm) else 0, "color": style.colour},
            },
            hovertemplate="%{fullData.name}, mean<br>%{x:.4s}, %{y:.4f}<extra></extra>",
            showlegend=False,
        )
    )


def _is_hollow(arm: SeededArm) -> bool:
    """Say whether an arm is there to compare with."""
    return arm.is_reference or arm.is_union


def _bar(estimate: Estimate, style: ArmStyle) -> dict[str, Any] | None:
    """Return the interval of a mean; None for one seed."""
    return (
        None if estimate.count < 2 else interval_bar(estimate.high - estimate.value, style.colour)
    )


def _interval_ends(points: Sequence[_Seeds]) -> list[tuple[float, float]]:
    """Return where the intervals of the second coordinate end; one seed has none."""
    estimates = [(xs[0], mean(ys)) for xs, ys in points if len(ys) > 1]
    return [(x, y) for x, estimate in estimates for y in (estimate.low, estimate.high)]


def _seeds(points: Sequence[_Seeds]) -> list[tuple[float, float]]:
    return [seed for xs, ys in points for seed in zip(xs, ys, strict=True)]


def _loss_on(datasets: Sequence[str]) -> str:
    names = figure_text(list_text(list(datasets)), longest=60)
    return f"{'mean ' if len(datasets) > 1 else ''}loss on {names}, nats per token"
