"""The report of runs: one HTML file that says the same for the same run, byte for byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from rewarm.errors import CampaignError
from rewarm.report import plots, sections
from rewarm.report.arms import arm_rows
from rewarm.report.audit import StageAudit, replay_audit
from rewarm.report.curves import LONGEST_POINTS
from rewarm.report.frame import stage_label
from rewarm.report.html import Figure, document, drawn_figure, packaged
from rewarm.report.loading import Run, read_run
from rewarm.report.overlap import overlap_caption, overlap_columns, overlap_rows
from rewarm.report.styles import ArmStyle, arm_styles
from rewarm.report.tables import Headline, headline, trained_tokens
from rewarm.report.verdict import verdict
from rewarm.runs.files import write_bytes

_CAPTIONS = {
    "losses": "Read each column downwards: after the dotted line where a stage starts, a rising curve on "
    "old data is forgetting, a falling one on new data is adaptation, and the learning rate at the bottom "
    "tells when they happen.",
    "frontier": "Up and to the left is better: more learnt, less forgotten; the dashed line joins the "
    "updated arms that no other beats, and hollow points are references.",
    "compute": "Down and to the left is better: a lower loss for less; a point stands at the cost of the "
    "update, and the tick at the end of its dotted line at the cost with the training of its base.",
    "mixture": "Each bar is what a stage really read, hatched where it was replayed; the hatching should "
    "end at the red tick, the planned share.",
    "throughput": "Higher is faster; dips that line up with a high data wait are the input's fault.",
}
_TITLES = {
    "losses": "Losses and learning rate",
    "frontier": "Forgetting against adaptation",
    "compute": "Average loss against compute",
    "mixture": "What was read",
    "throughput": "Throughput",
}
_NOTES = {
    "losses": "Grey stages are shared by several arms. A click in the legend hides or shows an arm, or the "
    "training loss; a double click in a panel shows its whole range. A curve of more than "
    f"{LONGEST_POINTS:,} points is cut into equal runs of points, and the lowest and the highest point of "
    "each run are drawn."
}


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
    figures: dict[str, Figure]
    """The figures that have something to show, by name."""
    audits: list[AuditView]
    """Planned against read."""
    overlap: OverlapView | None
    """How much of the validation text is training text; None if it was not measured."""
    stages: list[sections.StageLine]
    """The stages."""
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
    """
    styles = arm_styles(list(dict.fromkeys(arm for run in runs for arm in run.record.arms)))
    return document(
        packaged("rewarm.report", "page.html.j2"),
        {
            "views": [_view(run, place, styles) for place, run in enumerate(runs)],
            "rows": {place: arm_rows(run) for place, run in enumerate(runs)},
        },
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
        figures=_figures(run, anchor, styles),
        audits=[AuditView(label=stage_label(run, a.folder), audit=a) for a in replay_audit(run)],
        overlap=_overlap(run),
        stages=sections.stage_lines(run),
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


def _figures(run: Run, anchor: str, styles: dict[str, ArmStyle]) -> dict[str, Figure]:
    """Draw the figures that have something to show."""
    rows = arm_rows(run)
    stages = run.stages.values()
    drawn: dict[str, go.Figure] = {}
    if any(stage.evals or len(stage.steps.step) for stage in stages):
        drawn["losses"] = plots.losses(run, styles)
    if sum(row.mean_forgetting is not None and row.adaptation is not None for row in rows) > 1:
        drawn["frontier"] = plots.frontier(run, styles)
    if sum(row.average is not None for row in rows) > 1:
        drawn["compute"] = plots.compute(run, styles)
    if any(stage.steps_done for stage in stages):
        drawn["mixture"] = plots.mixture(run)
    if any(stage.throughput for stage in stages):
        drawn["throughput"] = plots.throughput(run, styles)
    return {
        name: drawn_figure(
            f"{anchor}-{name}", _TITLES[name], _CAPTIONS[name], figure, _NOTES.get(name, "")
        )
        for name, figure in drawn.items()
    }
