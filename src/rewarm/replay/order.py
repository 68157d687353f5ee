"""The order in which the sequences of a source are read: shuffled, shuffled in blocks, or as stored.

Each is a bijection of every epoch, and a function of the seed, the source's name, the epoch and the place.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from rewarm.replay.permutation import Permutation, derive_key, keyed_number

OrderKind = Literal["shuffled", "blocks", "sequential"]
"""Shuffled as a whole; in blocks of neighbours, themselves shuffled; or as stored."""

BLOCK = 1024
"""Sequences of a block: 4 MiB at 2,048 tokens of two bytes."""


class EpochPermutation(Protocol):
    """Which stored sequence comes at each place of one epoch."""

    @property
    def length(self) -> int:
        """How many sequences there are."""
        ...

    def __call__(self, index: int, /) -> int:
        """Return the stored sequence of a place, each in 0 … length-1."""
        ...


@dataclass(frozen=True)
class AsStored:
    """The order that does nothing.

    >>> [AsStored(3)(place) for place in range(3)]
    [0, 1, 2]
    """

    length: int
    """How many sequences there are."""

    def __call__(self, index: int) -> int:
        """Return the place itself."""
        return index


@dataclass(frozen=True)
class Blocks:
    """Blocks of neighbouring sequences in a shuffled order, each shuffled within.

    So a disk that is slow at random access reads a block's few MiB at a time. The rest that does not fill a
    block comes somewhere among the whole blocks, as one of its own.

    >>> order = Blocks(3000, key=7)
    >>> sorted(order(place) for place in range(3000)) == list(range(3000))
    True
    >>> {order(place) // 1024 for place in range(900)} in [{0}, {1}, {2}]
    True
    """

    length: int
    """How many sequences there are, at least 1."""
    key: int
    """Which order; see `derive_key`."""

    @cached_property
    def whole_blocks(self) -> int:
        """Number of whole blocks; the rest has this number among the blocks."""
        return self.length // BLOCK

    @cached_property
    def rest(self) -> int:
        """Sequences that do not fill a block."""
        return self.length % BLOCK

    @cached_property
    def rest_at(self) -> int:
        """The place of the epoch at which the rest begins."""
        return BLOCK * (keyed_number(self.key, 0) % (self.whole_blocks + 1))

    @cached_property
    def blocks(self) -> Permutation:
        """The order of the whole blocks, of which there must be one."""
        return Permutation(self.whole_blocks, keyed_number(self.key, 1))

    @cached_property
    def inner_key(self) -> int:
        """What the keys of the orders within the blocks are made from."""
        return keyed_number(self.key, 2)

    def within(self, block: int) -> Permutation:
        """Return the order within a block."""
        size = BLOCK if block < self.whole_blocks else self.rest
        return Permutation(size, keyed_number(self.inner_key, block))

    def __call__(self, index: int) -> int:
        """Return the stored sequence of a place."""
        if self.rest_at <= index < self.rest_at + self.rest:
            block, place = self.whole_blocks, index - self.rest_at
        else:
            turn, place = divmod(index - self.rest * (index >= self.rest_at), BLOCK)
            block = self.blocks(turn)
        return block * BLOCK + self.within(block)(place)


class EpochOrder:
    """Which stored sequence of a source comes n-th, over as many epochs as are read.

    Sequence n is number n mod N of epoch n div N. Unless it is sequential, each epoch has an order of its
    own, keyed by the campaign's seed, the source's name and the epoch. So it does not depend on budgets, batch
    sizes, ranks, or what other sources there are.

    >>> order = EpochOrder(seed=1234, name="english", length=5)
    >>> sorted(order(n) for n in range(5)) == sorted(order(n) for n in range(5, 10))
    True
    """

    def __init__(self, *, seed: int, name: str, length: int, kind: OrderKind = "shuffled") -> None:
        self.length = length
        self._seed = seed
        self._name = name
        self._kind = kind
        self._epochs: dict[int, EpochPermutation] = {}

    def epoch(self, number: int) -> EpochPermutation:
        """Return the order of an epoch, counted from 0."""
        if number not in self._epochs:
            # New data and replay read at two places, so a handful of epochs is live at a time.
            if len(self._epochs) >= 8:
                self._epochs.clear()
            self._epochs[number] = self._make(number)
        return self._epochs[number]

    def __call__(self, index: int) -> int:
        """Return the number of the stored sequence that is read as the `index`-th, counted from 0."""
        epoch, place = divmod(index, self.length)
        return self.epoch(epoch)(place)

    def _make(self, epoch: int) -> EpochPermutation:
        if self._kind == "sequential":
            return AsStored(self.length)
        key = derive_key(self._seed, self._name, epoch)
        if self._kind == "blocks":
            return Blocks(self.length, key)
        return Permutation(self.length, key)
