"""Sweeps: one run of a campaign for each combination of values."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rewarm.errors import CampaignError

_LONGEST_NAME = 64


@dataclass(frozen=True)
class Axis:
    """A value of the campaign, and what it is to be."""

    path: str
    """Such as `stages.update.replay`."""
    values: tuple[str, ...]
    """The values, as `--set` takes them."""


@dataclass(frozen=True)
class Point:
    """One run of a sweep."""

    name: str
    """Name of its campaign."""
    settings: tuple[str, ...]
    """Its `--set` overrides, the name included."""


def parse_axis(text: str) -> Axis:
    """Read one `--over path=value,value`; commas within brackets, braces and quotes do not separate.

    Raises:
        CampaignError: there is no `=`, or a value is empty or stands twice.

    >>> parse_axis("stages.update.replay=0%,5%")
    Axis(path='stages.update.replay', values=('0%', '5%'))
    >>> parse_axis("optimizer.betas=[0.9, 0.95],[0.9, 0.99]").values
    ('[0.9, 0.95]', '[0.9, 0.99]')
    """
    path, equals, rest = text.partition("=")
    values = tuple(value.strip() for value in _split(rest))
    if not equals or not path.strip() or "" in values:
        raise CampaignError(
            f"--over {text}: write it as path=value,value, for example stages.update.replay=0%,5%,25%"
        )
    if len(set(values)) < len(values):
        raise CampaignError(f"--over {text}: a value stands twice, so two runs would be the same")
    return Axis(path.strip(), values)


def points(campaign: str, axes: Sequence[Axis]) -> list[Point]:
    """Return every combination, the last axis fastest.

    Args:
        campaign: name of the campaign that is varied.
        axes: at least one.

    Raises:
        CampaignError: an axis stands twice, or names come out alike or too long.

    >>> [p.name for p in points("news", [parse_axis("seed=1,2"), parse_axis("stages.update.replay=5%")])]
    ['news-seed-1-replay-5', 'news-seed-2-replay-5']
    """
    paths = [axis.path for axis in axes]
    if len(set(paths)) < len(paths):
        raise CampaignError(
            f"--over names {max(paths, key=paths.count)} twice; give all its values at once"
        )
    found = [
        _point(campaign, axes, values) for values in itertools.product(*(a.values for a in axes))
    ]
    names = [point.name for point in found]
    if len(set(names)) < len(names):
        raise CampaignError(
            f"--over: two runs would both be called {max(names, key=names.count)}; give values that differ in "
            "letters and digits"
        )
    return found


def _point(campaign: str, axes: Sequence[Axis], values: Sequence[str]) -> Point:
    words = [f"{a.path.rpartition('.')[2]}-{v}" for a, v in zip(axes, values, strict=True)]
    name = re.sub(r"[^a-z0-9._-]+", "-", "-".join([campaign, *words]).lower()).strip("-")
    name = re.sub(r"-{2,}", "-", name)
    if len(name) > _LONGEST_NAME:
        raise CampaignError(
            f"--over: the run {name} would have a name of {len(name)} characters, and {_LONGEST_NAME} are "
            "allowed; give the campaign a shorter name, or sweep over fewer values at once"
        )
    changes = [f"{a.path}={v}" for a, v in zip(axes, values, strict=True)]
    return Point(name, (f"name={name}", *changes))


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no bracket, brace or quote."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return parts
