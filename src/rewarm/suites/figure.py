# leather carries no types.
# pyright: basic
"""The figure of a suite as SVG: what each arm keeps of the old data against what it learns of the new."""

from collections.abc import Sequence

import leather

from rewarm.suites.results import ArmResult, SuiteResult

# Okabe and Ito's colours: told apart by people with any colour vision.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WIDTH, _HEIGHT = 640, 420


def suite_figure(result: SuiteResult) -> str:
    """Return one panel for each setting, side by side; a dot is an arm of one seed.

    Across stands the final loss on D0 and upwards that on D1, so towards the lower left is better. Where a
    setting has one dataset alone, the arms stand beside each other.
    """
    settings = list(dict.fromkeys(arm.setting for arm in result.arms))
    grid = leather.Grid()
    for setting in settings:
        grid.add_one(_panel(setting, [arm for arm in result.arms if arm.setting == setting]))
    drawn = grid.to_svg(width=_WIDTH * len(settings), height=_HEIGHT)
    assert drawn is not None, "without a path the picture is returned"
    return drawn


def _panel(setting: str, arms: Sequence[ArmResult]) -> leather.Chart:
    datasets = list(arms[0].final)
    names = list(dict.fromkeys(arm.arm for arm in arms))
    chart = leather.Chart(setting)
    for number, name in enumerate(names):
        dots = [
            (_across(arm, datasets, number), arm.final[datasets[-1]])
            for arm in arms
            if arm.arm == name
        ]
        chart.add_dots(dots, name=name, fill_color=_COLORS[number % len(_COLORS)], radius=5)
    across = f"loss on {datasets[0]}, nats per token" if len(datasets) > 1 else "arm"
    chart.add_x_axis(name=across, tick_formatter=lambda x, *_: f"{float(x):.2f}")
    chart.add_y_axis(
        name=f"loss on {datasets[-1]}, nats per token",
        tick_formatter=lambda y, *_: f"{float(y):.2f}",
    )
    return chart


def _across(arm: ArmResult, datasets: Sequence[str], number: int) -> float:
    return arm.final[datasets[0]] if len(datasets) > 1 else float(number + 1)
