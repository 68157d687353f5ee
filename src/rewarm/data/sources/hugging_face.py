"""Hugging Face datasets: of the hub, streamed and at one commit, or in a folder here.

The package `datasets` does the reading. Code that a dataset brings along is never run: versions of
the package that could are refused by our requirement on it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rewarm.campaign.hub import hub_name, local_path
from rewarm.data.documents import Document, MissingTextError, Part, part_of
from rewarm.data.rejects import Rejects
from rewarm.data.sources.extras import extra
from rewarm.data.sources.rows import Row, Selection
from rewarm.errors import DataError

_BATCH_ROWS = 64
_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_EVERY_ROW = Selection()


@dataclass(frozen=True, kw_only=True)
class HuggingFaceDataset:
    """One split of a dataset."""

    name: str
    """A folder: saved by `save_to_disk`, or with files as a dataset of the hub has them. Or a dataset
    of the hub, `organisation/name`, with `@revision` behind it if wanted."""
    root: Path
    """The folder that a relative name starts from."""
    config: str | None = None
    """Which configuration; the default one if not given."""
    split: str = "train"
    """Which split."""
    selection: Selection = _EVERY_ROW
    """Which column holds the text, and which rows are taken."""
    shard: Part = Part()  # noqa: RUF009  (a tuple)
    """Which part of its files, or of its rows where it was saved by `save_to_disk`."""

    def documents(self, rejects: Rejects) -> Iterator[Document]:
        """Yield every document.

        Raises:
            MissingTextError: the hub does not answer.
            DataError: there is no such dataset, configuration, split or column; or a row cannot be
                used and none or no more may be left out.
        """
        return self.selection.documents(self._rows(), rejects)

    def _rows(self) -> Iterator[Row]:
        """Yield the rows; a place is the number of the row in this part, counted from 1."""
        number = 0
        try:
            for batch in self._opened().iter(_BATCH_ROWS):
                for values in zip(*batch.values(), strict=True):
                    number += 1
                    yield Row(dict(zip(batch, values, strict=True)), f"{self.name}:{number}", 0)
        except OSError as error:
            raise DataError(
                f"{self.name}: cannot be read on from row {number + 1} ({error}). Run the same"
                " command again: what is encoded is kept."
            ) from error

    def _opened(self) -> Any:  # noqa: ANN401  (one of two classes of an optional package)
        """Return the part of the dataset with the columns that are looked at."""
        datasets = extra("datasets", "A Hugging Face dataset")
        folder = self._folder()
        name, commit = self._commit() if folder is None else (str(folder), None)
        try:
            if folder is not None and (folder / _SAVED).exists():
                dataset = datasets.load_from_disk(name)
            else:
                dataset = datasets.load_dataset(
                    name, self.config, split=self.split, revision=commit, streaming=True
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{self.name}: cannot be opened as a Hugging Face dataset ({error}). Correct the"
                " name, the config or the split."
            ) from error
        if dataset.column_names is not None:
            dataset = dataset.select_columns(
                list(dict.fromkeys(self._known(dataset, name) for name in self.selection.columns))
            )
        if self.shard.of == 1:
            return dataset
        is_saved = isinstance(dataset, datasets.Dataset)
        most, what = (len(dataset), "rows") if is_saved else (dataset.num_shards, "files")
        if most < self.shard.of:
            raise DataError(
                f"{self.name}: {most} {what} cannot be cut into {self.shard.of} parts. Ask for at"
                f" most {most} parts."
            )
        return dataset.shard(self.shard.of, self.shard.number - 1, contiguous=is_saved)

    def _known(self, dataset: Any, column: str) -> str:  # noqa: ANN401
        """Return the column of the dataset that a name, perhaps of a nested value, begins with."""
        for name in (column, column.partition(".")[0]):
            if name in dataset.column_names:
                return name
        raise DataError(
            f"{self.name}: has no column {column!r}; its columns are"
            f" {', '.join(dataset.column_names[:20])}. Name the right one."
        )

    def _folder(self) -> Path | None:
        """Return the folder here that has the split; None for a dataset of the hub."""
        if hub_name(self.name, self.root) is not None:
            return None
        folder = local_path(self.name, self.root)
        if not folder.is_dir():
            raise MissingTextError(
                f"{self.name}: there is no such folder in {self.root}, and it is no name of the hub,"
                " which would be organisation/name. Correct it."
            )
        if (folder / _SAVED_SPLITS).exists():
            splits = json.loads((folder / _SAVED_SPLITS).read_bytes())["splits"]
            if self.split not in splits:
                raise DataError(
                    f"{self.name}: has no split {self.split!r}; it has {', '.join(splits)}."
                )
            return folder / self.split
        if (folder / _SAVED).exists():
            saved = json.loads((folder / _SAVED).read_bytes()).get("_split") or "train"
            if self.split != saved:
                raise DataError(
                    f"{self.name}: holds the split {saved!r} alone, so there is no {self.split!r}."
                )
        return folder

    def _commit(self) -> tuple[str, str]:
        """Return the name on the hub and the commit that it stands for now."""
        from huggingface_hub import HfApi

        found = hub_name(self.name, self.root)
        assert found is not None, "only asked for what is of the hub"
        if found.revision is not None and _COMMIT.fullmatch(found.revision):
            return found.repository, found.revision
        try:
            info = HfApi().dataset_info(found.repository, revision=found.revision)
        except (OSError, ValueError) as error:
            raise MissingTextError(
                f"{self.name}: the hub does not know this dataset, or does not answer ({error})."
                " Check the name and the network; a private dataset needs `hf auth login`."
            ) from error
        if info.sha is None:
            raise DataError(f"{self.name}: the hub names no commit, so its text cannot be pinned.")
        return found.repository, info.sha

    def describe(self) -> list[dict[str, Any]]:
        """Return which text it is: the commit, or the sizes of the files of a folder."""
        folder = self._folder()
        about = {"dataset": self.name, "split": self.split, "text_key": self.selection.text}
        if self.config is not None:
            about["config"] = self.config
        if folder is None:
            found: list[dict[str, Any]] = [about | {"commit": self._commit()[1]}]
        else:
            paths = sorted(path for path in folder.rglob("*") if path.is_file())
            sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
            found = [about, *({"file": name, "bytes": size} for name, size in sizes.items())]
        return found + self.selection.describe()

    def num_bytes(self) -> None:
        """Return None: how much has been read of a dataset does not show."""

    def part(self, number: int, of: int) -> Self:
        """Return every `of`-th file, or a run of the rows of a saved dataset."""
        return replace(self, shard=part_of(self.shard, number, of))
