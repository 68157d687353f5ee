"""Chunks: the tokens of some documents in their order in the source, one file for each.

They are what a stopped preparation leaves for the next one. A chunk is used again only if its text
is the same and all of its hashes fit. It is not synced: after a power cut the hashes tell.

A record holds the tokens of a document, or those of a long one that fell into this chunk. Layout,
little endian: magic, records, whether the last document goes on in the next chunk, text hash; u32
tokens of each record; XXH3-128 of all of that; then for each record the XXH3-64 of its tokens and
the tokens.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from rewarm.data.encoders import Encoder, check_spot
from rewarm.data.index import token_dtype
from rewarm.data.tokenizer import Tokenizer
from rewarm.errors import DataError
from rewarm.storage import storage_errors, temporary_path

_HEADER = struct.Struct("<8sQQ16s")
_MAGIC = b"RWCHUNK2"
_HASH = struct.Struct("<Q")
_TABLE_HASH_BYTES = 16
_WINDOW_BYTES = 1 << 27


@dataclass(frozen=True, kw_only=True)
class ChunkText:
    """The text of one chunk, on its way to be encoded; in UTF-8, which is quick to hand on."""

    path: Path
    """The chunk file to make."""
    content: bytes
    """The pieces of text end to end, in UTF-8."""
    sizes: list[int]
    """Bytes of each piece."""
    ends: list[bool]
    """Whether a document ends with each piece."""
    read_bytes: int
    """Bytes of the source's files read when the chunk was full."""

    def texts(self) -> list[str]:
        """Return the pieces."""
        stops = np.cumsum(self.sizes).tolist()
        return [
            self.content[stop - size : stop].decode()
            for size, stop in zip(self.sizes, stops, strict=True)
        ]

    def text_hash(self) -> bytes:
        """Return the XXH3-128 of the pieces and their borders."""
        borders = np.array([self.sizes, self.ends], "<u8").tobytes()
        return xxhash.xxh3_128_digest(xxhash.xxh3_128_digest(borders) + self.content)


@dataclass(frozen=True, kw_only=True)
class ChunkCounts:
    """What one chunk added."""

    documents: int
    """The documents that end in it."""
    tokens: int
    """Its tokens, end-of-text ids included."""
    text_bytes: int
    """Size of its text in UTF-8."""
    read_bytes: int
    """Bytes of the source's files read when the chunk was full."""


def encode_chunk(tokenizer: Tokenizer, encoder: Encoder, chunk: ChunkText) -> ChunkCounts:
    """Make the file of a chunk, unless a good one of the same text is there already.

    Args:
        tokenizer: the reference, with which one piece of the chunk is compared.
        encoder: what encodes.
        chunk: the text.

    Raises:
        DataError: the encoder has other ids than the reference.
        StorageError: the disk is full or refuses to write.
    """
    text_hash = chunk.text_hash()
    lengths = _reusable_lengths(chunk.path, text_hash, tokenizer)
    if lengths is None:
        records = _records(tokenizer, encoder, chunk, text_hash)
        lengths = np.array([len(ids) for ids in records], "<u4")
        goes_on = not chunk.ends[-1]
        head = _HEADER.pack(_MAGIC, len(lengths), goes_on, text_hash) + lengths.tobytes()
        parts = [head, xxhash.xxh3_128_digest(head)]
        for ids in records:
            content = ids.tobytes()
            parts += (_HASH.pack(xxhash.xxh3_64_intdigest(content)), content)
        _write(chunk.path, b"".join(parts))
    return ChunkCounts(
        documents=sum(chunk.ends),
        tokens=int(lengths.sum(dtype=np.int64)),
        text_bytes=len(chunk.content),
        read_bytes=chunk.read_bytes,
    )


def _records(
    tokenizer: Tokenizer, encoder: Encoder, chunk: ChunkText, text_hash: bytes
) -> list[NDArray[Any]]:
    """Return the ids of each document, or of what of it is in this chunk."""
    texts = chunk.texts()
    pieces = encoder.encode(texts)
    if encoder is not tokenizer:
        drawn = int.from_bytes(text_hash, "little") % len(texts)
        check_spot(tokenizer, texts[drawn], pieces[drawn])
    end_of_text = np.array([tokenizer.end_of_text], token_dtype(tokenizer.vocabulary))
    records: list[NDArray[Any]] = []
    started: list[NDArray[Any]] = []
    for ids, ends in zip(pieces, chunk.ends, strict=True):
        started += (ids, end_of_text) if ends else (ids,)
        if ends:
            records.append(np.concatenate(started))
            started = []
    return [*records, np.concatenate(started)] if started else records


def _write(path: Path, content: bytes) -> None:
    """Write a chunk under a temporary name and rename it."""
    temporary = temporary_path(path)
    with storage_errors(path, len(content)):
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _reusable_lengths(
    path: Path, text_hash: bytes, tokenizer: Tokenizer
) -> NDArray[np.uint32] | None:
    """Return the lengths of a chunk file that holds this very text undamaged, else None."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    head = _parse_head(content)
    if head is None or head.text_hash != text_hash:
        return None
    starts = _starts(head.lengths, token_dtype(tokenizer.vocabulary).itemsize)
    if len(content) != starts[-1]:
        return None
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        if not _is_intact(content[start:end]):
            return None
    return head.lengths


@dataclass(frozen=True)
class _Head:
    """What a chunk file says of itself."""

    text_hash: bytes
    goes_on: bool
    lengths: NDArray[np.uint32]


def _parse_head(content: bytes) -> _Head | None:
    """Return the head of a chunk file; None if it is damaged."""
    if len(content) < _HEADER.size:
        return None
    magic, records, goes_on, text_hash = _HEADER.unpack_from(content)
    head_bytes = _HEADER.size + 4 * records
    head, stored = content[:head_bytes], content[head_bytes : head_bytes + _TABLE_HASH_BYTES]
    if magic != _MAGIC or xxhash.xxh3_128_digest(head) != stored:
        return None
    return _Head(text_hash, bool(goes_on), np.frombuffer(head, "<u4", offset=_HEADER.size))


def _starts(lengths: NDArray[np.uint32], itemsize: int) -> NDArray[np.int64]:
    """Return where each record starts, and where the last one ends."""
    first = _HEADER.size + 4 * len(lengths) + _TABLE_HASH_BYTES
    sizes = lengths.astype(np.int64) * itemsize + _HASH.size
    return np.concatenate(([0], np.cumsum(sizes))) + first


def _is_intact(record: bytes) -> bool:
    """Say whether the tokens of a record have the hash in front of them."""
    return xxhash.xxh3_64_intdigest(record[_HASH.size :]) == _HASH.unpack_from(record)[0]


class ChunkedDocuments:
    """The documents of complete chunks, read in any order.

    In memory: 17 bytes a record and 8 a document, and the tokens of one window.
    """

    def __init__(self, paths: Sequence[Path], tokenizer: Tokenizer) -> None:
        self._paths = paths
        self._dtype = token_dtype(tokenizer.vocabulary)
        starts: list[NDArray[np.int64]] = []
        ends: list[NDArray[np.int64]] = []
        begins: list[NDArray[np.bool_]] = []
        goes_on = False
        for path in paths:
            head = _read_head(path)
            borders = _starts(head.lengths, self._dtype.itemsize)
            starts.append(borders[:-1])
            ends.append(borders[1:])
            begins.append(np.arange(len(head.lengths)) >= goes_on)
            goes_on = head.goes_on
        self._chunk_records = np.cumsum([0, *map(len, starts)])
        self._starts = np.concatenate([np.empty(0, np.int64), *starts])
        self._ends = np.concatenate([np.empty(0, np.int64), *ends])
        first_records = np.flatnonzero(np.concatenate([np.empty(0, np.bool_), *begins]))
        self._document_records = np.append(first_records, len(self._starts))

    def __len__(self) -> int:
        return len(self._document_records) - 1

    def in_order(
        self, order: NDArray[np.integer]
    ) -> Iterator[NDArray[Any] | Iterator[NDArray[Any]]]:
        """Yield the ids of the documents with these numbers; of a long one by and by.

        They are gathered in windows of 128 MiB, each of which is read from the front of the chunks
        to their back: a disk that is slow to find a place is asked in the order of its places.

        Raises:
            DataError: a chunk was damaged since it was written.
        """
        offsets = np.concatenate(([0], np.cumsum(self._ends - self._starts)))
        stops = np.cumsum(np.diff(offsets[self._document_records])[order])
        begin = 0
        while begin < len(order):
            before = stops[begin - 1] if begin else 0
            end = int(np.searchsorted(stops, before + _WINDOW_BYTES, side="right"))
            if end == begin:
                yield self._pieces(int(order[begin]))
                begin += 1
            else:
                yield from self._window(order[begin:end])
                begin = end

    def _pieces(self, document: int) -> Iterator[NDArray[Any]]:
        """Yield the ids of a document that is larger than a window, record by record."""
        first, stop = self._document_records[document : document + 2].tolist()
        for record in range(first, stop):
            yield self._read(np.array([record]))[record]

    def _window(
        self, documents: NDArray[np.integer]
    ) -> Iterator[NDArray[Any] | Iterator[NDArray[Any]]]:
        """Yield documents that fit into memory together."""
        ranges = [
            range(first, stop)
            for first, stop in zip(
                self._document_records[documents].tolist(),
                self._document_records[documents + 1].tolist(),
                strict=True,
            )
        ]
        ids = self._read(np.array([record for each in ranges for record in each]))
        for records in ranges:
            parts = [ids.pop(record) for record in records]
            yield parts[0] if len(parts) == 1 else iter(parts)

    def _read(self, records: NDArray[np.integer]) -> dict[int, NDArray[Any]]:
        """Return the ids of some records, by number; each chunk file is opened once."""
        ids: dict[int, NDArray[Any]] = {}
        records = np.sort(records)
        chunks = np.searchsorted(self._chunk_records, records, side="right") - 1
        borders = np.flatnonzero(np.diff(chunks, prepend=-1, append=len(self._paths)))
        for first, stop in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
            path = self._paths[int(chunks[first])]
            numbers = records[first:stop]
            columns = (
                numbers.tolist(),
                self._starts[numbers].tolist(),
                self._ends[numbers].tolist(),
            )
            descriptor = os.open(path, os.O_RDONLY)
            try:
                for number, start, end in zip(*columns, strict=True):
                    content = os.pread(descriptor, end - start, start)
                    if len(content) != end - start or not _is_intact(content):
                        raise DataError(
                            f"{path}: damaged since it was written. Run the same command again: it"
                            " finds and replaces what is damaged."
                        )
                    ids[number] = np.frombuffer(content, self._dtype, offset=_HASH.size)
            finally:
                os.close(descriptor)
        return ids


def _read_head(path: Path) -> _Head:
    """Return the head of a chunk file that was just checked or written."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        _, records, _, _ = _HEADER.unpack(head)
        parsed = _parse_head(head + file.read(4 * records + _TABLE_HASH_BYTES))
    if parsed is None:
        raise DataError(f"{path}: damaged since it was written. Run the same command again.")
    return parsed
