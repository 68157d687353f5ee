"""Long curves made short enough to draw, without losing a spike.

The rule: up to a limit a curve is drawn whole; a longer one is cut into equal runs of points, and of each run
its lowest and its highest point are drawn, with the first and the last point of the curve.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LONGEST_POINTS = 1000
"""Points of a curve that is drawn whole, where there is room for it."""
SHORTEST_POINTS = 60
"""Points that a curve keeps, however many there are."""
PAGE_POINTS = 20_000
"""Points of all curves of a page together."""


def kept_points(
    values: NDArray[np.float64], longest_points: int = LONGEST_POINTS
) -> NDArray[np.int64]:
    """Return the places of the points to draw, ascending.

    Args:
        values: the curve.
        longest_points: points of a curve that is drawn whole; a longer one keeps about as many.

    >>> kept_points(np.array([0.0, 5.0, 1.0, 1.0, -3.0, 1.0, 2.0, 1.0]), longest_points=4)
    array([0, 1, 4, 6, 7])
    """
    if len(values) <= longest_points:
        return np.arange(len(values))
    num_runs = max(longest_points // 2, 1)
    edges = np.linspace(0, len(values), num_runs + 1).astype(np.int64)
    places = {0, len(values) - 1}
    for start, end in pairwise(edges):
        places.add(int(start + np.argmin(values[start:end])))
        places.add(int(start + np.argmax(values[start:end])))
    return np.array(sorted(places), dtype=np.int64)


def shared_limit(lengths: Sequence[int], page_points: int = PAGE_POINTS) -> int:
    """Return how many points a curve may have so that all curves of a page together have no more than it holds.

    What short curves do not need is left to the long ones. Never more than `LONGEST_POINTS`, nor less than
    `SHORTEST_POINTS`.

    Args:
        lengths: points of every curve.
        page_points: points that the page holds.

    >>> shared_limit([100, 5000, 5000], page_points=1000)
    450
    >>> shared_limit([100, 200])
    1000
    """
    limit, left = LONGEST_POINTS, page_points
    for place, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - place)
        if length > share:
            limit = share
            break
        left -= length
    return min(max(limit, SHORTEST_POINTS), LONGEST_POINTS)


def drawn(values: NDArray[np.float64] | NDArray[np.int64]) -> list[float]:
    """Return numbers as they go into a figure: six digits, which no screen can tell from all of them.

    >>> drawn(np.array([1 / 3, 2.0]))
    [0.333333, 2.0]
    """
    return [float(f"{value:.6g}") for value in values]
