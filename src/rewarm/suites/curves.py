"""The paper's curves: losses on old and new data over tokens, the learning rate below, arms over their seeds.

A line is the mean over the seeds, its band reaches from the lowest seed to the highest. A stage that several
arms share is drawn once, in grey.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rewarm.report.curves import drawn
from rewarm.report.frame import TOKENS_HOVER, framed, padded, title_panels, x_view
from rewarm.report.gallery import Gallery
from rewarm.report.styles import SHARED, ArmStyle
from rewarm.report.wording import figure_text
from rewarm.suites.panels import LabelledArms
from rewarm.suites.results import Points, StageCurve

CURVE_FIGURES = Gallery[LabelledArms]("curves")
"""The figures of arms along their training, below what they came to."""
_PANEL_PX, _LR_PX, _REST_PX, _GAP_PX = 230, 130, 190, 40
_START_SHARE = 0.1
"""Part of a training from scratch that is out of view: an untrained model's loss would flatten the rest."""


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """One stage over its seeds."""

    seeds: dict[str, StageCurve] = field(default_factory=dict[str, StageCurve])
    """What was measured, by the folder of each seed."""
    arms: list[str] = field(default_factory=list[str])
    """The arms that go through it."""

    @property
    def curves(self) -> Sequence[StageCurve]:
        """Return what was measured, seed by seed."""
        return list(self.seeds.values())

    @property
    def span_tokens(self) -> tuple[float, float]:
        """Return the tokens that its model had seen where it starts, and where it ends."""
        points = [tokens for losses in self.curves[0].losses.values() for tokens, _ in losses]
        return min(points), max(points)

    def losses(self, dataset: str) -> list[Points]:
        """Return the losses on a dataset, seed by seed."""
        return [curve.losses.get(dataset, []) for curve in self.curves]


@CURVE_FIGURES.figure(
    title="Losses and learning rate",
    caption="Read each column downwards: a rising curve on old data is forgetting, a falling one on new data "
    "is adaptation, and the learning rate at the bottom tells when they happen.",
    place="curves",
    note="Lines are means over the seeds, bands reach from the lowest seed to the highest. Grey stages are "
    "shared by several arms. A click in the legend hides or shows an arm.",
    when=lambda arms: bool(arms.curves),
)
def losses(arms: LabelledArms, styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw the validation losses of every arm over the tokens of its training, one panel for each dataset.

    Args:
        arms: of a suite, measured on the same datasets.
        styles: the look of every arm.

    Source: paper Figures 2 to 5 and 7 to 10.
    """
    stages = _stages(arms)
    heights = [_PANEL_PX] * len(arms.datasets) + [_LR_PX]
    figure = make_subplots(
        rows=len(heights),
        cols=1,
        shared_xaxes=True,
        row_heights=heights,
        vertical_spacing=_GAP_PX / sum(heights),
    )
    named: set[str] = set()
    for stage in stages:
        style = styles[stage.arms[0]] if len(stage.arms) == 1 else SHARED
        name = figure_text(stage.arms[0]) if len(stage.arms) == 1 else "shared stages"
        rows = [*(stage.losses(dataset) for dataset in arms.datasets), [c.lr for c in stage.curves]]
        for row, seeds in enumerate(rows, start=1):
            for trace in _traces(seeds, style):
                trace.update(name=name, legendgroup=name, showlegend=False)
                figure.add_trace(trace, row, 1)
        if name not in named:
            figure.data[-1].update(showlegend=True)
            named.add(name)
    framed(figure, sum(heights) + _REST_PX)
    title_panels(
        figure, [f"{figure_text(name)}: validation loss, nats per token" for name in arms.datasets]
    )
    _offer_views(figure, stages, arms.datasets)
    return figure


def _stages(arms: LabelledArms) -> list[_Stage]:
    """Return the stages of all arms; those that several go through, if only in some seeds, once."""
    found: list[_Stage] = []
    for label, seeds in arms.seeds.items():
        for folders in zip(*(seed.stages for seed in seeds), strict=True):
            stage = next((each for each in found if each.seeds.keys() & set(folders)), None)
            if stage is None:
                found.append(stage := _Stage())
            stage.seeds.update({folder: arms.curves[folder] for folder in folders})
            stage.arms.append(label)
    return found


def _traces(seeds: Sequence[Points], style: ArmStyle) -> list[go.Scatter]:
    """Return the band that several seeds lie in, if they differ, and their mean."""
    at: dict[float, list[float]] = defaultdict(list)
    for points in seeds:
        for tokens, value in points:
            at[tokens].append(value)
    common = {tokens: values for tokens, values in at.items() if len(values) == len(seeds)}
    if not common:
        return []
    tokens = drawn(np.array(list(common)))
    values = np.array(list(common.values()))
    low, high = values.min(axis=1), values.max(axis=1)
    band = go.Scatter(
        x=[*tokens, *reversed(tokens)],
        y=[*drawn(high), *reversed(drawn(low))],
        mode="none",
        fill="toself",
        fillcolor=style.colour,
        opacity=0.2,
        hoverinfo="skip",
    )
    line = go.Scatter(
        x=tokens,
        y=drawn(values.mean(axis=1)),
        mode="lines",
        line={"color": style.colour, "width": 1.8},
        hovertemplate=f"%{{fullData.name}}<br>{TOKENS_HOVER}<br>%{{y:.4g}}<extra></extra>",
    )
    return [band, line] if (low < high).any() else [line]


def _offer_views(figure: go.Figure, stages: Sequence[_Stage], datasets: Sequence[str]) -> None:
    """Set the first view, and leave it and the updates alone for the page's buttons."""
    end = max(stage.span_tokens[1] for stage in stages)
    starts = [stage.span_tokens[0] for stage in stages if len(stage.arms) < _most_arms(stages)]
    start = min((tokens for tokens in starts if tokens > 0), default=0.0)
    views = [
        {"label": label, "ranges": _ranges(stages, datasets, first, end)}
        for label, first in (("whole training", 0.0), ("the updates", start))
    ]
    for axis, shown in views[0]["ranges"].items():
        figure.layout[axis.removesuffix(".range")].range = shown
    if 0 < start < end:
        figure.update_layout(meta={"views": views})


def _most_arms(stages: Sequence[_Stage]) -> int:
    return max(2, *(len(stage.arms) for stage in stages))


def _ranges(
    stages: Sequence[_Stage], datasets: Sequence[str], start: float, end: float
) -> dict[str, Any]:
    """Return the ranges of all axes for what lies between two numbers of tokens."""
    ranges: dict[str, Any] = {}
    for row, dataset in enumerate([*datasets, None], start=1):
        axis = f"axis{row if row > 1 else ''}.range"
        ranges["x" + axis] = x_view(start, end)
        if dataset is not None:
            ranges["y" + axis] = padded(
                [
                    value
                    for stage in stages
                    if stage.span_tokens[1] > start
                    for points in stage.losses(dataset)
                    for tokens, value in points[_steep_start(stage, points) :]
                    if tokens >= start
                ]
            )
    return ranges


def _steep_start(stage: _Stage, points: Points) -> int:
    """Return how many of the first points would flatten the rest: of training from scratch, or of a fall."""
    first, last = stage.span_tokens
    if first == 0:
        return sum(tokens < _START_SHARE * last for tokens, _ in points)
    return int(bool(points) and points[0][1] == max(value for _, value in points))
