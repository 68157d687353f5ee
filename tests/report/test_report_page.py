"""The page: complete, inert, and the same every time."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from rewarm.errors import CampaignError
from rewarm.report import plots
from rewarm.report.page import write_report
from rewarm.report.styles import arm_styles
from rewarm.report.tables import read_run
from rewarm.runs.files import write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import (
    EvalRecord,
    EventRecord,
    OverlapCount,
    OverlapRecord,
    SampleRecord,
    StepRecord,
)

NASTY = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements, scripts and text of a page; fails on elements that are not closed in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.scripts = []
        self.text = []
        self._open = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script":
            self.scripts.append([dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.scripts[-1][1] += data
        elif self._open and self._open[-1] != "style":
            self.text.append(data)


def faults(html):
    """Everything in a page that could run or load what it should not."""
    page = Page(html)
    found = []
    policies = [
        attrs["content"]
        for tag, attrs in page.elements
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    policy = policies[0] if len(policies) == 1 else ""
    if not policy.startswith("default-src 'none'") or "http" in policy:
        found.append("policy")
    for attrs, body in page.scripts:
        if attrs.get("type") == "application/json":
            json.loads(body)
        elif (
            f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
            not in policy
        ):
            found.append(f"script {body[:30]}")
    for tag, attrs in page.elements:
        for name, value in attrs.items():
            if name.startswith("on"):
                found.append(f"{tag} {name}")
            if name in {"src", "href", "action", "srcset"} and not value.startswith(
                ("#", "data:,")
            ):
                found.append(f"{tag} {name}={value}")
        if tag in {"img", "iframe", "object", "embed", "form", "base"}:
            found.append(tag)
    return found


@pytest.fixture(scope="module")
def html(realistic, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report([realistic], out) == out
    return out.read_text(encoding="utf-8")


def test_the_page_runs_and_loads_nothing_of_its_own_accord(html):
    assert faults(html) == []


@pytest.mark.parametrize(
    "addition",
    [
        "<script>alert(1)</script>",
        '<img src="data:,">',
        '<a href="http://evil.example/">x</a>',
        '<p onclick="alert(1)">x</p>',
    ],
)
def test_the_check_for_faults_can_fail(html, addition):
    assert faults(html.replace("</body>", addition + "</body>")) != []


def test_prompts_and_continuations_are_shown_as_text(html):
    text = " ".join(Page(html).text)
    assert text.count(NASTY) == 6


def test_sections_come_in_order(html):
    titles = re.findall(r"<h2[^>]*>([^<]*)</h2>", html)
    assert titles == [
        "Losses and learning rate",
        "Forgetting against adaptation",
        "Average loss against compute",
        "Replay audit",
        "What was read",
        "Overlap",
        "Trunk and branches",
        "Stages",
        "Sample continuations",
        "Throughput",
        "Events",
        "Provenance",
    ]
    assert html.index("The best average loss is that of union") < html.index("<h2")


def test_every_figure_has_its_data_and_identifiers_are_unique(html):
    page = Page(html)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    boxes = [
        attrs["id"]
        for tag, attrs in page.elements
        if tag == "div" and attrs.get("class") == "figure"
    ]
    assert len(boxes) == 6
    assert {f"{box}-data" for box in boxes} <= set(ids)


def test_plotly_is_in_the_page_once(html):
    assert html.count("plotly.js v") == 1


def test_provenance_and_definitions_are_there(html):
    text = " ".join(Page(html).text)
    for part in (
        "mean over the last 100 steps, sampled every 10",
        "6 per parameter and token, and attention",
        "4c1d9e07a3b2f8e65d4c3b2a190817263544a5b6",
        "train xxh3:5f0c1d2e3a4b5968, validation xxh3:0011aa22bb33cc44",
        "torch 2.13.0",
        "F = L(after) − L(before)",
        "A = L(before) − L(after)",
        "plain mean of the final losses",
    ):
        assert part in text


def test_events_come_in_the_order_of_time(html):
    times = re.findall(r"<td>(2026-[^<]*)</td>", html)
    assert len(times) == 12
    assert times == sorted(times)


def test_the_same_run_gives_the_same_bytes(realistic, html, tmp_path):
    again = write_report([realistic], tmp_path / "other.html")
    assert again.read_bytes() == html.encode()


@pytest.fixture(scope="module")
def hostile(build, tmp_path_factory):
    """Every text of a run that could be somebody else's tries to run a script."""
    datasets = (f"english{NASTY}", "python<b>")
    losses = dict.fromkeys(datasets, 2.0)
    shares = {datasets[0]: 1.0}
    base = build.record(f"pre{NASTY.replace('/', '')}", key="b0", shares=shares)
    base = base.model_copy(update={"schedule_text": NASTY})
    update = build.record(
        "update<i>",
        key="u0",
        parent=base.folder,
        start_step=10,
        shares={datasets[1]: 1.0},
        replay_share=0.25,
        replay_from=shares,
    )
    stages = [
        type(build.begun(record))(
            record=record,
            result=build.result(record, before=losses, final=losses),
            evals=[
                EvalRecord(step=step, tokens=128 * step, dataset=name, loss=2.0, sequences=8)
                for step in (0, 10)
                for name in datasets
            ],
            metrics=[
                StepRecord(
                    step=1,
                    tokens=128,
                    lr=1e-3,
                    loss=2.0,
                    gradient_norm=1.0,
                    new={datasets[0]: 8},
                    replayed={},
                )
            ],
            events=[EventRecord(at=NASTY, step=1, kind="warning", message=NASTY)],
            samples=[SampleRecord(prompt=NASTY, continuation=f"]]>{NASTY}<!--")],
        )
        for record in (base, update)
    ]
    arms = {NASTY: [base.folder, update.folder], "base & co": [base.folder]}
    return build.write(
        tmp_path_factory.mktemp("hostile") / "run",
        stages,
        arms,
        datasets=datasets,
        name=NASTY,
        flops_rule=NASTY,
        history={datasets[0]: NASTY},
    )


def test_hostile_names_are_inert(hostile, tmp_path):
    html = write_report([hostile], tmp_path / "r.html").read_text(encoding="utf-8")
    assert faults(html) == []
    assert NASTY in " ".join(Page(html).text)


def test_no_tag_can_end_the_figures_and_plotly_sees_no_markup(hostile):
    run = read_run(hostile)
    styles = arm_styles(list(run.record.arms))
    drawn = [f for figures in plots.RUN_FIGURES.drawn("r", run, styles).values() for f in figures]
    assert {f.id for f in drawn} >= {"r-losses", "r-compute", "r-mixture"}
    for text in (figure.json(1000) for figure in drawn):
        assert not set("<>&") & set(text)
        assert not re.search(r"<(?!br>|extra>|/extra>)", json.dumps(json.loads(text)))


def test_a_run_at_work_is_reported_with_what_is_there(realistic, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(realistic, path)
    folder = RunFolder(path)
    folder.stage("union-9e8d7c6b").result.unlink()
    folder.stage("update-c4410f9a").result.unlink()
    metrics = folder.stage("update-c4410f9a").metrics
    lines = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join(lines[:640]) + lines[640][:20])
    html = write_report([path], tmp_path / "r.html").read_text(encoding="utf-8")
    assert faults(html) == []
    assert "replay-25: update (replay-25), 640 of 1,000 steps (64%)" in html
    assert "Not finished: replay-25 and union." in html
    assert html.rindex("<h2>Unfinished</h2>") > html.index("<h2>Provenance</h2>")


def test_a_run_that_has_only_been_planned_is_reported(build, tmp_path):
    stage = build.begun(build.record("pretrain"))
    path = build.write(tmp_path / "run", [stage], {"only": [stage.record.folder]})
    html = write_report([path], tmp_path / "r.html").read_text(encoding="utf-8")
    assert faults(html) == []
    assert "No arm is finished yet: 0 of 1 stages are done." in html
    assert 'class="figure"' not in html
    assert "only: pretrain (only), not started" in html


def test_several_runs_share_one_page(realistic, hostile, tmp_path):
    html = write_report([realistic, hostile], tmp_path / "r.html").read_text(encoding="utf-8")
    assert faults(html) == []
    assert "<h1>2 runs, compared</h1>" in html
    page = Page(html)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert html.count("plotly.js v") == 1


def test_an_overlap_that_was_not_measured_is_said_to_be_so(html):
    assert "was not measured when training began" in " ".join(Page(html).text)


def test_the_overlap_is_a_table_and_its_names_are_inert(realistic, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(realistic, run)
    count = OverlapCount(
        validation=NASTY,
        train="*",
        documents=200,
        tokens=4000,
        exact=1,
        near=2,
        ngram=5,
        ngram_share=0.031,
        concerned_documents=6,
        concerned_tokens=120,
    )
    record = OverlapRecord(
        train={"english": "0"},
        validation={NASTY: "0"},
        shingle_words=5,
        jaccard=0.8,
        ngram_words=13,
        ngram_limit=0.2,
        counts=[count],
        found=[],
    )
    write_record(RunFolder(run).overlap, record)
    page = write_report([run], tmp_path / "page.html").read_text(encoding="utf-8")
    assert faults(page) == []
    assert NASTY in Page(page).text
    cells = ["all", "200", "1", "2", "5", "3.1%", "6 (3%)", "120 (3%)"]
    assert "".join(f"<td>{cell}</td>" for cell in cells) in page
    assert "not measured" not in page


def test_no_run_is_refused(tmp_path):
    with pytest.raises(CampaignError, match="at least one run folder"):
        write_report([], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
