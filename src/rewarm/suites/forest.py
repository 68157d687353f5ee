"""The figure of what the claims of a suite rest on: a forest plot, with the bounds that are asked for.

A row is a label and a track below it. Heights are in pixels, so that a label has the same room at any width.
Labels come from result files, so every one passes `figure_text`; see `rewarm.report.plots`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rewarm.report.curves import drawn
from rewarm.report.frame import framed
from rewarm.report.gallery import Gallery
from rewarm.report.panel_plots import interval_bar
from rewarm.report.styles import SHARED_COLOUR, ArmStyle
from rewarm.report.wording import figure_text
from rewarm.suites.results import ClaimResult, DifferenceResult, SuiteResult, Verdict
from rewarm.suites.tables import asked_text, interval_text

CLAIM_FIGURES = Gallery[SuiteResult]("claims")
"""The figures of a suite, between its claims and the table of their differences."""
_LETTERS, _LINE_PX = 50, 18
"""What a line of text may hold on a phone, and how high it is."""
_TRACK_PX, _MEAN_PX, _SEEDS_PX = 30, 11, 22
"""Height of a track, and where in it the mean and the seeds are."""
_SPACE_PX, _GAP_PX = 8, 44
"""Room below a row, and between two claims."""
_ALLOWED, _BOUND = "rgba(0,153,136,0.14)", "#009988"


@dataclass(frozen=True)
class _Mark:
    """How a verdict is drawn; it can be told without its colour."""

    symbol: str
    colour: str
    sign: str


_MARKS: Mapping[Verdict, _Mark] = {
    "held": _Mark("circle", "#0077bb", "✓"),
    "not held": _Mark("x", "#cc3311", "✗"),
    "undecided": _Mark("diamond-open", "#888888", "?"),
}


@dataclass(frozen=True)
class _Panel:
    """One claim: its text, the labels of its rows, and where each of them ends."""

    claim: ClaimResult
    title: list[str]
    labels: list[list[str]]

    @property
    def tops_px(self) -> list[int]:
        """Return where each row begins, and where the last one ends, from the top."""
        tops = [_LINE_PX * len(self.title) + _SPACE_PX]
        for label in self.labels:
            tops.append(tops[-1] + _LINE_PX * len(label) + _TRACK_PX + _SPACE_PX)
        return tops


@CLAIM_FIGURES.figure(
    title="What the claims rest on",
    caption="A claim asks for differences between arms of the same seed. It held where each of its intervals "
    "lies in the shaded range, and did not where one lies outside; nats per token, where a label says "
    "nothing else.",
    place="claims",
    when=lambda result: bool(result.claims),
)
def differences(result: SuiteResult, _styles: Mapping[str, ArmStyle]) -> go.Figure:
    """Draw what each claim rests on: means with their 95 % intervals, seeds, and the bounds asked for.

    Claims stand below each other, each with an axis of its own: one is about hundredths of a nat, another
    about whole ones.

    Args:
        result: of a suite with at least one claim that can be judged.
    """
    panels = [_panel(number, claim) for number, claim in enumerate(result.claims, start=1)]
    heights = [panel.tops_px[-1] for panel in panels]
    inner_px = sum(heights) + _GAP_PX * (len(panels) - 1)
    figure = make_subplots(
        rows=len(panels), cols=1, row_heights=heights, vertical_spacing=_GAP_PX / inner_px
    )
    named: set[str] = set()
    for number, panel in enumerate(panels, start=1):
        _add_panel(figure, number, panel, named)
    framed(figure, inner_px + 90)
    figure.update_layout(margin={"l": 14, "r": 14, "t": 30, "b": 60})
    figure.update_xaxes(showgrid=False, tickformat=".4~f")
    return figure


def _panel(number: int, claim: ClaimResult) -> _Panel:
    return _Panel(
        claim=claim,
        title=wrap(f"{number}. {claim.text}", _LETTERS),
        labels=[
            wrap(f"{_MARKS[each.verdict].sign} {each.label}", _LETTERS)
            for each in claim.differences
        ],
    )


def _add_panel(figure: go.Figure, number: int, panel: _Panel, named: set[str]) -> None:
    """Draw one claim: its text and its rows; `named` are the traces that the legend has already."""
    low, high = _span(panel.claim)
    _add_text(figure, number, panel.title, 0, weight=600)
    for each, label, top in zip(
        panel.claim.differences, panel.labels, panel.tops_px[:-1], strict=True
    ):
        _add_text(figure, number, label, top, weight=400)
        track = top + _LINE_PX * len(label)
        figure.add_shape(
            type="rect",
            x0=low if each.at_least is None else each.at_least,
            x1=high if each.at_most is None else each.at_most,
            y0=track,
            y1=track + _TRACK_PX,
            fillcolor=_ALLOWED,
            line={"width": 0},
            layer="below",
            row=number,
            col=1,
        )
        for trace in _traces(each, track):
            name = str(trace.name)
            trace.update(showlegend=name not in named, legendgroup=name)
            named.add(name)
            figure.add_trace(trace, number, 1)
    figure.update_yaxes(visible=False, range=[panel.tops_px[-1], 0], row=number)
    figure.update_xaxes(range=[low, high], row=number)


def _traces(difference: DifferenceResult, track: int) -> list[go.Scatter]:
    """Return the bounds, the seeds and the mean of a difference."""
    mark = _MARKS[difference.verdict]
    bounds = [b for b in (difference.at_least, difference.at_most) if b is not None]
    half = None if difference.high is None else difference.high - difference.mean
    facts = f"{interval_text(difference)}<br>asked {asked_text(difference)}: {difference.verdict}"
    return [
        go.Scatter(
            x=[x for bound in bounds for x in (bound, bound, None)],
            y=[track, track + _TRACK_PX, None] * len(bounds),
            name="bound asked for; what is allowed is shaded",
            mode="lines",
            line={"color": _BOUND, "width": 2},
            hoverinfo="skip",
        ),
        go.Scatter(
            x=drawn(np.array(list(difference.by_seed.values()))),
            y=[track + _SEEDS_PX] * len(difference.by_seed),
            customdata=[figure_text(seed) for seed in difference.by_seed],
            name="a seed",
            mode="markers",
            marker={"color": SHARED_COLOUR, "size": 5},
            hovertemplate="seed %{customdata}: %{x:+.4f}<extra></extra>",
        ),
        go.Scatter(
            x=drawn(np.array([difference.mean])),
            y=[track + _MEAN_PX],
            error_x=None if half is None else interval_bar(half, mark.colour),
            customdata=[facts],
            name=f"{difference.verdict}: mean, 95 % interval",
            mode="markers",
            marker={
                "color": mark.colour,
                "symbol": mark.symbol,
                "size": 10,
                "line": {"width": 2 if "open" in mark.symbol else 0, "color": mark.colour},
            },
            hovertemplate="%{x:+.4f}<br>%{customdata}<extra></extra>",
        ),
    ]


def _add_text(figure: go.Figure, number: int, lines: list[str], top: int, *, weight: int) -> None:
    """Write lines of text from `top` downwards."""
    figure.add_annotation(
        text="<br>".join(figure_text(line, longest=_LETTERS) for line in lines),
        x=0,
        xref="x domain",
        xanchor="left",
        y=top,
        yanchor="top",
        align="left",
        showarrow=False,
        borderpad=0,
        font={"weight": weight},
        row=number,
        col=1,
    )


def _span(claim: ClaimResult) -> list[float]:
    """Return a range that holds seeds, intervals and bounds, with room beside them."""
    found = [
        value
        for each in claim.differences
        for value in (each.low, each.high, each.at_least, each.at_most, *each.by_seed.values())
        if value is not None
    ]
    room = 0.08 * (max(found) - min(found)) or 0.01
    return drawn(np.array([min(found) - room, max(found) + room]))
