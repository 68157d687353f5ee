"""Best-fit packing: rows made of whole documents, instead of a text cut wherever a window ends.

A document that fits into a row is never cut. A longer one is cut into windows that overlap by one token, so
that each of its tokens is predicted once; what is left of it is packed like a short document. Rows are filled
by best-fit decreasing: the longest piece first, each into the row whose gap it fits most tightly.

Source: Ding et al., "Fewer Truncations Improve Language Modeling" (arXiv 2404.10830). The paper that rewarm
implements concatenates and cuts; that is the default.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class PackedRows:
    """Which pieces of which documents make each row. In memory: 12 bytes a piece and 8 a row."""

    starts: NDArray[np.int64]
    """Where each piece starts in the dataset, counted in tokens; the pieces of a row are together."""
    lengths: NDArray[np.int32]
    """Tokens of each piece."""
    first_pieces: NDArray[np.int64]
    """The number of each row's first piece, and one more: the number of pieces."""

    def __len__(self) -> int:
        return len(self.first_pieces) - 1

    def num_tokens(self) -> NDArray[np.int64]:
        """Return the tokens in each row; a row of n tokens has n - 1 targets."""
        ends = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))[self.first_pieces]
        return np.diff(ends)


def pack(document_lengths: NDArray[np.integer], sequence_length: int) -> PackedRows:
    """Pack the documents of a dataset into rows.

    Args:
        document_lengths: tokens of each document, at least 1, in the order in which they lie back to back.
        sequence_length: L; a row has room for L + 1 tokens, of which the last L are predicted.

    Returns:
        The rows; the same for the same lengths, always.

    >>> rows = pack(np.array([3, 5, 2]), sequence_length=4)
    >>> rows.starts.tolist(), rows.lengths.tolist(), rows.first_pieces.tolist()
    ([3, 0, 8], [5, 3, 2], [0, 1, 3])
    """
    starts, lengths = _pieces(np.asarray(document_lengths, np.int64), sequence_length)
    rows = _best_fit_decreasing(lengths, sequence_length + 1)
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=int(rows.max(initial=-1)) + 1)
    return PackedRows(
        starts=starts[order],
        lengths=lengths[order].astype(np.int32),
        first_pieces=np.concatenate(([0], np.cumsum(counts))),
    )


def _pieces(
    document_lengths: NDArray[np.int64], sequence_length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return start and length of each piece: documents, or the windows of those that are too long.

    Window k of a document is its tokens k·L to k·L + L; a last one without a token to predict is left out.
    """
    begins = np.cumsum(document_lengths) - document_lengths
    counts = np.maximum(1, -(-(document_lengths - 1) // sequence_length))
    documents = np.repeat(np.arange(len(counts)), counts)
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    offsets = (np.arange(len(documents)) - firsts) * sequence_length
    lengths = np.minimum(document_lengths[documents] - offsets, sequence_length + 1)
    return begins[documents] + offsets, lengths


def _best_fit_decreasing(lengths: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """Return the row of each piece.

    Pieces of one length are placed together, so the work grows with the lengths that there are, not with the
    pieces: a row whose gap is the tightest stays it until no further piece of this length fits.
    """
    rows = np.empty(len(lengths), np.int64)
    gaps: list[list[NDArray[np.int64]]] = [[] for _ in range(capacity + 1)]
    num_rows = 0
    by_length = np.argsort(-lengths, kind="stable")
    borders = np.flatnonzero(np.diff(lengths[by_length])) + 1
    for waiting in np.split(by_length, borders) if len(lengths) else []:
        length, placed = int(lengths[waiting[0]]), 0
        while placed < len(waiting):
            gap = next((g for g in range(length, capacity + 1) if gaps[g]), capacity)
            each = gap // length
            wanted = -(-(len(waiting) - placed) // each)
            if gaps[gap]:
                open_rows = gaps[gap].pop()
                chosen, left = open_rows[:wanted], open_rows[wanted:]
                if len(left):
                    gaps[gap].append(left)
            else:
                chosen = np.arange(num_rows, num_rows + wanted)
                num_rows += wanted
            part = waiting[placed : placed + each * len(chosen)]
            rows[part] = np.repeat(chosen, each)[: len(part)]
            placed += len(part)
            full, rest = divmod(len(part), each)
            _keep(gaps, gap - each * length, chosen[:full])
            if rest:
                _keep(gaps, gap - rest * length, chosen[full:])
    return rows


def _keep(gaps: list[list[NDArray[np.int64]]], gap: int, rows: NDArray[np.int64]) -> None:
    """Note that rows have a gap of this size now."""
    if gap and len(rows):
        gaps[gap].append(rows)
