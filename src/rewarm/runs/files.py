"""Reading and writing the records: JSON values written whole, JSON lines appended.

A value appears under its name complete or not at all. A line is complete when its newline is there; a torn
last line, as a crash leaves it, is not a record.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from rewarm.errors import CheckpointError
from rewarm.storage import storage_errors, write_whole

_R = TypeVar("_R", bound=BaseModel)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record to a file, atomically: temporary name, sync, rename, sync of the folder.

    Raises:
        StorageError: the disk is full or refuses to write; an older file is intact.
    """
    write_bytes(
        path, orjson.dumps(record.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"
    )


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically; see `write_record`."""
    with storage_errors(path, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def read_record(path: Path, kind: type[_R]) -> _R:
    """Read a record written by `write_record`.

    Raises:
        CheckpointError: the file is missing or is not such a record.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: not a {kind.__name__} of this version of rewarm ({error.error_count()} problems, "
            f"the first: {error.errors()[0]['loc']}: {error.errors()[0]['msg']})."
        ) from error


def append_record(path: Path, record: BaseModel) -> None:
    """Add one line to a JSON-lines file.

    Raises:
        StorageError: the disk is full or refuses to write.
    """
    line = orjson.dumps(record.model_dump(mode="json")) + b"\n"
    with storage_errors(path, len(line)):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            _drop_torn_line(file)
            file.write(line)


def read_records(path: Path, kind: type[_R]) -> Iterator[_R]:
    """Yield the records of a JSON-lines file; a missing file has none, a torn last line is left out.

    Raises:
        CheckpointError: a complete line is not such a record (with its number).
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                raise CheckpointError(f"{path}:{number}: not a {kind.__name__}.") from error


def keep_lines_until(path: Path, step: int) -> int:
    """Cut a JSON-lines file back to the records of steps up to `step`, atomically.

    After a resume the later steps are done again, and give the same lines.

    Returns:
        How many complete lines were cut off.

    Raises:
        CheckpointError: a complete line is not a record of a step (with its number).
    """
    if not path.exists():
        return 0
    kept: list[bytes] = []
    cut = 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            continue
        if _step_of(line, f"{path}:{number}") <= step:
            kept.append(line)
        else:
            cut += 1
    write_bytes(path, b"".join(kept))
    return cut


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut off what a crash left of a line, so that the next one does not join it."""
    end = file.seek(0, os.SEEK_END)
    if not end:
        return
    file.seek(end - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _step_of(line: bytes, place: str) -> int:
    try:
        return int(orjson.loads(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{place}: not the record of a step.") from error
