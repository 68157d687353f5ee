"""A checkpoint comes back as it was saved, and any damage to it is found before use."""

import errno
import hashlib
import os
import random

import pytest
import torch

from rewarm.engine.checkpoint import load, save
from rewarm.engine.manifest import MANIFEST, Manifest, manifest_bytes, verify
from rewarm.engine.tensor_file import WrittenFile
from rewarm.engine.tensor_parts import whole_parts
from rewarm.errors import CheckpointError, MismatchError, StorageError

TENSORS = {
    "model": {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([1.0, float("nan")])},
    "random": {"cpu": torch.arange(16, dtype=torch.uint8)},
}
GROUPS = {group: whole_parts(named) for group, named in TENSORS.items()}
STATE = {"step": 12, "name": "übung", "ledger": {"english": [1, 2]}, "share": 0.1}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "checkpoints" / "step-00000012"
    save(path, GROUPS, STATE)
    return path


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_saved_comes_back(folder):
    saved = load(folder)
    assert saved.state == STATE
    assert saved.groups.keys() == TENSORS.keys()
    for group, named in TENSORS.items():
        found = saved.groups[group].whole()
        assert found.keys() == named.keys()
        for name, tensor in named.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_the_folder_has_these_files_and_no_leftover_beside_it(folder):
    names = {"MANIFEST.json", "model.safetensors", "random.safetensors", "state.json"}
    assert set(content(folder)) == names
    assert list(folder.parent.iterdir()) == [folder]
    manifest = verify(folder)
    assert set(manifest.files) == names - {"MANIFEST.json"}
    assert manifest.num_bytes == sum(
        len(data) for name, data in content(folder).items() if name != MANIFEST
    )


def test_a_flipped_bit_anywhere_is_found(folder):
    dice = random.Random(5)
    intact = content(folder)
    for name, data in intact.items():
        for position in {0, len(data) - 1, *(dice.randrange(len(data)) for _ in range(25))}:
            damaged = bytearray(data)
            damaged[position] ^= 1 << dice.randrange(8)
            (folder / name).write_bytes(damaged)
            with pytest.raises(CheckpointError, match=name):
                load(folder)
        (folder / name).write_bytes(data)
    load(folder)


@pytest.mark.parametrize("name", ["MANIFEST.json", "model.safetensors", "state.json"])
@pytest.mark.parametrize("kept", [0, 0.5, -1])
def test_a_truncated_file_is_found(folder, name, kept):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * kept) if kept == 0.5 else kept])
    with pytest.raises(CheckpointError, match=name):
        load(folder)


@pytest.mark.parametrize("name", ["MANIFEST.json", "model.safetensors", "state.json"])
def test_a_missing_file_is_found(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load(folder)


def test_files_too_many_swapped_or_linked_are_found(folder, tmp_path):
    (folder / "extra.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"extra\.bin: it is not in the manifest"):
        load(folder)
    (folder / "extra.bin").unlink()
    (folder / "state.json").rename(tmp_path / "elsewhere")
    (folder / "state.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="not a regular file"):
        load(folder)
    (folder / "state.json").unlink()
    os.mkfifo(folder / "state.json")
    with pytest.raises(CheckpointError, match="not a regular file"):
        load(folder)


def test_two_files_of_one_size_that_changed_places_are_found(tmp_path):
    groups = {"a": whole_parts({"t": torch.zeros(4)}), "b": whole_parts({"t": torch.ones(4)})}
    save(tmp_path / "c", groups, {})
    (tmp_path / "c" / "a.safetensors").rename(tmp_path / "a")
    (tmp_path / "c" / "b.safetensors").rename(tmp_path / "c" / "a.safetensors")
    (tmp_path / "a").rename(tmp_path / "c" / "b.safetensors")
    with pytest.raises(CheckpointError, match="SHA-256"):
        load(tmp_path / "c")


def forge(folder, files):
    """Write a manifest that fits whatever is in the folder."""
    (folder / MANIFEST).write_bytes(manifest_bytes(Manifest(files=files)))


def of(data):
    return WrittenFile(num_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/file", ""])
def test_a_manifest_that_leads_elsewhere_is_refused(folder, name):
    (folder.parent / "outside").write_bytes(b"x")
    files = verify(folder).files | {name: of(b"x")}
    forge(folder, files)
    with pytest.raises(CheckpointError, match=r"not in the folder|not a regular file"):
        load(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        "[" * 100_000,
        '{"format": 1}',
        '{"format": 1, "files": {"a": 3}}',
        '{"format": 1, "files": {"a": {"num_bytes": "1", "sha256": "x"}}}',
    ],
)
def test_a_manifest_that_is_none_is_refused(folder, text):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="MANIFEST"):
        load(folder)


def test_a_newer_format_is_named(folder):
    (folder / MANIFEST).write_text('{"format": 2, "files": {}}')
    with pytest.raises(CheckpointError, match="format 2; this rewarm reads format 1"):
        load(folder)


def test_files_with_right_hashes_but_wrong_content_are_refused(folder):
    for name, data in [
        ("state.json", b"[]"),
        ("state.json", b"{"),
        ("state.json", b"[" * 100_000),
        ("model.safetensors", b"\x80\x04."),
        ("model.pkl", b""),
    ]:
        before = content(folder)
        (folder / name).write_bytes(data)
        forge(folder, verify_files(folder))
        verify(folder)
        with pytest.raises(CheckpointError, match="not a checkpoint that rewarm wrote"):
            load(folder)
        (folder / name).unlink()
        for old, intact in before.items():
            (folder / old).write_bytes(intact)
    load(folder)


def verify_files(folder):
    return {name: of(data) for name, data in content(folder).items() if name != MANIFEST}


def test_a_valid_checkpoint_is_never_replaced(folder):
    before = content(folder)
    save(folder, GROUPS, STATE)
    with pytest.raises(MismatchError, match="never replaced"):
        save(folder, GROUPS, STATE | {"step": 13})
    assert content(folder) == before
    assert list(folder.parent.iterdir()) == [folder]


def test_a_damaged_checkpoint_is_replaced(folder):
    (folder / "state.json").write_bytes(b"damaged")
    save(folder, GROUPS, STATE | {"step": 13})
    assert load(folder).state["step"] == 13
    assert list(folder.parent.iterdir()) == [folder]


def test_too_little_space_is_refused_before_anything_is_written(folder):
    huge = torch.empty(1).expand(1 << 56)
    with pytest.raises(
        StorageError, match=r"step-00000013.*needs [\d,]{20,} bytes, [\d,]+ are free"
    ):
        save(folder.with_name("step-00000013"), {"model": whole_parts({"huge": huge})}, {})
    assert list(folder.parent.iterdir()) == [folder]
    load(folder)


def test_a_place_that_cannot_be_written_is_a_storage_error_and_other_errors_are_not(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"exists|directory") as caught:
        save(tmp_path / "file" / "step-00000001", GROUPS, STATE)
    assert not isinstance(caught.value, StorageError)
    assert caught.value.errno in (errno.EEXIST, errno.ENOTDIR)


def test_state_that_json_would_change_is_our_own_mistake(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save(tmp_path / "c", {}, {"loss": float("nan")})
    with pytest.raises(AssertionError):
        save(tmp_path / "c", {}, {"by_step": {1: 2}})
    assert not list(tmp_path.iterdir())
