"""What a manifest says of one shard: its layout, its counts, and the hashes of its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Layout = Literal["megatron", "npy", "flat", "datatrove"]
"""How the tokens of a shard lie in its files."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)

INTEGERS = {
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "uint32": 4,
    "int32": 4,
    "uint64": 8,
    "int64": 8,
}
"""Types in which token ids are stored, little endian, and the bytes of an id."""

FILES_OF = {
    "megatron": ("tokens", "index"),
    "npy": ("tokens",),
    "flat": ("tokens",),
    "datatrove": ("tokens", "index", "metadata"),
}
"""The files of a layout in their order; the metadata may be missing."""


def token_type(vocabulary: int) -> Literal["uint16", "int32"]:
    """Return the name of the type in which the ids of a vocabulary are stored.

    Args:
        vocabulary: number of entries; the ids are 0 to vocabulary - 1.

    >>> token_type(65_536), token_type(65_537)
    ('uint16', 'int32')
    """
    return "uint16" if vocabulary <= 2**16 else "int32"


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """Name, size and hash of one file of a store."""

    name: str
    """Path relative to the folder of the manifest, with `/` between its parts."""
    num_bytes: int
    """Its size; `bytes` in the file."""
    xxh3_128: str
    """XXH3 hash of its content, 128 bits in hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """One shard of a token store, as its manifest describes it."""

    layout: Layout
    """How the tokens lie in the files."""
    dtype: str
    """Type of the stored ids, one of `INTEGERS`."""
    tokens: int
    """Number of tokens, end-of-text ids included; at least 1."""
    documents: int
    """Number of documents; where only the end-of-text id parts them, the last ends with the shard."""
    sequences: int
    """Number of sequences: those of a Megatron index; elsewhere the documents."""
    files: Sequence[StoredFile]
    """The token file, and what its layout has besides, in the order of `FILES_OF`."""
    blocks: Sequence[str]
    """XXH3 hash of each block of the token file in order, 64 bits in hexadecimal."""

    def to_json(self) -> dict[str, Any]:
        """Return the shard's table in a manifest."""
        return {
            "layout": self.layout,
            "dtype": self.dtype,
            "tokens": self.tokens,
            "documents": self.documents,
            "sequences": self.sequences,
            "files": [
                {"name": file.name, "bytes": file.num_bytes, "xxh3_128": file.xxh3_128}
                for file in self.files
            ],
            "blocks": list(self.blocks),
        }
