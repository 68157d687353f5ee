"""One source of a stage: places in, rows of tokens out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rewarm.data.places import stored_sequences
from rewarm.data.store import TokenStore
from rewarm.errors import DataError
from rewarm.replay import EpochOrder, OrderKind, SourcePart
from rewarm.replay.part import Windows


class WindowStore(Protocol):
    """Tokens that are read in windows of L + 1, of which neighbours share one token."""

    def num_windows(self, sequence_length: int) -> int:
        """Return how many windows there are at a sequence length L."""
        ...

    def windows(self, numbers: Sequence[int] | NDArray[Any], sequence_length: int) -> NDArray[Any]:
        """Return windows by their numbers, in any order, as (len(numbers), L + 1)."""
        ...

    def num_targets(self, numbers: NDArray[Any], sequence_length: int) -> NDArray[np.int64]:
        """Return how many tokens of each window are predicted, (len(numbers),)."""
        ...


@dataclass(frozen=True, kw_only=True)
class SourceReader:
    """A source's sequences in the order in which they are read.

    A place says which sequence comes next, over as many epochs as are read. The order makes it a window of
    the part, the part a window of the store, the store tokens.
    """

    store: WindowStore
    """All tokens of the source."""
    part: Windows
    """Which of its windows are read."""
    order: EpochOrder
    """In which order; as long as the part."""
    sequence_length: int
    """Tokens in a sequence, L."""

    @classmethod
    def open(
        cls,
        source: str,
        store: WindowStore,
        *,
        seed: int,
        sequence_length: int,
        kind: OrderKind = "shuffled",
        part: SourcePart | None = None,
    ) -> Self:
        """Make the reader of a source.

        Args:
            source: its name, which is part of the key of its order.
            store: its tokens.
            seed: seed of the order.
            sequence_length: L, at least 1.
            kind: which order.
            part: which part of the store is read; all of it by default.

        Raises:
            DataError: there is not one sequence to read.
        """
        num_windows = store.num_windows(sequence_length)
        if num_windows < 1:
            raise DataError(
                f"{source}: its tokens are less than one sequence of {sequence_length:,}; add text, or make "
                "sequence_length smaller"
            )
        windows = (part or SourcePart()).windows(source, num_windows, sequence_length)
        order = EpochOrder(seed=seed, name=source, length=windows.length, kind=kind)
        return cls(store=store, part=windows, order=order, sequence_length=sequence_length)

    def window_numbers(self, places: Sequence[int] | NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return which windows of the store are read at some places, from 0 and in any order."""
        numbers: NDArray[np.uint64] = self.part(
            stored_sequences(self.order, np.asarray(places, np.uint64))
        )
        return numbers

    def expect(self, windows: NDArray[np.uint64]) -> None:
        """Say which windows of the store will be read, in their order, so that the disk is not waited for.

        Only a token store has its windows side by side; packed rows and samples are put together from all
        over the text.
        """
        if isinstance(self.store, TokenStore):
            self.store.expect(windows, self.sequence_length)

    def read(self, windows: NDArray[np.uint64]) -> NDArray[Any]:
        """Return windows of the store, in any order.

        Returns:
            Token ids in the stored type, (len(windows), L + 1).

        Raises:
            DataError: the tokens are damaged.
        """
        return self.store.windows(windows, self.sequence_length)

    def num_targets(self, windows: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return how many tokens of each window are predicted, (len(windows),)."""
        return self.store.num_targets(windows, self.sequence_length)
