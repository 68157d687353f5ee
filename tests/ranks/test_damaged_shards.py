"""Damage to a checkpoint of several ranks is found before anything of it is used, and said by name."""

import pickle
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from rewarm.engine.checkpoint import load
from rewarm.engine.manifest import MANIFEST
from rewarm.engine.saved_tensors import SavedTensors
from rewarm.engine.world import World
from rewarm.errors import CheckpointError
from rewarm.plan.layout import Layout
from rewarm.training.inspection import verify_all
from tests.ranks.launching import on_ranks
from tests.ranks.tiny_models import fresh_state, save_to, train

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def write_two(world: World, folder: str) -> None:
    """On each of two ranks: write the checkpoints of two steps."""
    state = fresh_state(world, "llama", Layout(micro_batch=4, shard=2))
    for step in (1, 2):
        train(state, step, step)
        save_to(state, Path(folder) / f"step-0000000{step}")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    on_ranks(2, write_two, folder / "results", str(folder / "checkpoints"))
    return folder / "checkpoints"


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of both checkpoints."""
    shutil.copytree(written, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def test_intact_shards_are_whole_tensors(folder):
    one = load(folder / "step-00000001")
    shapes = one.groups["model"].shapes()
    assert {name: tuple(t.shape) for name, t in one.groups["model"].whole().items()} == shapes
    checked = {found.path.name: found.damage for found in verify_all([folder])}
    assert checked == {"step-00000001": None, "step-00000002": None}


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_is_found(folder, seed):
    rng = random.Random(seed)
    files = sorted(path for path in (folder / "step-00000002").iterdir())
    damaged = files[seed % len(files)]
    content = bytearray(damaged.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match=damaged.name) as caught:
        load(folder / "step-00000002")
    assert caught.value.exit_code == 4


class Touch:
    """Pickles to a call that makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


DAMAGE = {
    "missing": (
        lambda folder: (folder / "step-00000002" / SECOND).unlink(),
        f"{SECOND}: it is in the manifest but not in the folder",
    ),
    "swapped": (
        lambda folder: swap(folder / "step-00000002" / FIRST, folder / "step-00000002" / SECOND),
        f"{FIRST}: (its SHA-256 is not that|it has .* bytes)",
    ),
    "of another step": (
        lambda folder: swap(folder / "step-00000001" / FIRST, folder / "step-00000002" / FIRST),
        f"{FIRST}: its SHA-256 is not that",
    ),
    "truncated": (
        lambda folder: cut_short(folder / "step-00000002" / FIRST),
        f"{FIRST}: it has .* bytes, .* were written",
    ),
    "one more": (
        lambda folder: shutil.copy(
            folder / "step-00000002" / FIRST,
            folder / "step-00000002" / "model-00003-of-00003.safetensors",
        ),
        "model-00003-of-00003.safetensors: it is not in the manifest",
    ),
    "manifest of another run": (
        lambda folder: swap(
            folder / "step-00000001" / MANIFEST, folder / "step-00000002" / MANIFEST
        ),
        "SHA-256 is not that",
    ),
    "no manifest": (
        lambda folder: (folder / "step-00000002" / MANIFEST).unlink(),
        f"{MANIFEST}: not there, so this checkpoint was never completed",
    ),
    "a pickle": (
        lambda folder: (folder / "step-00000002" / FIRST).write_bytes(
            pickle.dumps(Touch(folder / "code-was-run"))
        ),
        f"{FIRST}: it has .* bytes",
    ),
}


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_said_by_name_before_anything_is_read(folder, kind):
    damage, reason = DAMAGE[kind]
    damage(folder)
    with pytest.raises(CheckpointError, match=reason):
        load(folder / "step-00000002")
    assert not (folder / "code-was-run").exists()


def test_the_planted_pickle_would_run(folder):
    """The twin: where a pickle is read, it does leave its mark."""
    damage, _ = DAMAGE["a pickle"]
    damage(folder)
    pickle.loads((folder / "step-00000002" / FIRST).read_bytes())
    assert (folder / "code-was-run").exists()


def test_a_part_that_is_missing_from_every_file_is_noticed(folder):
    """As a checkpoint with a fitting manifest would be that one rank never wrote to."""
    with pytest.raises(ValueError, match="do not make the whole"):
        SavedTensors([folder / "step-00000002" / FIRST])
