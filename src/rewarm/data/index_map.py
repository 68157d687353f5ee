"""The samples of a run that another trainer made, in the order in which it read them.

GPT-NeoX and Megatron-core keep three arrays of NumPy for each dataset. The document index names the
sequences of the pair in their shuffled order, all epochs end to end. Row s of the sample index is a place
in it and an offset in tokens: sample s goes from there to the token of row s + 1, included, so that it
has L + 1 tokens and shares one with the next. The shuffle index says which sample is read n-th. What both
call a document is a sequence of the pair's index.

Source: GPT-NeoX `gpt2_dataset.py`, Megatron-core `gpt_dataset.py`. A blend of several datasets has an
index of its own above these, which is not read.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import xxhash
from numpy.typing import NDArray

from rewarm.data.files import map_plain_file
from rewarm.data.hashed_tokens import expanded
from rewarm.data.layouts.contents import OpenedFile
from rewarm.data.layouts.flat import MAX_HEADER_BYTES, read_npy_header
from rewarm.data.manifest import canonical
from rewarm.data.store import TokenStore, checked_numbers
from rewarm.errors import DataError, MismatchError

_SLICE = 1 << 20
_REMEDY = "Give the index maps of one dataset, as the trainer wrote them."


@dataclass(frozen=True, kw_only=True)
class IndexMapFiles:
    """The three files of a dataset."""

    documents: Path
    """The document index: `..._doc_idx.npy`, `...-document_index.npy`."""
    samples: Path
    """The sample index: `..._sample_idx.npy`, `...-sample_index.npy`."""
    shuffle: Path
    """The shuffle index: `..._shuffle_idx.npy`, `...-shuffle_index.npy`."""


@final
class IndexMap:
    """The samples that a run has consumed, as windows. Make one with `IndexMap.open`."""

    def __init__(self, store: TokenStore, files: IndexMapFiles, consumed: int) -> None:
        self.store = store
        self.files = files
        self._documents, documents_hash = _array(files.documents, 1)
        self._samples, samples_hash = _array(files.samples, 2)
        self._shuffle, shuffle_hash = _array(files.shuffle, 1)
        self._consumed = consumed
        self._tokens, self._index = store.shards[0].tokens, store.shards[0].index
        self.fingerprint = hashlib.sha256(
            canonical(
                {
                    "store": store.fingerprint,
                    "index maps": [documents_hash, samples_hash, shuffle_hash],
                    "consumed": consumed,
                }
            )
        ).hexdigest()

    @classmethod
    def open(cls, store: TokenStore, files: IndexMapFiles, *, consumed: int) -> Self:
        """Open the index maps of a run and check them.

        That the sequence length holds for a sample is checked when it is read.

        Args:
            store: the tokens: one Megatron pair, the one that the run read.
            files: its index maps.
            consumed: samples that the run has read, at least 1.

        Raises:
            DataError: they are damaged, of another pair, or fewer samples than were consumed.
        """
        if len(store.shards) != 1 or store.shards[0].index is None:
            raise DataError(
                f"{store.place}: index maps are of one Megatron pair, and this is none. Adopt the pair"
                " that the run read alone."
            )
        opened = cls(store, files, consumed)
        opened._check_consumed()
        opened._check_samples()
        opened._check_documents()
        return opened

    @property
    def sequence_length(self) -> int:
        """L: predictions in a sample, as the first sample has them."""
        firsts, stops, _ = self._pieces(np.zeros(1, np.int64))
        return int((stops - firsts).sum()) - 1

    @property
    def tokens(self) -> int:
        """Number of tokens that were predicted."""
        return self._consumed * self.sequence_length

    @property
    def documents(self) -> int:
        """Number of documents of the pair."""
        return self.store.documents

    def num_windows(self, sequence_length: int) -> int:
        """Return the number of consumed samples.

        Raises:
            MismatchError: the run had another sequence length.
        """
        if sequence_length != self.sequence_length:
            raise MismatchError(
                f"{self.files.samples}: its samples have {self.sequence_length:,} predictions, not"
                f" {sequence_length:,}, so they cannot be read as such sequences. Set sequence_length to"
                f" {self.sequence_length:,}, or leave the index maps out."
            )
        return self._consumed

    def num_targets(self, numbers: NDArray[Any], sequence_length: int) -> NDArray[np.int64]:
        """Return how many tokens of each sample are predicted: L."""
        return np.full(len(numbers), sequence_length, np.int64)

    def windows(self, numbers: Sequence[int] | NDArray[Any], sequence_length: int) -> NDArray[Any]:
        """Return samples; number n is the one that the run read n-th, from 0.

        Args:
            numbers: each in 0 to num_windows - 1, in any order.
            sequence_length: L, which must be that of the run.

        Returns:
            A copy, (len(numbers), L + 1), in uint16 or int32 as the vocabulary needs.

        Raises:
            IndexError: no such sample.
            DataError: a sample does not have L + 1 tokens, or a block of tokens is damaged.
            MismatchError: the run had another sequence length.
        """
        wanted = checked_numbers(numbers, self.num_windows(sequence_length), self.files.shuffle)
        samples = self._shuffle[wanted].astype(np.int64)
        firsts, stops, rows = self._pieces(samples)
        lengths = np.bincount(rows, stops - firsts, minlength=len(wanted)).astype(np.int64)
        wrong = lengths != sequence_length + 1
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{self.files.samples}: sample {samples[row]:,} has {lengths[row]:,} tokens, not"
                f" {sequence_length + 1:,}: damaged, or of another dataset. {_REMEDY}"
            )
        ids = self._tokens.spans(firsts, stops).astype(self.store.dtype, copy=False)
        return ids.reshape(len(wanted), sequence_length + 1)

    def _pieces(
        self, samples: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the spans of tokens that samples are made of, and the row that each is of."""
        assert self._index is not None, "checked when it was opened"
        begin, end = (self._samples[each].astype(np.int64) for each in (samples, samples + 1))
        rows, places = expanded(begin[:, 0], end[:, 0] + 1)
        sequences = self._documents[places]
        starts = self._index.offsets[sequences] // self._index.dtype.itemsize
        lengths = self._index.lengths[sequences].astype(np.int64)
        first = np.where(places == begin[rows, 0], begin[rows, 1], 0)
        stop = np.where(places == end[rows, 0], end[rows, 1] + 1, lengths)
        outside = (first > stop) | (stop > lengths)
        if outside.any():
            piece = int(outside.argmax())
            raise DataError(
                f"{self.files.samples}: sample {samples[rows[piece]]:,} reads tokens {first[piece]:,}"
                f" to {stop[piece]:,} of sequence {sequences[piece]:,}, which has {lengths[piece]:,}:"
                f" damaged, or of another pair. {_REMEDY}"
            )
        return starts + first, starts + stop, rows

    def _check_consumed(self) -> None:
        """Refuse a shuffle index that does not name a sample of its own for each consumed one."""
        there = len(self._samples) - 1
        if not 1 <= self._consumed <= min(len(self._shuffle), there):
            raise DataError(
                f"{self.files.shuffle}: {self._consumed:,} samples consumed; it has"
                f" {len(self._shuffle):,}, and {self.files.samples.name} {max(there, 0):,}. {_REMEDY}"
            )
        is_read = np.zeros(there, np.bool_)
        for start, part in _slices(self._shuffle[: self._consumed]):
            if part.min() < 0 or part.max() >= there:
                raise DataError(
                    f"{self.files.shuffle}: names samples outside 0 to {there - 1:,} behind place"
                    f" {start:,}. {_REMEDY}"
                )
            is_read[part] = True
        if np.count_nonzero(is_read) != self._consumed:
            raise DataError(
                f"{self.files.shuffle}: names a sample twice among the first {self._consumed:,}."
                f" {_REMEDY}"
            )

    def _check_samples(self) -> None:
        """Refuse a sample index that goes back, or leads out of the document index."""
        last = np.zeros((1, 2), np.int64)
        for start, part in _slices(self._samples):
            rows = np.concatenate([last, part.astype(np.int64)])
            step = np.diff(rows, axis=0)
            back = (step[:, 0] < 0) | ((step[:, 0] == 0) & (step[:, 1] < 0)) | (rows[1:, 1] < 0)
            if back.any() or rows[-1, 0] >= len(self._documents):
                row = start + (int(back.argmax()) if back.any() else len(part) - 1)
                raise DataError(
                    f"{self.files.samples}: row {row:,} goes back, or leads out of the"
                    f" {len(self._documents):,} places of the document index. {_REMEDY}"
                )
            last = rows[-1:]

    def _check_documents(self) -> None:
        """Refuse a document index that names sequences which the pair does not have."""
        sequences = self.store.shards[0].record.sequences
        for start, part in _slices(self._documents):
            if part.min() < 0 or part.max() >= sequences:
                raise DataError(
                    f"{self.files.documents}: names sequences outside 0 to {sequences - 1:,} behind place"
                    f" {start:,}, so it is of another pair. {_REMEDY}"
                )


def _slices(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield an array in parts of bounded size, each with where it begins."""
    for start in range(0, len(array), _SLICE):
        yield start, array[start : start + _SLICE]


def _array(path: Path, dimensions: int) -> tuple[NDArray[Any], str]:
    """Map an array, and return the hash of its file."""
    file = OpenedFile(path=path, data=map_plain_file(path.parent, path.name, _REMEDY))
    header = BytesIO(file.data[:MAX_HEADER_BYTES])
    shape, dtype = read_npy_header(file, header)
    begin, count = header.tell(), int(np.prod(shape, dtype=object))
    is_pairs = dimensions == 1 or shape[-1:] == (2,)
    if len(shape) != dimensions or not is_pairs or count == 0:
        wanted = "one row of numbers" if dimensions == 1 else "rows of two numbers"
        raise DataError(f"{path}: has the shape {shape}, not {wanted}. {_REMEDY}")
    if len(file.data) != begin + count * dtype.itemsize:
        raise DataError(f"{path}: was cut short, or is longer than it says. {_REMEDY}")
    array = np.frombuffer(file.data, dtype, offset=begin).reshape(shape)
    return array, xxhash.xxh3_128_hexdigest(file.data)
