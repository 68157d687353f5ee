"""The page of suites: one HTML file with every claim, what it rests on, and every arm.

It is made from results alone, and says the same for the same results, byte for byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewarm.report.html import Figure, document, packaged, points_limit
from rewarm.report.panel_plots import PANEL_FIGURES
from rewarm.report.panel_tables import Table, arm_table, seed_table
from rewarm.report.styles import ArmStyle, arm_styles
from rewarm.runs.files import write_bytes
from rewarm.suites.curves import CURVE_FIGURES
from rewarm.suites.forest import CLAIM_FIGURES
from rewarm.suites.orderings import ordering_table
from rewarm.suites.panels import LabelledArms, labelled_arms, panel
from rewarm.suites.results import SuiteResult
from rewarm.suites.suite import Suite
from rewarm.suites.tables import difference_table
from rewarm.suites.verdict import suite_sentence, suites_sentence


@dataclass(frozen=True, kw_only=True)
class PanelView:
    """Arms that are measured on the same datasets."""

    title: str
    """The settings that they are from."""
    figures: Sequence[Figure]
    """What is drawn of them."""
    arms: Table
    """Means over the seeds."""
    seeds: Table
    """Every seed."""
    curves: Sequence[Figure]
    """What is drawn of their training."""


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
    figures: Sequence[Figure]
    """What the claims rest on; nothing if none can be judged."""
    table: Table
    """The same in numbers."""
    panels: Sequence[PanelView]
    """The arms."""

    @property
    def all_figures(self) -> list[Figure]:
        """Return the figures of the claims, of the arms, and of their training."""
        of_arms = [f for panel in self.panels for f in (*panel.figures, *panel.curves)]
        return [*self.figures, *of_arms]


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
    views = [
        _view(f"suite{place}", suite, result)
        for place, (suite, result) in enumerate(found)
        if result is not None
    ]
    return document(
        packaged("rewarm.suites", "page.html.j2"),
        {
            "sentence": suites_sentence([view.result for view in views]),
            "orderings": ordering_table(found),
            "views": views,
            "waiting": [suite for suite, result in found if result is None],
        },
        longest_points=points_limit([figure for view in views for figure in view.all_figures]),
    )


def _view(anchor: str, suite: Suite, result: SuiteResult) -> SuiteView:
    """Collect all that the page says of one suite."""
    of_suite = labelled_arms(result)
    styles = arm_styles(list(dict.fromkeys(label for arms in of_suite for label in arms.seeds)))
    return SuiteView(
        anchor=anchor,
        suite=suite,
        result=result,
        sentence=suite_sentence(result),
        figures=CLAIM_FIGURES.drawn(anchor, result, styles)["claims"],
        table=difference_table(result),
        panels=[
            _panel_view(f"{anchor}-panel{place}", arms, styles)
            for place, arms in enumerate(of_suite)
        ],
    )


def _panel_view(anchor: str, arms: LabelledArms, styles: Mapping[str, ArmStyle]) -> PanelView:
    """Draw and tabulate arms that are measured on the same datasets."""
    shown = panel(arms)
    return PanelView(
        title=shown.title,
        figures=PANEL_FIGURES.drawn(anchor, shown, styles)["arms"],
        arms=arm_table(shown),
        seeds=seed_table(shown, "setting"),
        curves=CURVE_FIGURES.drawn(anchor, arms, styles)["curves"],
    )
