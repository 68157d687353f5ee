"""A token file in blocks that are checked when they are first touched.

Every 64 MiB block is hashed before a token of it is given out; so damage is an error, never a silent
change of the training data.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
import xxhash
from numpy.typing import NDArray

from rewarm.data.files import fetch
from rewarm.errors import DataError

Count = TypeVar("Count", int, NDArray[np.int64])


def expanded(
    firsts: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all numbers of some ranges end to end, and the range that each is of.

    >>> ranges, numbers = expanded(np.array([3, 9]), np.array([5, 10]))
    >>> ranges.tolist(), numbers.tolist()
    ([0, 0, 1], [3, 4, 9])
    """
    counts = np.maximum(stops - firsts, 0)
    ranges = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return ranges, np.arange(len(ranges)) + (firsts - before)[ranges]


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """A file in memory, and the hash that each block of it should have."""

    path: Path
    """Its name, for messages."""
    data: memoryview
    """Its bytes."""
    block_bytes: int
    """Size of a block; the last may be shorter."""
    hashes: Sequence[str]
    """XXH3 hash of each block, 64 bits in hexadecimal."""
    remedy: str
    """What to do about a damaged one; ends the message."""

    def byte_range(self, block: int) -> tuple[int, int]:
        """Return the first byte of a block and the one after its last."""
        start = block * self.block_bytes
        return start, min(start + self.block_bytes, len(self.data))

    def check_beginning(self, num_bytes: int) -> None:
        """Check the blocks of the first bytes, which say how the others are to be read.

        Raises:
            DataError: the hash of one differs.
        """
        for block in range(-(-min(num_bytes, len(self.data)) // self.block_bytes)):
            self.check(block)

    def check(self, block: int) -> None:
        """Check the hash of a block.

        Raises:
            DataError: it differs.
        """
        start, stop = self.byte_range(block)
        if xxhash.xxh3_64_hexdigest(self.data[start:stop]) != self.hashes[block]:
            raise DataError(
                f"{self.path}: block {block} (bytes {start:,} to {stop - 1:,}) does not have the"
                f" hash that its manifest gives: damaged since it was written. {self.remedy}"
            )


@final
class HashedTokens:
    """The ids of a token file, and which of its blocks have been found good.

    Args:
        blocks: the file.
        dtype: type of the ids.
        first_byte: where they begin, a multiple of the type's size; they go on to the end.
        vocabulary: every id must be below it.
    """

    def __init__(
        self, blocks: Blocks, dtype: np.dtype[Any], first_byte: int, vocabulary: int
    ) -> None:
        self._blocks = blocks
        self._first_byte = first_byte
        self._vocabulary = vocabulary
        self._ids = np.frombuffer(blocks.data, dtype, offset=first_byte)
        self._is_checked = [False] * len(blocks.hashes)
        self._num_unchecked = len(blocks.hashes)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def itemsize(self) -> int:
        """Bytes of an id."""
        return self._ids.itemsize

    def ids(self, first: int, stop: int) -> NDArray[Any]:
        """Return the ids from one token up to another, as a view.

        Raises:
            DataError: naming the file and the block that are damaged.
        """
        if self._num_unchecked and first < stop:
            self._check_blocks(self._block_of(first), self._block_of(stop - 1))
        return self._ids[first:stop]

    def spans(self, firsts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[Any]:
        """Return the ids of some spans of tokens end to end, as a copy; a span may be empty.

        Raises:
            DataError: as `ids`.
        """
        ends = zip(firsts.tolist(), stops.tolist(), strict=True)
        return np.concatenate([self._ids[:0], *(self.ids(first, stop) for first, stop in ends)])

    def rows(self, firsts: NDArray[np.int64], width: int) -> NDArray[Any]:
        """Return `width` ids from each of some tokens on, as a copy, (len(firsts), width).

        Raises:
            DataError: as `ids`.
        """
        if self._num_unchecked:
            first_blocks = self._block_of(firsts).tolist()
            last_blocks = self._block_of(firsts + (width - 1)).tolist()
            for first, last in set(zip(first_blocks, last_blocks, strict=True)):
                self._check_blocks(first, last)
        itemsize = self._ids.itemsize
        all_rows = np.ndarray(  # every row that there is, overlapping; of which some are copied
            (max(0, len(self._ids) - width + 1), width),
            self._ids.dtype,
            buffer=self._blocks.data,
            offset=self._first_byte,
            strides=(itemsize, itemsize),
        )
        return all_rows[firsts]

    def fetch(self, first: int, stop: int) -> None:
        """Have the system read the ids from one token up to another from the disk, in the background."""
        start, end = (self._first_byte + token * self._ids.itemsize for token in (first, stop))
        fetch(self._blocks.data, start, end)

    def verify(self, xxh3_128: str) -> Iterator[int]:
        """Check every block, and the hash of the whole file.

        Yields:
            The bytes checked so far, after each block.

        Raises:
            DataError: naming the file and the block that are damaged.
        """
        whole = xxhash.xxh3_128()
        for block in range(len(self._blocks.hashes)):
            self._check(block)
            start, stop = self._blocks.byte_range(block)
            whole.update(self._blocks.data[start:stop])
            yield stop
        if whole.hexdigest() != xxh3_128:
            raise DataError(
                f"{self._blocks.path}: does not have the hash that its manifest gives."
                f" {self._blocks.remedy}"
            )

    def _block_of(self, token: Count) -> Count:
        """Return the block that a token lies in, or each of some."""
        return (token * self._ids.itemsize + self._first_byte) // self._blocks.block_bytes

    def _check_blocks(self, first: int, last: int) -> None:
        """Check the blocks from one up to another that nobody has touched before."""
        for block in range(first, last + 1):
            if not self._is_checked[block]:
                self._check(block)
                self._is_checked[block] = True
                self._num_unchecked = self._is_checked.count(False)

    def _check(self, block: int) -> None:
        """Refuse a block whose hash differs, or which holds an id outside the vocabulary."""
        self._blocks.check(block)
        start, stop = self._blocks.byte_range(block)
        highest = highest_id(ids_within(self._ids, self._first_byte, start, stop))
        if highest >= self._vocabulary:
            raise DataError(
                f"{self._blocks.path}: block {block} holds the id {highest}, outside the vocabulary"
                f" of {self._vocabulary:,} entries. {self._blocks.remedy}"
            )


def ids_within(ids: NDArray[Any], first_byte: int, start: int, stop: int) -> NDArray[Any]:
    """Return the ids that lie in a range of a file's bytes, of ids that begin at `first_byte`."""
    first, end = (max(0, byte - first_byte) // ids.itemsize for byte in (start, stop))
    return ids[first:end]


def highest_id(ids: NDArray[Any]) -> int:
    """Return the highest of some ids, -1 of none; a negative one counts as huge.

    As unsigned numbers negative ids are huge, so one comparison finds both kinds.

    >>> highest_id(np.array([3, 7], "<i4")), highest_id(np.array([3, -1], "<i2"))
    (7, 65535)
    """
    return int(ids.view(f"<u{ids.itemsize}").max()) if len(ids) else -1
