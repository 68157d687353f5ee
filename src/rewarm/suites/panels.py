"""The arms of a suite that are measured on the same datasets, each under a label and over its seeds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rewarm.report.panels import Measured, Panel, SeededArm
from rewarm.report.wording import list_text
from rewarm.suites.results import ArmResult, StageCurve, SuiteResult


@dataclass(frozen=True, kw_only=True)
class LabelledArms:
    """Arms that are measured on the same datasets."""

    title: str
    """The settings that they are from."""
    datasets: Sequence[str]
    """The datasets, the oldest first."""
    seeds: Mapping[str, Sequence[ArmResult]]
    """Every arm by its label, seed by seed."""
    curves: Mapping[str, StageCurve]
    """What was measured along their stages, by folder."""


def labelled_arms(result: SuiteResult) -> list[LabelledArms]:
    """Return the arms of a suite, those with the same datasets together.

    The label of an arm has its setting too where several settings are together.
    """
    grouped: dict[tuple[str, ...], list[ArmResult]] = defaultdict(list)
    for arm in result.arms:
        grouped[tuple(arm.final)].append(arm)
    return [_labelled(datasets, arms, result) for datasets, arms in grouped.items()]


def _labelled(
    datasets: tuple[str, ...], arms: list[ArmResult], result: SuiteResult
) -> LabelledArms:
    settings = list(dict.fromkeys(arm.setting for arm in arms))
    seeds: dict[str, list[ArmResult]] = defaultdict(list)
    for arm in arms:
        is_clear = len(settings) == 1 or arm.setting == arm.arm
        seeds[arm.arm if is_clear else f"{arm.setting}/{arm.arm}"].append(arm)
    return LabelledArms(
        title=list_text(settings), datasets=datasets, seeds=seeds, curves=result.curves
    )


def panels(result: SuiteResult) -> list[Panel]:
    """Return the arms of a suite as panels; see `labelled_arms`."""
    return [panel(arms) for arms in labelled_arms(result)]


def panel(arms: LabelledArms) -> Panel:
    """Return arms with what they came to and what they cost."""
    unions = {
        (arm.setting, arm.seed): _measured(arm)
        for seeds in arms.seeds.values()
        for arm in seeds
        if arm.is_union
    }
    return Panel(
        title=arms.title,
        datasets=arms.datasets,
        arms=[
            SeededArm(
                label=label,
                seeds=[_measured(arm, unions.get((arm.setting, arm.seed))) for arm in seeds],
                is_reference=seeds[0].is_reference,
                is_union=seeds[0].is_union,
            )
            for label, seeds in arms.seeds.items()
        ],
    )


def _measured(arm: ArmResult, union: Measured | None = None) -> Measured:
    """Return an arm of a seed, with its distance to the union arm of the same setting and seed."""
    own = Measured(
        seed=arm.seed,
        source=arm.setting,
        final=arm.final,
        before=arm.before,
        update_tokens=arm.update_tokens,
        update_flops=arm.update_flops,
        weights_sha256=arm.weights_sha256,
        forgetting=arm.forgetting,
        adaptation=arm.adaptation,
    )
    if union is None or arm.is_union:
        return own
    return replace(own, union_gap=own.average - union.average)
