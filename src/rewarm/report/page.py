"""The report of runs: one HTML file that says the same for the same run, byte for byte."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewarm.errors import CampaignError
from rewarm.report import sections
from rewarm.report.arms import arm_rows
from rewarm.report.audit import StageAudit, replay_audit
from rewarm.report.frame import stage_label
from rewarm.report.html import Figure, document, packaged
from rewarm.report.loading import Run, read_run
from rewarm.report.overlap import overlap_caption, overlap_columns, overlap_rows
from rewarm.report.plots import RUN_FIGURES
from rewarm.report.styles import ArmStyle, arm_styles
from rewarm.report.tables import Headline, headline, trained_tokens
from rewarm.report.verdict import verdict
from rewarm.runs.files import write_bytes


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
        figures=RUN_FIGURES.drawn(anchor, run, styles),
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
