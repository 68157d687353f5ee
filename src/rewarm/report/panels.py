"""Arms that can be set beside each other: measured on the same datasets, each over its seeds.

The arms of one seed have the same validation text and, where they share stages, the same base, so the
difference of two arms is taken seed by seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rewarm.evaluation.statistics import Estimate, mean


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One arm of one seed: what it achieved and what it cost. Losses are nats per token."""

    seed: int
    """The seed."""
    source: str
    """The run that it is from, or the setting of a suite."""
    final: Mapping[str, float]
    """Final loss by dataset."""
    before: Mapping[str, float]
    """Loss by dataset where its update starts."""
    update_tokens: int
    """Training tokens of the update; of an arm from scratch, of all its training."""
    update_flops: float
    """FLOPs of the same; 0 if not known."""
    weights_sha256: str
    """Hash of the final weights."""
    forgetting: float | None = None
    """Mean of F over the old datasets; None if nothing is old, or it is not known."""
    adaptation: float | None = None
    """A on the newest dataset; None if nothing is new, or it is not known."""
    union_gap: float | None = None
    """The average less that of the union arm of the same seed; None without such an arm."""

    @property
    def average(self) -> float:
        """Plain mean of the final losses."""
        return sum(self.final.values()) / len(self.final)


SAME = " = "
"""Stands between the names of an arm that is the same models under several."""
Read = Callable[[Measured], float | None]
"""Reads a quantity of an arm of a seed; None where it has none."""


@dataclass(frozen=True, kw_only=True)
class SeededArm:
    """An arm with its seeds."""

    label: str
    """Its name, and what else it takes to tell it from the others of its panel."""
    seeds: Sequence[Measured]
    """What it came to, seed by seed; at least one, and none twice."""
    replay_share: float = 0.0
    """Share of the update's sequences that were to be replayed."""
    is_reference: bool = False
    """Whether it was trained from scratch, and is there to compare with."""
    is_union: bool = False
    """Whether it is the retraining on all datasets together."""

    @property
    def names(self) -> list[str]:
        """Return the names that it has; see `SAME`."""
        return self.label.split(SAME)

    def losses(self, datasets: Sequence[str]) -> list[float]:
        """Return the plain mean of the final losses on some datasets, for each seed."""
        return [sum(arm.final[name] for name in datasets) / len(datasets) for arm in self.seeds]

    def cost(self, *, in_flops: bool) -> float:
        """Return FLOPs or training tokens of the update, which are those of every seed."""
        return self.seeds[0].update_flops if in_flops else self.seeds[0].update_tokens

    def values(self, read: Read) -> list[float] | None:
        """Return a quantity for each seed; None where a seed has none."""
        found = [value for seed in self.seeds if (value := read(seed)) is not None]
        return found if len(found) == len(self.seeds) else None

    def estimate(self, read: Read) -> Estimate | None:
        """Return the mean of a quantity over the seeds, with its interval; None where a seed has none."""
        values = self.values(read)
        return None if values is None else mean(values)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The arms that are measured on the same datasets."""

    title: str
    """What they have in common: the settings of a suite that they are from, or their datasets."""
    datasets: Sequence[str]
    """The datasets, the oldest first."""
    arms: Sequence[SeededArm]
    """The arms, in the order in which they are shown."""

    @property
    def old(self) -> Sequence[str]:
        """Return D0, the data of the pre-training."""
        return self.datasets[:1]

    @property
    def new(self) -> Sequence[str]:
        """Return the datasets of the updates; empty where all is D0."""
        return self.datasets[1:]

    @property
    def start(self) -> Sequence[Mapping[str, float]]:
        """Return the losses of the model that updates start from, by seed; none if they start from several."""
        found: dict[int, Mapping[str, float]] = {}
        for seed in (seed for arm in self.arms if not arm.is_reference for seed in arm.seeds):
            if seed.forgetting is None or found.setdefault(seed.seed, seed.before) != seed.before:
                return []
        return list(found.values())

    @property
    def has_flops(self) -> bool:
        """Say whether costs can be FLOPs; otherwise they are tokens."""
        return all(arm.cost(in_flops=True) > 0 for arm in self.arms)

    @property
    def costs(self) -> list[float]:
        """Return the cost of each arm's update."""
        return [arm.cost(in_flops=self.has_flops) for arm in self.arms]

    @property
    def ranked(self) -> list[SeededArm]:
        """Return the arms by their mean average loss, the best first, equal ones in their order."""
        return sorted(self.arms, key=lambda arm: mean(arm.losses(self.datasets)).value)

    @property
    def traded(self) -> list[SeededArm]:
        """Return the arms of which both forgetting and adaptation are known."""
        return [
            arm
            for arm in self.arms
            if arm.values(lambda seed: seed.forgetting) is not None
            and arm.values(lambda seed: seed.adaptation) is not None
        ]


def paired(first: SeededArm, second: SeededArm, read: Read) -> Estimate | None:
    """Estimate how much more of a quantity the first arm has than the second, seed by seed.

    Args:
        first: an arm.
        second: another one of the same panel.
        read: the quantity.

    Returns:
        The mean difference over the seeds that both have; None if there is no such seed.
    """
    others = {seed.seed: read(seed) for seed in second.seeds}
    differences = [
        value - other
        for seed in first.seeds
        if (value := read(seed)) is not None and (other := others.get(seed.seed)) is not None
    ]
    return mean(differences) if differences else None
