"""Checkpoints written while training goes on are those written in between; and which of them stay."""

import multiprocessing
import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import torch
from tests.tiny import CAMPAIGN
from tests.training.running import run, traces
from tests.training.spoiling import sequences_of, spoiled

from rewarm.campaign import load_campaign
from rewarm.engine.checkpoint import load
from rewarm.engine.ranks import ALONE, Ranks
from rewarm.engine.retention import saved_steps
from rewarm.errors import RewarmError
from rewarm.plan import make_plan
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import ExitRecord

IN_BACKGROUND, IN_BETWEEN = "checkpoints.in_background=true", "checkpoints.in_background=false"


@pytest.fixture(scope="module")
def file(tiny):
    """Return the first stage of the tiny campaign alone: 24 steps, a checkpoint every 6."""
    path = tiny.folder / "saving.toml"
    path.write_text(CAMPAIGN.split('[[stage]]\nname = "update"')[0], encoding="utf-8")
    return path


def checkpoints_of(folder):
    (stage,) = (folder / "stages").iterdir()
    return RunFolder(folder).stage(stage.name).checkpoints


def states(folder):
    return [path.read_bytes() for path in sorted(checkpoints_of(folder).glob("*/state.json"))]


def test_in_the_background_or_in_between_the_files_are_the_same(file, tiny, tmp_path):
    """Training changes its tensors while the thread writes; what it writes is a copy."""
    for setting in (IN_BACKGROUND, IN_BETWEEN):
        run(file, tiny.prepared, tmp_path / setting, setting, "checkpoints.every=1 steps")
    assert traces(tmp_path / IN_BACKGROUND) == traces(tmp_path / IN_BETWEEN)
    assert states(tmp_path / IN_BACKGROUND) == states(tmp_path / IN_BETWEEN)
    assert len(states(tmp_path / IN_BACKGROUND)) == 24


@dataclass(frozen=True, kw_only=True)
class Late(Ranks):
    """A rank that begins to write a checkpoint when a later step has been done, or after a second."""

    folder: Path
    waited: list[int]

    def gather(self, value, group=None):
        # The first that is said of a checkpoint is its size.
        if threading.current_thread().name == "saver" and isinstance(value, int):
            before, deadline = self.steps(), time.monotonic() + 1
            while self.steps() == before and time.monotonic() < deadline:
                time.sleep(0.001)
            self.waited.append(self.steps() - before)
        return super().gather(value, group)

    def steps(self):
        (metrics,) = self.folder.glob("stages/*/metrics.jsonl")
        return metrics.read_bytes().count(b"\n")


def test_what_is_written_late_is_the_state_at_the_save(file, tiny, tmp_path):
    """Steps 7 and 13 come right after a save and are left out, which changes what the state counts."""
    plan = make_plan(load_campaign(file))
    bad = sequences_of(plan, tiny.prepared, plan.stages[0], (7, 13))
    late = Late(folder=tmp_path / IN_BACKGROUND, waited=[])
    for setting, ranks in ((IN_BACKGROUND, late), (IN_BETWEEN, ALONE)):
        with spoiled(bad):
            settings = (setting, "training.not_finite=skip")
            run(file, tiny.prepared, tmp_path / setting, *settings, ranks=ranks)
    assert len(late.waited) == 4
    assert all(late.waited[:3])
    assert traces(tmp_path / IN_BACKGROUND) == traces(tmp_path / IN_BETWEEN)
    assert states(tmp_path / IN_BACKGROUND) == states(tmp_path / IN_BETWEEN)
    left_out = [orjson.loads(state)["left_out"] for state in states(tmp_path / IN_BACKGROUND)]
    assert left_out == [[], [7], [7, 13], [7, 13]]


def train_on_a_full_disk(file, prepared, folder, setting, largest_bytes):
    """Carry the campaign out where no file may be larger than so much."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, largest_bytes))
    try:
        run(file, prepared, folder, setting)
    except RewarmError as error:
        os._exit(error.exit_code)


@pytest.mark.parametrize("setting", [IN_BACKGROUND, IN_BETWEEN])
def test_a_full_disk_ends_the_run_and_older_checkpoints_are_intact(file, tiny, tmp_path, setting):
    """Stopped at step 12, resumed where the files of a checkpoint do not fit."""
    folder = tmp_path / "run"
    run(file, tiny.prepared, folder, setting)
    expected = traces(folder)
    checkpoints, model = checkpoints_of(folder), "step-00000012/model.safetensors"
    (checkpoints.parent / "result.json").unlink()
    for step in (18, 24):
        for path in (checkpoints / f"step-{step:08d}").iterdir():
            path.unlink()
        (checkpoints / f"step-{step:08d}").rmdir()
    largest_bytes = (checkpoints / model).stat().st_size - 1
    arguments = (file, tiny.prepared, folder, setting, largest_bytes)
    child = multiprocessing.get_context("forkserver").Process(
        target=train_on_a_full_disk, args=arguments
    )
    child.start()
    child.join()
    assert child.exitcode == 7
    ended = read_record(RunFolder(folder).exit, ExitRecord)
    assert ended.code == 7
    assert "step-00000018" in ended.reason
    assert "older checkpoints are intact" in ended.reason
    assert [path.name for path in sorted(checkpoints.iterdir())] == [
        "step-00000006",
        "step-00000012",
    ]
    for step in (6, 12):
        load(checkpoints / f"step-{step:08d}")
    run(file, tiny.prepared, folder, setting)
    assert traces(folder) == expected


@pytest.mark.parametrize("setting", [IN_BACKGROUND, IN_BETWEEN])
def test_what_is_to_stay_for_good_stays(file, tiny, tmp_path, setting):
    keep = ("checkpoints.every=3 steps", "checkpoints.keep=1", "checkpoints.keep_every=8 steps")
    plan = run(file, tiny.prepared, tmp_path / "run", setting, *keep)
    assert plan.lasting_steps(plan.stages[0]) == {8, 16, 24}
    assert saved_steps(checkpoints_of(tmp_path / "run")) == [8, 16, 24]


def test_without_it_only_the_newest_stay(file, tiny, tmp_path):
    run(file, tiny.prepared, tmp_path / "run", "checkpoints.every=3 steps", "checkpoints.keep=1")
    assert saved_steps(checkpoints_of(tmp_path / "run")) == [24]
