"""Arms that can be set beside each other: measured on the same datasets, each over its seeds."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rewarm.report.wording import list_text
from rewarm.suites.results import ArmResult, SuiteResult


@dataclass(frozen=True, kw_only=True)
class SeededArm:
    """An arm with its seeds. Losses are nats per token."""

    label: str
    """Its name; with its setting where the panel has several."""
    seeds: Sequence[ArmResult]
    """What it came to, seed by seed; at least one."""

    def losses(self, datasets: Sequence[str]) -> list[float]:
        """Return the plain mean of the final losses on some datasets, for each seed."""
        return [sum(arm.final[name] for name in datasets) / len(datasets) for arm in self.seeds]

    def cost(self, *, in_flops: bool) -> float:
        """Return FLOPs or training tokens of the update, which are those of every seed."""
        return self.seeds[0].update_flops if in_flops else self.seeds[0].update_tokens


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The arms that are measured on the same datasets."""

    title: str
    """The settings that they are from."""
    datasets: Sequence[str]
    """The datasets, the oldest first."""
    arms: Sequence[SeededArm]
    """The arms, in the order of the suite."""

    @property
    def old(self) -> Sequence[str]:
        """Return D0, the data of the pre-training."""
        return self.datasets[:1]

    @property
    def new(self) -> Sequence[str]:
        """Return the datasets of the updates; empty where all is D0."""
        return self.datasets[1:]

    @property
    def has_flops(self) -> bool:
        """Say whether costs can be FLOPs; otherwise they are tokens."""
        return all(arm.cost(in_flops=True) > 0 for arm in self.arms)

    @property
    def costs(self) -> list[float]:
        """Return the cost of each arm's update."""
        return [arm.cost(in_flops=self.has_flops) for arm in self.arms]


def panels(result: SuiteResult) -> list[Panel]:
    """Return the arms of a suite, those with the same datasets together."""
    grouped: dict[tuple[str, ...], list[ArmResult]] = defaultdict(list)
    for arm in result.arms:
        grouped[tuple(arm.final)].append(arm)
    return [_panel(datasets, arms) for datasets, arms in grouped.items()]


def _panel(datasets: tuple[str, ...], arms: list[ArmResult]) -> Panel:
    settings = list(dict.fromkeys(arm.setting for arm in arms))
    seeds: dict[str, list[ArmResult]] = defaultdict(list)
    for arm in arms:
        is_clear = len(settings) == 1 or arm.setting == arm.arm
        seeds[arm.arm if is_clear else f"{arm.setting}/{arm.arm}"].append(arm)
    return Panel(
        title=list_text(settings),
        datasets=datasets,
        arms=[SeededArm(label=label, seeds=of_arm) for label, of_arm in seeds.items()],
    )
