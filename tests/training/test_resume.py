"""Stopped and resumed equals never stopped, bit for bit: killed at random, by signals, at every step."""

import multiprocessing
import os
import random
import shutil
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


def test_killed_at_random_twenty_times_equals_never_stopped(tiny, tmp_path, spawn, undisturbed):
    rng = random.Random(20240308)
    folder = tmp_path / "run"
    killed = 0
    kinds: list[str] = []
    for _ in range(400):
        child = spawn(tiny.file, tiny.prepared, folder, *LONG)
        child.join(timeout=rng.uniform(0.05, 2.0) if killed < KILLS else None)
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        if child.exitcode == -signal.SIGKILL:
            killed += 1
            continue
        assert child.exitcode == 0
        assert traces(folder) == undisturbed
        for path in folder.glob("stages/*/events.jsonl"):
            kinds += [event.kind for event in read_records(path, EventRecord)]
        if killed >= KILLS:
            break
        shutil.rmtree(folder)
    assert killed == KILLS
    assert "resumed" in kinds


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
