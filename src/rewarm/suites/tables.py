"""The numbers of a suite as tables of text: what the claims rest on, the arms, every seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from rewarm.evaluation.statistics import mean
from rewarm.suites.panels import Panel
from rewarm.suites.results import DifferenceResult, SuiteResult


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of text. The first column names the rows."""

    columns: Sequence[str]
    """Titles."""
    rows: Sequence[Sequence[str]]
    """Cells, row by row."""


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


def arm_table(panel: Panel) -> Table:
    """Return final losses as mean ± standard error over seeds, and training tokens of the update."""
    titles = [f"loss {name}" for name in panel.datasets]
    return Table(
        columns=[panel.title, "seeds", *titles, "average", "update tokens"],
        rows=[
            [
                arm.label,
                str(len(arm.seeds)),
                *(_with_error(arm.losses([name])) for name in panel.datasets),
                _with_error(arm.losses(panel.datasets)),
                f"{arm.seeds[0].update_tokens:,}",
            ]
            for arm in panel.arms
        ],
    )


def seed_table(panel: Panel) -> Table:
    """Return every arm of every seed, for a machine to read: six decimals, no thousands separators."""
    return Table(
        columns=[
            "arm",
            "setting",
            "seed",
            *(f"loss {name}" for name in panel.datasets),
            *(f"loss {name} at step 0" for name in panel.datasets),
            "update tokens",
            "update FLOPs",
            "weights SHA-256",
        ],
        rows=[
            [
                arm.label,
                seed.setting,
                str(seed.seed),
                *(f"{seed.final[name]:.6f}" for name in panel.datasets),
                *(f"{seed.before[name]:.6f}" for name in panel.datasets),
                str(seed.update_tokens),
                f"{seed.update_flops:.6g}",
                seed.weights_sha256,
            ]
            for arm in panel.arms
            for seed in arm.seeds
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


def _with_error(values: Sequence[float]) -> str:
    """Write a mean with its standard error over seeds."""
    estimate = mean(values)
    if len(values) < 2:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ± {estimate.standard_error:.3f}"
