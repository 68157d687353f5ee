"""The curves of suites: means over seeds where they were measured, shared stages once, ends in view."""

import pytest

from rewarm.report.styles import SHARED_COLOUR, arm_styles
from rewarm.suites.curves import losses
from rewarm.suites.page import page
from rewarm.suites.panels import labelled_arms
from rewarm.suites.results import StageCurve
from tests.report.test_report_page import NASTY, faults
from tests.suites.results import SUITE, arm, result

NAMES = ["0%", "5%", "union"]


def curve(name, start, end, old, new, seed):
    tokens = [start, (start + end) / 2, end]
    return StageCurve(
        name=name,
        losses={
            "d0": [(t, loss + seed / 100) for t, loss in zip(tokens, old, strict=True)],
            "strong": [(t, loss + seed / 100) for t, loss in zip(tokens, new, strict=True)],
        },
        lr=[(start, 1e-3), (end, 1e-4)],
    )


def trained(seeds_of_5=(1, 2, 3)):
    """Two updates of one base, and the union, over three seeds."""
    arms, curves = [], {}
    for seed in (1, 2, 3):
        stages = {
            "pretrain": curve("pretrain", 0, 2000, (8.5, 5.5, 5.0), (8.5, 7.5, 7.0), seed),
            "0%": curve("update", 2000, 3000, (5.0, 8.2, 8.0), (7.0, 3.8, 3.5), seed),
            "5%": curve("update", 2000, 3000, (5.0, 6.2, 5.5), (7.0, 3.9, 3.6), seed),
            "union": curve("union", 0, 3000, (8.5, 5.6, 4.8), (8.5, 4.9, 3.7), seed),
        }
        curves |= {f"{name}-{seed}": each for name, each in stages.items()}
        for name in NAMES:
            if name == "5%" and seed not in seeds_of_5:
                continue
            lineage = [name] if name == "union" else ["pretrain", name]
            made = arm(name, seed, *(stages[name].losses[d][-1][1] for d in ("d0", "strong")))
            arms.append(made.model_copy(update={"stages": [f"{s}-{seed}" for s in lineage]}))
    return result(arms).model_copy(update={"curves": curves})


def drawn(found):
    (arms,) = labelled_arms(found)
    return losses(arms, arm_styles(list(arms.seeds)))


def lines(figure, name):
    return [trace for trace in figure.data if trace.name == name and trace.mode == "lines"]


def test_a_line_is_the_mean_over_the_seeds_and_its_band_their_range():
    figure = drawn(trained())
    old, new, lr = lines(figure, "5%")
    assert (old.yaxis, new.yaxis, lr.yaxis) == ("y", "y2", "y3")
    assert list(old.x) == [2000, 2500, 3000]
    assert list(old.y) == pytest.approx([5.02, 6.22, 5.52])
    assert list(new.y) == pytest.approx([7.02, 3.92, 3.62])
    assert list(lr.y) == [1e-3, 1e-4]
    band, _ = (t for t in figure.data if t.name == "5%" and t.mode == "none")
    assert list(band.y) == pytest.approx([5.03, 6.23, 5.53, 5.51, 6.21, 5.01])


@pytest.mark.parametrize("seeds", [(1, 2, 3), (1,)])
def test_a_shared_stage_is_drawn_once_in_grey_and_named_once(seeds):
    figure = drawn(trained(seeds))
    shared = lines(figure, "shared stages")
    assert len(shared) == 3
    assert {trace.line.color for trace in shared} == {SHARED_COLOUR}
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(named) == sorted([*NAMES, "shared stages"])


def test_the_first_view_leaves_the_untrained_models_out():
    figure = drawn(trained())
    low, high = figure.layout.yaxis.range
    assert low < 4.81
    assert 8.23 < high < 8.5
    whole, updates = figure.layout.meta["views"]
    assert whole["ranges"]["xaxis.range"] == list(figure.layout.xaxis.range) == [-60, 3060]
    assert updates["ranges"]["xaxis.range"] == [1980, 3020]
    assert updates["ranges"]["yaxis2.range"][1] < 4.0


def test_results_without_curves_are_shown_without_the_figure():
    html = page([(SUITE, result([arm("0%", 1, 3.0, 2.0)]))])
    assert "Losses and learning rate" not in html


def test_the_page_has_the_curves_and_names_in_them_are_inert():
    found = trained()
    arms = [
        each.model_copy(update={"arm": NASTY}) if each.arm == "5%" else each for each in found.arms
    ]
    html = page([(SUITE, found.model_copy(update={"arms": arms}))])
    assert faults(html) == []
    assert 'id="suite0-panel0-losses"' in html
