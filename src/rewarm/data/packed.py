"""A token store read in rows of whole documents; see `rewarm.data.packing`."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from rewarm.data.packing import PackedRows, pack
from rewarm.data.store import TokenStore, checked_numbers

NOTHING = -1
"""In the place of an id: no token. It is no target, and nothing that is predicted sees it."""


@final
class PackedStore:
    """Rows of whole documents in the place of windows.

    A row has fewer targets than a window where its documents do not fill it. Which documents are in a row
    follows from the lengths of all of them, so it is the same at every start.
    """

    def __init__(self, store: TokenStore) -> None:
        self.store = store
        self._rows: dict[int, PackedRows] = {}

    def num_windows(self, sequence_length: int) -> int:
        """Return how many rows there are at a sequence length L."""
        return len(self._packed(sequence_length))

    def num_targets(self, numbers: NDArray[Any], sequence_length: int) -> NDArray[np.int64]:
        """Return how many tokens of each row are predicted."""
        rows = self._packed(sequence_length)
        return rows.num_tokens[numbers.astype(np.int64)] - 1

    def windows(self, numbers: Sequence[int] | NDArray[Any], sequence_length: int) -> NDArray[Any]:
        """Return rows by their numbers, in any order.

        Returns:
            (len(numbers), L + 1), int32; -1 behind the last document of a row.

        Raises:
            IndexError: no such row.
            DataError: the tokens are damaged.
        """
        rows = self._packed(sequence_length)
        wanted = checked_numbers(numbers, len(rows), self.store.place)
        found = np.full((len(wanted), sequence_length + 1), NOTHING, np.int32)
        for row, number in enumerate(wanted.tolist()):
            first, stop = rows.first_pieces[number : number + 2].tolist()
            begin = 0
            for start, length in zip(
                rows.starts[first:stop].tolist(), rows.lengths[first:stop].tolist(), strict=True
            ):
                found[row, begin : begin + length] = self.store.ids(start, start + length)
                begin += length
        return found

    def _packed(self, sequence_length: int) -> PackedRows:
        if sequence_length not in self._rows:
            everything = np.array([0]), np.array([self.store.tokens - 1])
            starts = self.store.document_starts(*everything)[1]
            lengths = np.diff(np.append(starts, self.store.tokens))
            self._rows[sequence_length] = pack(lengths, sequence_length)
        return self._rows[sequence_length]
