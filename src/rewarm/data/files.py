"""Files on disk: written whole or not at all, and opened only if they are plain files.

A file is written under a temporary name, synced, renamed, and its folder is synced. After a crash
the final name holds the old content or the new one, never a part.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rewarm.errors import DataError, LockedError, StorageError

TEMPORARY_SUFFIX = ".tmp"
"""What the name of an unfinished file ends in; such a file is never read."""

_REFUSALS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
}


def temporary_path(path: Path) -> Path:
    """Return the name under which `path` is written until it is complete.

    >>> temporary_path(Path("tokens.bin")).name
    'tokens.bin.tmp'
    """
    return path.with_name(path.name + TEMPORARY_SUFFIX)


@contextmanager
def storage_errors(path: Path, num_bytes: int) -> Iterator[None]:
    """Turn a disk that is full or refuses to write into a `StorageError`.

    Args:
        path: what is being written.
        num_bytes: the size that the file would have after the write; 0 for a folder.

    Raises:
        StorageError: with the path and the bytes. Any other `OSError` passes through.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
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


def make_folder(folder: Path) -> None:
    """Create a folder and its parents; an existing one is fine.

    Raises:
        DataError: something that is not a folder is in the way.
        StorageError: the disk refuses.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with storage_errors(folder, 0):
        try:
            folder.mkdir(exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise DataError(
                f"{folder}: cannot be a folder, because {error.filename} is a file. Move that file"
                " away, or choose another folder."
            ) from error
    sync_folder(folder.parent)


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


def remedy(folder: Path) -> str:
    """Return what to do about a damaged store."""
    return (
        f"Restore {folder} from a copy, or delete that folder and run `rewarm prepare` to make it"
        " again."
    )


def read_plain_file(path: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        DataError: it is missing, cannot be read, or is a link, a folder, a pipe or a device.
    """
    plain_file_size(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). {remedy(path.parent)}"
        ) from error


def plain_file_size(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises:
        DataError: it is missing, or a link, a folder, a pipe or a device.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). {remedy(path.parent)}"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(
            f"{path}: is not a plain file, so it may lead out of its folder or never end."
            f" {remedy(path.parent)}"
        )
    return status.st_size


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone; the lock ends with the process, however it ends.

    Raises:
        LockedError: another process holds it.
        StorageError: the file system has no locks, or refuses to write.
    """
    path = folder / ".lock"
    with storage_errors(path, 0):
        file = path.open("ab")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"{folder}: another process is preparing this folder. Wait until it has ended."
            ) from error
        except OSError as error:
            raise StorageError(
                f"{path}: this file system cannot lock files ({error.strerror}), so two processes"
                " could spoil each other's work. Use a folder on another disk."
            ) from error
        yield
