"""Arms over their seeds as tables of text: means with their intervals, and every seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rewarm.evaluation.statistics import Estimate, mean
from rewarm.report.panels import Panel, Read, SeededArm, paired
from rewarm.report.wording import change_text, count_text, share_text

_REFERENCE_MARK = " †"
_CHANGES: dict[str, Read] = {
    "forgetting": lambda seed: seed.forgetting,
    "adaptation": lambda seed: seed.adaptation,
    "to union": lambda seed: seed.union_gap,
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of text. The first column names the rows."""

    columns: Sequence[str]
    """Titles."""
    rows: Sequence[Sequence[str]]
    """Cells, row by row; a second line of a cell is smaller print."""


def arm_table(panel: Panel) -> Table:
    """Return losses and their changes as mean ± standard error over seeds, and what the update cost.

    The first row is the model that updates start from, where it is one: trained on D0 alone.
    """
    changes = {
        title: read
        for title, read in _CHANGES.items()
        if any(arm.values(read) is not None for arm in panel.arms)
    }
    costs = ["compute ratio"] if len(set(panel.costs)) > 1 else []
    dearest = max(panel.costs)
    rows = [
        [
            arm.label,
            str(len(arm.seeds)),
            *_losses(panel, [seed.final for seed in arm.seeds]),
            *(_change(arm.estimate(read), "") for read in changes.values()),
            f"{arm.seeds[0].update_tokens:,}",
            *(f"{arm.cost(in_flops=panel.has_flops) / dearest:.2f}" for _ in costs),
        ]
        for arm in panel.arms
    ]
    if start := panel.start:
        rest = ["-"] * (len(changes) + 1 + len(costs))
        rows.insert(0, ["before the update", str(len(start)), *_losses(panel, start), *rest])
    titles = [f"loss {name}" for name in panel.datasets]
    return Table(
        columns=[panel.title, "seeds", *titles, "average", *changes, "update tokens", *costs],
        rows=rows,
    )


def _losses(panel: Panel, seeds: Sequence[Mapping[str, float]]) -> list[str]:
    """Write the mean of each dataset's loss over the seeds, and that of their average."""
    by_dataset = [[seed[name] for seed in seeds] for name in panel.datasets]
    averages = [sum(losses) / len(losses) for losses in zip(*by_dataset, strict=True)]
    return [_with_error(mean(values)) for values in (*by_dataset, averages)]


def comparison_table(panel: Panel) -> Table:
    """Return what the arms came to, as mean ± standard error over seeds with the 95 % interval below.

    A quantity that no arm has is left out. "To best" is the paired difference from the arm with the best
    average, "to union" that from the retraining on everything.
    """
    best = panel.ranked[0]
    dearest = max(panel.costs)
    columns: dict[str, Callable[[SeededArm], str]] = {
        "arm": lambda arm: arm.label + _REFERENCE_MARK * arm.is_reference,
        "seeds": lambda arm: str(len(arm.seeds)),
        "replay": lambda arm: share_text(arm.replay_share),
    }
    for name in panel.datasets:
        columns[f"loss {name}"] = lambda arm, name=name: _interval(mean(arm.losses([name])))
    columns |= {
        "average": lambda arm: _interval(mean(arm.losses(panel.datasets))),
    }
    if not best.is_union:  # where it is, "to union" says the same
        columns["to best"] = lambda arm: (
            "-" if arm is best else _change(paired(arm, best, lambda seed: seed.average))
        )
    for title, read in _CHANGES.items():
        if any(arm.values(read) is not None for arm in panel.arms):
            columns[title] = lambda arm, title=title, read=read: (
                "-" if arm.is_union and title == "to union" else _change(arm.estimate(read))
            )
    columns["update tokens"] = lambda arm: count_text(arm.seeds[0].update_tokens)
    columns["compute ratio"] = lambda arm: f"{arm.cost(in_flops=panel.has_flops) / dearest:.2f}"
    return Table(
        columns=list(columns),
        rows=[[write(arm) for write in columns.values()] for arm in panel.arms],
    )


def seed_table(panel: Panel, source: str) -> Table:
    """Return every arm of every seed, for a machine to read: six decimals, no thousands separators.

    Args:
        panel: the arms.
        source: what `Measured.source` is called.
    """
    known: dict[str, Read] = {
        title: read
        for title, read in _CHANGES.items()
        if any(read(seed) is not None for arm in panel.arms for seed in arm.seeds)
    }
    return Table(
        columns=[
            "arm",
            source,
            "seed",
            *(f"loss {name}" for name in panel.datasets),
            *(f"loss {name} before" for name in panel.datasets),
            *known,
            "update tokens",
            "update FLOPs",
            "weights SHA-256",
        ],
        rows=[
            [
                arm.label,
                seed.source,
                str(seed.seed),
                *(f"{seed.final[name]:.6f}" for name in panel.datasets),
                *(_six(seed.before.get(name)) for name in panel.datasets),
                *(_six(read(seed)) for read in known.values()),
                str(seed.update_tokens),
                f"{seed.update_flops:.6g}",
                seed.weights_sha256,
            ]
            for arm in panel.arms
            for seed in arm.seeds
        ],
    )


def _six(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _with_error(estimate: Estimate) -> str:
    """Write a mean with its standard error over seeds."""
    if estimate.count < 2:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ± {estimate.standard_error:.3f}"


def _interval(estimate: Estimate) -> str:
    """Write a mean with its standard error, and its interval below."""
    if estimate.count < 2:
        return f"{estimate.value:.3f}"
    return f"{_with_error(estimate)}\n{estimate.low:.3f} to {estimate.high:.3f}"


def _change(estimate: Estimate | None, interval: str = "\n{:+.3f} to {:+.3f}") -> str:
    """Write a change with its sign, its standard error, and its interval below."""
    if estimate is None:
        return "-"
    if estimate.count < 2:
        return change_text(estimate.value)
    text = f"{change_text(estimate.value)} ± {estimate.standard_error:.3f}"
    return text + interval.format(estimate.low, estimate.high)
