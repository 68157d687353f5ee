"""The token store: a Megatron `.bin`/`.idx` pair and our manifest, one folder for each split.

Every 64 MiB block of tokens is hashed when it is first touched, before a token of it is given out;
so damage is an error, never a silent change of the training data.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import xxhash
from numpy.typing import NDArray

from rewarm.data.files import plain_file_size, remedy
from rewarm.data.index import Index, parse_index
from rewarm.data.manifest import INDEX, TOKENS, Manifest, StoredFile, read_manifest
from rewarm.data.progress import Progress, ProgressCallback
from rewarm.data.writer import write_store
from rewarm.errors import DataError, MismatchError

__all__ = ["Manifest", "StoredFile", "TokenStore", "read_manifest", "write_store"]


@final
class TokenStore:
    """Tokens on disk, read by window or by document. Make one with `TokenStore.open`."""

    def __init__(self, folder: Path, manifest: Manifest, index: Index, data: memoryview) -> None:
        self.folder = folder
        self.manifest = manifest
        self._index = index
        self._data = data
        self._ids = np.frombuffer(data, dtype=np.dtype(manifest.dtype).newbyteorder("<"))
        self._is_checked = [False] * len(manifest.blocks)
        self._num_unchecked = len(manifest.blocks)

    @classmethod
    def open(cls, folder: Path, *, tokenizer: str | None = None) -> Self:
        """Open a store after checking its manifest, both sizes, and the index in full.

        Args:
            folder: the store.
            tokenizer: the fingerprint that the tokens must have been made with; None accepts any.

        Raises:
            DataError: not prepared, cut short or damaged.
            MismatchError: made with another tokenizer.
        """
        manifest = read_manifest(folder)
        if tokenizer is not None and manifest.tokenizer != tokenizer:
            raise MismatchError(
                f"{folder}: prepared with tokenizer {manifest.tokenizer[:12]}, not with"
                f" {tokenizer[:12]}, so its ids mean other text. Name the tokenizer that it was"
                " prepared with, or delete the folder and run `rewarm prepare`."
            )
        for name, file in manifest.files.items():
            num_bytes = plain_file_size(folder / name)
            if num_bytes != file.num_bytes:
                raise DataError(
                    f"{folder / name}: has {num_bytes:,} bytes, its manifest says"
                    f" {file.num_bytes:,}: cut short or replaced. {remedy(folder)}"
                )
        index = _read_index(folder, manifest)
        return cls(folder, manifest, index, _map(folder / TOKENS))

    @property
    def tokens(self) -> int:
        """Number of tokens, end-of-text ids included."""
        return self.manifest.tokens

    @property
    def documents(self) -> int:
        """Number of documents."""
        return self.manifest.documents

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

        Neighbours share one token: the last target of one is the first input of the next.

        Args:
            numbers: the windows, each in 0 to num_windows - 1, in any order.
            sequence_length: L, predictions in a window, at least 1.

        Returns:
            A copy, (len(numbers), L + 1), in the stored type (uint16 or int32).

        Raises:
            IndexError: no such window.
            DataError: a block that was touched for the first time is damaged.
        """
        num_windows = self.num_windows(sequence_length)
        wanted = np.asarray(numbers if len(numbers) else np.empty(0, np.int64))
        if wanted.dtype.kind not in "iu":
            raise TypeError(f"windows are counted in whole numbers, not {wanted.dtype}")
        wanted = wanted.astype(np.int64)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < num_windows:
            raise IndexError(
                f"{self.folder}: windows {wanted.min()} to {wanted.max()} were asked for; it has"
                f" 0 to {num_windows - 1} at sequence length {sequence_length}"
            )
        itemsize = self._ids.itemsize
        first_bytes = wanted * (sequence_length * itemsize)
        self._check_touched(first_bytes, first_bytes + sequence_length * itemsize)
        all_windows = np.lib.stride_tricks.as_strided(
            self._ids,
            shape=(num_windows, sequence_length + 1),
            strides=(sequence_length * itemsize, itemsize),
            writeable=False,
        )
        return all_windows[wanted]

    def document(self, number: int) -> NDArray[Any]:
        """Return the ids of one document, its end-of-text id included, as a copy.

        Raises:
            IndexError: no such document.
            DataError: a block that was touched for the first time is damaged.
        """
        if not 0 <= number < self.documents:
            raise IndexError(f"{self.folder}: no document {number}; it has {self.documents}")
        first = int(self._index.offsets[number]) // self._ids.itemsize
        last = first + int(self._index.lengths[number]) - 1
        touched = np.array([[first], [last]]) * self._ids.itemsize
        self._check_touched(*touched)
        return self._ids[first : last + 1].copy()

    def verify(self, on_progress: ProgressCallback | None = None) -> None:
        """Check every byte: all hashes, and that every id is in the vocabulary.

        Args:
            on_progress: called after each block and at the end.

        Raises:
            DataError: naming the file and the block that are damaged.
        """
        total_bytes = sum(file.num_bytes for file in self.manifest.files.values())
        whole = xxhash.xxh3_128()
        for block in range(len(self.manifest.blocks)):
            self._check_block(block)
            start, stop = self._block_range(block)
            whole.update(self._data[start:stop])
            if on_progress is not None:
                done = stop // self._ids.itemsize
                on_progress(_verified(stop, total_bytes, done))
        if whole.hexdigest() != self.manifest.files[TOKENS].xxh3_128:
            raise DataError(
                f"{self.folder / TOKENS}: does not have the hash that its manifest gives."
                f" {remedy(self.folder)}"
            )
        _read_index(self.folder, self.manifest)
        if on_progress is not None:
            on_progress(_verified(total_bytes, total_bytes, self.tokens))

    def _block_range(self, block: int) -> tuple[int, int]:
        """Return the first byte of a block and the one after its last."""
        start = block * self.manifest.block_bytes
        return start, min(start + self.manifest.block_bytes, len(self._data))

    def _check_touched(self, first_bytes: NDArray[Any], last_bytes: NDArray[Any]) -> None:
        """Check the blocks between each pair of bytes that nobody has touched before."""
        if self._num_unchecked == 0:
            return
        first_blocks = (first_bytes // self.manifest.block_bytes).tolist()
        last_blocks = (last_bytes // self.manifest.block_bytes).tolist()
        for first, last in set(zip(first_blocks, last_blocks, strict=True)):
            for block in range(first, last + 1):
                if not self._is_checked[block]:
                    self._check_block(block)
                    self._is_checked[block] = True
                    self._num_unchecked = self._is_checked.count(False)

    def _check_block(self, block: int) -> None:
        """Refuse a block whose hash differs, or which holds an id outside the vocabulary."""
        start, stop = self._block_range(block)
        path = self.folder / TOKENS
        if xxhash.xxh3_64_hexdigest(self._data[start:stop]) != self.manifest.blocks[block]:
            raise DataError(
                f"{path}: block {block} (bytes {start:,} to {stop - 1:,}) does not have the hash"
                f" that its manifest gives: damaged since it was written. {remedy(self.folder)}"
            )
        # As unsigned numbers negative ids are huge, so one comparison finds both kinds.
        ids = self._ids[start // self._ids.itemsize : stop // self._ids.itemsize]
        highest = int(ids.view(f"<u{ids.itemsize}").max())
        if highest >= self.manifest.vocabulary:
            raise DataError(
                f"{path}: block {block} holds the id {highest}, outside the vocabulary of"
                f" {self.manifest.vocabulary:,} entries. {remedy(self.folder)}"
            )


def _verified(done_bytes: int, total_bytes: int, tokens: int) -> Progress:
    """Return a report of how far the verification is."""
    return Progress(
        phase="verify", done_bytes=done_bytes, total_bytes=total_bytes, documents=0, tokens=tokens
    )


def _map(path: Path) -> memoryview:
    """Map a file; a plain buffer reads about twice as fast as `np.memmap`."""
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). {remedy(path.parent)}"
        ) from error


def _read_index(folder: Path, manifest: Manifest) -> Index:
    """Map the index, check its hash and what it says against the manifest."""
    path = folder / INDEX
    data = _map(path)
    if xxhash.xxh3_128_hexdigest(data) != manifest.files[INDEX].xxh3_128:
        raise DataError(
            f"{path}: does not have the hash that its manifest gives: damaged since it was"
            f" written. {remedy(folder)}"
        )
    index = parse_index(path, np.frombuffer(data, np.uint8), np.dtype(manifest.dtype))
    tokens = int(index.lengths.sum(dtype=np.int64))
    if (len(index.lengths), tokens) != (manifest.documents, manifest.tokens):
        raise DataError(
            f"{path}: {len(index.lengths):,} documents with {tokens:,} tokens; its manifest says"
            f" {manifest.documents:,} with {manifest.tokens:,}. {remedy(folder)}"
        )
    return index
