"""One process at a time in a run folder, or several that share it; the lock ends with its process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from rewarm.errors import LockedError, StorageError
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import locked, stage_locked

# Holds the run folder named until its standard input ends.
HOLD = """
import sys
from pathlib import Path
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import locked
with locked(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a run folder."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def take(folder: Path) -> str:
    """Take the lock for a moment; what it says while it is held."""
    with locked(RunFolder(folder)):
        return RunFolder(folder).lock.read_text()


def test_a_second_process_is_refused_and_told_of_the_first(tmp_path):
    with holder(tmp_path) as other:
        with pytest.raises(LockedError) as refused:
            take(tmp_path)
        assert f"process {other.pid} is at work here" in str(refused.value)
        assert str(tmp_path) in str(refused.value)
        assert refused.value.exit_code == 8
    assert "process" in take(tmp_path)


def test_the_refused_one_changes_nothing(tmp_path):
    with holder(tmp_path) as other:
        for _ in range(2):
            with pytest.raises(LockedError):
                take(tmp_path)
        assert (tmp_path / "lock").read_text() == f"process {other.pid}"


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    with holder(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert "process" in take(tmp_path)


def test_a_process_may_take_it_again_after_giving_it_back(tmp_path):
    assert take(tmp_path) == take(tmp_path)
    with pytest.raises(ZeroDivisionError), locked(RunFolder(tmp_path)):
        _ = 1 / 0
    assert take(tmp_path)


def test_the_same_process_cannot_hold_it_twice(tmp_path):
    with locked(RunFolder(tmp_path)), pytest.raises(LockedError):
        take(tmp_path)


def test_two_runs_do_not_wait_for_each_other(tmp_path):
    with holder(tmp_path / "one"):
        assert take(tmp_path / "other")


def test_the_folder_is_made(tmp_path):
    assert take(tmp_path / "runs" / "small")
    assert (tmp_path / "runs" / "small" / "lock").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(StorageError):
        take(tmp_path / "run")


def test_it_can_be_shared_but_not_with_one_who_wants_it_alone(tmp_path):
    run = RunFolder(tmp_path)
    with (
        locked(run, shared=True),
        locked(run, shared=True),
        pytest.raises(LockedError, match="is at work here"),
    ):
        take(tmp_path)
    with holder(tmp_path), pytest.raises(LockedError), locked(run, shared=True):
        pass


def test_a_stage_is_waited_for_and_others_are_free(tmp_path):
    run, holders = RunFolder(tmp_path), []
    held = ExitStack()

    def wait(holder):
        holders.append(holder)
        held.close()

    held.enter_context(stage_locked(run, "update-1", wait))
    with stage_locked(run, "update-2", wait):
        assert holders == []
    with stage_locked(run, "update-1", wait):
        assert holders == [f"process {os.getpid()}"]
