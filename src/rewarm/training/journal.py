"""Writing the records of a stage while it runs; of several ranks the first one writes, the others pass."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel

from rewarm.runs.files import append_record, keep_lines_until, write_record
from rewarm.runs.folder import StageFolder
from rewarm.runs.records import EventKind, EventRecord


def now() -> str:
    """Return the time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The records of one stage."""

    folder: StageFolder
    """Where they are."""
    writes: bool
    """Whether this rank is the one that writes."""

    def append(self, path: Path, record: BaseModel) -> None:
        """Add a line."""
        if self.writes:
            append_record(path, record)

    def write(self, path: Path, record: BaseModel) -> None:
        """Write a record whole."""
        if self.writes:
            write_record(path, record)

    def event(self, step: int, kind: EventKind, message: str) -> None:
        """Write down what happened."""
        self.append(
            self.folder.events, EventRecord(at=now(), step=step, kind=kind, message=message)
        )

    def cut_back(self, step: int) -> int:
        """Remove the records of steps after `step`, which will be done again with the same numbers.

        Events stay: they happened.

        Returns:
            How many steps had been recorded beyond it.
        """
        if not self.writes:
            return 0
        cut = keep_lines_until(self.folder.metrics, step)
        keep_lines_until(self.folder.evals, step)
        keep_lines_until(self.folder.throughput, step)
        return cut

    def sync(self) -> None:
        """Make what was appended durable before a checkpoint says that it happened."""
        for path in (self.folder.metrics, self.folder.evals, self.folder.throughput):
            if self.writes and path.exists():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
