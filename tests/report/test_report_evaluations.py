"""Evaluations in the report: of which model, on which items, by domain, and their continuations."""

import pytest
from tests.evaluation.written import write_evaluation
from tests.report.test_report_page import NASTY, faults

from rewarm.evaluation.items import AnswerItem, DocumentItem, PromptItem
from rewarm.report.evaluations import score_tables
from rewarm.report.page import page
from rewarm.report.sections import prompts
from rewarm.report.tables import read_run
from rewarm.runs.folder import RunFolder

LN2 = 0.6931471805599453


def documents(bits):
    """Documents of ten bytes each, by domain."""
    return [
        DocumentItem(task="web", id=f"{d}{n}", domain=d, nats=value * 10 * LN2, bytes=10, tokens=5)
        for d, values in bits.items()
        for n, value in enumerate(values)
    ]


def answers(task, right, of):
    return [
        AnswerItem(task=task, id=str(n), said="a", right=n < right, truncated=False)
        for n in range(of)
    ]


def evaluate(run, name, *tasks, sha="data", weights=None):
    """Write what `rewarm eval` would of a model; without weights, of one that is no stage's."""
    write_evaluation(
        RunFolder(run).evaluations / name.replace("/", "-"),
        name,
        tasks,
        weights={"model.safetensors": weights or "00" * 32},
        data_sha256=sha,
    )


@pytest.fixture
def finished(build, tmp_path):
    """Return a run of a base and two updates, each with weights of its own, and the hashes."""
    base = build.record("pretrain", key="00")
    updates = [
        build.record("update", key=f"0{n}", parent=base.folder, start_step=10) for n in (1, 2)
    ]
    stages = [build.finished(record, (3.0, 3.0), (3.0, 3.0)) for record in (base, *updates)]
    hashes = [stage.result.weights_sha256 for stage in stages]
    arms = {"none": [base.folder, updates[0].folder], "replay": [base.folder, updates[1].folder]}
    return build.write(tmp_path / "run", stages, arms), hashes


def test_an_evaluation_is_of_the_arm_whose_weights_it_has(finished):
    run, (base, none, replay) = finished
    evaluate(run, "z", answers("trivia", 1, 4), weights=replay)
    evaluate(run, "y", answers("trivia", 2, 4), weights=none)
    evaluate(run, "x", answers("trivia", 3, 4), weights=base)
    evaluate(run, "gpt", answers("trivia", 4, 4), weights="ff" * 32)
    (table,) = score_tables(read_run(run)).values()
    assert table.columns == ["model", "trivia, exact_match"]
    assert [row[0] for row in table.rows] == ["gpt", "pretrain (before)", "none", "replay"]
    assert [row[1].split(" ± ")[0] for row in table.rows] == [
        "1.0000",
        "0.7500",
        "0.5000",
        "0.2500",
    ]


def test_averages_are_of_the_tasks_that_all_models_have(finished):
    run, (_, none, replay) = finished
    common = [answers("a", 1, 4), answers("b", 3, 4)]
    evaluate(run, "none", *common, answers("c", 4, 4), weights=none)
    evaluate(run, "replay", *common, weights=replay)
    (table,) = score_tables(read_run(run)).values()
    assert table.columns[-1] == "average of 2, accuracy"
    error = (3 / 16 / 3) ** 0.5  # of a share of 1/4 or 3/4 among four
    assert table.rows[0][-1] == f"0.5000 ± {(2 * error**2) ** 0.5 / 2:.4f}"
    assert table.rows[1][3] == "-"


def test_other_items_are_another_column(finished):
    run, (_, none, replay) = finished
    evaluate(run, "none", answers("a", 1, 4), weights=none)
    evaluate(run, "replay", answers("a", 1, 2), weights=replay, sha="other")
    (table,) = score_tables(read_run(run)).values()
    assert table.columns[1:] == ["a, exact_match, 4 items", "a, exact_match, 2 items"]
    assert [row.index("-") for row in table.rows] == [2, 1]


def test_domains_have_a_table_of_their_own(finished):
    run, (_, none, _) = finished
    evaluate(run, "none", documents({"law": [1.0, 2.0], "news": [3.0, 3.0]}), weights=none)
    headlines, domains = score_tables(read_run(run)).items()
    assert headlines[1].rows == [["none", "2.2500 ± 0.4787"]]
    assert domains[0] == "web by domain, bits_per_byte"
    assert domains[1].columns == ["model", "all", "law", "news", "mean of the domains"]
    assert [cell.split(" ± ")[0] for cell in domains[1].rows[0]] == [
        "none",
        "2.2500",
        "1.5000",
        "3.0000",
        "2.2500",
    ]


def test_continuations_stand_beside_each_other(finished):
    run, (base, none, _) = finished
    for name, weights, said in (("b", base, "x"), ("n", none, "y")):
        prompt = [PromptItem(task="german", id="1", prompt="Handy", continuation=said)]
        evaluate(run, name, prompt, weights=weights)
    (shown,) = prompts(read_run(run))
    assert shown.prompt == "Handy"
    assert shown.continuations == (("pretrain (before)", "x"), ("none", "y"))
    assert score_tables(read_run(run)) == {}


def test_names_of_tasks_models_and_domains_are_inert(finished):
    run, _ = finished
    item = documents({NASTY: [1.0, 2.0]})
    evaluate(run, NASTY, [each.model_copy(update={"task": NASTY}) for each in item])
    html = page([read_run(run)])
    assert faults(html) == []
    assert "<h2>Evaluations</h2>" in html
