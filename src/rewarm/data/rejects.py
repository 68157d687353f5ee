"""Rows that cannot be used: the end of the work, or counted by reason up to a limit.

The limit is 0 unless the campaign says otherwise (`max_bad_rows`), so the first bad row is an
error. What is left out is counted, and the first places of each reason are kept for the report.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from rewarm.errors import DataError

Reason = Literal[
    "not JSON",
    "not an object",
    "not UTF-8",
    "too long",
    "missing column",
    "wrong type",
    "empty text",
    "NUL character",
    "unlisted domain",
]
"""Why a row cannot be used."""

NUM_PLACES = 5
"""How many places are kept for each reason."""


def is_over(limit: int | Fraction, num_bad_rows: int, rows: int) -> bool:
    """Say whether more rows cannot be used than may be left out.

    Args:
        limit: how many rows may be left out: a number, or a share of the rows.
        num_bad_rows: how many are.
        rows: of how many.

    >>> is_over(2, 3, 100), is_over(Fraction(1, 100), 1, 100)
    (True, False)
    """
    return num_bad_rows > (limit * rows if isinstance(limit, Fraction) else limit)


class BadRow(DataError):  # noqa: N818  (a row, which is only an error where none may be left out)
    """A row that cannot be used; its message says everything."""

    def __init__(self, reason: Reason, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}")
        self.reason: Reason = reason
        self.place = place


@dataclass
class Rejects:
    """What was read and what was left out in one pass over a source."""

    limit: int | Fraction = 0
    """How many rows may be left out: a number, or a share of the rows read."""
    rows: int = 0
    """Rows read so far, the bad ones too; blank lines are no rows."""
    counts: dict[Reason, int] = field(default_factory=dict[Reason, int])
    """How many rows were left out, by reason."""
    places: dict[Reason, list[str]] = field(default_factory=dict[Reason, list[str]])
    """Where the first `NUM_PLACES` of each reason are."""

    @property
    def num_bad_rows(self) -> int:
        """Rows left out for whatever reason."""
        return sum(self.counts.values())

    def add(self, bad: BadRow) -> None:
        """Count a bad row.

        Raises:
            DataError: it is one more than may be left out.
        """
        self.counts[bad.reason] = self.counts.get(bad.reason, 0) + 1
        places = self.places.setdefault(bad.reason, [])
        if len(places) < NUM_PLACES:
            places.append(bad.place)
        if self.limit == 0:
            raise bad
        if isinstance(self.limit, int) and is_over(self.limit, self.num_bad_rows, self.rows):
            raise DataError(
                f"{bad} With it {self.num_bad_rows:,} rows cannot be used, and max_bad_rows lets"
                f" {self.limit:,} be left out: {self.summary()}. Correct the text, or allow more."
            ) from bad

    def check_share(self) -> None:
        """Hold the bad rows against a limit that is a share, which needs all rows to be read.

        Raises:
            DataError: too large a share cannot be used.
        """
        if is_over(self.limit, self.num_bad_rows, self.rows):
            raise DataError(
                f"{self.num_bad_rows:,} of {self.rows:,} rows"
                f" ({self.num_bad_rows / self.rows:.2%}) cannot be used, and max_bad_rows lets"
                f" {float(self.limit):.4g} of them be left out: {self.summary()}. Correct the"
                " text, or allow more."
            )

    def summary(self) -> str:
        """Return the reasons with their counts and first places."""
        return "; ".join(
            f"{count:,} {reason} ({', '.join(self.places[reason])}{', …' * (count > NUM_PLACES)})"
            for reason, count in self.counts.items()
        )
