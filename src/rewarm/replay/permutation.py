"""Shuffled orders that are computed, not stored: a keyed permutation of 0 … length-1 in constant memory.

The place of one index is found without touching the others, so position 10^12 costs what position 0 costs.
`keyed_number` and `network` take a whole batch at once where they are given arrays.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

Numbers: TypeAlias = Any
"""A whole number, or an array of numpy.uint64: the arithmetic is the same, and numpy is not needed for it."""

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


def keyed_number(key: Numbers, counter: Numbers) -> Numbers:
    """Return the 64-bit number that a key gives at a counter.

    Args:
        key: below 2^64.
        counter: from 0.

    Source: SplitMix64 (Steele, Lea and Flood, 2014), whose n-th state is key + (n + 1) · 0x9E37….
    """
    return _mix(key + ((counter + 1) * 0x9E3779B97F4A7C15 & _MASK64) & _MASK64)


def round_keys(key: Numbers) -> list[Numbers]:
    """Return the keys of the rounds of a network."""
    return [keyed_number(key, number) for number in range(_ROUNDS)]


def network(value: Numbers, bits: int, keys: list[Numbers]) -> Numbers:
    """Permute the numbers of `bits` bits by a Feistel network; its halves may differ by one bit in width.

    Args:
        value: below 2^bits.
        bits: width, from 0 to 64.
        keys: from `round_keys`; where the value is an array, so may each of them be.
    """
    right_bits = bits // 2
    left_bits = bits - right_bits
    left, right = value >> right_bits, value & ((1 << right_bits) - 1)
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & ((1 << left_bits) - 1))
        left_bits, right_bits = right_bits, left_bits
    return left << right_bits | right


def _mix(value: Numbers) -> Numbers:
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

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"a permutation needs at least one index, not {self.length}")

    @cached_property
    def bits(self) -> int:
        """Width of the network."""
        return (self.length - 1).bit_length()

    @cached_property
    def keys(self) -> list[int]:
        """The keys of its rounds."""
        return round_keys(self.key)

    def __call__(self, index: int) -> int:
        """Return where `index` goes.

        Raises:
            IndexError: the index is outside 0 … length-1.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside 0 … {self.length - 1}")
        image: int = network(index, self.bits, self.keys)
        while image >= self.length:
            image = network(image, self.bits, self.keys)
        return image
