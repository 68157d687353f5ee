"""Reading and writing the records: JSON values written whole, JSON lines appended.

A value appears under its name complete or not at all. A line is complete when its newline is there; a torn
last line, as a crash leaves it, is not a record.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

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
        with path.open("ab") as file:
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
    """
    if not path.exists():
        return 0
    kept: list[bytes] = []
    cut = 0
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            continue
        if orjson.loads(line)["step"] <= step:
            kept.append(line)
        else:
            cut += 1
    write_bytes(path, b"".join(kept))
    return cut
