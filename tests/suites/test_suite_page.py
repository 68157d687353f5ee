"""The page of suites: every claim is on it, names on it are inert, and its figures show the results."""

import json
import re

import pytest

from rewarm.report import panel_plots as plots
from rewarm.report.html import Figure
from rewarm.report.styles import arm_styles
from rewarm.suites.forest import differences
from rewarm.suites.page import page, write_page
from rewarm.suites.panels import panels
from tests.report.test_report_page import NASTY, Page, faults
from tests.suites.results import SUITE, arm, claim, result, usual


@pytest.fixture(scope="module")
def html():
    return page([(SUITE, usual())])


def text_of(html):
    return " ".join(" ".join(Page(html).text).split())


def figures(html):
    return [
        json.loads(body)
        for attrs, body in Page(html).scripts
        if attrs.get("type") == "application/json"
    ]


def test_every_claim_is_there_with_its_verdict(html):
    found = usual()
    rows = dict(
        re.findall(
            r'<tr><td><span class="state[^>]*>([^<]*)</span></td><th[^>]*>(?:\d\. )?([^<]*)', html
        )
    )
    assert rows == {
        "held": "More replay forgets less.",
        "not held": "It is learnt as well.",
        "undecided": "It is quicker.",
        "not run yet": "More replay forgets less, weak shift.",
    }
    text = text_of(html)
    for each in found.claims:
        for difference in each.differences:
            assert difference.label in text
            assert f"{difference.mean:+.3f}" in text
    assert (
        "Of 3 claims in 1 suite 1 held, 1 did not and 1 is undecided, over 3 seeds at tier micro"
        in text
    )


def test_it_says_what_the_numbers_are_from(html):
    text = text_of(html)
    for part in ("1,122,144", "1, 2, 3", "torch 2.13.0", "cpu capability AVX2", f"{3:064x}"):
        assert part in text
    assert "5.520 ± 0.006 3.620 ± 0.006 4.570 ± 0.006 1,000" in text


def test_the_page_is_one_that_needs_nothing_and_is_not_too_large(html):
    assert faults(html) == []
    assert len(html.encode()) < 6e6
    ids = [attrs["id"] for _, attrs in Page(html).elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"][1:] for tag, attrs in Page(html).elements if tag == "a"]
    assert links
    assert set(links) <= set(ids)


def test_the_same_results_give_the_same_bytes(html, tmp_path):
    assert write_page([(SUITE, usual())], tmp_path / "p.html").read_bytes() == html.encode()


def nasty():
    datasets = (f"d0{NASTY}", f"new{NASTY}")
    arms = [
        arm(name, seed, 3.0, 2.0, setting=NASTY, datasets=datasets, tokens=tokens)
        for seed in (1, 2)
        for name, tokens in ((f"a{NASTY}", 10), ("%{x}<b>", 20))
    ]
    made = result(arms, [claim(NASTY, [0.0, 0.1], at_most=0.0, labels=[NASTY])], [NASTY])
    return made.model_copy(
        update={"tier": NASTY, "versions": {NASTY: NASTY}, "machine": {NASTY: NASTY}}
    )


def test_names_are_inert():
    html = page([(SUITE, nasty())])
    assert faults(html) == []
    assert NASTY in text_of(html)
    for drawn in figures(html):
        marks = json.dumps(drawn).replace("%{x", "").replace("%{y", "")
        assert not re.search(r"<(?!br>|extra>|/extra>)", marks)


def traces(figure, name):
    return [trace for trace in figure.data if trace.name.startswith(name)]


def test_the_differences_are_drawn_as_they_are():
    found = usual()
    figure = differences(found, {})
    expected = [d for each in found.claims for d in each.differences]
    drawn = [t for t in figure.data if t.error_x.array is not None]
    assert [t.x[0] for t in drawn] == pytest.approx([d.mean for d in expected], rel=1e-5)
    assert [t.x[0] - t.error_x.array[0] for t in drawn] == pytest.approx(
        [d.low for d in expected], rel=1e-4
    )
    assert [t.x[0] + t.error_x.array[0] for t in drawn] == pytest.approx(
        [d.high for d in expected], rel=1e-4
    )
    assert [t.name.partition(":")[0] for t in drawn] == [d.verdict for d in expected]
    assert len({t.marker.symbol for t in drawn}) == 3  # not told by colour alone
    seeds = [list(t.x) for t in traces(figure, "a seed")]
    assert seeds == [pytest.approx(list(d.by_seed.values())) for d in expected]
    bounds = [[x for x in t.x if x is not None] for t in traces(figure, "bound")]
    assert bounds == [[0.0] * 2, [-0.02] * 2 + [0.02] * 2, [0.5] * 2, [0.5] * 2]


def test_what_is_allowed_is_shaded_and_all_is_in_view():
    figure = differences(usual(), {})
    low, high = figure.layout.xaxis.range
    shaded = figure.layout.shapes[0]
    assert (shaded.x0, shaded.x1) == (low, 0.0)
    assert low < -2.1 - 0.05
    assert high > 0.0
    assert (figure.layout.shapes[1].x0, figure.layout.shapes[1].x1) == (-0.02, 0.02)
    rows = [(s.yref, s.y0, s.y1) for s in figure.layout.shapes]
    assert len(set(rows)) == 4
    height = figure.layout.yaxis3.range[0]
    assert max(y1 for yref, _, y1 in rows if yref == "y3") <= height


def test_arms_are_drawn_as_they_are():
    (panel,) = panels(usual())
    figure = plots.kept_and_learnt(panel, arm_styles(["0%", "5%", "union"]))
    seeds, means = figure.data[0::2], figure.data[1::2]
    assert [t.text[0] for t in means] == ["0%", "5%", "union"]
    assert list(seeds[1].x) == pytest.approx([5.51, 5.52, 5.53])
    assert list(seeds[1].y) == pytest.approx([3.61, 3.62, 3.63])
    assert (means[1].x[0], means[1].y[0]) == pytest.approx((5.52, 3.62))


def test_costs_are_drawn_where_they_differ():
    (panel,) = panels(usual())
    figure = plots.compute(panel, arm_styles(["0%", "5%", "union"]))
    means = figure.data[1::2]
    assert [t.x[0] for t in means] == [6e9, 6e9, 18e9]
    assert [t.y[0] for t in means] == pytest.approx([5.77, 4.57, 4.27])
    assert means[0].error_y.array[0] == pytest.approx(4.303 * 0.01 / 3**0.5, rel=1e-3)
    alike = result([arm(name, 1, 3.0, 2.0) for name in "ab"])
    assert "Average loss against compute" not in page([(SUITE, alike)])
    assert "Average loss against compute" in page([(SUITE, usual())])


def test_one_dataset_and_one_seed_are_drawn_too():
    arms = [arm(name, 1, loss, datasets=("d0",)) for name, loss in (("cosine", 4.0), ("long", 4.1))]
    found = result(arms, [claim("It ends there.", [0.1], at_least=-0.02, at_most=0.02)])
    html = page([(SUITE, found)])
    assert faults(html) == []
    assert "over 1 seed at tier micro" in html
    assert "one seed" in html
    forest, losses = figures(html)
    assert not any("error_x" in trace for trace in forest["data"])
    assert losses["layout"]["yaxis"]["ticktext"] == ["cosine", "long"]
    assert [trace["x"] for trace in losses["data"]] == [[4.01], [4.01], [4.11], [4.11]]


def test_arms_of_the_same_datasets_share_a_panel():
    arms = [
        arm("small", 1, 3.0, 2.0, setting="small"),
        arm("replay", 1, 3.0, 2.0, setting="large"),
        arm("replay", 1, 3.0, 2.0, setting="weak", datasets=("d0", "weak")),
    ]
    first, second = panels(result(arms))
    assert (first.title, [each.label for each in first.arms]) == (
        "small and large",
        ["small", "large/replay"],
    )
    assert (second.title, [each.label for each in second.arms]) == ("weak", ["replay"])
    html = page([(SUITE, result(arms))])
    assert "<h2>small and large</h2>" in html
    assert "No claim can be judged yet" in html


def test_where_nothing_is_finished_it_says_so():
    html = page([(SUITE, None)])
    assert faults(html) == []
    assert "No claim can be judged yet." in html
    assert SUITE.question in html
    assert 'class="figure"' not in html


def test_no_tag_can_end_a_figure():
    figure = Figure(id="x", title="", caption="", drawing=differences(nasty(), {}))
    assert not set("<>&") & set(figure.json(1000))
