"""What the files of a shard say of its tokens, and where its documents begin."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rewarm.data.index import Index


@dataclass(frozen=True, kw_only=True)
class OpenedFile:
    """A file that lies in memory."""

    path: Path
    """Its name, for messages."""
    data: memoryview
    """Its bytes."""


class Documents(Protocol):
    """Where the documents of a shard begin; tokens are counted from the shard's first."""

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the first token of a document and the one after its last."""
        ...

    def starts_between(
        self, firsts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where documents begin in ranges of tokens, each from `firsts` to before `stops`.

        Returns:
            For each beginning the number of the range and the token; in any order, and each once.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the files say of themselves."""

    dtype: np.dtype[Any]
    """Type of the stored ids."""
    first_byte: int
    """Where the ids begin in the token file; they go on to its end."""
    tokens: int
    """Number of tokens."""
    num_documents: int | None = None
    """Number of documents; None where only the end-of-text id parts them."""
    num_sequences: int | None = None
    """Number of sequences; None where only the end-of-text id parts them."""
    documents: Documents | None = None
    """Where they begin; None where only the end-of-text id parts them."""
    index: Index | None = None
    """The index of a Megatron pair."""


def first_at_or_after(rising: NDArray[Any], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first place of each value, or of the next larger, in numbers that do not fall.

    As `np.searchsorted`, which copies the whole array at each call where it is not aligned: the
    arrays of a Megatron index never are.

    >>> first_at_or_after(np.array([0, 4, 4, 9]), np.array([0, 1, 4, 10])).tolist()
    [0, 1, 1, 4]
    """
    low = np.zeros(len(values), np.int64)
    high = np.full(len(values), len(rising), np.int64)
    while (open_ := low < high).any():
        middle = (low + high) // 2
        below = np.zeros(len(values), np.bool_)
        below[open_] = rising[middle[open_]] < values[open_]
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)
    return low
