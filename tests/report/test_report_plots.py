"""The figures: what is drawn, where, and that curves keep their spikes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.report.curves import kept_points
from rewarm.report.frame import label_places, owner, stage_label
from rewarm.report.plots import compute, frontier, losses, mixture, throughput
from rewarm.report.styles import SHARED_COLOUR, arm_styles
from rewarm.report.tables import read_run

STEP_TOKENS = 64 * 512


@pytest.fixture(scope="module")
def run(realistic):
    return read_run(realistic)


@pytest.fixture(scope="module")
def styles(run):
    return arm_styles(list(run.record.arms))


def _named(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_losses_are_drawn_over_the_tokens_of_the_arm(run, styles):
    figure = losses(run, styles)
    english, python, lr = _named(figure, "replay-5")
    assert (english.yaxis, python.yaxis, lr.yaxis) == ("y", "y2", "y3")
    assert english.x[0] == 1500 * STEP_TOKENS
    assert english.x[-1] == 2500 * STEP_TOKENS
    assert english.y[0] == pytest.approx(2.8)
    assert (english.line.dash, python.line.dash) == ("solid", "dash")
    assert max(lr.y) == pytest.approx(3e-4)
    assert figure.layout.xaxis.matches == figure.layout.xaxis2.matches == "x3"


def test_a_shared_stage_is_drawn_once_in_grey(run, styles):
    shared = _named(losses(run, styles), "shared stages")
    assert len(shared) == 3
    assert {trace.line.color for trace in shared} == {SHARED_COLOUR}
    assert all(trace.x[-1] == pytest.approx(1500 * STEP_TOKENS, rel=1e-5) for trace in shared)


def test_the_spike_after_the_boundary_is_in_the_first_view(run, styles):
    figure = losses(run, styles)
    english = _named(figure, "no-replay")[0]
    low, high = figure.layout.yaxis.range
    assert low < min(english.y)
    assert high > max(english.y) > 4.0
    assert high < 6.0


def test_the_boundary_is_marked_and_the_training_loss_is_hidden(run, styles):
    figure = losses(run, styles)
    assert [shape.x0 for shape in figure.layout.shapes] == [1500 * STEP_TOKENS]
    assert any(note.text == "▸ update" for note in figure.layout.annotations)
    training = _named(figure, "training loss")
    assert len(training) == 5
    assert {trace.visible for trace in training} == {"legendonly"}
    assert sum(trace.showlegend for trace in training) == 1


def test_the_last_view_shows_the_ends_of_the_new_data_closely(run, styles):
    ranges = losses(run, styles).layout.meta["views"][1]["ranges"]
    assert ranges["xaxis.range"] == ranges["xaxis2.range"] == ranges["xaxis3.range"]
    low, high = ranges["yaxis2.range"]
    assert low < 1.31
    assert high < 2.0


def test_an_arm_has_one_colour_everywhere(run, styles):
    for arm, style in styles.items():
        for figure in (losses(run, styles), throughput(run, styles)):
            assert {trace.line.color for trace in _named(figure, arm)} == {style.colour}
        for figure in (frontier(run, styles), compute(run, styles)):
            assert {trace.marker.color for trace in _named(figure, arm)} == {style.colour}


def test_the_frontier_joins_updated_arms_only_and_references_are_hollow(run, styles):
    figure = frontier(run, styles)
    front = figure.data[0]
    assert list(front.x) == pytest.approx([0.09, 0.25, 0.82])
    assert list(front.y) == pytest.approx([2.72, 2.77, 2.79])
    assert _named(figure, "union")[0].marker.symbol.endswith("-open")
    assert not _named(figure, "replay-5")[0].marker.symbol.endswith("-open")


def test_compute_puts_the_update_at_its_own_cost(run, styles):
    figure = compute(run, styles)
    point = _named(figure, "replay-25")[0]
    assert point.x[0] == pytest.approx(6e6 * 1000 * STEP_TOKENS, rel=1e-5)
    assert point.y[0] == pytest.approx(2.135)
    tails = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(tails) == 3
    assert tails[0].x[1] == pytest.approx(6e6 * 2500 * STEP_TOKENS, rel=1e-5)


def test_the_mixture_adds_up_for_every_stage(run, styles):
    bars = [trace for trace in mixture(run, styles).data if trace.type == "bar"]
    sums = {}
    for bar in bars:
        sums[bar.y[0]] = sums.get(bar.y[0], 0.0) + bar.x[0]
    assert sums == {0: 1.0, -1: 1.0, -2: 1.0, -3: 1.0, -4: 1.0}
    hatched = [bar.x[0] for bar in bars if bar.marker.pattern.shape == "/"]
    assert hatched == [0.05, 0.25]


def test_throughput_lies_along_the_arm(run, styles):
    speed, wait = _named(throughput(run, styles), "replay-25")
    assert speed.x[0] == pytest.approx(1525 * STEP_TOKENS, rel=1e-5)
    assert all(150_000 < y < 250_000 for y in speed.y)
    assert max(wait.y) < 0.05


def test_stages_are_labelled_by_their_arm_unless_shared(run):
    assert owner(run, "pretrain-1a2b3c4d") is None
    assert stage_label(run, "pretrain-1a2b3c4d") == "pretrain"
    assert stage_label(run, "update-77b0e1d2") == "update (replay-5)"
    assert stage_label(run, "union-9e8d7c6b") == "union"


def test_shared_stages_of_one_name_are_labelled_by_their_folder(build, tmp_path):
    bases = [build.record("pretrain", key=key) for key in ("aa", "bb")]
    updates = [
        build.record("update", key=f"{base.key}{n}", parent=base.folder, start_step=10)
        for base in bases
        for n in range(2)
    ]
    arms = {f"arm-{u.key}": [u.parent, u.folder] for u in updates}
    run = read_run(build.write(tmp_path, [build.begun(r) for r in [*bases, *updates]], arms))
    assert [stage_label(run, base.folder) for base in bases] == ["pretrain-aa", "pretrain-bb"]
    assert stage_label(run, "update-aa1") == "update (arm-aa1)"


def test_many_arms_keep_different_looks():
    styles = arm_styles([f"arm-{n}" for n in range(60)])
    assert len({(s.colour, s.symbol) for s in styles.values()}) == 60


def test_labels_of_points_in_one_place_take_different_sides():
    assert len(set(label_places([(0.0, 0.0)] * 4, ["one", "two", "three", "four"]))) == 4


curves = st.lists(st.floats(-10, 10), min_size=1, max_size=400)


@given(curves, st.integers(2, 60))
def test_thinning_keeps_ends_and_extremes_in_order(values, longest):
    curve = np.array(values)
    kept = kept_points(curve, longest_points=longest)
    assert kept[0] == 0
    assert kept[-1] == len(curve) - 1
    assert (np.diff(kept) > 0).all()
    assert curve[kept].max() == curve.max()
    assert curve[kept].min() == curve.min()
    assert len(kept) <= max(longest + 2, 3)


def test_a_short_curve_is_drawn_whole():
    assert kept_points(np.arange(10.0), longest_points=10).tolist() == list(range(10))
