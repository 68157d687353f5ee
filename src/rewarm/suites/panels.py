"""The arms of a suite as panels: those that are measured on the same datasets, each over its seeds."""

from collections import defaultdict

from rewarm.report.panels import Measured, Panel, SeededArm
from rewarm.report.wording import list_text
from rewarm.suites.results import ArmResult, SuiteResult


def panels(result: SuiteResult) -> list[Panel]:
    """Return the arms of a suite, those with the same datasets together.

    The label of an arm has its setting too where the panel has several.
    """
    grouped: dict[tuple[str, ...], list[ArmResult]] = defaultdict(list)
    for arm in result.arms:
        grouped[tuple(arm.final)].append(arm)
    return [_panel(datasets, arms) for datasets, arms in grouped.items()]


def _panel(datasets: tuple[str, ...], arms: list[ArmResult]) -> Panel:
    settings = list(dict.fromkeys(arm.setting for arm in arms))
    seeds: dict[str, list[Measured]] = defaultdict(list)
    for arm in arms:
        is_clear = len(settings) == 1 or arm.setting == arm.arm
        seeds[arm.arm if is_clear else f"{arm.setting}/{arm.arm}"].append(_measured(arm))
    return Panel(
        title=list_text(settings),
        datasets=datasets,
        arms=[SeededArm(label=label, seeds=of_arm) for label, of_arm in seeds.items()],
    )


def _measured(arm: ArmResult) -> Measured:
    return Measured(
        seed=arm.seed,
        source=arm.setting,
        final=arm.final,
        before=arm.before,
        update_tokens=arm.update_tokens,
        update_flops=arm.update_flops,
        weights_sha256=arm.weights_sha256,
    )
