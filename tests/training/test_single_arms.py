"""Arms carried out one by one, in any order or at once, come to the bytes of the whole campaign."""

import os
import signal
import subprocess
import sys

import pytest
from tests.training.running import run, traces

from rewarm.errors import CampaignError, InterruptedRunError, LockedError
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import locked, stage_locked
from rewarm.runs.records import EventRecord, ExitRecord

ARMS = ("union", "replay-25", "no-replay")


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """Return the folder of the tiny campaign carried out by one process, and its plan."""
    folder = tmp_path_factory.mktemp("whole") / "tiny"
    return folder, run(tiny.file, tiny.prepared, folder)


def begun(folder, plan):
    return {s.name for s in plan.stages if RunFolder(folder).stage(s.folder).record.exists()}


def test_an_arm_needs_its_own_stages_alone(whole, tiny, tmp_path):
    before, plan = whole
    folder = tmp_path / "tiny"
    run(tiny.file, tiny.prepared, folder, arms=["union"])
    assert begun(folder, plan) == {"union"}
    ended = read_record(RunFolder(folder).exit, ExitRecord)
    reason = "finished: union; 3 of 4 stages, of other arms, are not"
    assert (ended.code, ended.reason) == (0, reason)
    run(tiny.file, tiny.prepared, folder, arms=["replay-25", "no-replay"])
    assert (
        read_record(RunFolder(folder).exit, ExitRecord).reason == "finished: replay-25, no-replay"
    )
    assert traces(folder) == traces(before)


def test_an_arm_that_is_not_there_is_named_with_those_that_are(tiny, tmp_path):
    with pytest.raises(CampaignError, match="onion: there is no such arm; there are no-replay, re"):
        run(tiny.file, tiny.prepared, tmp_path / "tiny", arms=["union", "onion"])
    assert not (tmp_path / "tiny").exists()


def test_a_whole_campaign_and_an_arm_do_not_work_at_once(tiny, tmp_path):
    folder = tmp_path / "tiny"
    with locked(RunFolder(folder)), pytest.raises(LockedError, match="at work here"):
        run(tiny.file, tiny.prepared, folder, arms=["union"])
    with locked(RunFolder(folder), shared=True):
        with pytest.raises(LockedError, match="given arms with --arm"):
            run(tiny.file, tiny.prepared, folder)
        run(tiny.file, tiny.prepared, folder, arms=["union"])


@pytest.fixture
def sigterm_every_second():
    """Send SIGTERM to this process every second, which ignores it but where training takes it up."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = f"import os, time\nwhile True: time.sleep(1); os.kill({os.getpid()}, 15)"
    with subprocess.Popen([sys.executable, "-c", code]) as sender:
        yield
        sender.kill()
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm_every_second")
def test_who_waits_for_a_stage_can_be_stopped(whole, tiny, tmp_path, capsys):
    _, plan = whole
    folder = RunFolder(tmp_path / "tiny")
    pretrain = plan.stages[0].folder

    def forever(_holder):
        raise AssertionError("nobody else holds it")

    with (
        stage_locked(folder, pretrain, forever),
        pytest.raises(InterruptedRunError, match=f"{pretrain} was waited for") as stopped,
    ):
        run(tiny.file, tiny.prepared, folder.path, arms=["no-replay"], quiet=False)
    assert stopped.value.exit_code == 75
    said = " ".join(capsys.readouterr().err.split())
    assert f"{pretrain}: waiting, as process {os.getpid()} trains it" in said


def test_processes_at_once_train_what_they_share_once(whole, tiny, tmp_path):
    before, plan = whole
    command = [
        *(sys.executable, "-m", "rewarm", "train", str(tiny.file), "--prepared", tiny.prepared),
        *("--runs", tmp_path, "--device", "cpu", "--threads", "1", "--arm"),
    ]
    at_work = [
        subprocess.Popen([*command, arm], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for arm in ARMS
    ]
    for process in at_work:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
    assert traces(tmp_path / "tiny") == traces(before)
    for stage in plan.stages:
        events = read_records(RunFolder(tmp_path / "tiny").stage(stage.folder).events, EventRecord)
        assert [event.kind for event in events].count("started") == 1
