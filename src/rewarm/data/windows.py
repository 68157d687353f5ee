"""What batches are read from: tokens in windows, whatever order they lie in."""

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray


class Windows(Protocol):
    """Windows of L + 1 tokens, by number. `TokenStore` and `IndexMap` are such."""

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        ...

    @property
    def documents(self) -> int:
        """Number of documents."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what the windows are."""
        ...

    def num_windows(self, sequence_length: int) -> int:
        """Return how many windows there are at a sequence length L."""
        ...

    def windows(self, numbers: Sequence[int] | NDArray[Any], sequence_length: int) -> NDArray[Any]:
        """Return windows by their numbers, in any order, as (len(numbers), L + 1)."""
        ...
