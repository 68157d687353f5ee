"""Flat files: token ids and nothing else, or behind the header of NumPy; the end-of-text id parts documents.

nanoGPT writes such `.bin` files, OLMo-core such files under the name `.npy`, without its header.
"""

import io
from tokenize import TokenError
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from rewarm.data.hashed_tokens import HashedTokens, expanded
from rewarm.data.layouts.contents import Contents, OpenedFile
from rewarm.errors import DataError

NPY_MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 16
"""Longest header of an array that is read."""
_LLM_C_MAGICS = (20_240_520, 20_240_801)
_PIECE_TOKENS = 1 << 22


def flat_contents(tokens: OpenedFile, dtype: np.dtype[Any]) -> Contents:
    """Return what a file of raw ids holds.

    Raises:
        DataError: it is empty, or not whole ids, or has the header of llm.c.
    """
    count, rest = divmod(len(tokens.data), dtype.itemsize)
    if count == 0 or rest:
        raise DataError(
            f"{tokens.path}: has {len(tokens.data):,} bytes, which are not whole {dtype.name} ids of"
            f" {dtype.itemsize} bytes. Name the type that it was written in."
        )
    if int.from_bytes(tokens.data[:4], "little") in _LLM_C_MAGICS:
        raise DataError(
            f"{tokens.path}: begins with the header of llm.c, which is no text. Only raw ids are read:"
            " cut its first 1,024 bytes off into a file of its own."
        )
    return Contents(dtype=dtype, first_byte=0, tokens=count)


def npy_contents(tokens: OpenedFile) -> Contents:
    """Return what an array of NumPy holds: integers in one dimension.

    Raises:
        DataError: it is something else.
    """
    header = io.BytesIO(tokens.data[:MAX_HEADER_BYTES])
    shape, dtype = read_npy_header(tokens, header)
    if len(shape) != 1 or shape[0] == 0:
        raise DataError(
            f"{tokens.path}: has the shape {shape}; tokens are one row of at least 1. Save them"
            " flat, `numpy.save(path, ids.reshape(-1))`."
        )
    first_byte = header.tell()
    if first_byte % dtype.itemsize or len(tokens.data) != first_byte + shape[0] * dtype.itemsize:
        raise DataError(
            f"{tokens.path}: has {len(tokens.data):,} bytes; {shape[0]:,} ids of {dtype.name} behind"
            f" a header of {first_byte} bytes are something else. It was cut short or put together."
        )
    return Contents(dtype=dtype, first_byte=first_byte, tokens=shape[0])


def read_npy_header(file: OpenedFile, header: io.BytesIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read NumPy's header up to where the numbers begin.

    Returns:
        The shape, and the type: integers, little endian, the last dimension lying together.

    Raises:
        DataError: it is damaged, or says something else. Nothing is ever unpickled.
    """
    try:
        version = np.lib.format.read_magic(header)
        if version == (1, 0):
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(header)
        elif version == (2, 0):
            shape, by_columns, dtype = np.lib.format.read_array_header_2_0(header)
        else:
            raise ValueError(f"version {version} is not that of numbers")
    except (ValueError, SyntaxError, TokenError) as error:
        raise DataError(f"{file.path}: is no array of NumPy: {error}.") from error
    if dtype.kind not in "iu" or dtype.newbyteorder("<") != dtype:
        raise DataError(
            f"{file.path}: holds {dtype}; token ids and their places are integers, little endian."
        )
    if by_columns and len(shape) > 1:
        raise DataError(f"{file.path}: lies column by column; save it row by row (order C).")
    return shape, dtype


@final
class FlatDocuments:
    """Documents parted by the end-of-text id alone; the last one ends with the file.

    Windows are scanned when they are read. A document by its number needs the ends before it to be
    counted, which is done piece by piece and remembered.
    """

    def __init__(self, tokens: HashedTokens, end_of_text: int) -> None:
        self._tokens = tokens
        self._end_of_text = end_of_text
        self._ends_before = [0]
        self._last_end = [0]
        self._scanned = -1, np.empty(0, np.int64)

    def bounds(self, number: int) -> tuple[int, int]:
        pieces = -(-len(self._tokens) // _PIECE_TOKENS)
        while self._ends_before[-1] <= number and len(self._ends_before) <= pieces:
            ends = self._ends(len(self._ends_before) - 1)
            self._ends_before.append(self._ends_before[-1] + len(ends))
            self._last_end.append(int(ends[-1]) if len(ends) else self._last_end[-1])
        if number >= self._ends_before[-1]:  # the last one, without an end
            return self._last_end[-1], len(self._tokens)
        piece = int(np.searchsorted(self._ends_before, number, side="right")) - 1
        place = number - self._ends_before[piece]
        ends = self._ends(piece)
        return int(ends[place - 1]) if place else self._last_end[piece], int(ends[place])

    def _ends(self, piece: int) -> NDArray[np.int64]:
        """Return where documents end in a piece; that of the piece looked at last is kept."""
        if self._scanned[0] != piece:
            first = piece * _PIECE_TOKENS
            ids = self._tokens.ids(first, min(first + _PIECE_TOKENS, len(self._tokens)))
            self._scanned = piece, np.flatnonzero(ids == self._end_of_text) + first + 1
        return self._scanned[1]

    def starts_between(
        self, firsts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        # A document begins behind each end; the first at 0.
        before, last = np.maximum(firsts - 1, 0), stops - 1
        ends = self._tokens.spans(before, last) == self._end_of_text
        ranges, tokens = (numbers[ends] for numbers in expanded(before, last))
        at_zero = np.flatnonzero((firsts == 0) & (stops > 0))
        return np.append(ranges, at_zero), np.append(tokens + 1, np.zeros_like(at_zero))
