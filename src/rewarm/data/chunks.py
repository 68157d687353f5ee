"""Chunks: the tokens of some documents in their order in the source, one file for each.

They are what a stopped preparation leaves for the next one. A chunk is used again only if its text
is the same and all of its hashes fit. It is not synced: after a power cut the hashes tell.

Layout, little endian: magic, documents, text hash; u32 tokens of each document; XXH3-128 of all of
that; then for each document the XXH3-64 of its tokens and the tokens.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from rewarm.data.index import token_dtype
from rewarm.data.tokenizer import Tokenizer
from rewarm.errors import DataError
from rewarm.storage import storage_errors, temporary_path

_HEADER = struct.Struct("<8sQ16s")
_MAGIC = b"RWCHUNK1"
_HASH = struct.Struct("<Q")
_TABLE_HASH_BYTES = 16
_BATCH_DOCUMENTS = 1 << 12


@dataclass(frozen=True, kw_only=True)
class ChunkText:
    """The text of one chunk, on its way to be encoded."""

    path: Path
    """The chunk file to make."""
    texts: list[str]
    """The documents."""
    text_hash: bytes
    """XXH3-128 of the documents' text and their borders."""
    text_bytes: int
    """Size of the text in UTF-8."""
    read_bytes: int
    """Bytes of the source's files read when the chunk was full."""


@dataclass(frozen=True, kw_only=True)
class ChunkCounts:
    """What one chunk added."""

    documents: int
    """Its documents."""
    tokens: int
    """Its tokens, end-of-text ids included."""
    text_bytes: int
    """Size of its text in UTF-8."""
    read_bytes: int
    """Bytes of the source's files read when the chunk was full."""


def encode_chunk(tokenizer: Tokenizer, chunk: ChunkText) -> ChunkCounts:
    """Make the file of a chunk, unless a good one of the same text is there already.

    Raises:
        StorageError: the disk is full or refuses to write.
    """
    lengths = _reusable_lengths(chunk, tokenizer)
    if lengths is None:
        documents = tokenizer.encode_batch(chunk.texts)
        lengths = np.array([len(ids) for ids in documents], "<u4")
        head = _HEADER.pack(_MAGIC, len(lengths), chunk.text_hash) + lengths.tobytes()
        parts = [head, xxhash.xxh3_128_digest(head)]
        for ids in documents:
            content = ids.tobytes()
            parts += (_HASH.pack(xxhash.xxh3_64_intdigest(content)), content)
        _write(chunk.path, b"".join(parts))
    return ChunkCounts(
        documents=len(lengths),
        tokens=int(lengths.sum(dtype=np.int64)),
        text_bytes=chunk.text_bytes,
        read_bytes=chunk.read_bytes,
    )


def _write(path: Path, content: bytes) -> None:
    """Write a chunk under a temporary name and rename it."""
    temporary = temporary_path(path)
    with storage_errors(path, len(content)):
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _reusable_lengths(chunk: ChunkText, tokenizer: Tokenizer) -> NDArray[np.uint32] | None:
    """Return the lengths of a chunk file that holds this very text undamaged, else None."""
    try:
        content = chunk.path.read_bytes()
    except FileNotFoundError:
        return None
    parsed = _parse_head(content)
    if parsed is None or parsed[0] != chunk.text_hash:
        return None
    lengths = parsed[1]
    starts = _starts(lengths, token_dtype(tokenizer.vocabulary).itemsize)
    if len(content) != starts[-1]:
        return None
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if not _is_intact(content[start:end]):
            return None
    return lengths


def _parse_head(content: bytes) -> tuple[bytes, NDArray[np.uint32]] | None:
    """Return text hash and lengths; None if they are damaged."""
    if len(content) < _HEADER.size:
        return None
    magic, documents, text_hash = _HEADER.unpack_from(content)
    head_bytes = _HEADER.size + 4 * documents
    head, stored = content[:head_bytes], content[head_bytes : head_bytes + _TABLE_HASH_BYTES]
    if magic != _MAGIC or xxhash.xxh3_128_digest(head) != stored:
        return None
    return text_hash, np.frombuffer(head, "<u4", offset=_HEADER.size)


def _starts(lengths: NDArray[np.uint32], itemsize: int) -> NDArray[np.int64]:
    """Return where the record of each document starts, and where the last one ends."""
    first = _HEADER.size + 4 * len(lengths) + _TABLE_HASH_BYTES
    sizes = lengths.astype(np.int64) * itemsize + _HASH.size
    return np.concatenate(([0], np.cumsum(sizes))) + first


def _is_intact(record: bytes) -> bool:
    """Say whether the tokens of a record have the hash in front of them."""
    return xxhash.xxh3_64_intdigest(record[_HASH.size :]) == _HASH.unpack_from(record)[0]


class ChunkedDocuments:
    """The documents of complete chunks, read in any order.

    In memory: 16 bytes a document, for where it starts and ends.
    """

    def __init__(self, paths: Sequence[Path], tokenizer: Tokenizer) -> None:
        self._paths = paths
        self._dtype = token_dtype(tokenizer.vocabulary)
        starts: list[NDArray[np.int64]] = []
        ends: list[NDArray[np.int64]] = []
        for path in paths:
            borders = _starts(_read_lengths(path), self._dtype.itemsize)
            starts.append(borders[:-1])
            ends.append(borders[1:])
        self._first_documents = np.cumsum([0, *map(len, starts)])
        self._starts = np.concatenate([np.empty(0, np.int64), *starts])
        self._ends = np.concatenate([np.empty(0, np.int64), *ends])

    def __len__(self) -> int:
        return len(self._starts)

    def in_order(self, order: NDArray[np.integer]) -> Iterator[NDArray[np.integer]]:
        """Yield the ids of the documents with these numbers.

        Each is read by itself: maps of all chunks would use up the open files and the memory maps
        that a process may have.

        Raises:
            DataError: a chunk was damaged since it was written.
        """
        for begin in range(0, len(order), _BATCH_DOCUMENTS):
            batch = order[begin : begin + _BATCH_DOCUMENTS]
            chunks = np.searchsorted(self._first_documents, batch, side="right") - 1
            columns = (chunks.tolist(), self._starts[batch].tolist(), self._ends[batch].tolist())
            for chunk, start, end in zip(*columns, strict=True):
                record = _read_record(self._paths[chunk], start, end - start)
                if len(record) != end - start or not _is_intact(record):
                    raise DataError(
                        f"{self._paths[chunk]}: damaged since it was written. Run the same command"
                        " again: it finds and replaces what is damaged."
                    )
                yield np.frombuffer(record, self._dtype, offset=_HASH.size)


def _read_lengths(path: Path) -> NDArray[np.uint32]:
    """Return the tokens of each document of a chunk that was just checked or written."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        _, documents, _ = _HEADER.unpack(head)
        parsed = _parse_head(head + file.read(4 * documents + _TABLE_HASH_BYTES))
    if parsed is None:
        raise DataError(f"{path}: damaged since it was written. Run the same command again.")
    return parsed[1]


def _read_record(path: Path, start: int, num_bytes: int) -> bytes:
    """Return some bytes of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, num_bytes, start)
    finally:
        os.close(descriptor)
