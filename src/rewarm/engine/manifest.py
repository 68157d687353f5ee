"""The manifest of a checkpoint: the size and SHA-256 of every file, and a checksum of itself.

It is written last, so a folder without one was never finished, and nothing in a folder is parsed before
its manifest has been verified.
"""

import hashlib
import json
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rewarm.engine.ranks import ALONE, Ranks
from rewarm.engine.tensor_file import WrittenFile
from rewarm.errors import CheckpointError

MANIFEST = "MANIFEST.json"
"""Name of the manifest in the folder."""

_FORMAT = 1
_MOST_BYTES = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The files of a checkpoint."""

    files: dict[str, WrittenFile]
    """By name, the manifest left out."""

    @property
    def num_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.num_bytes for file in self.files.values())

    @property
    def checksum(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(manifest_bytes(self)).hexdigest()

    def digest(self, group: str) -> str:
        """Return the SHA-256 of a group's file; of several files that of their hashes, one after the other."""
        hashes = [
            f.sha256
            for n, f in sorted(self.files.items())
            if n.split(".")[0].split("-")[0] == group
        ]
        return (
            hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        )


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the one way to write a manifest down: JSON with a checksum of its content."""
    content: dict[str, Any] = {
        "files": {name: asdict(file) for name, file in manifest.files.items()},
        "format": _FORMAT,
    }
    checksum = hashlib.sha256(_dump(content)).hexdigest()
    return _dump({**content, "checksum": checksum})


def verify(folder: Path, ranks: Ranks = ALONE) -> Manifest:
    """Check that a checkpoint is complete and is what was written, bit for bit.

    Args:
        folder: of one checkpoint.
        ranks: all of them call this at once, each hashes some of the files, and all fail if one does; by
            default one alone.

    Raises:
        CheckpointError: the manifest or a file is missing, damaged or not a regular file, or there is a
            file too many; the message names it.
    """
    return ranks.together(lambda: _check(folder, ranks), ranks.waiting)


def _check(folder: Path, ranks: Ranks) -> Manifest:
    """Check this rank's share of the files."""
    try:
        manifest = read(folder / MANIFEST)
        found = {path.name for path in folder.iterdir()} - {MANIFEST}
        for number, name in enumerate(sorted(found | set(manifest.files))):
            is_mine = number % ranks.size == ranks.rank
            _check_file(folder / name, manifest.files.get(name), name in found, hashed=is_mine)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or folder}: cannot be read ({error.strerror}), so the checkpoint cannot be "
            "used. Take an older one."
        ) from error
    return manifest


def read(path: Path) -> Manifest:
    """Read a manifest; whether the files are what it says, `verify` finds out.

    Raises:
        CheckpointError: it is not there, damaged or of another format.
    """
    if not path.parent.is_dir():
        raise CheckpointError(f"{path.parent}: no such checkpoint.")
    if not _is_regular(path):
        raise CheckpointError(
            f"{path}: not there, so this checkpoint was never completed. Take an older one."
        )
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES)
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise CheckpointError(
                f"{path}: format {content['format']}; this rewarm reads format {_FORMAT}. Use the version of "
                "rewarm that wrote it."
            )
        files = {name: _written_file(**file) for name, file in content["files"].items()}
        manifest = Manifest(files=files)
        # Compared as bytes: a change that JSON would not notice is a change all the same.
        is_intact = text == manifest_bytes(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise _damaged(path, "it is not a manifest") from error
    if not is_intact:
        raise _damaged(path, "its checksum does not fit its content")
    return manifest


def _written_file(num_bytes: object, sha256: object) -> WrittenFile:
    if not isinstance(num_bytes, int) or not isinstance(sha256, str):
        raise TypeError("a size and a hash are needed")
    return WrittenFile(num_bytes=num_bytes, sha256=sha256)


def _check_file(path: Path, expected: WrittenFile | None, is_there: bool, *, hashed: bool) -> None:
    if expected is None:
        raise _damaged(path, "it is not in the manifest")
    if not is_there:
        raise _damaged(path, "it is in the manifest but not in the folder")
    if not _is_regular(path):
        raise _damaged(path, "it is not a regular file")
    num_bytes = path.stat().st_size
    if num_bytes != expected.num_bytes:
        raise _damaged(path, f"it has {num_bytes:,} bytes, {expected.num_bytes:,} were written")
    if not hashed:
        return
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != expected.sha256:
        raise _damaged(path, "its SHA-256 is not that of what was written")


def _is_regular(path: Path) -> bool:
    """Tell whether a regular file is there; a link could lead anywhere."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _dump(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {reason}. The checkpoint is damaged and is not used; take an older one, or restore this file."
    )
