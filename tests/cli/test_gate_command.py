"""`rewarm gate`: its exit code says whether a release may go out."""

import orjson
import pytest
from tests.cli.command import rewarm

from rewarm.errors import CampaignError, GateError
from rewarm.runs.folder import RunFolder

BROKEN = ("--set", "gate.max_forgetting.old=0")
HELD = ("--set", "gate.max_forgetting.old=99")
STOP = ("--set", 'gate.policy="stop"')


def test_a_run_without_a_gate_has_nothing_to_be_held_against(untouched):
    done = rewarm("gate", untouched.run)
    assert done.code == CampaignError.exit_code
    assert "Write a [gate] into the campaign file" in done.err


def test_what_is_no_run_is_a_mistake(tmp_path):
    done = rewarm("gate", tmp_path)
    assert (done.code, "is not a run folder" in done.err) == (2, True)


def test_a_gate_can_be_given_to_a_finished_run_and_changed(work):
    before = work.results()
    done = work.train(*HELD)
    assert done.code == 0, done.err
    assert "The gate is held." in done.out
    held = rewarm("gate", work.run)
    assert held.code == 0
    assert held.out.splitlines()[0].startswith("held ")
    assert work.train(*BROKEN).code == 0  # the policy is to report
    broken = rewarm("gate", work.run)
    assert broken.code == GateError.exit_code == 10
    assert "broken        forgetting on old" in broken.out
    assert "the gate is not held: 2 broken" in broken.err
    assert work.train(*BROKEN, *STOP).code == GateError.exit_code
    assert work.results() == before


def test_an_arm_can_be_judged_alone(work):
    work.train(*BROKEN, "--set", "gate.max_loss.old=99")
    union = rewarm("gate", work.run, "--arm", "union", "--json")
    found = orjson.loads(union.out)
    assert (union.code, found["is_held"], found["policy"]) == (10, False, "report")
    assert {f["limit"]: f["state"] for f in found["findings"]} == {
        "max_loss.old": "held",
        "max_forgetting.old": "not measured",  # random weights have nothing to lose
    }
    done = rewarm("gate", work.run, "--arm", "onion")
    assert (done.code, "it is for: no-replay, replay-25, union" in done.err) == (2, True)


def test_a_run_at_work_is_not_held_before_it_is_done(unfinished):
    folder = RunFolder(unfinished.run)
    done = unfinished.train(*HELD, "--set", "gate.max_loss.old=99")
    assert done.code == 0, done.err
    (union,) = folder.path.glob("stages/union-*")
    (union / "result.json").unlink()
    done = rewarm("gate", unfinished.run)
    assert done.code == GateError.exit_code
    assert "1 not measured, 4 held" in done.err
    assert "`rewarm train` goes on with it" in done.out


def test_a_stop_leaves_a_report_that_says_why(unfinished):
    (update, *_) = sorted(unfinished.run.glob("stages/update-*"))
    (update / "result.json").unlink()
    (unfinished.run / "report.html").unlink()
    done = unfinished.train(*BROKEN, *STOP)
    assert done.code == GateError.exit_code
    assert "no stage behind it is begun" in done.err
    page = (unfinished.run / "report.html").read_text(encoding="utf-8")
    assert "<h2>Gate</h2>" in page
    assert "forgetting on old at the end of update-" in page


@pytest.mark.parametrize("value", ["-1", "x"])
def test_a_limit_that_is_none_is_a_mistake(work, value):
    done = work.train("--set", f"gate.max_forgetting.old={value}")
    assert (done.code, "gate.max_forgetting.old" in done.err) == (2, True)


def test_tasks_are_measured_by_eval_and_held_by_the_gate(work):
    arm = ("--arm", "replay-25")
    work.train("--set", 'gate.task=[{name = "old", max_worse = 9}]')
    assert rewarm("gate", work.run, *arm).code == GateError.exit_code
    for stage in ("pretrain", "update"):
        done = rewarm(
            *("eval", work.run, "--stage", stage, *arm, "--prepared", work.prepared),
            *("--documents", f"old={work.folder / 'old.valid.jsonl'}", "--limit", 4),
            *("--out", work.run / "evaluations", "--device", "cpu", "--threads", 1),
        )
        assert done.code == 0, done.err
    held = rewarm("gate", work.run, *arm)
    assert held.code == 0, held.out + held.err
    assert "old of update-" in held.out
