"""What the claims of a suite rest on, as a table of text."""

from rewarm.report.panel_tables import Table
from rewarm.suites.results import DifferenceResult, SuiteResult


def difference_table(result: SuiteResult) -> Table:
    """Return what the claims rest on; nats per token where the label says nothing else."""
    return Table(
        columns=["what the claims rest on", "mean", "95 % interval", "asked", "verdict"],
        rows=[
            [d.label, f"{d.mean:+.3f}", interval_text(d), asked_text(d), d.verdict]
            for claim in result.claims
            for d in claim.differences
        ],
    )


def interval_text(difference: DifferenceResult) -> str:
    """Write the 95 % interval of a difference."""
    if difference.low is None or difference.high is None:
        return "one seed"
    return f"{difference.low:+.3f} to {difference.high:+.3f}"


def asked_text(difference: DifferenceResult) -> str:
    """Write the bounds of a difference."""
    low, high = difference.at_least, difference.at_most
    if low is not None and high is not None:
        return f"{low:+.3g} to {high:+.3g}"
    return f"≥ {low:+.3g}" if low is not None else f"≤ {high:+.3g}"
