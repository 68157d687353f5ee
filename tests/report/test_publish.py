"""Handing a run on: every step once and whole, also while it is at work."""

from contextlib import contextmanager

import pytest

from rewarm.errors import CampaignError
from rewarm.report import publish as module
from rewarm.report.publish import publish
from rewarm.runs.files import append_record, write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EvalRecord, ExitRecord, StepRecord, ThroughputRecord
from rewarm.runs.series import points_of


class Logs:
    """Keeps what is handed on, by stage."""

    def __init__(self):
        self.points = {}
        self.open = []

    @contextmanager
    def __call__(self, stage):
        self.open.append(stage)
        self.points[stage] = []
        yield lambda step, values: self.points[stage].append((step, dict(values)))
        self.open.remove(stage)


def step_record(step):
    return StepRecord(
        step=step,
        tokens=step * 128,
        lr=1e-3,
        loss=5.0 - step,
        gradient_norm=1.0,
        new={"english": 8},
        replayed={},
    )


def eval_record(step):
    return EvalRecord(step=step, tokens=step * 128, dataset="english", loss=4.0, sequences=8)


def begun(build, path):
    base, update = build.record("pretrain"), build.record("update", parent="pretrain-0a")
    build.write(path, [build.begun(base), build.begun(update)], {"a": [base.folder, update.folder]})
    return RunFolder(path)


def test_everything_that_is_recorded_of_a_step_goes_together(build, tmp_path):
    run = begun(build, tmp_path)
    folder = run.stage("pretrain-0a")
    append_record(folder.evals, eval_record(0))
    for step in (1, 2):
        append_record(folder.metrics, step_record(step))
    append_record(folder.evals, eval_record(2))
    speed = ThroughputRecord(step=2, seconds=1.0, tokens_per_second=256.0, data_wait_seconds=0.1)
    append_record(folder.throughput, speed)
    logs = Logs()
    assert publish(run, logs) == 3
    train = {"train/lr": 1e-3, "train/gradient_norm": 1.0}
    assert logs.points == {
        "pretrain-0a": [
            (0, {"validation/english": 4.0}),
            (1, {"train/loss": 4.0, "train/tokens": 128.0} | train),
            (
                2,
                {"train/loss": 3.0, "train/tokens": 256.0, "validation/english": 4.0}
                | {"speed/tokens_per_second": 256.0, "speed/data_wait_seconds": 0.1}
                | train,
            ),
        ]
    }
    assert logs.open == []
    assert [step for step, _ in points_of(folder, after=1)] == [2]


def test_a_run_at_work_is_followed_until_it_ends(build, tmp_path, monkeypatch):
    run = begun(build, tmp_path)
    folder, work = run.stage("pretrain-0a"), iter(range(100))

    def go_on(seconds):
        """Between two looks: a step, then its validation; the stage ends, and then the run."""
        assert seconds == 7
        place = next(work)
        if place in (0, 2):
            append_record(folder.metrics, step_record(place // 2 + 1))
        elif place in (1, 3):
            append_record(folder.evals, eval_record(place // 2 + 1))
        elif place == 4:
            write_record(folder.result, build.result(build.record("pretrain"), before={}, final={}))
        else:
            write_record(run.exit, ExitRecord(code=0, reason="finished", at="now"))

    monkeypatch.setattr(module.time, "sleep", go_on)
    logs = Logs()
    assert publish(run, logs, every_seconds=7) == 2
    ((stage, points),) = logs.points.items()
    assert stage == "pretrain-0a"
    assert [(step, "validation/english" in values) for step, values in points] == [
        (1, True),
        (2, True),
    ]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(CampaignError, match="is not a run folder"):
        publish(RunFolder(tmp_path), Logs())
