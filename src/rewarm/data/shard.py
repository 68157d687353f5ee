"""One shard of a token store, opened: its files compared with what the manifest says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import xxhash

from rewarm.data.files import map_plain_file
from rewarm.data.hashed_tokens import Blocks, HashedTokens
from rewarm.data.index import Index
from rewarm.data.layouts.contents import Contents, Documents, OpenedFile
from rewarm.data.layouts.flat import MAX_HEADER_BYTES, FlatDocuments
from rewarm.data.layouts.reading import read_contents
from rewarm.data.manifest import Manifest, remedy
from rewarm.data.shard_record import ShardRecord
from rewarm.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The tokens of a shard, and where its documents begin in them."""

    record: ShardRecord
    """What the manifest says of it."""
    tokens: HashedTokens
    """Its tokens, checked as they are touched."""
    documents: Documents
    """Where they begin."""
    index: Index | None
    """The index of a Megatron pair."""
    others: Sequence[OpenedFile]
    """Its files besides the tokens."""
    remedy: str
    """What to do about a damaged one."""

    @classmethod
    def open(cls, manifest_path: Path, manifest: Manifest, record: ShardRecord) -> Self:
        """Open a shard after checking the size of every file, and in full all but the tokens.

        Raises:
            DataError: a file is missing, cut short, no plain file, damaged, or not what the
                manifest says.
        """
        advice = remedy(manifest_path)
        files = [_open(manifest_path, file.name, file.num_bytes, advice) for file in record.files]
        others = files[1:]
        _check_whole(record, others, advice)
        blocks = Blocks(
            path=files[0].path,
            data=files[0].data,
            block_bytes=manifest.block_bytes,
            hashes=record.blocks,
            remedy=advice,
        )
        if record.layout == "npy":
            blocks.check_beginning(MAX_HEADER_BYTES)
        contents = read_contents(record.layout, files, record.dtype)
        _check_counts(record, contents, files[-1].path, advice)
        tokens = HashedTokens(blocks, contents.dtype, contents.first_byte, manifest.vocabulary)
        return cls(
            record=record,
            tokens=tokens,
            documents=contents.documents or FlatDocuments(tokens, manifest.end_of_text),
            index=contents.index,
            others=others,
            remedy=advice,
        )

    def check_others(self) -> None:
        """Check the files besides the tokens again.

        Raises:
            DataError: one is damaged.
        """
        _check_whole(self.record, self.others, self.remedy)


def _open(manifest_path: Path, name: str, num_bytes: int, advice: str) -> OpenedFile:
    """Open a file and check its size."""
    path = manifest_path.parent / name
    data = map_plain_file(manifest_path.parent, name, advice)
    if len(data) != num_bytes:
        raise DataError(
            f"{path}: has {len(data):,} bytes, its manifest says {num_bytes:,}: cut short or"
            f" replaced. {advice}"
        )
    return OpenedFile(path=path, data=data)


def _check_whole(record: ShardRecord, others: Sequence[OpenedFile], advice: str) -> None:
    """Check the hash of every file but the token file."""
    for file, stored in zip(others, record.files[1:], strict=True):
        if xxhash.xxh3_128_hexdigest(file.data) != stored.xxh3_128:
            raise DataError(
                f"{file.path}: does not have the hash that its manifest gives: damaged since it was"
                f" written. {advice}"
            )


def _check_counts(record: ShardRecord, contents: Contents, path: Path, advice: str) -> None:
    """Refuse files that are intact, but not what the manifest says of them."""
    facts = {
        "tokens": (record.tokens, contents.tokens),
        "token type": (record.dtype, contents.dtype.name),
        "documents": (record.documents, contents.num_documents),
        "sequences": (record.sequences, contents.num_sequences),
    }
    for what, (said, found) in facts.items():
        if found is not None and said != found:
            raise DataError(f"{path}: {what}: {found}; its manifest says {said}. {advice}")
