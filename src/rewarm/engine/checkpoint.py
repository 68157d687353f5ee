"""Saving and loading a checkpoint: a folder of safetensors files, `state.json` and a manifest.

A checkpoint appears under its name complete or not at all, whatever happens and whenever: all ranks write
beside its place, the first writes the manifest last, and renames. Loading verifies every byte before it
parses any, and reads no pickle.
"""

import errno
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rewarm.engine.failpoint import failpoint
from rewarm.engine.manifest import MANIFEST, Manifest, manifest_bytes, verify
from rewarm.engine.ranks import ALONE, Ranks
from rewarm.engine.saved_tensors import SavedTensors
from rewarm.engine.tensor_file import WrittenFile, write_file, write_tensors
from rewarm.errors import CheckpointError, MismatchError, StorageError
from rewarm.storage import REFUSALS, sync_folder
from rewarm.tensors.held import TensorPart

TEMPORARY = ".tmp-"
"""Beginning of the name of a folder that is being written or removed; never read."""

Groups = Mapping[str, Mapping[str, TensorPart]]
"""The tensors of a checkpoint that one rank has: by group, then by name."""

_STATE = "state.json"
_SUFFIX = ".safetensors"
_HEADER_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint that has been verified and can be read, in parts if need be."""

    folder: Path
    """Where it is."""
    manifest: Manifest
    """Its files."""
    groups: Mapping[str, SavedTensors]
    """Its tensors, by group."""
    state: dict[str, Any]
    """Everything else."""


def save(
    folder: Path, groups: Groups, state: Mapping[str, Any], ranks: Ranks = ALONE
) -> Manifest | None:
    """Write a checkpoint, atomically and durably; when this returns, it is committed.

    If the folder exists and verifies, it is never replaced: the same content again is fine and changes
    nothing, other content is refused. If it exists and is damaged, it is moved aside and replaced.

    Args:
        folder: where it goes, such as `checkpoints/step-00001200`; all ranks see it.
        groups: the parts that this rank writes; each group becomes one file of each rank. They are not
            copied first, so they must not change meanwhile.
        state: everything else, as JSON values; that of the first rank is kept.
        ranks: all of them call this at once; by default one alone.

    Returns:
        The manifest, on the first rank.

    Raises:
        StorageError: the disk is full or refuses to write, for one rank at least. What was written of this
            checkpoint is removed; older ones are untouched.
        MismatchError: a valid checkpoint with other content has this name.
    """
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}")
    needed_bytes = sum(ranks.gather(_needed_bytes(groups), ranks.saving))
    write = _Write(folder=folder, temporary=temporary, needed_bytes=needed_bytes)
    try:
        ranks.first_alone(write.begin, ranks.saving)
        files = ranks.together(lambda: write.tensors(groups, ranks), ranks.saving)
        told = ranks.gather({n: [f.num_bytes, f.sha256] for n, f in files.items()}, ranks.saving)
        written = {
            name: WrittenFile(num_bytes=num_bytes, sha256=sha256)
            for each in told
            for name, (num_bytes, sha256) in each.items()
        }
        return ranks.first_alone(lambda: write.commit(written, _state_bytes(state)), ranks.saving)
    except BaseException:
        if ranks.is_first:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def load(folder: Path, ranks: Ranks = ALONE) -> Checkpoint:
    """Open a checkpoint, after its every byte has been verified.

    Args:
        folder: of the checkpoint.
        ranks: all of them call this at once, and share the work of verifying; by default one alone.

    Raises:
        CheckpointError: it is damaged, incomplete, or holds what `save` does not write.
    """
    manifest = verify(folder, ranks)
    opened = ranks.together(lambda: _open(folder, manifest), ranks.waiting)
    if len(set(ranks.gather(manifest.checksum))) > 1:
        raise CheckpointError(
            f"{folder}: not all ranks see the same checkpoint there. Use a run folder on a disk that all "
            "machines share."
        )
    return opened


def _open(folder: Path, manifest: Manifest) -> Checkpoint:
    """Read the state and the headers of a checkpoint that was verified."""
    try:
        names = [name for name in manifest.files if name.endswith(_SUFFIX)]
        files: dict[str, list[Path]] = {}
        for name in sorted(names):
            files.setdefault(name.removesuffix(_SUFFIX).split("-")[0], []).append(folder / name)
        groups = {group: SavedTensors(paths) for group, paths in files.items()}
        state = json.loads((folder / _STATE).read_bytes())
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _foreign(folder, str(error)) from error
    others = [name for name in manifest.files if not name.endswith(_SUFFIX) and name != _STATE]
    if others or not isinstance(state, dict):
        raise _foreign(folder, f"unknown file {others[0]}" if others else f"{_STATE} is no object")
    return Checkpoint(folder=folder, manifest=manifest, groups=groups, state=state)


@dataclass(frozen=True, kw_only=True)
class _Write:
    """The steps of writing one checkpoint."""

    folder: Path
    temporary: Path
    needed_bytes: int

    def begin(self) -> None:
        """Make the temporary folder, if there is room."""
        with _storage_errors(self.folder, self.needed_bytes):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            if self.needed_bytes > shutil.disk_usage(self.folder.parent).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.temporary.exists():
                shutil.rmtree(self.temporary)
            self.temporary.mkdir()

    def tensors(self, groups: Groups, ranks: Ranks) -> dict[str, WrittenFile]:
        """Write the files of one rank."""
        number = f"-{ranks.rank + 1:05d}-of-{ranks.size:05d}" if ranks.size > 1 else ""
        files: dict[str, WrittenFile] = {}
        with _storage_errors(self.folder, self.needed_bytes):
            for group, parts in groups.items():
                name = f"{group}{number}{_SUFFIX}"
                files[name] = write_tensors(
                    self.temporary / name,
                    {name: part.tensor for name, part in parts.items()},
                    {n: (p.offset, p.whole) for n, p in parts.items() if not p.is_whole},
                )
                failpoint("between_files")
            failpoint("after_tensors")
        return files

    def commit(self, files: dict[str, WrittenFile], state: bytes) -> Manifest:
        """Write the state and the manifest, and give the folder its name."""
        with _storage_errors(self.folder, self.needed_bytes):
            files[_STATE] = write_file(self.temporary / _STATE, [state])
            manifest = Manifest(files=files)
            write_file(self.temporary / MANIFEST, [manifest_bytes(manifest)])
            sync_folder(self.temporary)
            failpoint("after_manifest")
            self._rename(manifest)
            failpoint("after_rename")
            sync_folder(self.folder.parent)
        return manifest

    def _rename(self, manifest: Manifest) -> None:
        if not self.folder.exists():
            self.temporary.rename(self.folder)
            return
        try:
            existing = verify(self.folder)
        except CheckpointError:
            aside = self.folder.with_name(f"{TEMPORARY}damaged-{self.folder.name}")
            self.folder.rename(aside)
            self.temporary.rename(self.folder)
            shutil.rmtree(aside)
            return
        if existing != manifest:
            raise MismatchError(
                f"{self.folder}: a valid checkpoint with other content has this name. It is never replaced, "
                "since it may be all there is of that work. Use another run folder, or move it away."
            )
        shutil.rmtree(self.temporary)


class _storage_errors:  # noqa: N801  (a context manager reads as a function)
    """Turn a disk that is full or refuses to write into an error that says what was needed."""

    def __init__(self, folder: Path, needed_bytes: int) -> None:
        self._folder = folder
        self._needed_bytes = needed_bytes

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError) or error.errno not in REFUSALS:
            return
        present = next(path for path in self._folder.parents if path.exists())
        free_bytes = shutil.disk_usage(present).free
        raise StorageError(
            f"{self._folder}: {error.strerror}. The checkpoint needs {self._needed_bytes:,} bytes, "
            f"{free_bytes:,} are free; nothing of it is left behind, and older checkpoints are intact. Free "
            "some space (or raise the limit, or move the run folder) and start the same command again."
        ) from error


def _foreign(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{folder}: complete, but not a checkpoint that rewarm wrote ({reason}). Use one of its own."
    )


def _state_bytes(state: Mapping[str, Any]) -> bytes:
    text = json.dumps(state, allow_nan=False, indent=2, sort_keys=True)
    assert json.loads(text) == state, "the state must come back from JSON as it is"
    return text.encode() + b"\n"


def _needed_bytes(groups: Groups) -> int:
    return sum(
        _HEADER_BYTES + len(name) + part.tensor.numel() * part.tensor.element_size()
        for named in groups.values()
        for name, part in named.items()
    )
