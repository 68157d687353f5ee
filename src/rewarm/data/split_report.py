"""What the text of a split came to: a small file beside the tokens, for people and other programs.

The tokens do not depend on it; whether too many rows were left out does. It is written before the manifest,
so a finished store has one; stores made by versions before it have none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rewarm.data.files import map_plain_file
from rewarm.data.manifest import MANIFEST, remedy, sealed, unsealed
from rewarm.data.rejects import NUM_PLACES, Rejects
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
    encoder: str
    """What encoded them; the ids do not depend on it."""
    why_not_faster: str | None
    """Why the fast encoder was not used, if it was looked at; else None."""
    left_out: Mapping[str, LeftOut]
    """Rows that cannot be used, by reason."""

    @property
    def num_left_out(self) -> int:
        """Rows that were left out for whatever reason."""
        return sum(left.rows for left in self.left_out.values())

    @classmethod
    def of(
        cls,
        rejects: Rejects,
        *,
        documents: int,
        tokens: int,
        text_bytes: int,
        encoder: str,
        why_not_faster: str | None,
    ) -> Self:
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
            encoder=encoder,
            why_not_faster=why_not_faster,
            left_out=left_out,
        )

    @classmethod
    def joined(cls, reports: Sequence[Self]) -> Self:
        """Return the report of several parts of a split, at least one, together."""
        reasons = dict.fromkeys(reason for report in reports for reason in report.left_out)
        slower = [report for report in reports if report.why_not_faster is not None]
        return cls(
            rows=sum(report.rows for report in reports),
            documents=sum(report.documents for report in reports),
            text_bytes=sum(report.text_bytes for report in reports),
            tokens=sum(report.tokens for report in reports),
            encoder=", ".join(sorted({report.encoder for report in reports})),
            why_not_faster=slower[0].why_not_faster if slower else None,
            left_out={
                reason: _joined([r.left_out[reason] for r in reports if reason in r.left_out])
                for reason in reasons
            },
        )

    def left_out_lines(self) -> list[str]:
        """Say which rows were left out, one line a reason."""
        return [
            f"{left.rows:,} of {self.rows:,} rows left out: {reason}"
            f" ({', '.join(left.places)}{', …' if left.rows > len(left.places) else ''})"
            for reason, left in self.left_out.items()
        ]


def _joined(parts: Sequence[LeftOut]) -> LeftOut:
    """Return the rows left out of several parts for one reason."""
    places = tuple(place for part in parts for place in part.places)
    return LeftOut(rows=sum(part.rows for part in parts), places=places[:NUM_PLACES])


def write_report(folder: Path, report: SplitReport) -> None:
    """Write the report of a split.

    Raises:
        StorageError: the disk is full or refuses to write.
    """
    content = asdict(report) | {"bytes_per_token": report.text_bytes / max(report.tokens, 1)}
    write_whole(folder / REPORT, sealed(content))


def read_report(folder: Path) -> SplitReport | None:
    """Return the report of a split; None if it was prepared by a version that wrote none.

    Raises:
        DataError: it is damaged.
    """
    path = folder / REPORT
    if not path.exists():
        return None
    mend = remedy(folder / MANIFEST)
    raw = bytes(map_plain_file(folder, REPORT, mend))
    try:
        content = unsealed(raw)
        del content["bytes_per_token"]
        left_out = {
            reason: LeftOut(rows=left["rows"], places=tuple(left["places"]))
            for reason, left in content.pop("left_out").items()
        }
        return SplitReport(left_out=left_out, **content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is no report of a split ({error}). {mend}") from error
