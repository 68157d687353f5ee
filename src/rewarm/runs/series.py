"""The records of a stage as named numbers by step, for programs that draw curves."""

from collections.abc import Iterator

from rewarm.runs.files import read_records
from rewarm.runs.folder import StageFolder
from rewarm.runs.records import EvalRecord, StepRecord, ThroughputRecord

Point = tuple[int, dict[str, float]]
"""A step, and the numbers that are known of it."""


def points_of(folder: StageFolder, *, after: int = -1) -> list[Point]:
    """Return what a stage has recorded, by rising step; step 0 has validations alone.

    Names are `train/loss`, `train/lr`, `train/gradient_norm`, `train/tokens`, `validation/DATASET`,
    `speed/tokens_per_second` and `speed/data_wait_seconds`.

    Args:
        folder: of the stage; one that is not begun has no points.
        after: only steps behind this one.

    Raises:
        CheckpointError: a record is damaged.
    """
    found: dict[int, dict[str, float]] = {}
    for step, values in _values(folder):
        if step > after:
            found[step] = found.get(step, {}) | values
    return sorted(found.items())


def _values(folder: StageFolder) -> Iterator[Point]:
    for record in read_records(folder.metrics, StepRecord):
        yield (
            record.step,
            {
                "train/loss": record.loss,
                "train/lr": record.lr,
                "train/gradient_norm": record.gradient_norm,
                "train/tokens": float(record.tokens),
            },
        )
    for record in read_records(folder.evals, EvalRecord):
        yield record.step, {f"validation/{record.dataset}": record.loss}
    for record in read_records(folder.throughput, ThroughputRecord):
        yield (
            record.step,
            {
                "speed/tokens_per_second": record.tokens_per_second,
                "speed/data_wait_seconds": record.data_wait_seconds,
            },
        )
