"""What the text of a split came to: a small file beside the tokens, for people and other programs.

Nothing depends on it. It is written before the manifest, so a finished store has one; stores made
by versions before it have none.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rewarm.data.files import read_plain_file, remedy
from rewarm.data.rejects import Rejects
from rewarm.errors import DataError
from rewarm.storage import write_whole

REPORT = "report.json"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The rows that were left out for one reason."""

    rows: int
    """How many."""
    places: tuple[str, ...]
    """Where the first of them are."""


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """Counts of one split."""

    rows: int
    """Rows read, those of other domains or of the other side of a split too; blank lines are none."""
    documents: int
    """Documents encoded."""
    text_bytes: int
    """Size of their text in UTF-8."""
    tokens: int
    """Their tokens, end-of-text ids included."""
    left_out: Mapping[str, LeftOut]
    """Rows that cannot be used, by reason."""

    @property
    def num_left_out(self) -> int:
        """Rows that were left out for whatever reason."""
        return sum(left.rows for left in self.left_out.values())

    @classmethod
    def of(cls, rejects: Rejects, *, documents: int, tokens: int, text_bytes: int) -> Self:
        """Put together what was counted while reading and while encoding."""
        left_out = {
            reason: LeftOut(rows=rows, places=tuple(rejects.places[reason]))
            for reason, rows in rejects.counts.items()
        }
        return cls(
            rows=rejects.rows,
            documents=documents,
            text_bytes=text_bytes,
            tokens=tokens,
            left_out=left_out,
        )

    def left_out_lines(self) -> list[str]:
        """Say which rows were left out, one line a reason."""
        return [
            f"{left.rows:,} of {self.rows:,} rows left out: {reason}"
            f" ({', '.join(left.places)}{', …' if left.rows > len(left.places) else ''})"
            for reason, left in self.left_out.items()
        ]


def write_report(folder: Path, report: SplitReport) -> None:
    """Write the report of a split.

    Raises:
        StorageError: the disk is full or refuses to write.
    """
    content = asdict(report) | {"bytes_per_token": report.text_bytes / max(report.tokens, 1)}
    write_whole(folder / REPORT, json.dumps(content, indent=1).encode() + b"\n")


def read_report(folder: Path) -> SplitReport | None:
    """Return the report of a split; None if it was prepared by a version that wrote none.

    Raises:
        DataError: it is damaged.
    """
    path = folder / REPORT
    if not path.exists():
        return None
    raw = read_plain_file(path)
    try:
        content: dict[str, Any] = json.loads(raw)
        del content["bytes_per_token"]
        left_out = {
            reason: LeftOut(rows=left["rows"], places=tuple(left["places"]))
            for reason, left in content.pop("left_out").items()
        }
        return SplitReport(left_out=left_out, **content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is no report of a split ({error}). {remedy(folder)}") from error
