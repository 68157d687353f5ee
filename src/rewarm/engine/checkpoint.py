"""Saving and loading a checkpoint: a folder of safetensors files, `state.json` and a manifest.

A checkpoint appears under its name complete or not at all, whatever happens and whenever: it is written
beside its place, synced, and renamed. Loading verifies every byte before it parses any, and reads no pickle.
"""

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rewarm.engine.failpoint import failpoint
from rewarm.engine.manifest import MANIFEST, Manifest, manifest_bytes, verify
from rewarm.engine.tensor_file import write_file, write_tensors
from rewarm.errors import CheckpointError, MismatchError, StorageError
from rewarm.storage import REFUSALS, sync_folder

TEMPORARY = ".tmp-"
"""Beginning of the name of a folder that is being written or removed; never read."""

_STATE = "state.json"
_SUFFIX = ".safetensors"
_HEADER_BYTES = 256


def save(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Manifest:
    """Write a checkpoint, atomically and durably; when this returns, it is committed.

    If the folder exists and verifies, it is never replaced: the same content again is fine and changes
    nothing, other content is refused. If it exists and is damaged, it is moved aside and replaced.

    Args:
        folder: where it goes, such as `checkpoints/step-00001200`.
        tensors: by group, then by name; each group becomes one file. They are not copied first, so
            they must not change meanwhile.
        state: everything else, as JSON values.

    Raises:
        StorageError: the disk is full or refuses to write. What was written of this checkpoint is
            removed; older ones are untouched.
        MismatchError: a valid checkpoint with other content has this name.
    """
    text = _state_bytes(state)
    needed_bytes = _needed_bytes(tensors) + len(text)
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}-{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if needed_bytes > shutil.disk_usage(folder.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        manifest = _write(temporary, tensors, text)
        failpoint("after_manifest")
        _commit(temporary, folder, manifest)
        failpoint("after_rename")
        sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if error.errno not in REFUSALS:
            raise
        raise _storage_error(folder, error, needed_bytes) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return manifest


def load(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read a checkpoint, after its every byte has been verified.

    Args:
        folder: of the checkpoint.

    Returns:
        The tensors by group and name, on the CPU and backed by the files, and the state.

    Raises:
        CheckpointError: it is damaged, incomplete, or holds what `save` does not write.
    """
    manifest = verify(folder)
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        for name in manifest.files:
            if name.endswith(_SUFFIX):
                groups[name.removesuffix(_SUFFIX)] = load_file(folder / name)
        state = json.loads((folder / _STATE).read_bytes())
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise _foreign(folder, str(error)) from error
    others = [name for name in manifest.files if not name.endswith(_SUFFIX) and name != _STATE]
    if others or not isinstance(state, dict):
        raise _foreign(folder, f"unknown file {others[0]}" if others else f"{_STATE} is no object")
    return groups, state


def _write(temporary: Path, tensors: Mapping[str, Mapping[str, Tensor]], text: bytes) -> Manifest:
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir()
    files = {
        f"{group}{_SUFFIX}": write_tensors(temporary / f"{group}{_SUFFIX}", named)
        for group, named in tensors.items()
    }
    files[_STATE] = write_file(temporary / _STATE, [text])
    failpoint("after_tensors")
    manifest = Manifest(files=files)
    write_file(temporary / MANIFEST, [manifest_bytes(manifest)])
    sync_folder(temporary)
    return manifest


def _commit(temporary: Path, folder: Path, manifest: Manifest) -> None:
    """Give the finished folder its name."""
    if not folder.exists():
        temporary.rename(folder)
        return
    try:
        existing = verify(folder)
    except CheckpointError:
        aside = folder.with_name(f"{TEMPORARY}damaged-{folder.name}-{os.getpid()}")
        folder.rename(aside)
        temporary.rename(folder)
        shutil.rmtree(aside)
        return
    if existing != manifest:
        raise MismatchError(
            f"{folder}: a valid checkpoint with other content has this name. It is never replaced, since "
            "it may be all there is of that work. Use another run folder, or move it away."
        )
    shutil.rmtree(temporary)


def _foreign(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{folder}: complete, but not a checkpoint that rewarm wrote ({reason}). Use one of its own."
    )


def _state_bytes(state: Mapping[str, Any]) -> bytes:
    text = json.dumps(state, allow_nan=False, indent=2, sort_keys=True)
    assert json.loads(text) == state, "the state must come back from JSON as it is"
    return text.encode() + b"\n"


def _needed_bytes(tensors: Mapping[str, Mapping[str, Tensor]]) -> int:
    return sum(
        _HEADER_BYTES + len(name) + tensor.numel() * tensor.element_size()
        for named in tensors.values()
        for name, tensor in named.items()
    )


def _storage_error(folder: Path, error: OSError, needed_bytes: int) -> StorageError:
    present = next(path for path in folder.parents if path.exists())
    free_bytes = shutil.disk_usage(present).free
    return StorageError(
        f"{folder}: {error.strerror}. The checkpoint needs {needed_bytes:,} bytes, {free_bytes:,} are free; "
        "nothing of it is left behind, and older checkpoints are intact. Free some space (or raise the "
        "limit, or move the run folder) and start the same command again."
    )
