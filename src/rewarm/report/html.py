"""One HTML file that opens without a network: what the page of runs and the page of suites have in common.

What a page shows is treated as other people's text. Three walls keep it from running: the template escapes
it, figures hold it as JSON in which no tag can end, and the page's policy names its two scripts by hash and
forbids every other one, and every connection.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rewarm.report.curves import LONGEST_POINTS, kept_points, shared_limit
from rewarm.report.wording import change_text, count_text, loss_text, share_text

_PARTS = ("frame.html.j2", "figure.html.j2", "table.html.j2")
"""Templates that every page may extend or import."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a page."""

    id: str
    """Identifier in the page."""
    title: str
    """Title."""
    caption: str
    """How to read it, in one sentence."""
    drawing: go.Figure
    """What is drawn, without numpy arrays in it."""
    note: str = ""
    """Small print below it."""

    @cached_property
    def content(self) -> dict[str, Any]:
        """Plotly's data and layout."""
        return self.drawing.to_plotly_json()

    @property
    def height_px(self) -> int:
        """Height to reserve."""
        return self.content["layout"]["height"]

    @property
    def curve_points(self) -> list[int]:
        """Points of every curve."""
        return [len(trace["y"]) for trace in self.content["data"] if _is_curve(trace)]

    def json(self, longest_points: int) -> Markup:
        """Return what is drawn, safe inside a script element; curves with about so many points at most."""
        data = [_thinned(trace, longest_points) for trace in self.content["data"]]
        return inert_json({"data": data, "layout": self.content["layout"]})

    def small_print(self, longest_points: int) -> str:
        """Return the note, and the rule by which curves were made shorter, if any was."""
        if max(self.curve_points, default=0) <= longest_points:
            return self.note
        rule = (
            f"A curve of more than {longest_points:,} points is cut into equal runs of points, and the lowest "
            "and the highest point of each run are drawn."
        )
        return f"{self.note} {rule}".strip()


def points_limit(figures: Sequence[Figure]) -> int:
    """Return how many points each curve may have if a page has these figures; see `shared_limit`."""
    return shared_limit([points for figure in figures for points in figure.curve_points])


def document(
    template: str, values: Mapping[str, Any], *, longest_points: int = LONGEST_POINTS
) -> str:
    """Return a page: a template that extends `frame.html.j2`, with style, scripts and policy.

    Args:
        template: text of the template.
        values: what the template shows; all of it is escaped but `Markup`.
        longest_points: points that a curve may have, about.
    """
    scripts = [get_plotlyjs(), packaged("rewarm.report", "page.js")]
    frame = {
        "style": Markup(packaged("rewarm.report", "page.css")),
        "scripts": [Markup(script) for script in scripts],
        "script_policy": " ".join(_source_hash(script) for script in scripts),
    }
    return fragment(template, {**values, **frame}, longest_points=longest_points)


def fragment(
    template: str, values: Mapping[str, Any], *, longest_points: int = LONGEST_POINTS
) -> Markup:
    """Return a part of a page; see `document`."""
    environment = Environment(
        loader=DictLoader({name: packaged("rewarm.report", name) for name in _PARTS}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count_text,
        "loss": loss_text,
        "change": change_text,
        "share": share_text,
    }
    environment.globals["longest_points"] = longest_points
    return Markup(environment.from_string(template).render(values))


def inert_json(content: Mapping[str, Any]) -> Markup:
    """Return a value as JSON that is inert inside a script element.

    Args:
        content: a value without numpy arrays in it.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def _is_curve(trace: Mapping[str, Any]) -> bool:
    """Say whether a trace is a line of numbers without gaps, of which points can be left out."""
    return "lines" in trace.get("mode", "") and None not in trace["y"]


def _thinned(trace: dict[str, Any], longest_points: int) -> dict[str, Any]:
    """Return a trace with about so many points at most, whatever goes with each point included."""
    if not _is_curve(trace) or len(trace["y"]) <= longest_points:
        return trace
    kept = kept_points(np.array(trace["y"], dtype=np.float64), longest_points)
    return trace | {
        key: [trace[key][place] for place in kept]
        for key in ("x", "y", "customdata")
        if key in trace
    }


def packaged(package: str, name: str) -> str:
    """Read a file that lies in a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _source_hash(script: str) -> str:
    """Return how a Content-Security-Policy names an inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
