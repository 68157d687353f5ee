"""Training and validation text told apart by a hash: disjoint whatever the files and their order.

All copies of one text, or all rows of one group, land on the same side.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import xxhash

Side = Literal["train", "validation"]


@dataclass(frozen=True, kw_only=True)
class HashSide:
    """One side of a split.

    A key is for validation if the first 64 bits of XXH3 of `salt`, a NUL and the key are below
    fraction × 2⁶⁴.
    """

    fraction: Fraction
    """Share of the keys that is for validation, in (0, 1)."""
    salt: str
    """Another salt gives another split."""
    group: str | None
    """The column whose value is the key; None takes the text itself."""
    side: Side
    """Which side to take."""

    @cached_property
    def _bound(self) -> int:
        return int(self.fraction * 2**64)

    def takes(self, key: str) -> bool:
        """Say whether a key is on this side.

        >>> half = {"fraction": Fraction(1, 2), "salt": "a", "group": None}
        >>> sides = [HashSide(**half, side=side) for side in ("train", "validation")]
        >>> [side.takes("some text") for side in sides]
        [False, True]
        """
        hashed = xxhash.xxh3_64(f"{self.salt}\0".encode())
        hashed.update(key.encode())
        is_validation = hashed.intdigest() < self._bound
        return is_validation == (self.side == "validation")

    def describe(self) -> list[dict[str, Any]]:
        """Return what decides the split."""
        return [
            {
                "held_out": str(self.fraction),
                "by": "document" if self.group is None else f"group {self.group}",
                "salt": self.salt,
                "side": self.side,
            }
        ]
