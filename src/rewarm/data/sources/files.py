"""Finding files by pattern: in a folder here, or at an address that fsspec knows.

Only plain files are taken. A pipe, a device or a folder that a pattern gives would hang or hold no
text, so it is refused before it is opened.
"""

import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from rewarm.data.documents import MissingTextError
from rewarm.data.sources.formats import KNOWN, kind_of
from rewarm.errors import DataError

_ETAGS = ("ETag", "etag", "blob_id")
_SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file to read, here or elsewhere."""

    name: str
    """What to call it: relative to the root where the pattern is, or an address."""
    num_bytes: int
    """Its size as it is stored, compressed or not."""
    identity: str
    """The same for two names of one file."""
    etag: str | None = None
    """What its server says of the content, where it says something."""
    modified: float | None = None
    """When it was last written, in seconds since 1970, if it is a file here."""
    open: Callable[[], BinaryIO] = field(compare=False, repr=False)
    """Open it to read bytes."""


def find_files(patterns: Iterable[str], root: Path) -> dict[str, SourceFile]:
    """Return the files that patterns give, by name, sorted by name.

    Args:
        patterns: names with `*`, `?`, `[]` and `**`, relative to `root` or absolute; or addresses
            with a scheme (`s3://bucket/*.parquet`).
        root: the folder that they start from.

    Raises:
        MissingTextError: a pattern gives nothing, or its server does not answer.
        DataError: a file of a kind that is not known, or something that is no plain file.
    """
    found: dict[str, SourceFile] = {}
    for pattern in patterns:
        is_address = "://" in pattern
        matches = _at_address(pattern) if is_address else _in_folder(pattern, root)
        if not matches:
            place = "" if is_address else f" (relative to {root.resolve()})"
            raise MissingTextError(
                f"no file matches {pattern!r}{place}. Correct the pattern, or put the files there."
            )
        found |= {file.name: file for file in matches}
    for name in found:
        if kind_of(name) is None:
            raise DataError(
                f"{name}: text is read from {KNOWN}. Convert the file, or narrow the pattern."
            )
    return dict(sorted(found.items()))


def _in_folder(pattern: str, root: Path) -> list[SourceFile]:
    """Return the files here that a pattern gives; a name without wild cards is itself."""
    if (root / pattern).is_file():
        return [_local(Path(pattern).as_posix(), root / pattern)]
    is_absolute = Path(pattern).is_absolute()
    start = Path(Path(pattern).anchor) if is_absolute else root
    relative = str(Path(pattern).relative_to(start)) if is_absolute else pattern
    try:
        paths = list(start.glob(relative))
    except ValueError as error:
        raise DataError(f"{pattern!r} is not a file pattern: {error}.") from error
    return [
        _local(name, path)
        for path in paths
        for name in [(path if is_absolute else path.relative_to(root)).as_posix()]
        # `*` gives folders by the way; one that is called like a text file is a mistake.
        if kind_of(name) is not None or not path.is_dir()
    ]


def _local(name: str, path: Path) -> SourceFile:
    """Return a file here, after looking what it is."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"{name}: cannot be read ({error.strerror}). Remove or mend the link, or narrow the"
            " pattern."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        what = _SPECIAL.get(stat.S_IFMT(status.st_mode), "something else")
        raise DataError(
            f"{name}: is {what}, not a plain file, so no text is read from it. Narrow the pattern."
        )
    return SourceFile(
        name=name,
        num_bytes=status.st_size,
        identity=str(path.resolve()),
        modified=status.st_mtime,
        open=partial(path.open, "rb"),
    )


def _at_address(pattern: str) -> list[SourceFile]:
    """Return the files that an address with wild cards gives."""
    scheme = pattern.partition("://")[0]
    if urlsplit(pattern).password is not None:
        raise DataError(
            f"an address of {scheme}:// has a password in it, which would be kept with the tokens."
            " Give the password as the file system's package takes it from the environment."
        )
    import fsspec.core  # here, since files on this machine do not need it

    try:
        system, path = fsspec.core.url_to_fs(pattern)
    except ImportError as error:
        raise DataError(f"{pattern!r} needs a package that is not here: {error}.") from error
    except ValueError as error:
        raise DataError(
            f"{pattern!r}: there is no file system {scheme!r} ({error}). Correct the address."
        ) from error
    try:
        infos: dict[str, dict[str, Any]] = system.glob(path, detail=True)
    except Exception as error:
        # Every file system has exceptions of its own for a server that refuses or is not there.
        raise MissingTextError(
            f"{pattern!r} cannot be listed ({type(error).__name__}: {error}). Check the address,"
            " the network and the right to read it."
        ) from error
    return [
        SourceFile(
            name=(address := system.unstrip_protocol(found)),
            num_bytes=int(info["size"] or 0),
            identity=address,
            etag=next((str(info[key]).strip('"') for key in _ETAGS if info.get(key)), None),
            open=partial(system.open, found, "rb"),
        )
        for found, info in infos.items()
        if info["type"] == "file"
    ]
