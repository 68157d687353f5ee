"""What is said, tabled and drawn of arms over their seeds, and that a page of many runs stays small."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.conftest import write_realistic
from tests.report.test_report_page import Page, faults

from rewarm.report.curves import LONGEST_POINTS, SHORTEST_POINTS, shared_limit
from rewarm.report.merging import Comparison
from rewarm.report.page import PAGE_BYTES, page
from rewarm.report.panel_plots import PANEL_FIGURES, compute, final_loss, frontier
from rewarm.report.panel_tables import comparison_table, seed_table
from rewarm.report.panel_verdict import panel_verdict, runs_left
from rewarm.report.panels import Measured, Panel, SeededArm, paired
from rewarm.report.styles import arm_styles
from rewarm.report.tables import read_run


def arm(label, averages, *, forgetting=None, adaptation=None, gap=None, cost=100, **rest):
    """Return an arm whose seeds have these averages."""
    seeds = [
        Measured(
            seed=seed,
            source=f"run-{seed}",
            final={"old": average + 1, "new": average - 1},
            before={"old": 3.0, "new": 5.0},
            update_tokens=cost,
            update_flops=6.0 * cost,
            weights_sha256=f"{seed:064x}",
            forgetting=None if forgetting is None else forgetting[seed - 1],
            adaptation=None if adaptation is None else adaptation[seed - 1],
            union_gap=None if gap is None else gap[seed - 1],
        )
        for seed, average in enumerate(averages, start=1)
    ]
    return SeededArm(label=label, seeds=seeds, **rest)


@pytest.fixture
def found():
    """Replay that helps, against its twin and the union, over three seeds."""
    return Comparison(
        panel=Panel(
            title="old and new",
            datasets=["old", "new"],
            arms=[
                arm(
                    "none",
                    [4.0, 4.1, 4.2],
                    forgetting=[1.0, 1.1, 1.2],
                    adaptation=[3.0, 3.0, 3.1],
                    gap=[1.0, 1.0, 1.1],
                ),
                arm(
                    "some",
                    [3.1, 3.2, 3.25],
                    forgetting=[0.1, 0.2, 0.3],
                    adaptation=[2.9, 3.1, 3.0],
                    gap=[0.1, 0.1, 0.15],
                    replay_share=0.05,
                ),
                arm(
                    "union",
                    [3.0, 3.1, 3.1],
                    forgetting=[0.0, 0.0, 0.0],
                    adaptation=[3.0, 3.0, 3.0],
                    gap=[0.0, 0.0, 0.0],
                    cost=300,
                    is_reference=True,
                    is_union=True,
                ),
            ],
        ),
        without_replay={"some": "none"},
    )


def test_the_verdict_gives_means_intervals_and_what_seeds_explain(found):
    # t of 2 degrees of freedom at 97.5 %, from a table
    half = 4.303 * np.std([0.1, 0.1, 0.15], ddof=1) / 3**0.5
    text = panel_verdict(found)
    assert text.startswith(
        "Over seeds 1, 2 and 3 the best average loss is that of union, 3.067 (95 % interval 2.923 to 3.210)."
    )
    low, high = 0.35 / 3 - half, 0.35 / 3 + half
    assert (
        f"The best update, some, ends 0.117 above union ({low:+.3f} to {high:+.3f}: beyond what seeds "
        "explain), which is retraining on everything, with 66.7% less compute, given the checkpoint"
    ) in text
    assert (
        "Replay of 5% (some, against none) made forgetting less: +1.100 became +0.200, a change of -0.900 "
        "(-0.900 to -0.900: beyond what seeds explain); adaptation changed by -0.033 (-0.320 to +0.254: "
        "not beyond what seeds explain)."
    ) in text


def test_a_difference_is_paired_by_seed_and_needs_a_common_one():
    first, second = arm("a", [2.0, 3.0, 4.0]), arm("b", [1.0, 2.0])
    found = paired(first, second, lambda seed: seed.average)
    assert (found.value, found.standard_error, found.count) == (1.0, 0.0, 2)
    other = replace(second, seeds=[replace(second.seeds[0], seed=9)])
    assert paired(first, other, lambda seed: seed.average) is None
    assert paired(first, second, lambda seed: seed.forgetting) is None


def test_without_a_union_the_next_arm_is_named_and_one_seed_proves_little():
    alone = Panel(title="", datasets=["old", "new"], arms=[arm("a", [3.0]), arm("b", [3.1])])
    text = panel_verdict(Comparison(panel=alone, without_replay={}))
    assert text == (
        "Over seed 1 the best average loss is that of a, 3.000; b follows, 0.100 above it (one seed). "
        "One seed for each arm: small differences may be chance."
    )
    mixed = replace(alone, arms=[arm("a", [3.0, 3.2]), arm("b", [3.1])])
    assert "One seed alone: b." in panel_verdict(Comparison(panel=mixed, without_replay={}))


def test_replay_that_does_not_help_is_said_so(found):
    none, some, union = found.panel.arms
    worse = replace(some, seeds=[replace(seed, forgetting=2.0) for seed in some.seeds])
    panel = replace(found.panel, arms=[none, worse, union])
    text = panel_verdict(replace(found, panel=panel))
    assert "Contrary to expectation, replay of 5% (some, against none) did not make" in text


def test_the_table_has_errors_intervals_and_what_is_known(found):
    table = comparison_table(found.panel)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows) == ["none", "some", "union †"]
    assert rows["some"]["average"] == "3.183 ± 0.044\n2.994 to 3.373"
    assert rows["some"]["to union"].startswith("+0.117 ± 0.017\n")
    assert rows["union †"]["to union"] == "-"
    assert (rows["some"]["compute ratio"], rows["some"]["replay"]) == ("0.33", "5%")
    assert "to best" not in table.columns
    without = comparison_table(replace(found.panel, arms=found.panel.arms[:2]))
    assert "to best" in without.columns
    bare = Panel(title="", datasets=["old", "new"], arms=[arm("a", [3.0])])
    assert comparison_table(bare).rows == [
        ["a", "1", "0%", "4.000", "2.000", "3.000", "-", "100", "1.00"]
    ]


def test_every_seed_is_in_a_table_for_machines(found):
    table = seed_table(found.panel, "run")
    assert len(table.rows) == 9
    cells = dict(zip(table.columns, table.rows[3], strict=True))
    assert (cells["arm"], cells["run"], cells["seed"]) == ("some", "run-1", "1")
    assert (cells["loss old"], cells["forgetting"]) == ("4.100000", "0.100000")
    assert (
        "forgetting" not in seed_table(replace(found.panel, arms=[arm("a", [3.0])]), "run").columns
    )


def test_the_frontier_joins_the_means_of_updated_arms(found):
    figure = frontier(found.panel, arm_styles(["none", "some", "union"]))
    assert list(figure.data[0].x) == pytest.approx([0.2, 1.1])
    assert list(figure.data[0].y) == pytest.approx([3.0, 9.1 / 3], rel=1e-5)
    union = [trace for trace in figure.data if trace.name == "union"]
    assert all(trace.marker.symbol.endswith("-open") for trace in union)


def test_figure_1_has_the_intervals_of_the_means(found):
    figure = compute(found.panel, arm_styles(["none", "some", "union"]))
    mean = [trace for trace in figure.data if trace.name == "some"][1]
    assert (mean.x[0], mean.y[0]) == (600.0, pytest.approx(3.18333))
    assert mean.error_y.array[0] == pytest.approx(4.303 * 0.0441 / 1, rel=1e-2)


def shown(panel):
    figures = PANEL_FIGURES.drawn("p", panel, arm_styles([arm.label for arm in panel.arms]))
    return [figure.id for figure in figures["arms"]]


def test_a_figure_is_shown_where_it_says_something(found):
    assert shown(found.panel) == ["p-compute", "p-frontier"]
    alike = replace(found.panel, arms=found.panel.arms[:2])
    assert shown(alike) == ["p-final_loss", "p-frontier"]
    losses = final_loss(alike, arm_styles(["none", "some"]))
    assert [trace.x[0] for trace in losses.data[1::2]] == pytest.approx([4.1, 3.18333])
    unknown = replace(found.panel, arms=[arm("a", [3.0]), arm("b", [3.1], cost=200)])
    assert shown(unknown) == ["p-compute", "p-kept_and_learnt"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        read_run(write_realistic(folder / f"news-{seed}", seed=seed, shift=0.01 * seed))
        for seed in (1, 2)
    ]


def test_several_runs_are_compared_above_the_single_ones(runs):
    html = page(runs)
    assert faults(html) == []
    text = " ".join(" ".join(Page(html).text).split())
    assert "2 runs, compared" in text
    assert text.index("Over seeds 1 and 2 the best average loss is that of union") < text.index(
        "The runs, one by one"
    )
    assert html.index('id="panel0-compute"') < html.index('id="panel0-frontier"')
    assert html.index('id="panel0-frontier"') < html.index('<article class="run" id="run0">')
    assert "2.140 ± 0.005" in text  # of union: 2.125 and a hundredth or two more
    assert page(runs) == html


def test_a_single_run_has_no_comparison(runs):
    assert "compared" not in page(runs[:1])


def test_an_arm_looks_the_same_in_the_comparison_and_in_its_run(runs):
    renamed = runs[0].record.model_copy(
        update={"arms": {f"{arm}-too": stages for arm, stages in runs[0].record.arms.items()}}
    )
    html = page([runs[0], replace(runs[0], record=renamed)])
    colours = {}
    for attrs, body in Page(html).scripts:
        if attrs.get("id") in ("panel0-frontier-data", "run0-frontier-data", "run1-frontier-data"):
            for trace in json.loads(body)["data"][1:]:
                for name in trace["name"].split(" = "):
                    colours.setdefault(name.removesuffix("-too"), set()).add(
                        trace["marker"]["color"]
                    )
    assert len(colours) == 4
    assert all(len(found) == 1 for found in colours.values())


def test_what_is_left_is_said(runs, tmp_path):
    at_work = read_run(write_realistic(tmp_path / "late", unfinished=True))
    assert runs_left([*runs, at_work]) == "Not finished: late."
    assert runs_left(runs) == ""
    assert '<p class="warn">Not finished: late.</p>' in page([*runs, at_work])


def many(runs, count):
    first = runs[0]
    return [
        replace(first, name=f"news-{n}", record=first.record.model_copy(update={"seed": n}))
        for n in range(count)
    ]


def test_a_page_of_many_runs_stays_small_and_says_how(runs):
    html = page(many(runs, 16))
    assert len(html.encode()) < PAGE_BYTES
    assert faults(html) == []
    assert f"A curve of more than {SHORTEST_POINTS} points is cut" in html
    curves = [
        trace
        for attrs, body in Page(html).scripts
        if attrs.get("type") == "application/json"
        for trace in json.loads(body)["data"]
        if "lines" in trace.get("mode", "")
    ]
    assert max(len(trace["y"]) for trace in curves) <= SHORTEST_POINTS + 2
    assert all(len(trace["x"]) == len(trace["y"]) for trace in curves)
    assert f"A curve of more than {LONGEST_POINTS:,} points is cut" in page(runs[:1])


def test_runs_that_a_page_has_no_room_for_are_named(runs, monkeypatch):
    whole = page(many(runs, 3))
    monkeypatch.setattr("rewarm.report.page.PAGE_BYTES", len(whole.encode()) - 1)
    html = page(many(runs, 3))
    assert re.findall(r'<article class="run" id="(run\d)">', html) == ["run0", "run1"]
    assert "Not shown one by one, for the page would be larger than 6 MB: news-2." in html
    assert "Over seeds 0, 1 and 2" in html
    assert faults(html) == []
    links = {attrs["href"][1:] for tag, attrs in Page(html).elements if tag == "a"}
    assert links == {"run0", "run1"}


@given(st.lists(st.integers(1, 5000), max_size=60), st.integers(1, 30_000))
def test_the_curves_of_a_page_share_its_points(lengths, page_points):
    limit = shared_limit(lengths, page_points)
    assert SHORTEST_POINTS <= limit <= LONGEST_POINTS
    drawn = sum(min(length, limit) for length in lengths)
    if limit > SHORTEST_POINTS:
        assert drawn <= page_points
    if limit < LONGEST_POINTS and drawn < sum(lengths):  # nothing is wasted
        assert sum(min(length, limit + 1) for length in lengths) > min(
            page_points, SHORTEST_POINTS * len(lengths)
        ) - len(lengths)
