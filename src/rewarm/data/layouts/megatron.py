"""Megatron pairs: Megatron-core's and GPT-NeoX's, and those written here."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarm.data.hashed_tokens import expanded
from rewarm.data.index import Index, parse_index
from rewarm.data.layouts.contents import Contents, OpenedFile, first_at_or_after
from rewarm.errors import DataError


def megatron_contents(tokens: OpenedFile, index: OpenedFile) -> Contents:
    """Return what a pair holds.

    Raises:
        DataError: the index is none, or does not fit the tokens.
    """
    found = parse_index(index.path, np.frombuffer(index.data, np.uint8))
    num_tokens = found.tokens
    if len(tokens.data) != num_tokens * found.dtype.itemsize:
        raise DataError(
            f"{tokens.path}: has {len(tokens.data):,} bytes, but {index.path.name} speaks of"
            f" {num_tokens:,} tokens of {found.dtype.itemsize} bytes. One of them is cut short, or"
            " they are not a pair: give both as they were written."
        )
    return Contents(
        dtype=found.dtype,
        first_byte=0,
        tokens=num_tokens,
        num_documents=len(found.documents) - 1,
        num_sequences=len(found.lengths),
        documents=SequenceDocuments(found, num_tokens),
        index=found,
    )


@dataclass(frozen=True)
class SequenceDocuments:
    """Documents of whole sequences, as a Megatron index has them; nothing is copied from it."""

    index: Index
    """The index."""
    tokens: int
    """Tokens of all its sequences."""

    def bounds(self, number: int) -> tuple[int, int]:
        first, stop = self._starts(np.array([number, number + 1])).tolist()
        return first, stop

    def starts_between(
        self, firsts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ranges, numbers = expanded(self._at_or_after(firsts), self._at_or_after(stops))
        starts = self._starts(numbers)
        is_empty = starts == self._starts(numbers + 1)  # such a document begins nowhere
        return ranges[~is_empty], starts[~is_empty]

    def _starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first token of documents; the number of tokens for the one behind the last."""
        sequences = self.index.documents[numbers]
        inside = sequences < len(self.index.offsets)
        starts = np.full(len(numbers), self.tokens, np.int64)
        starts[inside] = self.index.offsets[sequences[inside]] // self.index.dtype.itemsize
        return starts

    def _at_or_after(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first document that begins at each token or behind it."""
        sequences = first_at_or_after(self.index.offsets, tokens * self.index.dtype.itemsize)
        numbers = first_at_or_after(self.index.documents, sequences)
        return np.minimum(numbers, len(self.index.documents) - 1)
