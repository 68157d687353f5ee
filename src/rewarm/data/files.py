"""Folders and files of prepared data: only plain files are opened, so that none leads elsewhere."""

import stat
from pathlib import Path

from rewarm.errors import DataError
from rewarm.storage import storage_errors, sync_folder


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
