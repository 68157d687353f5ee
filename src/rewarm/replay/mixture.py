"""Exact mixing: which source the n-th sequence comes from, by integer arithmetic alone.

Nothing is drawn at random and nothing is stored: the source of a position and its index within that source
are computed from the position. Each source's indices come out as 0, 1, 2, … in order.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd


@dataclass(frozen=True)
class Split:
    """Two streams in a fixed proportion: of every n positions, round(n·p/q) belong to the first.

    Position k is the first's when round((k+1)·p/q) > round(k·p/q). Up to any position the count is within
    half a sequence of its share, and in any window within one.

    >>> split = Split(Fraction(1, 4))
    >>> [split.at(position) for position in range(5)]
    [(False, 0), (True, 0), (False, 1), (False, 2), (False, 3)]
    >>> split.count(10**12)
    250000000000
    """

    share: Fraction
    """Share of the first stream, in [0, 1]."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"a share lies between 0 and 1, not {self.share}")

    def count(self, length: int) -> int:
        """Return how many of the first `length` positions belong to the first stream."""
        p, q = self.share.numerator, self.share.denominator
        return (2 * length * p + q) // (2 * q)

    def at(self, position: int) -> tuple[bool, int]:
        """Return whether a position belongs to the first stream, and its index within its stream."""
        before = self.count(position)
        if self.count(position + 1) > before:
            return True, before
        return False, position - before


@dataclass(frozen=True)
class Node:
    """A node of the tree of splits; a leaf has a name, an inner node two children."""

    weight: int
    name: str = ""
    split: Split | None = None
    first: "Node | None" = None
    second: "Node | None" = None


@dataclass(frozen=True)
class Mixture:
    """Any number of sources in exact proportion to integer weights.

    The sources hang in a Huffman tree of two-way splits, so a light source is split off beside sources of
    its own size. Up to position n the count of a source of weight w among W is within

        |count - n·w/W| ≤ ½·Σ w/w_v  <  1.68,

    summed over the nodes v on its path below the root: along the path the weights of a Huffman tree grow at
    least like the Fibonacci numbers, and half the sum of their reciprocals is 1.68. Two sources: within ½.
    At every multiple of W (reduced by the common divisor) the counts are exact.

    >>> mixture = Mixture.of({"english": 3, "german": 1})
    >>> [mixture.at(position) for position in range(4)]
    [('english', 0), ('english', 1), ('german', 0), ('english', 2)]
    >>> mixture.counts(1000)
    {'english': 750, 'german': 250}

    Source: ours. A cascade of two-way floors along a chain is used by the data library grain.
    """

    weights: tuple[tuple[str, int], ...]
    """Names and weights, in the order given; the weights have no common divisor."""

    @staticmethod
    def of(weights: Mapping[str, int | Fraction]) -> "Mixture":
        """Make a mixture from positive weights; only their proportions matter.

        Raises:
            ValueError: there is no source, or a weight is not positive.
        """
        if not weights:
            raise ValueError("a mixture needs at least one source")
        for name, weight in weights.items():
            if weight <= 0:
                raise ValueError(f"the weight of {name!r} must be positive, not {weight}")
        fractions = {name: Fraction(weight) for name, weight in weights.items()}
        scale = 1
        for fraction in fractions.values():
            scale = scale * fraction.denominator // gcd(scale, fraction.denominator)
        whole = {name: int(fraction * scale) for name, fraction in fractions.items()}
        divisor = gcd(*whole.values())
        return Mixture(tuple((name, weight // divisor) for name, weight in whole.items()))

    @cached_property
    def shares(self) -> dict[str, Fraction]:
        """The exact share of each source."""
        total = sum(weight for _, weight in self.weights)
        return {name: Fraction(weight, total) for name, weight in self.weights}

    @cached_property
    def root(self) -> Node:
        """The tree of splits."""
        heap = [(w, order, Node(w, name)) for order, (name, w) in enumerate(self.weights)]
        heapq.heapify(heap)
        order = len(heap)
        while len(heap) > 1:
            light, _, second = heapq.heappop(heap)
            heavy, _, first = heapq.heappop(heap)
            weight = light + heavy
            node = Node(weight, "", Split(Fraction(heavy, weight)), first, second)
            heapq.heappush(heap, (weight, order, node))
            order += 1
        return heap[0][2]

    def at(self, position: int) -> tuple[str, int]:
        """Return the source of a position, and its index within that source.

        Args:
            position: counted from 0; any size.
        """
        node, index = self.root, position
        while node.split is not None:
            is_first, index = node.split.at(index)
            child = node.first if is_first else node.second
            assert child is not None, "an inner node has two children"
            node = child
        return node.name, index

    def counts(self, length: int) -> dict[str, int]:
        """Return how many of the first `length` positions belong to each source."""
        found: dict[str, int] = {}
        pending = [(self.root, length)]
        while pending:
            node, count = pending.pop()
            if node.split is None:
                found[node.name] = count
                continue
            assert node.first is not None, "an inner node has two children"
            assert node.second is not None, "an inner node has two children"
            first = node.split.count(count)
            pending += [(node.first, first), (node.second, count - first)]
        return {name: found[name] for name, _ in self.weights}
