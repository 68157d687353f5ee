"""Which shards are meant by some paths: by the names of the files, and by how an array of NumPy begins."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewarm.data.files import map_plain_file
from rewarm.data.layouts.flat import NPY_MAGIC
from rewarm.data.shard_record import Layout
from rewarm.errors import DataError

REMEDY = "Give the file itself, as it was written."
"""What to do about a file that cannot be opened."""

_SUFFIXES = (".bin", ".npy", ".ds")
_COMPANIONS = {".idx": ".bin", ".ds.index": ".ds", ".ds.metadata": ".ds"}
_INDEX_MAP = re.compile(r"(doc|document|sample|shuffle)_(idx|index)\.npy$")


@dataclass(frozen=True, kw_only=True)
class FoundShard:
    """The files of a shard."""

    layout: Layout
    """How the tokens lie in them."""
    files: tuple[Path, ...]
    """The token file, and what the layout has besides, in the order of `FILES_OF`."""


def recognise(paths: Sequence[Path]) -> list[FoundShard]:
    """Return the shards that paths mean, each once, in the order in which they are given.

    Args:
        paths: token files, or what lies beside them; prefixes of Megatron pairs; or folders, whose
            token files are taken in the order of their names, numbers in them counted as numbers.

    Raises:
        DataError: there is no such file, a file lacks its companion, or a folder has no tokens.
    """
    found: dict[Path, FoundShard] = {}
    for path in paths:
        for tokens in _in_folder(path) if path.is_dir() else [_token_file(path)]:
            if tokens not in found:
                found[tokens] = _shard(tokens)
    return list(found.values())


def _in_folder(folder: Path) -> list[Path]:
    """Return the token files in a folder and in those in it; index maps of a trainer are none."""
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix in _SUFFIXES and not _INDEX_MAP.search(path.name)
    ]
    if not found:
        raise DataError(
            f"{folder}: holds no token files: none ends in {', '.join(_SUFFIXES)}. Name the files."
        )
    return sorted(found, key=lambda path: _natural(str(path.relative_to(folder))))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what a name is sorted by: 2 comes before 10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split("([0-9]+)", name)]


def _token_file(path: Path) -> Path:
    """Return the token file that a path means."""
    for companion, suffix in _COMPANIONS.items():
        if path.name.endswith(companion):
            return path.with_name(path.name.removesuffix(companion) + suffix)
    prefixed = path.with_name(path.name + ".bin")
    return prefixed if prefixed.exists() and not path.exists() else path


def _shard(tokens: Path) -> FoundShard:
    """Return the shard of a token file."""
    layout = _layout(tokens)
    return FoundShard(layout=layout, files=tuple(_files(layout, tokens)))


def _layout(tokens: Path) -> Layout:
    """Return how the tokens of a file lie."""
    begin = bytes(map_plain_file(tokens.parent, tokens.name, REMEDY)[: len(NPY_MAGIC)])
    if begin == NPY_MAGIC:
        return "npy"
    if tokens.suffix == ".ds":
        return "datatrove"
    is_pair = tokens.suffix == ".bin" and tokens.with_suffix(".idx").exists()
    return "megatron" if is_pair else "flat"


def _files(layout: Layout, tokens: Path) -> Iterator[Path]:
    """Yield the files of a shard.

    Raises:
        DataError: the index is missing; or there are marks of tokens without loss, which are not read.
    """
    yield tokens
    if layout == "megatron":
        yield tokens.with_suffix(".idx")
    if layout == "datatrove":
        index, metadata, losses = (
            tokens.with_name(f"{tokens.name}.{each}") for each in ("index", "metadata", "loss")
        )
        if losses.exists():
            raise DataError(
                f"{losses}: says which tokens have no loss, which is not done here: all tokens would"
                " be trained on. Move it away if that is meant."
            )
        if not index.exists():
            raise DataError(
                f"{index}: is missing, so where documents end is not known. Restore it from a copy."
            )
        yield index
        if metadata.exists():
            yield metadata
