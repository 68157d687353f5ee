"""The report of runs: one HTML file that says the same for the same run, byte for byte."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from rewarm.errors import CampaignError
from rewarm.report import sections
from rewarm.report.audit import StageAudit, replay_audit
from rewarm.report.evaluations import score_tables
from rewarm.report.frame import stage_label
from rewarm.report.html import Figure, document, fragment, packaged, points_limit
from rewarm.report.loading import Run, read_run
from rewarm.report.merging import Comparison, comparisons, run_names
from rewarm.report.overlap import overlap_caption, overlap_columns, overlap_rows
from rewarm.report.panel_plots import PANEL_FIGURES
from rewarm.report.panel_tables import Table, comparison_table, seed_table
from rewarm.report.panel_verdict import panel_verdict, runs_left
from rewarm.report.panels import SeededArm
from rewarm.report.plots import RUN_FIGURES
from rewarm.report.styles import ArmStyle, arm_styles
from rewarm.report.tables import Headline, headline, trained_tokens
from rewarm.report.verdict import verdict
from rewarm.runs.files import write_bytes

PAGE_BYTES = 6_000_000
"""No page of several runs is larger."""


@dataclass(frozen=True, kw_only=True)
class AuditView:
    """The audit of one stage with its label."""

    label: str
    """Name of the stage."""
    audit: StageAudit
    """The audit."""


@dataclass(frozen=True, kw_only=True)
class OverlapView:
    """How much of the validation text is training text."""

    caption: str
    """What the columns mean."""
    columns: list[str]
    """Titles."""
    rows: list[list[str]]
    """Cells."""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """All that the page says of one run, in the order in which it is shown."""

    run: Run
    """The run."""
    anchor: str
    """Prefix of the identifiers."""
    verdict: str
    """What happened."""
    trained_tokens: int
    """Tokens trained on so far, in all stages."""
    table: Headline
    """The arms."""
    figures: Mapping[str, Sequence[Figure]]
    """The figures that have something to show, by place."""
    audits: list[AuditView]
    """Planned against read."""
    overlap: OverlapView | None
    """How much of the validation text is training text; None if it was not measured."""
    stages: list[sections.StageLine]
    """The stages."""
    scores: Mapping[str, Table]
    """What `rewarm eval` found, as tables by title."""
    prompts: list[sections.Prompt]
    """Samples."""
    left_out: list[str]
    """Which steps were left out, by stage."""
    events: list[sections.Event]
    """Events."""
    gate: list[sections.GateLine]
    """The limits of the gate."""
    provenance: list[tuple[str, str]]
    """What decides the numbers."""
    unfinished: list[str]
    """What is still to be done."""

    @property
    def all_figures(self) -> list[Figure]:
        """Return the figures of all places."""
        return [figure for figures in self.figures.values() for figure in figures]


@dataclass(frozen=True, kw_only=True)
class PanelView:
    """All that the page says of arms of several runs that are measured on the same datasets."""

    title: str
    """The datasets."""
    arms: Sequence[SeededArm]
    """The arms."""
    datasets: Sequence[str]
    """D0, D1, …"""
    verdict: str
    """What the seeds say."""
    means: Table
    """Means over the seeds, with intervals."""
    figures: Sequence[Figure]
    """What is drawn of them."""
    seeds: Table
    """Every seed."""

    @property
    def all_figures(self) -> Sequence[Figure]:
        """Return the figures."""
        return self.figures


def write_report(run_paths: Sequence[Path], out: Path) -> Path:
    """Write the report of one or several runs as one HTML file.

    Args:
        run_paths: run folders, in the order in which they are shown.
        out: the file to write; it appears whole or not at all.

    Returns:
        `out`.

    Raises:
        CampaignError: no run is given, or a folder is not that of a run.
        CheckpointError: a record is damaged.
        StorageError: the disk is full.
    """
    if not run_paths:
        raise CampaignError(
            "A report needs at least one run folder, and none is given. Give one, such as runs/<name>."
        )
    runs = [read_run(path) for path in run_paths]
    write_bytes(out, page(runs).encode())
    return out


def page(runs: Sequence[Run]) -> str:
    """Return the HTML of the report.

    Args:
        runs: in the order in which they are shown; an arm that occurs in several looks the same in all.
            Those that a page of `PAGE_BYTES` has no room for are compared with the others and named, but
            not shown one by one.
    """
    found = comparisons(runs) if len(runs) > 1 else []
    styles = _styles(runs, found)
    panels = [_panel_view(f"panel{place}", each, styles) for place, each in enumerate(found)]
    views = [_view(run, place, styles) for place, run in enumerate(runs)]
    longest_points = points_limit([f for shown in (*panels, *views) for f in shown.all_figures])
    articles = [
        fragment(
            packaged("rewarm.report", "run.html.j2"), {"view": view}, longest_points=longest_points
        )
        for view in views
    ]

    def with_articles(count: int) -> str:
        values = {
            "title": ", ".join(dict.fromkeys(run.record.name for run in runs)),
            "names": run_names(runs),
            "panels": panels,
            "left": runs_left(runs),
            "articles": articles[:count],
        }
        return document(
            packaged("rewarm.report", "page.html.j2"), values, longest_points=longest_points
        )

    room_bytes = PAGE_BYTES - len(with_articles(0).encode())
    ends = accumulate(len(article.encode()) + 1 for article in articles)
    return with_articles(max(1, sum(end <= room_bytes for end in ends)))


def _styles(runs: Sequence[Run], found: Sequence[Comparison]) -> dict[str, ArmStyle]:
    """Return the look of every arm, by its name in a run and by its label in a comparison."""
    label_of = {name: arm.label for each in found for arm in each.panel.arms for name in arm.names}
    arms = [arm for run in runs for arm in run.record.arms]
    labels = dict.fromkeys([*label_of.values(), *(label_of.get(arm, arm) for arm in arms)])
    styles = arm_styles(list(labels))
    return styles | {arm: styles[label_of.get(arm, arm)] for arm in arms}


def _panel_view(anchor: str, found: Comparison, styles: dict[str, ArmStyle]) -> PanelView:
    """Collect all that the page says of the arms of several runs."""
    panel = found.panel
    return PanelView(
        title=panel.title,
        arms=panel.arms,
        datasets=panel.datasets,
        verdict=panel_verdict(found),
        means=comparison_table(panel),
        figures=PANEL_FIGURES.drawn(anchor, panel, styles)["arms"],
        seeds=seed_table(panel, "run"),
    )


def _view(run: Run, place: int, styles: dict[str, ArmStyle]) -> RunView:
    """Collect all that the page says of one run."""
    anchor = f"run{place}"
    return RunView(
        run=run,
        anchor=anchor,
        verdict=verdict(run),
        trained_tokens=trained_tokens(run),
        table=headline(run),
        figures=RUN_FIGURES.drawn(anchor, run, styles),
        audits=[AuditView(label=stage_label(run, a.folder), audit=a) for a in replay_audit(run)],
        overlap=_overlap(run),
        stages=sections.stage_lines(run),
        scores=score_tables(run),
        prompts=sections.prompts(run),
        left_out=sections.left_out(run),
        events=sections.events(run),
        gate=sections.gate_lines(run),
        provenance=sections.provenance(run),
        unfinished=sections.unfinished(run),
    )


def _overlap(run: Run) -> OverlapView | None:
    """Return the table of the overlap, if there is one."""
    if run.overlap is None:
        return None
    return OverlapView(
        caption=overlap_caption(run.overlap),
        columns=overlap_columns(run.overlap),
        rows=overlap_rows(run.overlap),
    )
