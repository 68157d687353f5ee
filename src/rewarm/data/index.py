"""The `.idx` half of a Megatron token file pair: where each sequence starts, and its length.

The layout, little endian: `MMIDIDX` and two zero bytes; u64 version 1; u8 code of the token type;
u64 sequences; u64 length of the document array; i32 length of each sequence in tokens; i64 byte
offset of each sequence; i64 document array: the sequences before each document, and their number;
perhaps an i8 mode of each sequence. Megatron-core and GPT-NeoX write the same; in what is written
here a document is one sequence, so the document array is 0, 1, ..., documents.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.data.shard_record import token_type
from rewarm.errors import DataError

_HEADER = struct.Struct("<9sQBQQ")
_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_DTYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
_FLOATS = (6, 7)
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
    return np.dtype("<u2") if token_type(vocabulary) == "uint16" else np.dtype("<i4")


def index_bytes(sequences: int, documents: int) -> int:
    """Return the size of an index without modes.

    >>> index_bytes(0, 0), index_bytes(1, 1)
    (42, 62)
    """
    return _HEADER.size + (4 + 8) * sequences + 8 * (documents + 1)


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
    """Yield, slice by slice, the byte offset of each sequence and of the end of the slice."""
    end = 0
    for start in range(0, len(lengths), _SLICE):
        sizes = lengths[start : start + _SLICE].astype(np.int64) * itemsize
        offsets = np.concatenate(([0], np.cumsum(sizes))) + end
        end = int(offsets[-1])
        yield start, offsets


@dataclass(frozen=True, kw_only=True)
class Index:
    """Where the sequences lie in the token file; views of the index file, not copies."""

    dtype: np.dtype[Any]
    """Type of the token ids."""
    lengths: NDArray[np.int32]
    """Tokens of each sequence."""
    offsets: NDArray[np.int64]
    """Byte at which each sequence starts in the token file."""
    documents: NDArray[np.int64]
    """Sequences before each document, and the number of sequences; one longer than the documents."""

    @property
    def tokens(self) -> int:
        """Number of tokens of all sequences."""
        return int(self.lengths.sum(dtype=np.int64))


def parse_index(path: Path, data: NDArray[np.uint8]) -> Index:
    """Read an index and check that it describes sequences that lie back to back.

    Args:
        path: name of the file, for messages.
        data: its bytes.

    Raises:
        DataError: it is not such an index, or one of numbers that are no token ids.
    """
    if len(data) < _HEADER.size:
        raise DataError(f"{path}: {len(data)} bytes is too short for an index of tokens.")
    magic, version, code, sequences, documents_plus_one = _HEADER.unpack(
        data[: _HEADER.size].tobytes()
    )
    if (magic, version) != (_MAGIC, _VERSION):
        raise DataError(f"{path}: is not a Megatron index of version {_VERSION}.")
    if code not in _DTYPES:
        kind = "floating-point numbers" if code in _FLOATS else "a type that nobody knows"
        raise DataError(f"{path}: its token type has code {code}, {kind}; token ids are integers.")
    size = index_bytes(sequences, documents_plus_one - 1)
    if len(data) not in (size, size + sequences):
        raise DataError(
            f"{path}: its size of {len(data):,} bytes does not fit {sequences:,} sequences in"
            f" {documents_plus_one - 1:,} documents."
        )
    if data[size:].any():
        raise DataError(
            f"{path}: marks sequences with modes other than 0, which are not text. Only text can"
            " be trained on here: write the text alone as a pair of its own."
        )
    offsets_start = _HEADER.size + 4 * sequences
    documents_start = offsets_start + 8 * sequences
    index = Index(
        dtype=np.dtype(_DTYPES[code]),
        lengths=data[_HEADER.size : offsets_start].view("<i4"),
        offsets=data[offsets_start:documents_start].view("<i8"),
        documents=data[documents_start:size].view("<i8"),
    )
    _check_back_to_back(path, index)
    _check_documents(path, index.documents, sequences)
    return index


def _check_back_to_back(path: Path, index: Index) -> None:
    """Refuse offsets that are not what the lengths imply."""
    for start, offsets in _offsets(index.lengths, index.dtype.itemsize):
        stop = start + len(offsets) - 1
        wrong = (index.lengths[start:stop] < 0) | (index.offsets[start:stop] != offsets[:-1])
        if wrong.any():
            raise DataError(
                f"{path}: sequence {start + int(wrong.argmax()):,} does not begin where the one"
                " before it ends. Only sequences that lie back to back in the token file are read:"
                " write the pair anew with the tool that made it."
            )


def _check_documents(path: Path, documents: NDArray[np.int64], sequences: int) -> None:
    """Refuse a document array that does not part the sequences."""
    rising = all(
        (np.diff(documents[start : start + _SLICE + 1]) >= 0).all()
        for start in range(0, len(documents), _SLICE)
    )
    if len(documents) == 0 or documents[0] != 0 or documents[-1] != sequences or not rising:
        end = int(documents[-1]) if len(documents) else 0
        raise DataError(
            f"{path}: its documents do not rise from sequence 0 to {sequences:,}; the last ends at"
            f" {end:,}. GPT-NeoX's merging leaves such an index, since it joins sequences but not"
            " documents: give the pairs that were merged instead, in their order."
        )
