"""The order of the documents in a store: a permutation that every machine draws alike.

It is SplitMix64 and a stable sort, written out here: the generators of libraries may change with
their version, and then tokens prepared again would be other tokens.
"""

import numpy as np
from numpy.typing import NDArray

from rewarm.errors import DataError

_GAMMA = 0x9E3779B97F4A7C15


def split_mix_64(seed: int, count: int) -> NDArray[np.uint64]:
    """Return the first numbers of SplitMix64.

    Args:
        seed: its state at the start, in [0, 2⁶⁴).
        count: how many.

    Returns:
        (count,), uniform over 64 bits.

    >>> split_mix_64(0, 1).tolist() == [0xE220A8397B1DCDAF]
    True

    Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014, with the
    constants of the public-domain C version by Vigna.
    """
    state = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GAMMA) + np.uint64(seed)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def document_order(seed: int, documents: int) -> NDArray[np.int64]:
    """Return the numbers 0 to documents - 1 in the order in which the store holds them.

    Document d has the key number d of SplitMix64; the documents are sorted by key, and by number
    where keys are equal.

    Args:
        seed: what the order depends on, in [0, 2⁶⁴).
        documents: how many there are.

    Raises:
        DataError: the seed is out of range.

    >>> document_order(1234, 5).tolist()
    [2, 3, 1, 4, 0]
    """
    if not 0 <= seed < 2**64:
        raise DataError(f"A document seed of {seed} is out of range; give one in [0, 2^64).")
    return np.argsort(split_mix_64(seed, documents), kind="stable")
