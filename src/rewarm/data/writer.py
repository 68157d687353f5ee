"""Writes a token store: tokens and index hashed on the way, manifest last.

Whatever stops the writing, the folder holds either no manifest or a complete store.
"""

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import numpy as np
import xxhash
from numpy.typing import NDArray

from rewarm.data.files import make_folder
from rewarm.data.index import MAX_DOCUMENT_TOKENS, index_pieces, token_dtype
from rewarm.data.manifest import INDEX, MANIFEST, TOKENS, Manifest
from rewarm.data.progress import Progress, ProgressCallback
from rewarm.data.shard_record import ShardRecord, StoredFile
from rewarm.errors import DataError
from rewarm.storage import storage_errors, sync_folder, temporary_path, write_whole

BLOCK_BYTES = 1 << 26
"""Size of the blocks that have a hash each: 64 MiB."""

_PIECE_BYTES = 1 << 22


@final
class _HashedFile:
    """A file under its temporary name, hashed while it is written; removed unless committed."""

    def __init__(self, path: Path, block_bytes: int) -> None:
        self.path = path
        self.num_bytes = 0
        self._block_bytes = block_bytes
        self._whole = xxhash.xxh3_128()
        self._block = xxhash.xxh3_64()
        self._blocks: list[str] = []
        with storage_errors(path, 0):
            # Unbuffered, so that closing after an error has nothing left to write.
            self._file = temporary_path(path).open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        temporary_path(self.path).unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        rest = memoryview(data)
        with storage_errors(self.path, self.num_bytes + len(data)):
            while rest:
                rest = rest[self._file.write(rest) :]
        self._whole.update(data)
        rest = memoryview(data)
        while rest:
            room = self._block_bytes - self.num_bytes % self._block_bytes
            self._block.update(rest[:room])
            self.num_bytes += len(rest[:room])
            rest = rest[room:]
            if self.num_bytes % self._block_bytes == 0:
                self._end_block()

    def _end_block(self) -> None:
        """Keep the hash of the block that is full."""
        self._blocks.append(self._block.hexdigest())
        self._block.reset()

    def sync(self) -> None:
        """Bring everything to the disk."""
        with storage_errors(self.path, self.num_bytes):
            os.fsync(self._file.fileno())

    def commit(self) -> None:
        """Give the file its name."""
        with storage_errors(self.path, self.num_bytes):
            temporary_path(self.path).replace(self.path)

    @property
    def stored(self) -> StoredFile:
        """Size and hash of what was written so far."""
        return StoredFile(
            name=self.path.name, num_bytes=self.num_bytes, xxh3_128=self._whole.hexdigest()
        )

    @property
    def blocks(self) -> list[str]:
        """The hash of each block so far, the unfinished one included."""
        unfinished = self.num_bytes % self._block_bytes != 0
        return [*self._blocks, self._block.hexdigest()] if unfinished else [*self._blocks]


def write_store(  # noqa: PLR0913 - keyword-only, and each is a field of the manifest
    folder: Path,
    documents: Iterable[NDArray[Any] | Iterable[NDArray[Any]]],
    *,
    vocabulary: int,
    end_of_text: int,
    tokenizer: str,
    document_seed: int,
    text_bytes: int,
    provenance: Sequence[Mapping[str, Any]],
    on_progress: ProgressCallback | None = None,
) -> Manifest:
    """Write documents as a token store, in the order in which they come.

    Args:
        folder: made if it is missing; must not hold a finished store.
        documents: the ids of each document, its end-of-text id included; a long document may come
            as several arrays, which are never held together.
        vocabulary: number of entries of the tokenizer.
        end_of_text: the id that ends each document.
        tokenizer: fingerprint of the tokenizer.
        document_seed: what the order of the documents was drawn with; recorded, not used.
        text_bytes: size of the documents' text in UTF-8; recorded, not used.
        provenance: what the text came from, as tables that JSON can hold; recorded, not used.
        on_progress: called about every 4 MiB and at the end.

    Returns:
        The manifest, as it lies in the folder now.

    Raises:
        DataError: no documents; an empty document, one without its end, or one with an id outside
            the vocabulary; the folder holds a finished store already.
        StorageError: the disk is full or refuses to write; nothing that looks complete is left.
    """
    if (folder / MANIFEST).exists():
        raise DataError(
            f"{folder}: already holds a finished token store, which is never overwritten. Delete"
            " the folder or choose another."
        )
    make_folder(folder)
    dtype = token_dtype(vocabulary)
    with (
        _HashedFile(folder / TOKENS, BLOCK_BYTES) as tokens_file,
        _HashedFile(folder / INDEX, BLOCK_BYTES) as index_file,
    ):
        checked = _checked(documents, vocabulary, end_of_text, folder)
        lengths = _write_tokens(tokens_file, checked, dtype, on_progress)
        if len(lengths) == 0:
            raise DataError(
                f"{folder}: empty dataset: its source has no documents. Name files with text in"
                " them."
            )
        for piece in index_pieces(lengths, dtype):
            index_file.write(piece)
        shard = ShardRecord(
            layout="megatron",
            dtype=dtype.name,
            tokens=tokens_file.num_bytes // dtype.itemsize,
            documents=len(lengths),
            sequences=len(lengths),
            files=[tokens_file.stored, index_file.stored],
            blocks=tokens_file.blocks,
        )
        manifest = Manifest(
            vocabulary=vocabulary,
            end_of_text=end_of_text,
            tokenizer=tokenizer,
            document_seed=document_seed,
            text_bytes=text_bytes,
            provenance=[dict(entry) for entry in provenance],
            block_bytes=BLOCK_BYTES,
            shards=[shard],
        )
        tokens_file.sync()
        index_file.sync()
        tokens_file.commit()
        index_file.commit()
    sync_folder(folder)
    write_whole(folder / MANIFEST, manifest.to_bytes())
    return manifest


def _checked(
    documents: Iterable[NDArray[Any] | Iterable[NDArray[Any]]],
    vocabulary: int,
    end_of_text: int,
    folder: Path,
) -> Iterator[tuple[NDArray[Any], bool]]:
    """Yield each array and whether a document begins with it, refusing what must not be stored.

    The stored types would hide it: they wrap without a word.
    """
    for number, document in enumerate(documents):
        num_tokens, last = 0, None
        for ids in (document,) if isinstance(document, np.ndarray) else document:
            if len(ids) == 0:
                continue
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= vocabulary:
                raise DataError(
                    f"{folder}: document {number} has the id {low if low < 0 else high}, outside"
                    f" the vocabulary of {vocabulary:,} entries. Use the tokenizer that made the"
                    " ids."
                )
            yield ids, num_tokens == 0
            num_tokens += len(ids)
            last = int(ids[-1])
        if not 1 <= num_tokens <= MAX_DOCUMENT_TOKENS:
            raise DataError(
                f"{folder}: document {number} has {num_tokens:,} tokens; 1 to"
                f" {MAX_DOCUMENT_TOKENS:,} can be stored."
            )
        if last != end_of_text:
            raise DataError(
                f"{folder}: document {number} ends with the id {last}, not with the"
                f" end-of-text id {end_of_text}, so it would run into the next. Append it."
            )


def _write_tokens(
    file: _HashedFile,
    pieces: Iterator[tuple[NDArray[Any], bool]],
    dtype: np.dtype,
    on_progress: ProgressCallback | None,
) -> NDArray[np.int32]:
    """Write the tokens and return the length of each document."""
    lengths = array("q")
    waiting: list[bytes] = []
    waiting_bytes = 0

    def flush() -> None:
        nonlocal waiting_bytes
        file.write(b"".join(waiting))
        waiting.clear()
        waiting_bytes = 0
        if on_progress is not None:
            on_progress(
                Progress(
                    phase="write",
                    done_bytes=file.num_bytes,
                    total_bytes=None,
                    documents=len(lengths),
                    tokens=file.num_bytes // dtype.itemsize,
                )
            )

    for ids, begins in pieces:
        if begins:
            lengths.append(0)
        lengths[-1] += len(ids)
        waiting.append(ids.astype(dtype).tobytes())
        waiting_bytes += len(waiting[-1])
        if waiting_bytes >= _PIECE_BYTES:
            flush()
    flush()
    return np.array(lengths, dtype=np.int32)
