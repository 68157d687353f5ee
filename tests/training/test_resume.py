"""Stopped and resumed equals never stopped, bit for bit: killed at random, by signals, at every step."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from tests.training.running import run, traces

from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EventRecord, ExitRecord

KILLS = 20
LONG = ("stages.pretrain.budget=150 steps", "stages.update.budget=110 steps")


def train_in_child(file: Path, prepared: Path, folder: Path, *settings: str) -> None:
    """Carry a campaign out; the exit code of the process is the error's."""
    torch.set_num_threads(1)
    from rewarm.errors import RewarmError

    try:
        run(file, prepared, folder, *settings)
    except RewarmError as error:
        os._exit(error.exit_code)


@pytest.fixture(scope="module")
def spawn():
    """Return a function that starts a child which has everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rewarm.training.campaign", "tests.training.test_resume"])

    def start(*arguments):
        child = context.Process(target=train_in_child, args=arguments)
        child.start()
        return child

    return start


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """Return the traces of the longer campaign, never stopped."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run(tiny.file, tiny.prepared, folder, *LONG)
    return traces(folder)


def recorded_steps(folder: Path) -> int:
    """Return how many training steps a run has recorded so far, in all its stages."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("stages/*/metrics.jsonl"))


def kill_after(child, folder: Path, steps: int, seconds: float) -> bool:
    """Kill a child some time after it has recorded so many steps; return whether it was still there."""
    while child.is_alive() and recorded_steps(folder) < steps:
        time.sleep(0.005)
    child.join(timeout=seconds)
    if child.is_alive():
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    return child.exitcode == -signal.SIGKILL


def test_killed_at_random_twenty_times_equals_never_stopped(tiny, tmp_path, spawn, undisturbed):
    # The moments are spread over the steps, not over the clock: a slow machine sees the same kills.
    rng = random.Random(20240308)
    moments = sorted(rng.sample(range(150 + 110), KILLS))
    folder = tmp_path / "run"
    killed = 0
    for steps in moments:
        child = spawn(tiny.file, tiny.prepared, folder, *LONG)
        killed += kill_after(child, folder, steps, rng.uniform(0.0, 0.02))
    assert killed >= KILLS - 2
    child = spawn(tiny.file, tiny.prepared, folder, *LONG)
    child.join()
    assert child.exitcode == 0
    assert traces(folder) == undisturbed
    events = [read_records(path, EventRecord) for path in folder.glob("stages/*/events.jsonl")]
    assert sum(event.kind == "resumed" for stage in events for event in stage) > KILLS / 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_the_state_and_says_so(tiny, tmp_path, spawn, undisturbed, number, code):
    folder = tmp_path / "run"
    child = spawn(tiny.file, tiny.prepared, folder, *LONG)
    while not list(folder.glob("stages/*/checkpoints/step-*")):
        assert child.is_alive()
        time.sleep(0.02)
    os.kill(child.pid, number)
    child.join()
    assert child.exitcode == code
    ended = read_record(RunFolder(folder).exit, ExitRecord)
    assert ended.code == code
    assert "is saved" in ended.reason
    run(tiny.file, tiny.prepared, folder, *LONG)
    same = traces(folder)
    assert {name: same[name] for name in undisturbed} == undisturbed
