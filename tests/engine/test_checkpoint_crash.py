"""A save that is killed, or that the disk refuses, never harms what was saved before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rewarm
from rewarm.engine.checkpoint import load
from rewarm.engine.failpoint import failpoint
from rewarm.engine.retention import newest_valid, sweep

# Each case saves step 2 in a child of its own, made by fork, so that torch is imported once.
SCRIPT = """
import os, resource, sys
from pathlib import Path
import torch
from rewarm.engine.checkpoint import save
from rewarm.engine.tensor_parts import whole_parts
from rewarm.errors import StorageError

root = Path(sys.argv[1])
tensors = {
    "model": whole_parts({"w": torch.ones(40_000)}), "optimizer": whole_parts({"m": torch.ones(40_000)})
}

def save_step(folder, step):
    save(folder / f"step-{step:08d}", tensors, {"step": step})

def in_child(act):
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def crash(place):
    os.environ["REWARM_FAILPOINT"] = place
    save_step(root / place, 2)

def fill():
    # The second of the two tensor files is the one that does not fit.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        save_step(root / "full", 2)
    except StorageError as error:
        (root / "full.message").write_text(str(error))
        os._exit(error.exit_code)

for place in ("after_tensors", "after_manifest", "after_rename", "nowhere", "full"):
    save_step(root / place, 1)
    code = in_child(fill) if place == "full" else in_child(lambda: crash(place))
    (root / f"{place}.code").write_text(str(code))
"""


@pytest.fixture(scope="module")
def crashed(tmp_path_factory) -> Path:
    """The folders that the script leaves, one for each case, and the exit codes."""
    root = tmp_path_factory.mktemp("crashed")
    source = str(Path(rewarm.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    environment.pop("REWARM_FAILPOINT", None)
    subprocess.run([sys.executable, "-c", SCRIPT, str(root)], check=True, env=environment)
    return root


def never(folder, reason):
    raise AssertionError(f"{folder}: {reason}")


@pytest.mark.parametrize(
    ("place", "code", "newest"),
    [
        ("after_tensors", 137, 1),
        ("after_manifest", 137, 1),
        ("after_rename", 137, 2),
        ("nowhere", 0, 2),
    ],
)
def test_a_killed_save_leaves_a_valid_checkpoint(crashed, place, code, newest):
    assert (crashed / f"{place}.code").read_text() == str(code)
    leftovers = list((crashed / place).glob(".tmp-*"))
    assert len(leftovers) == (place in ("after_tensors", "after_manifest"))
    for _ in range(2):
        saved = newest_valid(crashed / place, never)
        assert saved is not None
        assert saved.state == {"step": newest}
        assert torch.equal(saved.groups["model"].whole()["w"], torch.ones(40_000))
        sweep(crashed / place)
    assert not list((crashed / place).glob(".tmp-*"))


def test_a_full_disk_is_a_storage_error_and_the_older_checkpoint_is_intact(crashed):
    assert (crashed / "full.code").read_text() == "7"
    message = (crashed / "full.message").read_text()
    assert "step-00000002: File too large" in message
    assert "needs 320," in message
    assert "are free" in message
    assert [path.name for path in (crashed / "full").iterdir()] == ["step-00000001"]
    assert load(crashed / "full" / "step-00000001").state == {"step": 1}


def test_without_the_variable_a_failpoint_does_nothing(monkeypatch):
    monkeypatch.delenv("REWARM_FAILPOINT", raising=False)
    failpoint("after_tensors")
    monkeypatch.setenv("REWARM_FAILPOINT", "after_rename")
    failpoint("after_tensors")
