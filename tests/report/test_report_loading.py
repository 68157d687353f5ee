"""Reading a run folder back."""

import pytest

from rewarm.errors import CampaignError, CheckpointError, MismatchError
from rewarm.report.tables import read_run
from rewarm.runs.files import write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import StepRecord


def _steps(count, new=None, replayed=None):
    return [
        StepRecord(
            step=step,
            tokens=128 * step,
            lr=1e-3,
            loss=3.0,
            gradient_norm=1.0,
            new={"english": 8} if new is None else new,
            replayed={} if replayed is None else replayed,
        )
        for step in range(1, count + 1)
    ]


@pytest.fixture
def one_stage(build, tmp_path):
    """A run of one stage with three steps."""
    stage = build.begun(build.record("pretrain"), metrics=_steps(3))
    return build.write(tmp_path / "run", [stage], {"only": [stage.record.folder]})


def test_what_was_written_is_read_back(realistic):
    run = read_run(realistic)
    assert list(run.record.arms) == ["no-replay", "replay-5", "replay-25", "union"]
    assert list(run.stages) == [stage.folder for stage in run.record.stages]
    base = run.stages["pretrain-1a2b3c4d"]
    assert base.state == "finished"
    assert (base.steps_done, base.tokens_per_step) == (1500, 64 * 512)
    assert base.steps.lr.max() == 3e-4
    assert base.steps.new["english"].sum() == 1500 * 64
    assert run.exit is not None
    assert run.exit.code == 0


def test_a_folder_without_a_plan_is_no_run(tmp_path):
    with pytest.raises(CampaignError, match=r"not a run folder.*plan\.json.*rewarm train"):
        read_run(tmp_path)


def test_a_torn_last_line_is_left_out_and_the_stage_is_unfinished(one_stage):
    metrics = RunFolder(one_stage).stage("pretrain-0a").metrics
    metrics.write_bytes(metrics.read_bytes() + b'{"step": 4, "tok')
    stage = read_run(one_stage).stages["pretrain-0a"]
    assert stage.steps_done == 3
    assert stage.state == "unfinished"


def test_a_damaged_line_in_the_middle_is_an_error(one_stage):
    metrics = RunFolder(one_stage).stage("pretrain-0a").metrics
    first, *rest = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(first + b"{}\n" + b"".join(rest))
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:2"):
        read_run(one_stage)


def test_a_source_that_a_batch_did_not_read_counts_zero(build, tmp_path):
    record = build.record("pretrain", steps=2)
    steps = [*_steps(1), *_steps(2, new={"python": 6}, replayed={"english": 2})[1:]]
    stage = build.begun(record, metrics=steps)
    run = read_run(build.write(tmp_path, [stage], {"only": [record.folder]}))
    columns = run.stages[record.folder].steps
    assert columns.new["english"].tolist() == [8, 0]
    assert columns.new["python"].tolist() == [0, 6]
    assert columns.replayed["english"].tolist() == [0, 2]


def test_a_stage_that_has_not_started_is_known_from_the_plan(build, tmp_path):
    stage = build.begun(build.record("pretrain"))
    run = read_run(build.write(tmp_path, [stage], {"only": [stage.record.folder]}))
    assert run.stages["pretrain-0a"].state == "not started"
    assert run.resolved is None


def test_a_folder_that_holds_another_stage_is_refused(build, one_stage):
    write_record(
        RunFolder(one_stage).stage("pretrain-0a").record, build.record("pretrain", key="ff")
    )
    with pytest.raises(MismatchError, match=r"key ff.*key 0a"):
        read_run(one_stage)


@pytest.mark.parametrize(
    ("arms", "message"),
    [({"only": ["gone-00"]}, "unknown stages"), ({"only": []}, "no stages")],
)
def test_a_plan_whose_arms_have_no_such_stages_is_refused(build, tmp_path, arms, message):
    stage = build.finished(build.record("pretrain"), (3.0, 4.0), (2.0, 3.0))
    with pytest.raises(CheckpointError, match=message):
        read_run(build.write(tmp_path, [stage], arms))


def test_a_child_before_its_parent_is_refused(build, tmp_path):
    child = build.finished(build.record("update", parent="pretrain-0a"), (3.0, 4.0), (2.0, 3.0))
    parent = build.finished(build.record("pretrain"), (3.0, 4.0), (2.0, 3.0))
    with pytest.raises(CheckpointError, match="not a stage before it"):
        read_run(build.write(tmp_path, [child, parent], {"only": ["update-0a"]}))
