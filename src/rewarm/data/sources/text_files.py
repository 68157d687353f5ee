"""Files of text as a source: JSON lines, Parquet, and whole texts, here or at an address."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rewarm.data.documents import Document, Part, part_of
from rewarm.data.rejects import BadRow, Rejects
from rewarm.data.sources.files import SourceFile, find_files
from rewarm.data.sources.formats import kind_of
from rewarm.data.sources.json_lines import json_rows
from rewarm.data.sources.parquet import parquet_rows
from rewarm.data.sources.reading import read_text
from rewarm.data.sources.rows import Selection, checked_text
from rewarm.errors import DataError

_EVERY_ROW = Selection()


@dataclass(frozen=True)
class TextFiles:
    """JSON lines (`.jsonl`, `.json`), Parquet, and text files (`.txt`, `.md`), in the order of names.

    All but Parquet may have `.zst` or `.gz` behind. A text file is one document, taken as it is; if
    it has over 64 MiB it comes in pieces.
    """

    patterns: tuple[str, ...]
    """Names with `*`, `?`, `[]` and `**`, relative to `root` or absolute; or addresses."""
    root: Path
    """The folder that the patterns start from."""
    selection: Selection = _EVERY_ROW
    """Which column holds the text, and which rows are taken."""
    shard: Part = Part()  # noqa: RUF009  (a tuple)
    """Which of the files."""

    def files(self) -> dict[str, SourceFile]:
        """Return the files by name, in order.

        Raises:
            MissingTextError: a pattern matches no file, or a server does not answer.
            DataError: a file of a kind that is not known, something that is no plain file, or fewer
                files than parts.
        """
        files = find_files(self.patterns, self.root)
        if len(files) < self.shard.of:
            raise DataError(
                f"{', '.join(self.patterns)}: {len(files)} files cannot be cut into"
                f" {self.shard.of} parts, since a part has whole files. Ask for at most"
                f" {len(files)} parts."
            )
        columns = self.selection.columns[1:]
        for name in files:
            if columns and kind_of(name) == "text":
                raise DataError(
                    f"{name}: a text file has no columns, so none that is called {columns[0]!r}."
                    " Use JSON lines or Parquet."
                )
        return {name: files[name] for n, name in enumerate(files) if self.shard.takes(n)}

    def documents(self, rejects: Rejects) -> Iterator[Document]:
        """Yield every document.

        Raises:
            DataError: a file cannot be read, or a row cannot be used and none or no more may be
                left out; the message names the file and the line.
        """
        done_bytes = 0
        for file in self.files().values():
            yield from self._documents_of(file, rejects, done_bytes)
            done_bytes += file.num_bytes

    def _documents_of(
        self, file: SourceFile, rejects: Rejects, done_bytes: int
    ) -> Iterator[Document]:
        match kind_of(file.name):
            case "json lines":
                return self.selection.documents(json_rows(file), rejects, done_bytes)
            case "parquet":
                rows = parquet_rows(file, self.selection.columns)
                return self.selection.documents(rows, rejects, done_bytes)
            case _:
                return self._whole(file, rejects, done_bytes)

    def _whole(self, file: SourceFile, rejects: Rejects, done_bytes: int) -> Iterator[Document]:
        """Yield a text file; which side it is on is told from its first piece."""
        rejects.rows += 1
        begun = False
        try:
            for piece in read_text(file):
                text = piece.text if begun and piece.text.isspace() else _checked(piece.text, file)
                side = self.selection.side
                if not begun and side is not None and not side.takes(text):
                    return
                yield Document(text, file.name, done_bytes + piece.read_bytes, piece.ends)
                begun = True
        except BadRow as bad:
            if begun:
                raise DataError(
                    f"{bad} The file is so long that it is read in pieces, and the first of them"
                    " are given out, so it cannot be left out: correct or remove it."
                ) from bad
            rejects.add(bad)

    def describe(self) -> list[dict[str, Any]]:
        """Return name and size of each file, and what else decides the documents."""
        return [_described(file, self.selection) for file in self.files().values()] + (
            self.selection.describe()
        )

    def num_bytes(self) -> int:
        """Return the size of all files as they are stored."""
        return sum(file.num_bytes for file in self.files().values())

    def part(self, number: int, of: int) -> Self:
        """Return every `of`-th file from the `number`-th on."""
        return replace(self, shard=part_of(self.shard, number, of))


def _checked(text: str, file: SourceFile) -> str:
    return checked_text(text, file.name)


def _described(file: SourceFile, selection: Selection) -> dict[str, Any]:
    """Return what is known of a file without reading it."""
    found: dict[str, Any] = {"file": file.name, "bytes": file.num_bytes}
    if file.etag is not None:
        found["etag"] = file.etag
    if kind_of(file.name) != "text":
        found["text_key"] = selection.text
    return found
