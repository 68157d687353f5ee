"""datatrove's tokens: raw ids in `.ds`, the end of each document in `.ds.index`, words in `.ds.metadata`.

The index is u64, little endian, with no header: for each document the tokens up to its end. The type of
the ids follows from the last end and the size of the token file. The second line of the metadata is the
number of tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewarm.data.hashed_tokens import expanded
from rewarm.data.layouts.contents import Contents, OpenedFile
from rewarm.errors import DataError

_DTYPES = {2: "<u2", 4: "<u4"}
_SLICE = 1 << 20


def datatrove_contents(
    tokens: OpenedFile, index: OpenedFile, metadata: OpenedFile | None
) -> Contents:
    """Return what a `.ds` file and its companions hold.

    Raises:
        DataError: they do not fit each other.
    """
    if len(index.data) == 0 or len(index.data) % 8:
        raise DataError(
            f"{index.path}: has {len(index.data):,} bytes, which are not whole numbers of 8 bytes, one"
            " for the end of each document. It was cut short, or is no index of datatrove."
        )
    ends = np.frombuffer(index.data, "<i8")  # as signed, since places are; 2⁶³ is never reached
    _check_rising(index, ends)
    num_tokens = int(ends[-1])
    itemsize, rest = divmod(len(tokens.data), num_tokens) if num_tokens else (0, 0)
    if rest or itemsize not in _DTYPES:
        raise DataError(
            f"{tokens.path}: has {len(tokens.data):,} bytes, but {index.path.name} ends its last document"
            f" at token {num_tokens:,}: neither 2 nor 4 bytes a token. One of them is cut short, or"
            " they do not belong together."
        )
    if metadata is not None:
        _check_metadata(metadata, num_tokens)
    return Contents(
        dtype=np.dtype(_DTYPES[itemsize]),
        first_byte=0,
        tokens=num_tokens,
        num_documents=len(ends),
        num_sequences=len(ends),
        documents=EndedDocuments(ends),
    )


def _check_rising(index: OpenedFile, ends: NDArray[np.int64]) -> None:
    """Refuse ends that fall."""
    last = 0
    for start in range(0, len(ends), _SLICE):
        part = np.concatenate(([last], ends[start : start + _SLICE]))
        falls = np.diff(part) < 0
        if falls.any():
            raise DataError(
                f"{index.path}: document {start + int(falls.argmax()):,} ends before the one in front of"
                " it. It is damaged, or no index of datatrove."
            )
        last = int(part[-1])


def _check_metadata(metadata: OpenedFile, num_tokens: int) -> None:
    """Refuse metadata that counts other tokens."""
    lines = bytes(metadata.data).decode(errors="replace").split("\n")
    if len(lines) > 1 and lines[1].strip() != str(num_tokens):
        raise DataError(
            f"{metadata.path}: line 2 says {lines[1][:40]!r} tokens, but the index ends at"
            f" {num_tokens:,}. They do not belong together."
        )


@dataclass(frozen=True)
class EndedDocuments:
    """Documents of which the ends are known."""

    ends: NDArray[np.int64]
    """Tokens up to the end of each document; they never fall."""

    def bounds(self, number: int) -> tuple[int, int]:
        return int(self.ends[number - 1]) if number else 0, int(self.ends[number])

    def starts_between(
        self, firsts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        # A document begins where the one before it ends; the first at 0.
        low = np.searchsorted(self.ends, firsts)
        ranges, numbers = expanded(low, np.searchsorted(self.ends, stops))
        starts = self.ends[numbers]
        at_zero = np.flatnonzero((firsts == 0) & (stops > 0))
        ranges, starts = np.append(ranges, at_zero), np.append(starts, np.zeros_like(at_zero))
        # Where documents are empty, several ends are the same place.
        pairs = np.unique(np.stack([ranges, starts]), axis=1)
        return pairs[0], pairs[1]
