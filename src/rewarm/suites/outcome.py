"""What an arm came to, as a claim asks for it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarm.report.arms import ArmRow
from rewarm.report.loading import StageRun


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished arm of one seed. Losses are nats per token of validation text."""

    row: ArmRow
    """What it achieved and cost."""
    stages: dict[str, StageRun]
    """Its stages by name."""

    @property
    def last(self) -> StageRun:
        """Return the stage that made its model."""
        return list(self.stages.values())[-1]

    def final(self, dataset: str, *, stage: str | None = None) -> float:
        """Return the final loss on a dataset, of the arm's last stage or of another."""
        result = (self.last if stage is None else self.stages[stage]).result
        assert result is not None, "the arms of an outcome are finished"
        return result.final[dataset]

    def average(self, *datasets: str) -> float:
        """Return the plain mean of the final losses on some datasets."""
        return sum(self.final(dataset) for dataset in datasets) / len(datasets)

    def forgetting(self, dataset: str) -> float:
        """Return F = L(after) - L(before) of the last stage."""
        result = self.last.result
        assert result is not None, "the arms of an outcome are finished"
        return result.final[dataset] - result.before[dataset]

    def read(self, stage: str) -> Counter[str]:
        """Return the sequences that a stage read of each source, new and replayed."""
        return self.replayed(stage) + _summed(self.stages[stage].steps.new)

    def replayed(self, stage: str) -> Counter[str]:
        """Return the sequences that a stage replayed of each source."""
        return _summed(self.stages[stage].steps.replayed)

    def rise(self, dataset: str, *, stage: str | None = None) -> float:
        """Return how far the loss rises above that at the start of a stage, at its highest."""
        evals = (self.last if stage is None else self.stages[stage]).evals
        losses = [e.loss for e in evals if e.dataset == dataset]
        return max(losses) - losses[0]


def _summed(batches: Mapping[str, NDArray[np.int64]]) -> Counter[str]:
    return Counter({source: int(counts.sum()) for source, counts in batches.items()})
