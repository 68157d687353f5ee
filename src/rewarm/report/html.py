"""One HTML file that opens without a network: what the page of runs and the page of suites have in common.

What a page shows is treated as other people's text. Three walls keep it from running: the template escapes
it, figures hold it as JSON in which no tag can end, and the page's policy names its two scripts by hash and
forbids every other one, and every connection.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rewarm.report.wording import change_text, count_text, loss_text, share_text

_PARTS = ("frame.html.j2", "figure.html.j2")
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
    height_px: int
    """Height to reserve."""
    json: Markup
    """Plotly's data and layout, safe inside a script element."""
    note: str = ""
    """Small print below it."""


def document(template: str, values: Mapping[str, Any]) -> str:
    """Return a page: a template that extends `frame.html.j2`, with style, scripts and policy.

    Args:
        template: text of the template.
        values: what the template shows; all of it is escaped but `Markup`.
    """
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
    scripts = [get_plotlyjs(), packaged("rewarm.report", "page.js")]
    return environment.from_string(template).render(
        values,
        style=Markup(packaged("rewarm.report", "page.css")),
        scripts=[Markup(script) for script in scripts],
        script_policy=" ".join(_source_hash(script) for script in scripts),
    )


def drawn_figure(id: str, title: str, caption: str, figure: go.Figure, note: str = "") -> Figure:
    """Return a figure as a page holds it; see `Figure`."""
    return Figure(
        id=id,
        title=title,
        caption=caption,
        height_px=figure.to_plotly_json()["layout"]["height"],
        json=figure_json(figure),
        note=note,
    )


def figure_json(figure: go.Figure) -> Markup:
    """Return a figure as JSON that is inert inside a script element.

    Args:
        figure: a figure without numpy arrays in it.
    """
    content = figure.to_plotly_json()
    text = json.dumps(
        {"data": content["data"], "layout": content["layout"]},
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


def packaged(package: str, name: str) -> str:
    """Read a file that lies in a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _source_hash(script: str) -> str:
    """Return how a Content-Security-Policy names an inline script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
