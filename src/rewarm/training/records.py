"""Writing the records of a stage while it runs."""

from datetime import UTC, datetime
from typing import Literal

from rewarm.runs.files import append_record, keep_lines_until
from rewarm.runs.folder import StageFolder
from rewarm.runs.records import EventRecord


def now() -> str:
    """Return the time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record_event(
    folder: StageFolder,
    step: int,
    kind: Literal["started", "resumed", "interrupted", "damaged", "warning", "finished"],
    message: str,
) -> None:
    """Write an event."""
    append_record(folder.events, EventRecord(at=now(), step=step, kind=kind, message=message))


def cut_back(folder: StageFolder, step: int) -> int:
    """Remove the records of steps after `step`, which will be done again with the same numbers.

    Events stay: they happened.

    Returns:
        How many steps had been recorded beyond it.
    """
    cut = keep_lines_until(folder.metrics, step)
    keep_lines_until(folder.evals, step)
    keep_lines_until(folder.throughput, step)
    return cut
