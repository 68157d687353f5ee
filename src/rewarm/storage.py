"""Writing so that a name never shows half a file, and holding a folder, alone or in turn.

A file is written under a temporary name, synced, renamed, and its folder is synced. After a crash the final
name holds the old content or the new one, never a part.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rewarm.errors import LockedError, StorageError

TEMPORARY_SUFFIX = ".tmp"
"""What the name of an unfinished file ends in; such a file is never read."""

REFUSALS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
    }
)
"""Error numbers with which a disk is full or refuses to write."""

_IN_THE_WAY = frozenset({errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG})


def temporary_path(path: Path) -> Path:
    """Return the name under which `path` is written until it is complete.

    >>> temporary_path(Path("tokens.bin")).name
    'tokens.bin.tmp'
    """
    return path.with_name(path.name + TEMPORARY_SUFFIX)


@contextmanager
def storage_errors(path: Path, num_bytes: int) -> Generator[None]:
    """Turn a disk that is full or refuses to write, or a path that cannot be, into a `StorageError`.

    Args:
        path: what is being written.
        num_bytes: the size that the file would have after the write; 0 for a folder.

    Raises:
        StorageError: with the path and the bytes. Any other `OSError` passes through.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            raise StorageError(
                f"{path}: cannot be written ({error.strerror}), because of what is there already or of its"
                " name. Choose another path; nothing was changed."
            ) from error
        if error.errno not in REFUSALS:
            raise
        what = f"cannot write its first {num_bytes:,} bytes" if num_bytes else "cannot be written"
        raise StorageError(
            f"{path}: {what} ({error.strerror}). Nothing that was complete before is lost. Free"
            " some space or choose another disk, and run the same command again."
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    with storage_errors(folder, 0):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file so that its name never shows half of it.

    Raises:
        StorageError: the disk is full or refuses to write; the old content is still there.
    """
    temporary = temporary_path(path)
    with storage_errors(path, len(data)):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def held(path: Path, refusal: str, *, shared: bool = False) -> Generator[None]:
    """Hold a lock file; the lock ends with the process, however it ends.

    Args:
        path: the lock file; it stays, and only a process that holds it counts.
        refusal: what to say if another process holds it; its number is put in front.
        shared: hold it together with others that share it, instead of alone.

    Raises:
        LockedError: another process holds it.
        StorageError: the file system has no locks, or refuses to write.
    """
    with _opened(path) as file:
        if not _is_locked(file, path, shared=shared):
            raise LockedError(f"{path.parent}: {_holder(file)} {refusal}")
        _sign(file, path)
        yield


@contextmanager
def held_in_turn(path: Path, wait: Callable[[str], None]) -> Generator[None]:
    """Hold a lock file alone, behind those that hold it now.

    Args:
        path: the lock file, as in `held`.
        wait: called with who holds it, as long as another does; it takes some time, or raises.

    Raises:
        StorageError: the file system has no locks, or refuses to write.
    """
    with _opened(path) as file:
        while not _is_locked(file, path, shared=False):
            wait(_holder(file))
        _sign(file, path)
        yield


def _opened(path: Path) -> TextIO:
    with storage_errors(path, 0):
        return path.open("a+")


def _is_locked(file: TextIO, path: Path, *, shared: bool) -> bool:
    """Take the lock if nobody is in the way, and return whether it is taken."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"{path}: this file system cannot lock files ({error.strerror}), so two processes could "
            "spoil each other's work. Use a folder on another disk."
        ) from error
    return True


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "another process"


def _sign(file: TextIO, path: Path) -> None:
    """Write down who holds a lock; of those that share it, who came last."""
    with storage_errors(path, 0):
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
