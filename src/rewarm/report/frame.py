"""What all figures have in common: the empty frame, whose a stage is, and where labels go.

Colours of text, grid and background are left to the page, which sets them for light and dark.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rewarm.report.curves import drawn
from rewarm.report.lineage import arms_of
from rewarm.report.loading import Run
from rewarm.report.styles import SHARED, ArmStyle
from rewarm.report.wording import printable

TOKENS_HOVER = "%{x:.4s} tokens"
_PLACES = ("top center", "bottom center", "middle right", "middle left")
_LETTER_WIDTH, _LABEL_HEIGHT = 0.017, 0.07
_OFFSETS = {
    "top center": (-0.5, 0.2),
    "bottom center": (-0.5, -1.2),
    "middle right": (0.1, -0.5),
    "middle left": (-1.1, -0.5),
}


def framed(figure: go.Figure, height_px: int) -> go.Figure:
    """Give a figure the common look.

    Args:
        figure: changed in place.
        height_px: height of the figure; the page adds the legend's, which depends on the width.
    """
    figure.update_layout(
        template=go.layout.Template(),
        height=height_px,
        margin={"l": 58, "r": 28, "t": 42, "b": 56},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        hoverlabel={"namelength": -1},
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0.0,
            "yanchor": "bottom",
            "x": 0.0,
            "xanchor": "left",
        },
    )
    figure.update_xaxes(zeroline=False, showline=True, ticks="outside", ticklen=4)
    figure.update_yaxes(zeroline=False, showline=False, automargin=True)
    return figure


def tokens_axis(title: str) -> dict[str, Any]:
    """Return the settings of an axis that counts tokens (1k, 1M, 1B)."""
    return {"title": {"text": title}, "exponentformat": "B", "rangemode": "tozero"}


def title_panels(figure: go.Figure, titles: Sequence[str]) -> None:
    """Name panels that stand above each other at their upper left, and the axes of the learning rate below.

    Args:
        figure: changed in place; it has one more panel than there are titles.
        titles: of the panels above the learning rate.
    """
    for row, title in enumerate([*titles, "learning rate"], start=1):
        figure.add_annotation(
            text=title,
            xref="paper",
            yref=f"y{row if row > 1 else ''} domain",
            x=0,
            y=1,
            xanchor="left",
            yanchor="bottom",
            yshift=2,
            showarrow=False,
        )
    last = len(titles) + 1
    figure.update_yaxes(tickformat="~e", rangemode="tozero", nticks=4, row=last, col=1)
    figure.update_xaxes(tokens_axis("tokens trained on, along the arm"), row=last, col=1)


def padded(values: list[float]) -> list[float] | None:
    """Return a range with a little room about the values; None if there are none."""
    if not values:
        return None
    room = 0.06 * (max(values) - min(values)) or 0.1
    return drawn(np.array([min(values) - room, max(values) + room]))


def x_view(start: float, end: float) -> list[float]:
    """Return a range of tokens with a little room at both ends."""
    room = 0.02 * (end - start)
    return [start - room, end + room]


def owner(run: Run, folder: str) -> str | None:
    """Return the arm that a stage is drawn as: the first that ends with it, or the only one through it."""
    for arm, folders in run.record.arms.items():
        if folders[-1] == folder:
            return arm
    through = arms_of(run, folder)
    return through[0] if len(through) == 1 else None


def stage_style(run: Run, folder: str, styles: Mapping[str, ArmStyle]) -> ArmStyle:
    """Return the look of a stage: that of its arm, or the neutral one of a shared stage."""
    arm = owner(run, folder)
    return SHARED if arm is None else styles[arm]


def stage_label(run: Run, folder: str) -> str:
    """Name a stage so that no other of the run is meant: with its arm, or its key, where it needs one."""
    name = run.stages[folder].record.name
    arm = owner(run, folder)
    if arm is not None:
        return printable(name if arm == name else f"{name} ({arm})")
    namesakes = [
        f for f, s in run.stages.items() if s.record.name == name and owner(run, f) is None
    ]
    return printable(name if len(namesakes) == 1 else folder)


def label_places(
    points: Sequence[tuple[float, float]],
    labels: Sequence[str],
    obstacles: Sequence[tuple[float, float]] = (),
) -> list[str]:
    """Choose for the label of each point a side where it covers no earlier label and no point.

    Widths are those of a narrow screen, so that wide ones have room. Where no side is free, the one that
    covers least is taken.

    Args:
        points: in data units.
        labels: as drawn.
        obstacles: what else is drawn, without a label.

    >>> label_places([(0.0, 0.0), (0.0, 0.01), (1.0, 1.0)], ["a", "b", "c"])
    ['bottom center', 'top center', 'top center']
    """
    scaled = list(
        zip(
            *(_scaled([point[axis] for point in (*points, *obstacles)]) for axis in (0, 1)),
            strict=True,
        )
    )
    dots = [(x - 0.01, y - 0.02, x + 0.01, y + 0.02) for x, y in scaled]
    boxes: list[tuple[float, float, float, float]] = []
    chosen: list[str] = []
    for place, ((x, y), label) in enumerate(zip(scaled[: len(points)], labels, strict=True)):
        others = [*boxes, *dots[:place], *dots[place + 1 :]]
        candidates = {side: _box(x, y, len(label), side) for side in _PLACES}
        side = min(_PLACES, key=lambda s: sum(_overlap(candidates[s], other) for other in others))
        chosen.append(side)
        boxes.append(candidates[side])
    return chosen


def leave_room(figure: go.Figure, points: Sequence[tuple[float, float]]) -> None:
    """Widen the axes so that labels beside the outer points fit.

    Args:
        figure: changed in place.
        points: in data units.
    """
    for axis, room in ((0, 0.22), (1, 0.16)):
        values = [point[axis] for point in points]
        if not values:
            continue
        extent = max(values) - min(values) or max(abs(max(values)), 0.01) * 0.2
        span = drawn(np.array([min(values) - room * extent, max(values) + room * extent]))
        if axis == 0:
            figure.update_xaxes(range=span)
        else:
            figure.update_yaxes(range=span)


def _scaled(values: list[float]) -> list[float]:
    """Map values to 0 to 1."""
    low = min(values, default=0.0)
    extent = max(values, default=0.0) - low or 1.0
    return [(value - low) / extent for value in values]


def _box(x: float, y: float, length: int, side: str) -> tuple[float, float, float, float]:
    """Return the corners of a label beside a point."""
    width = _LETTER_WIDTH * length
    left, low = x + _OFFSETS[side][0] * width, y + _OFFSETS[side][1] * _LABEL_HEIGHT
    return left, low, left + width, low + _LABEL_HEIGHT


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Return the area that two boxes share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
