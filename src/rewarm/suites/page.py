"""The page of suites: one HTML file with every claim, what it rests on, and every arm.

It is made from results alone, and says the same for the same results, byte for byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rewarm.report.html import Figure, document, drawn_figure, packaged
from rewarm.report.styles import ArmStyle, arm_styles
from rewarm.runs.files import write_bytes
from rewarm.suites import plots
from rewarm.suites.forest import differences
from rewarm.suites.panels import Panel, panels
from rewarm.suites.results import SuiteResult
from rewarm.suites.suite import Suite
from rewarm.suites.tables import Table, arm_table, difference_table, seed_table
from rewarm.suites.verdict import suite_sentence, suites_sentence

_DIFFERENCES = (
    "A claim asks for differences between arms of the same seed. It held where each of its intervals lies "
    "in the shaded range, and did not where one lies outside; nats per token, where a label says nothing else."
)
_ARMS = "A large point is the mean of an arm over its seeds, the small ones are the seeds; {} is better."
_COMPUTE = (
    "As in the paper's Figure 1: lower is better, further left is cheaper, given what an update starts "
    "from; bars are 95 % intervals over the seeds."
)


@dataclass(frozen=True, kw_only=True)
class PanelView:
    """Arms that are measured on the same datasets."""

    title: str
    """The settings that they are from."""
    figures: Sequence[Figure]
    """Their losses, and their costs if they differ."""
    arms: Table
    """Means over the seeds."""
    seeds: Table
    """Every seed."""


@dataclass(frozen=True, kw_only=True)
class SuiteView:
    """All that the page says of one suite that has something finished."""

    anchor: str
    """Prefix of the identifiers."""
    suite: Suite
    """What was asked."""
    result: SuiteResult
    """What came of it."""
    sentence: str
    """The verdict."""
    differences: Figure | None
    """The figure of what the claims rest on; None if none can be judged."""
    table: Table
    """The same in numbers."""
    panels: Sequence[PanelView]
    """The arms."""


def write_page(found: Sequence[tuple[Suite, SuiteResult | None]], out: Path) -> Path:
    """Write the page of suites.

    Args:
        found: the suites, in the order in which they are shown; None where nothing is finished.
        out: the file to write; it appears whole or not at all.

    Returns:
        `out`.

    Raises:
        StorageError: the disk is full or refuses to write.
    """
    write_bytes(out, page(found).encode())
    return out


def page(found: Sequence[tuple[Suite, SuiteResult | None]]) -> str:
    """Return the HTML of the page; see `write_page`."""
    results = [result for _, result in found if result is not None]
    return document(
        packaged("rewarm.suites", "page.html.j2"),
        {
            "sentence": suites_sentence(results),
            "views": [
                _view(f"suite{place}", suite, result)
                for place, (suite, result) in enumerate(found)
                if result is not None
            ],
            "waiting": [suite for suite, result in found if result is None],
        },
    )


def _view(anchor: str, suite: Suite, result: SuiteResult) -> SuiteView:
    """Collect all that the page says of one suite."""
    of_suite = panels(result)
    styles = arm_styles(list(dict.fromkeys(arm.label for each in of_suite for arm in each.arms)))
    forest = None
    if result.claims:
        forest = drawn_figure(
            f"{anchor}-differences", "What the claims rest on", _DIFFERENCES, differences(result)
        )
    return SuiteView(
        anchor=anchor,
        suite=suite,
        result=result,
        sentence=suite_sentence(result),
        differences=forest,
        table=difference_table(result),
        panels=[
            _panel_view(f"{anchor}-panel{place}", panel, styles)
            for place, panel in enumerate(of_suite)
        ],
    )


def _panel_view(anchor: str, panel: Panel, styles: dict[str, ArmStyle]) -> PanelView:
    """Draw and tabulate the arms of a panel."""
    better = "down and to the left" if panel.new else "to the left"
    figures = [
        drawn_figure(
            f"{anchor}-arms",
            "What is kept and what is learnt" if panel.new else "Final loss",
            _ARMS.format(better),
            plots.arms(panel, styles),
        )
    ]
    if len(set(panel.costs)) > 1:
        figures.append(
            drawn_figure(
                f"{anchor}-compute",
                "Average loss against compute",
                _COMPUTE,
                plots.compute(panel, styles),
            )
        )
    return PanelView(
        title=panel.title, figures=figures, arms=arm_table(panel), seeds=seed_table(panel)
    )
