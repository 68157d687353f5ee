"""Shuffled orders that are computed, not stored: a keyed permutation of 0 … length-1 in constant memory.

The place of one index is found without touching the others, so position 10^12 costs what position 0 costs.
"""

import hashlib
from dataclasses import dataclass, field

_ROUNDS = 6
_MASK64 = (1 << 64) - 1


def derive_key(*parts: str | int) -> int:
    """Return a 64-bit key that depends on every part and on their order.

    >>> derive_key(1234, "english", 0) == derive_key(1234, "english", 0)
    True
    >>> derive_key(1234, "english", 0) == derive_key(1234, "english", 1)
    False
    """
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def _mix(value: int) -> int:
    """Scramble 64 bits (the finaliser of SplitMix64)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK64
    return value ^ (value >> 31)


@dataclass(frozen=True)
class Permutation:
    """A permutation of 0 … length-1 chosen by a key.

    A six-round Feistel network permutes the smallest power of two that holds `length`; an image outside is
    sent through again until it falls inside (cycle walking: fewer than two rounds on average).

    >>> sorted(Permutation(10, key=7)(i) for i in range(10))
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    length: int
    """How many indices there are, at least 1."""
    key: int
    """Which permutation; see `derive_key`."""
    _round_keys: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"a permutation needs at least one index, not {self.length}")
        keys = tuple(
            _mix(self.key + (r + 1) * 0x9E3779B97F4A7C15 & _MASK64) for r in range(_ROUNDS)
        )
        object.__setattr__(self, "_round_keys", keys)

    def __call__(self, index: int) -> int:
        """Return where `index` goes.

        Raises:
            IndexError: the index is outside 0 … length-1.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside 0 … {self.length - 1}")
        if self.length == 1:
            return 0
        bits = (self.length - 1).bit_length()
        image = self._feistel(index, bits)
        while image >= self.length:
            image = self._feistel(image, bits)
        return image

    def _feistel(self, value: int, bits: int) -> int:
        """Permute the numbers of `bits` bits; the halves may differ by one bit in width."""
        right_bits = bits // 2
        left_bits = bits - right_bits
        left, right = value >> right_bits, value & ((1 << right_bits) - 1)
        for key in self._round_keys:
            left, right = right, left ^ (_mix(right ^ key) & ((1 << left_bits) - 1))
            left_bits, right_bits = right_bits, left_bits
        return left << right_bits | right


class EpochOrder:
    """Which stored sequence of a dataset comes n-th, over as many epochs as are read.

    Sequence n is number n mod N of epoch n div N; each epoch has its own permutation, keyed by the campaign's
    seed, the dataset's name and the epoch. The order therefore does not depend on budgets, batch sizes,
    ranks, or what other datasets there are.

    >>> order = EpochOrder(seed=1234, name="english", length=5)
    >>> sorted(order(n) for n in range(5)) == sorted(order(n) for n in range(5, 10))
    True
    """

    def __init__(self, *, seed: int, name: str, length: int) -> None:
        self.length = length
        self._seed = seed
        self._name = name
        self._epochs: dict[int, Permutation] = {}

    def __call__(self, index: int) -> int:
        """Return the number of the stored sequence that is read as the `index`-th, counted from 0."""
        epoch, place = divmod(index, self.length)
        permutation = self._epochs.get(epoch)
        if permutation is None:
            key = derive_key(self._seed, self._name, epoch)
            permutation = Permutation(self.length, key)
            # New data and replay read at two places, so a handful of epochs is live at a time.
            if len(self._epochs) >= 8:
                self._epochs.clear()
            self._epochs[epoch] = permutation
        return permutation(place)
