"""The token store: shards of tokens and our manifest, read as one row of tokens.

What was prepared here is one Megatron `.bin`/`.idx` pair in a folder for each split; what was adopted
lies as it was found, in any of the layouts that `data/layouts` knows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from rewarm.data.index import token_dtype
from rewarm.data.manifest import MANIFEST, Manifest, manifest_path
from rewarm.data.manifest_file import read_manifest
from rewarm.data.progress import Progress, ProgressCallback
from rewarm.data.shard import Shard
from rewarm.data.shard_record import StoredFile
from rewarm.data.writer import write_store
from rewarm.errors import DataError, MismatchError
from rewarm.replay.order import BLOCK

__all__ = ["Manifest", "StoredFile", "TokenStore", "read_manifest", "write_store"]

_NEAR_WINDOWS = 4 * BLOCK
"""Windows read one after the other are neighbours if they are no further apart: in a block, or a part of it."""
_RUN_WINDOWS = 64
"""Fewest neighbours for which it pays to ask the system for them."""


@final
class TokenStore:
    """Tokens on disk, read by window or by document. Make one with `TokenStore.open`."""

    def __init__(self, path: Path, manifest: Manifest, shards: Sequence[Shard]) -> None:
        self.place = path.parent if path.name == MANIFEST else path
        self.manifest = manifest
        self.shards = shards
        self.dtype = token_dtype(manifest.vocabulary)
        self._is_one_row = [shard.record.dtype for shard in shards] == [self.dtype.name]
        self._starts = _starts([len(shard.tokens) for shard in shards])
        self._document_starts = _starts([shard.record.documents for shard in shards])

    @classmethod
    def open(cls, place: Path, *, tokenizer: str | None = None) -> Self:
        """Open a store after checking its manifest, all sizes, and all files but the tokens in full.

        Args:
            place: its folder, or its manifest.
            tokenizer: the fingerprint that the tokens must have been made with; None accepts any.

        Raises:
            DataError: not prepared, cut short or damaged.
            MismatchError: made with another tokenizer.
        """
        manifest = read_manifest(place)
        path = manifest_path(place)
        if tokenizer is not None and manifest.tokenizer != tokenizer:
            made, again = (
                ("prepared", "delete the folder and run `rewarm prepare`")
                if path.name == MANIFEST
                else ("adopted", f"delete {path.name} and run `rewarm adopt` with the other")
            )
            raise MismatchError(
                f"{place}: {made} with tokenizer {manifest.tokenizer[:12]}, not with"
                f" {tokenizer[:12]}, so its ids mean other text. Name the tokenizer that it was"
                f" {made} with, or {again}."
            )
        return cls(path, manifest, [Shard.open(path, manifest, each) for each in manifest.shards])

    @property
    def tokens(self) -> int:
        """Number of tokens, end-of-text ids included."""
        return self.manifest.tokens

    @property
    def documents(self) -> int:
        """Number of documents."""
        return self.manifest.documents

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what the tokens are."""
        return self.manifest.fingerprint

    def num_windows(self, sequence_length: int) -> int:
        """Return how many windows there are: (tokens - 1) // sequence_length.

        Args:
            sequence_length: predictions in a window, at least 1.
        """
        if sequence_length < 1:
            raise DataError(
                f"A sequence length of {sequence_length} holds nothing; give 1 or more."
            )
        return (self.tokens - 1) // sequence_length

    def windows(self, numbers: Sequence[int] | NDArray[Any], sequence_length: int) -> NDArray[Any]:
        """Return windows of tokens; window i is tokens i·L to i·L + L, both included.

        Neighbours share one token: the last target of one is the first input of the next. A window
        goes across the edge of a shard.

        Args:
            numbers: the windows, each in 0 to num_windows - 1, in any order.
            sequence_length: L, predictions in a window, at least 1.

        Returns:
            A copy, (len(numbers), L + 1), in uint16 or int32 as the vocabulary needs.

        Raises:
            IndexError: no such window.
            DataError: a block that was touched for the first time is damaged.
        """
        wanted = checked_numbers(numbers, self.num_windows(sequence_length), self.place)
        firsts, width = wanted * sequence_length, sequence_length + 1
        if self._is_one_row:
            return self.shards[0].tokens.rows(firsts, width)
        found = np.empty((len(wanted), width), self.dtype)
        shards = self._shard_of(firsts)
        inside = firsts - self._starts[shards]
        for row, (shard, first) in enumerate(zip(shards.tolist(), inside.tolist(), strict=True)):
            tokens = self.shards[shard].tokens
            if first + width <= len(tokens):
                found[row] = tokens.ids(first, first + width)
            else:
                found[row] = self.ids(int(firsts[row]), int(firsts[row]) + width)
        return found

    def expect(self, numbers: NDArray[Any], sequence_length: int) -> None:
        """Have windows fetched from the disk in the background, where many neighbours are read together.

        A page that is missing when it is touched is waited for, and what the system reads around it is as
        much what lies before as what will be read next. Windows from all over the text are left alone: asking
        for each takes longer than to read it from the page cache, where it mostly is.

        Args:
            numbers: the windows, in the order in which they will be read; at least one.
            sequence_length: L, predictions in a window, at least 1.
        """
        for first_window, last_window in neighbourhoods(numbers):
            first, stop = first_window * sequence_length, (last_window + 1) * sequence_length + 1
            for shard, start in zip(self.shards, self._starts[:-1].tolist(), strict=True):
                begin, end = max(first - start, 0), min(stop - start, len(shard.tokens))
                if begin < end:
                    shard.tokens.fetch(begin, end)

    def num_targets(self, numbers: NDArray[Any], sequence_length: int) -> NDArray[np.int64]:
        """Return how many tokens of each window are predicted: L."""
        return np.full(len(numbers), sequence_length, np.int64)

    def ids(self, first: int, stop: int) -> NDArray[Any]:
        """Return the ids from one token up to another, across shards, as a copy.

        Args:
            first: the first token, at least 0.
            stop: the one after the last, at most the number of tokens.

        Raises:
            DataError: a block that was touched for the first time is damaged.
        """
        parts = [np.empty(0, self.dtype)]
        while first < stop:
            shard = int(self._shard_of(np.array([first]))[0])
            start, end = self._starts[shard : shard + 2].tolist()
            parts.append(self.shards[shard].tokens.ids(first - start, min(stop, end) - start))
            first = end
        return np.concatenate(parts, dtype=self.dtype, casting="unsafe")

    def document(self, number: int) -> NDArray[Any]:
        """Return the ids of one document, its end-of-text id included, as a copy.

        Raises:
            IndexError: no such document.
            DataError: a block that was touched for the first time is damaged.
        """
        if not 0 <= number < self.documents:
            raise IndexError(f"{self.place}: no document {number}; it has {self.documents}")
        shard = int(np.searchsorted(self._document_starts, number, side="right")) - 1
        within = self.shards[shard].documents.bounds(number - int(self._document_starts[shard]))
        first, stop = (int(self._starts[shard]) + token for token in within)
        return self.ids(first, stop)

    def document_starts(
        self, first_tokens: NDArray[np.int64], last_tokens: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where documents begin within ranges of tokens, such as those of windows.

        A document without tokens begins nowhere. Where only the end-of-text id parts documents, one
        begins behind each, and with each shard.

        Args:
            first_tokens: first token of each range, (ranges,), each at least 0.
            last_tokens: last token of each range, included, (ranges,).

        Returns:
            For each beginning the number of its range and the token, both (beginnings,); in the order
            of the ranges, tokens rising within each.

        Raises:
            DataError: a block that was touched for the first time is damaged.
        """
        ranges, starts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        touched = np.concatenate([self._shard_of(first_tokens), self._shard_of(last_tokens)])
        for shard in range(touched.min(), touched.max() + 1) if len(touched) else ():
            begin, end = self._starts[shard : shard + 2].tolist()
            here = np.flatnonzero((first_tokens < end) & (last_tokens >= begin))
            within, found = self.shards[shard].documents.starts_between(
                np.maximum(first_tokens[here], begin) - begin,
                np.minimum(last_tokens[here] + 1, end) - begin,
            )
            ranges.append(here[within])
            starts.append(found + begin)
        all_ranges, all_starts = np.concatenate(ranges), np.concatenate(starts)
        order = np.lexsort((all_starts, all_ranges))
        return all_ranges[order], all_starts[order]

    def verify(self, on_progress: ProgressCallback | None = None) -> None:
        """Check every byte: all hashes, and that every id is in the vocabulary.

        Args:
            on_progress: called after each block and at the end.

        Raises:
            DataError: naming the file and the block that are damaged.
        """
        done_bytes = done_tokens = 0

        def report(num_bytes: int, tokens: int) -> None:
            if on_progress is not None:
                on_progress(
                    Progress(
                        phase="verify",
                        done_bytes=num_bytes,
                        total_bytes=self.manifest.num_bytes,
                        documents=0,
                        tokens=tokens,
                    )
                )

        for shard in self.shards:
            for num_bytes in shard.tokens.verify(shard.record.files[0].xxh3_128):
                tokens = num_bytes // shard.tokens.itemsize
                report(done_bytes + num_bytes, done_tokens + min(tokens, shard.record.tokens))
            shard.check_others()
            done_bytes += sum(file.num_bytes for file in shard.record.files)
            done_tokens += shard.record.tokens
            report(done_bytes, done_tokens)

    def _shard_of(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the shard that each token lies in."""
        return np.searchsorted(self._starts, tokens, side="right") - 1


def neighbourhoods(numbers: NDArray[Any]) -> list[tuple[int, int]]:
    """Return first and last of the windows of each run of reads in which no read is far from the one before.

    Args:
        numbers: windows in the order in which they are read; at least one.

    >>> neighbourhoods(np.array([*range(90, 20, -1), 10**6, *range(10**5, 10**5 + 100)]))
    [(21, 90), (100000, 100099)]
    """
    numbers = numbers.astype(np.int64)
    far = np.flatnonzero(np.abs(np.diff(numbers)) > _NEAR_WINDOWS) + 1
    starts = np.concatenate([[0], far])
    is_run = np.diff(np.append(starts, len(numbers))) >= _RUN_WINDOWS
    lowest, highest = np.minimum.reduceat(numbers, starts), np.maximum.reduceat(numbers, starts)
    return list(zip(lowest[is_run].tolist(), highest[is_run].tolist(), strict=True))


def _starts(counts: Sequence[int]) -> NDArray[np.int64]:
    """Return where each of some things laid end to end begins, and the end of the last."""
    return np.cumsum([0, *counts], dtype=np.int64)


def checked_numbers(
    numbers: Sequence[int] | NDArray[Any], num_windows: int, name: object
) -> NDArray[np.int64]:
    """Return the numbers of windows as int64.

    Raises:
        IndexError: there is no such window.
        TypeError: they are no whole numbers.
    """
    wanted = np.asarray(numbers if len(numbers) else np.empty(0, np.int64))
    if wanted.dtype.kind not in "iu":
        raise TypeError(f"windows are counted in whole numbers, not {wanted.dtype}")
    wanted = wanted.astype(np.int64)
    # As unsigned numbers negative ones are huge, so one comparison finds both kinds.
    if len(wanted) and wanted.view(np.uint64).max() >= num_windows:
        raise IndexError(
            f"{name}: windows {wanted.min()} to {wanted.max()} were asked for; it has 0 to"
            f" {num_windows - 1} at this sequence length"
        )
    return wanted
