"""What several seeds say of the arms of several runs, in a few plain sentences with the numbers.

A difference is beyond what seeds explain if its 95 % interval over paired seeds leaves zero out.
"""

from collections.abc import Sequence

from rewarm.evaluation.statistics import Estimate, mean
from rewarm.report.arms import unfinished_arms
from rewarm.report.loading import Run
from rewarm.report.merging import Comparison, run_names
from rewarm.report.panels import Measured, Panel, SeededArm, paired
from rewarm.report.wording import change_text, is_zero, list_text, loss_text, printable, share_text


def panel_verdict(found: Comparison) -> str:
    """Say which arm is best over the seeds, how far from retraining the best update is, what replay did.

    Args:
        found: arms of several runs.

    Returns:
        Plain text on one line; names in it are not escaped for any output.
    """
    panel = found.panel
    against_union = _against_union(panel)
    sentences = [
        _best(panel, with_second=not against_union),
        against_union,
        _replay(found),
        _few_seeds(panel),
    ]
    return " ".join(filter(None, sentences))


def _best(panel: Panel, *, with_second: bool) -> str:
    """Say which arm has the best mean average loss, and whether the next one is behind it."""
    best, *others = panel.ranked
    average = mean(best.losses(panel.datasets))
    found = loss_text(average.value)
    if average.count > 1:
        found += f" (95 % interval {average.low:.3f} to {average.high:.3f})"
    who = printable(best.label)
    if not others:
        return f"Over {_seeds(best)} the average loss of {who} is {found}."
    text = f"Over {_seeds(best)} the best average loss is that of {who}, {found}"
    behind = paired(others[0], best, _average)
    if behind is None or not with_second:
        return f"{text}."
    return f"{text}; {printable(others[0].label)} follows, {_above(behind, 'it')}."


def _against_union(panel: Panel) -> str:
    """Compare the best updated arm with retraining on everything."""
    union = next((arm for arm in panel.arms if arm.is_union), None)
    updates = [arm for arm in panel.ranked if not arm.is_reference and not arm.is_union]
    gap = None if union is None or not updates else paired(updates[0], union, _average)
    if union is None or gap is None:
        return ""
    saved = 1 - updates[0].cost(in_flops=panel.has_flops) / union.cost(in_flops=panel.has_flops)
    cost = (
        f"with {share_text(round(saved, 3))} less compute, given the checkpoint it starts from"
        if saved >= 0.0005
        else "with no less compute"
    )
    return (
        f"The best update, {printable(updates[0].label)}, ends {_above(gap, printable(union.label))}, which is "
        f"retraining on everything, {cost}."
    )


def _replay(found: Comparison) -> str:
    """Say what replay did, against the same update without it: of the best arm that has such a twin."""
    arms = {arm.label: arm for arm in found.panel.arms}
    for arm in found.panel.ranked:
        if arm.label in found.without_replay:
            return _replay_effect(arm, arms[found.without_replay[arm.label]])
    return ""


def _replay_effect(arm: SeededArm, base: SeededArm) -> str:
    """Put the difference that replay made into words."""
    change = paired(arm, base, lambda seed: seed.forgetting)
    with_replay = arm.estimate(lambda seed: seed.forgetting)
    without = base.estimate(lambda seed: seed.forgetting)
    if change is None or with_replay is None or without is None:
        return ""
    twins = f"{printable(arm.label)}, against {printable(base.label)}"
    who = f"eplay of {share_text(arm.replay_share)} ({twins})"
    numbers = (
        f"{change_text(without.value)} became {change_text(with_replay.value)}, a change of "
        f"{change_text(change.value)}{_sure(change)}"
    )
    if change.value < 0 and not is_zero(change.value):
        text = f"R{who} made forgetting less: {numbers}"
    else:
        text = f"Contrary to expectation, r{who} did not make forgetting less: {numbers}"
    learnt = paired(arm, base, lambda seed: seed.adaptation)
    if learnt is not None:
        text += f"; adaptation changed by {change_text(learnt.value)}{_sure(learnt)}"
    return f"{text}."


def _few_seeds(panel: Panel) -> str:
    """Say which arms one seed alone speaks for."""
    alone = [printable(arm.label) for arm in panel.arms if len(arm.seeds) == 1]
    if not alone:
        return ""
    if len(alone) == len(panel.arms):
        return "One seed for each arm: small differences may be chance."
    return f"One seed alone: {list_text(alone, most=6)}."


def _average(seed: Measured) -> float:
    return seed.average


def _seeds(arm: SeededArm) -> str:
    numbers = [str(seed.seed) for seed in arm.seeds]
    return f"seed{'s' if len(numbers) > 1 else ''} {list_text(numbers, most=6)}"


def _above(gap: Estimate, what: str) -> str:
    """Write a difference of losses as so much above or below something."""
    if is_zero(gap.value):
        return f"level with {what}{_sure(gap)}"
    return f"{loss_text(abs(gap.value))} {'above' if gap.value > 0 else 'below'} {what}{_sure(gap)}"


def _sure(difference: Estimate) -> str:
    """Write the interval of a difference, and whether seeds explain it."""
    if difference.count < 2:
        return " (one seed)"
    beyond = "beyond" if difference.is_significant else "not beyond"
    return f" ({difference.low:+.3f} to {difference.high:+.3f}: {beyond} what seeds explain)"


def runs_left(runs: Sequence[Run]) -> str:
    """Say which runs are not finished, and which do not hold their gate; nothing if all is well."""
    names = list(zip(run_names(runs), runs, strict=True))
    found = {
        "Not finished": [name for name, run in names if unfinished_arms(run)],
        "The gate is not held": [name for name, run in names if run.gate and not run.gate.is_held],
    }
    return " ".join(
        f"{title}: {list_text([printable(name) for name in of_title], most=6)}."
        for title, of_title in found.items()
        if of_title
    )
