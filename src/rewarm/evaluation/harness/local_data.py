"""The data of a task of lm-evaluation-harness from JSON lines: read whole and checked, without a cache."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from rewarm.data.rejects import BadRow
from rewarm.data.sources.files import find_files
from rewarm.data.sources.json_lines import json_rows
from rewarm.errors import DataError

_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def read_dataset(folder: Path, splits: Sequence[str]) -> datasets.DatasetDict:
    """Read the splits of a dataset, each from `SPLIT.jsonl`; `.gz` or `.zst` may stand behind.

    Args:
        folder: where the files are.
        splits: which to read.

    Raises:
        DataError: a file is missing or has no rows, a row cannot be read or has other keys than the first.
    """
    missing = [split for split in splits if _file(folder, split) is None]
    if missing:
        names = " and ".join(f"{split}.jsonl" for split in missing)
        raise DataError(
            f"{folder}: has no {names}, so the task has no data. Put the dataset there, a file for each split, "
            f"as `datasets.load_dataset(...)[{missing[0]!r}].to_json(...)` writes it."
        )
    return datasets.DatasetDict({split: _rows(_file(folder, split)) for split in splits})


def _file(folder: Path, split: str) -> Path | None:
    found = [path for suffix in _SUFFIXES if (path := folder / f"{split}{suffix}").is_file()]
    return found[0] if found else None


def _rows(path: Path | None) -> datasets.Dataset:
    assert path is not None
    rows: list[Mapping[str, Any]] = []
    keys: set[str] = set()
    (source,) = find_files((str(path),), Path()).values()
    for row in json_rows(source):
        if isinstance(row, BadRow):
            raise row
        keys = keys or set(row.values)
        if set(row.values) != keys:
            raise DataError(
                f"{row.place}: has the keys {sorted(row.values)} and the rows before have {sorted(keys)}; a "
                "task takes the same of each. Correct the row, or remove it."
            )
        rows.append(row.values)
    if not rows:
        raise DataError(f"{path}: has no rows, so there is nothing to measure. Give another file.")
    try:
        return datasets.Dataset.from_list([dict(row) for row in rows])
    except (TypeError, ValueError, OverflowError) as error:
        # pyarrow's errors are ValueErrors and TypeErrors.
        raise DataError(
            f"{path}: one key has values of different types in different rows ({error}), which a task cannot "
            "read. Make them alike."
        ) from error
