"""The gate in training: what is broken is said, may stop a campaign, and is no part of the numbers."""

import pytest
from tests.tiny import CAMPAIGN
from tests.training.running import run, traces

from rewarm.campaign import load_campaign
from rewarm.errors import GateError
from rewarm.evaluation.gate import judge
from rewarm.plan import make_plan
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EventRecord, ExitRecord

IMPOSSIBLE = ("gate.max_forgetting.old=0",)
GENEROUS = ("gate.max_forgetting.old=99",)
STOP = ('gate.policy="stop"',)


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """Return the folder of the tiny campaign carried out once without a gate, and its plan."""
    folder = tmp_path_factory.mktemp("done") / "tiny"
    return folder, run(tiny.file, tiny.prepared, folder)


def events(run_folder, stage):
    path = run_folder.stage(stage.folder).events
    return [event for event in read_records(path, EventRecord) if event.kind == "gate"]


def begun(run_folder, plan):
    return [s.name for s in plan.stages if run_folder.stage(s.folder).record.exists()]


def test_a_report_changes_no_number_and_leaves_an_event(done, tiny, tmp_path):
    without, before = done
    folder = RunFolder(tmp_path / "gated")
    plan = run(tiny.file, tiny.prepared, folder.path, *IMPOSSIBLE)
    assert [s.key for s in plan.stages] == [s.key for s in before.stages]
    assert traces(folder.path) == traces(without)
    judgement = judge(folder)
    assert judgement is not None
    broken = {finding.stage for finding in judgement.broken()}
    assert broken  # or else nothing is forgotten, and the test shows nothing
    for stage in plan.stages:
        messages = [event.message for event in events(folder, stage)]
        assert bool(messages) == (stage.folder in broken)
        assert all("the limit of 0" in message for message in messages)
    assert read_record(folder.exit, ExitRecord).code == 0


def test_a_stop_ends_the_arm_until_the_limit_is_changed_and_no_other(done, tiny, tmp_path):
    without, plan = done
    folder = RunFolder(tmp_path / "stopped")
    losing = ("gate.max_loss.old=0.01", 'gate.arms=["no-replay"]')
    for _ in range(2):  # the second time the stage is found finished, and still lost too much
        with pytest.raises(GateError, match="the gate is broken") as stopped:
            run(tiny.file, tiny.prepared, folder.path, *losing, *STOP)
        assert "final loss on old of update-" in str(stopped.value)
        assert "Finished all the same: replay-25, union." in str(stopped.value)
        assert begun(folder, plan) == ["pretrain", "update", "update", "union"]
        ended = read_record(folder.exit, ExitRecord)
        assert (ended.code, ended.reason) == (GateError.exit_code, str(stopped.value))
        assert len(events(folder, plan.stages[1])) == 1
    run(tiny.file, tiny.prepared, folder.path, *GENEROUS, *STOP)
    assert traces(folder.path) == traces(without)


BEHIND = """
[[stage]]
name = "second"
data = { new = 1.0 }
budget = "8 steps"
schedule = { kind = "constant", lr = 1e-3 }

[[stage]]
name = "early"
after = "update"
at = "6 steps"
budget = "8 steps"
optimizer = "keep"
schedule = { kind = "anneal", min_lr = 3e-4 }
"""


def test_a_stop_ends_what_begins_at_the_end_and_not_what_branches_off_earlier(tiny, tmp_path):
    file = tiny.folder / "behind.toml"
    file.write_text(CAMPAIGN[: CAMPAIGN.index("[arms]")] + BEHIND, encoding="utf-8")
    folder = RunFolder(tmp_path / "stopped")
    with pytest.raises(GateError, match="Not begun because of it: second-") as stopped:
        run(file, tiny.prepared, folder.path, *IMPOSSIBLE, *STOP)
    plan = make_plan(load_campaign(file))
    assert begun(folder, plan) == ["pretrain", "update", "early"]
    assert "Finished" not in str(stopped.value)  # its only arm is not


def test_what_is_not_measured_stops_nothing_but_is_not_held(tiny, tmp_path):
    folder = RunFolder(tmp_path / "run")
    plan = run(tiny.file, tiny.prepared, folder.path, "gate.max_overlap=50%", *GENEROUS, *STOP)
    assert begun(folder, plan) == [stage.name for stage in plan.stages]
    judgement = judge(folder)
    assert judgement is not None
    assert not judgement.is_held
    run(tiny.file, tiny.prepared, folder.path)
    assert judge(folder) is None  # the campaign has no gate any more
