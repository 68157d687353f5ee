"""The `.idx` half of a Megatron token file pair: where each document starts, and its length.

The layout, little endian: `MMIDIDX` and two zero bytes; u64 version 1; u8 code of the token type;
u64 sequences; u64 length of the document array; i32 length of each sequence in tokens; i64 byte
offset of each sequence; i64 document array. Here a document is one sequence, so the document array
is 0, 1, ..., documents.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewarm.errors import DataError

_HEADER = struct.Struct("<9sQBQQ")
_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_CODES = {"int32": 4, "uint16": 8}
_SLICE = 1 << 20

MAX_DOCUMENT_TOKENS = 2**31 - 1
"""Longest document that the 32-bit length field can hold."""


def token_dtype(vocabulary: int) -> np.dtype[np.uint16] | np.dtype[np.int32]:
    """Return the type in which the ids of a vocabulary are stored.

    Args:
        vocabulary: number of entries; the ids are 0 to vocabulary - 1.

    >>> token_dtype(65_536).name, token_dtype(65_537).name
    ('uint16', 'int32')
    """
    return np.dtype("<u2") if vocabulary <= 2**16 else np.dtype("<i4")


def index_bytes(documents: int) -> int:
    """Return the size of the index of that many documents.

    >>> index_bytes(0), index_bytes(1)
    (42, 62)
    """
    return _HEADER.size + (4 + 8) * documents + 8 * (documents + 1)


def index_pieces(lengths: NDArray[np.int32], dtype: np.dtype) -> Iterator[bytes]:
    """Yield the bytes of an index file, in pieces of bounded size.

    Args:
        lengths: tokens of each document, each at least 1.
        dtype: type of the tokens, from `token_dtype`.

    >>> len(b"".join(index_pieces(np.array([3, 1], np.int32), np.dtype("<u2"))))
    82
    """
    documents = len(lengths)
    yield _HEADER.pack(_MAGIC, _VERSION, _CODES[dtype.name], documents, documents + 1)
    for start in range(0, documents, _SLICE):
        yield lengths[start : start + _SLICE].astype("<i4").tobytes()
    for _, offsets in _offsets(lengths, dtype.itemsize):
        yield offsets[:-1].astype("<i8").tobytes()
    for start in range(0, documents + 1, _SLICE):
        yield np.arange(start, min(start + _SLICE, documents + 1), dtype="<i8").tobytes()


def _offsets(lengths: NDArray[np.int32], itemsize: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield, slice by slice, the byte offset of each document and of the end of the slice."""
    end = 0
    for start in range(0, len(lengths), _SLICE):
        sizes = lengths[start : start + _SLICE].astype(np.int64) * itemsize
        offsets = np.concatenate(([0], np.cumsum(sizes))) + end
        end = int(offsets[-1])
        yield start, offsets


@dataclass(frozen=True, kw_only=True)
class Index:
    """Where the documents lie in the token file; views of the index file, not copies."""

    lengths: NDArray[np.int32]
    """Tokens of each document."""
    offsets: NDArray[np.int64]
    """Byte at which each document starts in the token file."""


def parse_index(path: Path, data: NDArray[np.uint8], dtype: np.dtype) -> Index:
    """Read an index and check that it describes documents back to back, one for each sequence.

    Args:
        path: name of the file, for messages.
        data: its bytes.
        dtype: type of the tokens that the manifest states.

    Raises:
        DataError: it is not such an index.
    """
    if len(data) < _HEADER.size:
        raise DataError(f"{path}: {len(data)} bytes is too short for an index of tokens.")
    magic, version, code, sequences, documents_plus_one = _HEADER.unpack(
        data[: _HEADER.size].tobytes()
    )
    if (magic, version) != (_MAGIC, _VERSION):
        raise DataError(f"{path}: is not a Megatron index of version {_VERSION}.")
    if code != _CODES[dtype.name]:
        raise DataError(f"{path}: its token type has code {code}, not that of {dtype.name}.")
    if documents_plus_one != sequences + 1 or len(data) != index_bytes(sequences):
        raise DataError(
            f"{path}: its size of {len(data):,} bytes does not fit {sequences:,} sequences in"
            f" {documents_plus_one - 1:,} documents; one sequence a document is expected."
        )
    offsets_start = _HEADER.size + 4 * sequences
    documents_start = offsets_start + 8 * sequences
    index = Index(
        lengths=data[_HEADER.size : offsets_start].view("<i4"),
        offsets=data[offsets_start:documents_start].view("<i8"),
    )
    _check_back_to_back(path, index, data[documents_start:].view("<i8"), dtype.itemsize)
    return index


def _check_back_to_back(
    path: Path, index: Index, documents: NDArray[np.int64], itemsize: int
) -> None:
    """Refuse offsets or a document array that are not what the lengths imply."""
    for start, offsets in _offsets(index.lengths, itemsize):
        stop = start + len(offsets) - 1
        good = (
            bool((index.lengths[start:stop] > 0).all())
            and np.array_equal(index.offsets[start:stop], offsets[:-1])
            and np.array_equal(documents[start : stop + 1], np.arange(start, stop + 1))
        )
        if not good:
            raise DataError(f"{path}: its documents do not lie back to back in the token file.")
