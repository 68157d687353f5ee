"""The gate on tasks: paired with what was before, only of the very weights, and never held unmeasured."""

import hashlib
from dataclasses import replace

import pytest
from tests.evaluation.written import write_evaluation
from tests.report.conftest import Builder

from rewarm.evaluation.gate import judge
from rewarm.evaluation.items import DocumentItem, Item, QuestionItem, ShareItem
from rewarm.evaluation.results import results_file
from rewarm.runs.files import read_record, write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import GateRecord, StageResult, TaskLimitRecord

BUILD = Builder()
WEIGHTS = "ab" * 32
"""Hash of the weights of every stage."""


def limit(**changes):
    values = {
        "name": "old",
        "metric": None,
        "domain": None,
        "max_worse": None,
        "against": None,
        "at_worst": None,
    }
    return TaskLimitRecord(**(values | changes))


@pytest.fixture
def run(tmp_path):
    """Pretraining, an update, and one more behind it."""
    stages, parent = [], None
    for name in ("pretrain", "update", "more"):
        record = BUILD.record(name, parent=parent, start_step=10 if parent else 0)
        stage = BUILD.finished(record, (3.0, 3.0), (3.0, 3.0))
        own = stage.result.model_copy(update={"weights_sha256": WEIGHTS})
        stages.append(replace(stage, result=own))
        parent = record.folder
    BUILD.write(tmp_path / "run", stages, {"main": [s.record.folder for s in stages]})
    return RunFolder(tmp_path / "run")


def only_finding(run, task, **changes):
    values = {
        "policy": "report",
        "arms": ["main"],
        "from_scratch": ["pretrain-0a"],
        "base": None,
        "max_forgetting": {},
        "max_loss": {},
        "max_overlap": None,
        "tasks": [task],
    }
    write_record(run.gate, GateRecord(**(values | changes)))
    judgement = judge(run)
    assert judgement is not None
    (found,) = judgement.findings
    return found


def documents(bits_per_byte: dict[str, list[float]]) -> list[Item]:
    """Documents of ten bytes each, by domain."""
    nats_of_a_bit = 0.6931471805599453
    return [
        DocumentItem(
            task="old",
            id=f"{domain}{number}",
            domain=domain,
            nats=bits * 10 * nats_of_a_bit,
            bytes=10,
            tokens=5,
        )
        for domain, values in bits_per_byte.items()
        for number, bits in enumerate(values)
    ]


def questions(right: int, of: int) -> list[Item]:
    return [
        QuestionItem(
            task="old",
            id=str(number),
            answer=0,
            nats=[1.0, 2.0] if number < right else [2.0, 1.0],
            greedy=[False, False],
            characters=[1, 1],
            bytes=[1, 1],
            truncated=False,
        )
        for number in range(of)
    ]


def evaluate(run, name, items, *, weights=None, sha="data"):
    """Write what `rewarm eval` would for a model of this name."""
    write_evaluation(
        run.evaluations / name,
        name,
        [items],
        weights=weights or {"model.safetensors": WEIGHTS},
        data_sha256=sha,
    )


BEFORE, AFTER = "update-0a-step-10", "more-0a-step-10"


def test_bits_per_byte_may_rise_and_accuracy_fall_by_as_much_as_allowed(run):
    evaluate(run, BEFORE, documents({"a": [1.0, 1.2, 1.4]}))
    evaluate(run, AFTER, documents({"a": [1.1, 1.3, 1.5]}))
    found = only_finding(run, limit(max_worse=0.09))
    assert (found.state, found.stage) == ("broken", "more-0a")
    assert found.measured == pytest.approx(0.1)
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)  # paired: all rose alike
    assert only_finding(run, limit(max_worse=0.11)).state == "held"
    evaluate(run, BEFORE, questions(6, 8))
    evaluate(run, AFTER, questions(4, 8))
    found = only_finding(run, limit(max_worse=0.2))
    assert (found.state, found.measured) == ("broken", pytest.approx(0.25))
    assert "may be chance" in found.message
    assert only_finding(run, limit(max_worse=0.25, metric="acc_norm")).state == "held"


def test_a_value_has_a_worst_by_the_direction_of_its_metric(run):
    evaluate(run, AFTER, documents({"a": [1.0, 1.2]}))
    assert only_finding(run, limit(at_worst=1.2)).state == "held"
    assert only_finding(run, limit(at_worst=1.0)).state == "broken"
    evaluate(run, AFTER, questions(6, 8))
    assert only_finding(run, limit(at_worst=0.7)).state == "held"
    assert only_finding(run, limit(at_worst=0.8)).state == "broken"


def test_a_domain_is_judged_by_itself(run):
    evaluate(run, BEFORE, documents({"a": [1.0, 1.0], "b": [1.0, 1.0]}))
    evaluate(run, AFTER, documents({"a": [1.0, 1.0], "b": [1.5, 1.5]}))
    assert only_finding(run, limit(max_worse=0.1, domain="a")).state == "held"
    found = only_finding(run, limit(max_worse=0.1, domain="b"))
    assert (found.limit, found.state) == ("task.old.b.max_worse", "broken")
    found = only_finding(run, limit(max_worse=0.1, domain="c"))
    assert found.state == "not measured"
    assert (
        "no bits_per_byte of domain 'c'; it has bits_per_byte, bits_per_byte_macro" in found.message
    )


def test_before_is_the_stage_that_is_named(run):
    evaluate(run, "pretrain-0a-step-10", documents({"a": [1.0, 1.0]}))
    evaluate(run, BEFORE, documents({"a": [1.3, 1.3]}))
    evaluate(run, AFTER, documents({"a": [1.4, 1.4]}))
    found = only_finding(run, limit(max_worse=1.0, against="pretrain"))
    assert found.measured == pytest.approx(0.4)
    assert only_finding(run, limit(max_worse=1.0)).measured == pytest.approx(0.1)
    found = only_finding(run, limit(max_worse=1.0, against="elsewhere"))
    assert (found.state, "is no stage before" in found.message) == ("not measured", True)


def test_the_base_model_is_evaluated_under_its_own_name(run):
    evaluate(run, AFTER, documents({"a": [1.4, 1.4]}))
    task = limit(max_worse=0.5, against="base")
    assert "random weights" in only_finding(run, task).message
    base = {"from_scratch": [], "base": "model"}
    assert "rewarm eval MODEL" in only_finding(run, task, **base).message
    evaluate(run, "model", documents({"a": [1.0, 1.0]}), weights={"other.safetensors": "cd"})
    found = only_finding(run, task, **base)
    assert (found.state, found.measured) == ("held", pytest.approx(0.4))


def test_what_was_not_evaluated_is_not_held_and_the_command_is_named(run):
    found = only_finding(run, limit(max_worse=0.5))
    assert found.state == "not measured"
    command = f'`rewarm eval {run.path} --stage more --arm main --at "10 steps" … old=FILE --out'
    assert command in found.message
    evaluate(run, AFTER, documents({"a": [1.4, 1.4]}))
    found = only_finding(run, limit(max_worse=0.5))
    assert (found.state, "--stage update" in found.message) == ("not measured", True)


@pytest.mark.parametrize(
    ("sha", "said"), [("other", "on other items"), ("data", "on other items"), (None, "no metric")]
)
def test_what_cannot_be_compared_is_not_held(run, sha, said):
    evaluate(run, AFTER, documents({"a": [1.0, 1.0]}))
    evaluate(run, BEFORE, documents({"a": [1.0] * (3 if sha == "data" else 2)}), sha=sha or "data")
    found = only_finding(run, limit(max_worse=0.5, name="old" if sha else "new"))
    assert (found.state, said in found.message) == ("not measured", True)


def test_an_evaluation_of_other_weights_is_not_believed(run):
    evaluate(run, AFTER, documents({"a": [1.0, 1.0]}), weights={"model.safetensors": "cd" * 32})
    found = only_finding(run, limit(at_worst=2.0))
    assert (found.state, "other weights" in found.message) == ("not measured", True)
    # Of several files, the hash of the hashes in the order of their names.
    shards = {"model-2": "22" * 32, "model-1": "11" * 32}
    evaluate(run, AFTER, documents({"a": [1.0, 1.0]}), weights=shards)
    path = run.stage("more-0a").result
    digest = hashlib.sha256(("11" * 32 + "22" * 32).encode()).hexdigest()
    result = read_record(path, StageResult).model_copy(update={"weights_sha256": digest})
    write_record(path, result)
    assert only_finding(run, limit(at_worst=2.0)).state == "held"
    path.unlink()
    assert "has no result yet" in only_finding(run, limit(at_worst=2.0)).message


def test_results_are_where_eval_writes_them(run):
    evaluate(run, AFTER, documents({"a": [1.0]}))
    assert results_file(run.path / "evaluations" / AFTER).exists()


def test_the_run_and_the_arm_may_stand_before_the_name(run):
    evaluate(run, f"run-{BEFORE}", documents({"a": [1.0, 1.0]}))
    evaluate(run, f"run-main-{AFTER}", documents({"a": [1.4, 1.4]}))
    evaluate(run, f"other-{AFTER}", documents({"a": [9.0, 9.0]}), weights={"m": "cd" * 32})
    assert only_finding(run, limit(max_worse=1.0)).measured == pytest.approx(0.4)
    evaluate(run, f"no{AFTER}", documents({"a": [1.0, 1.0]}))
    assert only_finding(run, limit(max_worse=1.0)).measured == pytest.approx(0.4)


def test_a_share_of_what_is_right_is_worse_when_it_falls(run):
    def shares(share: float) -> list[Item]:
        return [ShareItem(task="old", id=str(n), share=share, truncated=False) for n in range(4)]

    evaluate(run, BEFORE, shares(0.5))
    evaluate(run, AFTER, shares(0.25))
    found = only_finding(run, limit(max_worse=0.1))
    assert (found.state, found.measured) == ("broken", pytest.approx(0.25))
    assert only_finding(run, limit(at_worst=0.2)).state == "held"
