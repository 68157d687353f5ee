"""Finding a few known hashes among many: most are turned away by one look into a table of marks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MARKS_PER_VALUE = 8


@dataclass(frozen=True, kw_only=True)
class HashSet:
    """A set of 64-bit hashes. Make one with `HashSet.of`."""

    values: NDArray[np.uint64]
    """(size,), rising, each once."""
    marks: NDArray[np.bool_]
    """(a power of two,), by the first bits of a hash: whether any of `values` begins like that."""

    @classmethod
    def of(cls, hashes: NDArray[np.uint64]) -> "HashSet":
        """Return the set of some hashes, in any order and with repetitions."""
        values = rising(hashes)
        marks = np.zeros(1 << max(len(values) * _MARKS_PER_VALUE, 2).bit_length(), np.bool_)
        marks[_first_bits(values, marks)] = True
        return cls(values=values, marks=marks)

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where in `hashes` members of the set are, and where in `values` they are.

        >>> found = HashSet.of(np.array([7, 3], np.uint64)).find(np.array([9, 7, 7], np.uint64))
        >>> [places.tolist() for places in found]
        [[1, 2], [1, 1]]
        """
        maybe = np.flatnonzero(self.marks[_first_bits(hashes, self.marks)])
        places = np.searchsorted(self.values, hashes[maybe])
        # What lies behind the last value is no member, whatever it is compared with.
        is_member = self.values[np.minimum(places, len(self.values) - 1)] == hashes[maybe]
        return maybe[is_member], places[is_member]


def rising(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return each hash once, in rising order; here several times as fast as `np.unique`.

    >>> rising(np.array([7, 3, 7], np.uint64)).tolist()
    [3, 7]
    """
    ordered = np.sort(hashes)
    is_first = np.ones(len(ordered), np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def _first_bits(hashes: NDArray[np.uint64], marks: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the number that as many first bits make as `marks` has places for."""
    return hashes >> np.uint64(64 - (len(marks).bit_length() - 1))
