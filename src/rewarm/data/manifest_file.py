"""A manifest read from its file: every field checked, and nothing believed that its hash does not seal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rewarm.data.files import is_inside, map_plain_file
from rewarm.data.manifest import (
    FORMAT,
    INDEX,
    TOKENS,
    Manifest,
    is_table,
    manifest_path,
    remedy,
    unsealed,
)
from rewarm.data.shard_record import FILES_OF, INTEGERS, LAYOUTS, ShardRecord, StoredFile
from rewarm.errors import DataError

_MAX_MANIFEST_BYTES = 1 << 28
_KEYS = {
    *("format", "vocabulary", "end_of_text", "tokenizer", "document_seed", "text_bytes"),
    *("provenance", "block_bytes", "shards"),
}
_SHARD_KEYS = {"layout", "dtype", "tokens", "documents", "sequences", "files", "blocks"}
_FILE_KEYS = {"name", "bytes", "xxh3_128"}
_OLD_KEYS = (_KEYS - {"shards"}) | {"dtype", "documents", "tokens", "files", "blocks"}


def read_manifest(place: Path) -> Manifest:
    """Read and check the manifest of a token store; its files are not looked at.

    Args:
        place: the folder of the store, or its manifest.

    Raises:
        DataError: there is none, it is damaged, or it was written by another version.
    """
    path = manifest_path(place)
    if not path.exists() and not path.is_symlink():
        raise DataError(
            f"{place}: not prepared, or the preparation was stopped; run `rewarm prepare`."
            if path != place
            else f"{place}: there is no such manifest; `rewarm adopt` writes one for token files."
        )
    data = map_plain_file(path.parent, path.name, remedy(path))
    if len(data) > _MAX_MANIFEST_BYTES:
        raise _damaged(path, "it is far too large")
    return _Reader(path).manifest(bytes(data))


def _damaged(path: Path, reason: str) -> DataError:
    """Return the error for a manifest that cannot be trusted."""
    return DataError(f"{path}: damaged or changed by hand: {reason}. {remedy(path)}")


class _Reader:
    """Turns the JSON of one manifest into a value."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def manifest(self, raw: bytes) -> Manifest:
        """Return the manifest that a file's content stands for."""
        content = self._unsealed(raw)
        version = content.get("format")
        if version == 1:
            content = self._upgraded(content)
        elif version != FORMAT:
            raise DataError(
                f"{self._path}: has format {version!r}, this version of rewarm reads formats 1 and"
                f" {FORMAT}. {remedy(self._path)}"
            )
        self._check_keys(content, _KEYS, "")
        provenance = self._list(content, "provenance")
        if not all(map(is_table, provenance)):
            raise self._wrong("`provenance` is not a list of tables")
        manifest = Manifest(
            vocabulary=self._count(content, "vocabulary", 1),
            end_of_text=self._count(content, "end_of_text", 0),
            tokenizer=self._text(content, "tokenizer"),
            document_seed=self._count_or_none(content, "document_seed"),
            text_bytes=self._count_or_none(content, "text_bytes"),
            provenance=provenance,
            block_bytes=self._count(content, "block_bytes", 8),
            shards=[self._shard(shard) for shard in self._list(content, "shards")],
        )
        for problem in _contradictions(manifest):
            raise self._wrong(problem)
        return manifest

    def _unsealed(self, raw: bytes) -> dict[str, Any]:
        try:
            return unsealed(raw)
        except ValueError as error:
            raise self._wrong(str(error)) from error

    def _upgraded(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return a manifest of format 1 as one of format 2: its one shard had fields at the top."""
        self._check_keys(content, _OLD_KEYS, "")
        files = content["files"]
        if not is_table(files) or files.keys() != {TOKENS, INDEX}:
            raise self._wrong(f"`files` is not a table of {TOKENS} and {INDEX}")
        shard = {key: content[key] for key in ("dtype", "tokens", "documents", "blocks")} | {
            "layout": "megatron",
            "sequences": content["documents"],
            "files": [
                {**files[name], "name": name} if is_table(files[name]) else files[name]
                for name in (TOKENS, INDEX)
            ],
        }
        kept = {key: value for key, value in content.items() if key in _KEYS}
        return kept | {"format": FORMAT, "shards": [shard]}

    def _shard(self, value: object) -> ShardRecord:
        """Return one shard."""
        if not is_table(value):
            raise self._wrong("a shard is not a table")
        self._check_keys(value, _SHARD_KEYS, "a shard has ")
        layout, dtype = self._text(value, "layout"), self._text(value, "dtype")
        if layout not in LAYOUTS:
            raise self._wrong(f"`layout` is {layout!r}, not one of {', '.join(LAYOUTS)}")
        if dtype not in INTEGERS:
            raise self._wrong(f"`dtype` is {dtype!r}, not one of {', '.join(INTEGERS)}")
        blocks = self._list(value, "blocks")
        if not all(isinstance(block, str) for block in blocks):
            raise self._wrong("`blocks` is not a list of hashes")
        return ShardRecord(
            layout=layout,
            dtype=dtype,
            tokens=self._count(value, "tokens", 1),
            documents=self._count(value, "documents", 1),
            sequences=self._count(value, "sequences", 1),
            files=[self._file(file) for file in self._list(value, "files")],
            blocks=blocks,
        )

    def _file(self, value: object) -> StoredFile:
        """Return the entry of a file; a name that could lead out of the folder is refused."""
        if not is_table(value) or value.keys() != _FILE_KEYS:
            raise self._wrong("a file is not `name`, `bytes` and `xxh3_128`")
        name = value["name"]
        if not isinstance(name, str) or not is_inside(name):
            raise self._wrong(f"the file name {name!r} leads out of the folder")
        return StoredFile(
            name=name,
            num_bytes=self._count(value, "bytes", 1),
            xxh3_128=self._text(value, "xxh3_128"),
        )

    def _wrong(self, reason: str) -> DataError:
        return _damaged(self._path, reason)

    def _check_keys(self, content: dict[str, Any], keys: set[str], whose: str) -> None:
        if content.keys() != keys:
            raise self._wrong(f"{whose}wrong keys: {', '.join(sorted(content.keys() ^ keys))}")

    def _list(self, content: dict[str, Any], key: str) -> list[Any]:
        value = content[key]
        if not isinstance(value, list):
            raise self._wrong(f"`{key}` is {value!r}, not a list")
        return value

    def _text(self, content: dict[str, Any], key: str) -> str:
        value = content[key]
        if not isinstance(value, str) or not value:
            raise self._wrong(f"`{key}` is {value!r}, not a text")
        return value

    def _count(self, content: dict[str, Any], key: str, least: int) -> int:
        value = content[key]
        if type(value) is not int or value < least:
            raise self._wrong(f"`{key}` is {value!r}, not a whole number of at least {least}")
        return value

    def _count_or_none(self, content: dict[str, Any], key: str) -> int | None:
        return None if content[key] is None else self._count(content, key, 0)


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what cannot be true of one store."""
    if manifest.end_of_text >= manifest.vocabulary:
        yield "`end_of_text` is not in the vocabulary"
    if manifest.block_bytes % 8:
        yield "`block_bytes` is not a multiple of 8"
    if not manifest.shards:
        yield "`shards` is empty"
    names = [file.name for shard in manifest.shards for file in shard.files]
    if len(set(names)) != len(names):
        yield "two of its files have the same name"
    for number, shard in enumerate(manifest.shards):
        for problem in _shard_contradictions(shard, manifest.block_bytes):
            yield f"shard {number}: {problem}"


def _shard_contradictions(shard: ShardRecord, block_bytes: int) -> Iterator[str]:
    """Yield what cannot be true of one shard."""
    roles = FILES_OF[shard.layout]
    required = len([role for role in roles if role != "metadata"])
    if not required <= len(shard.files) <= len(roles):
        yield f"{len(shard.files)} files do not make a shard of layout {shard.layout}"
        return
    num_bytes = shard.files[0].num_bytes
    header_bytes = num_bytes - shard.tokens * INTEGERS[shard.dtype]
    if header_bytes < 0 or (header_bytes > 0 and shard.layout != "npy"):
        yield f"the size of {shard.files[0].name} does not fit `tokens`"
    if len(shard.blocks) != -(-num_bytes // block_bytes):
        yield "the number of `blocks` does not fit"
