"""What a token store is: counts, tokenizer, provenance, and a hash of every file and block.

A store is shards that are read as one. The manifest is written last, so its presence means that the
store is complete. Its bytes are a function of its content, and its content has a SHA-256 inside: a
change of any bit is noticed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from rewarm.data.shard_record import ShardRecord, token_type
from rewarm.errors import DataError

FORMAT = 2
"""Version of the format; format 1 had one shard and is read as such."""
MANIFEST = "manifest.json"
"""Name of the manifest of a store that was prepared here."""
ADOPTED_SUFFIX = ".rewarm.json"
"""What the name of the manifest of adopted files ends in."""
TOKENS = "tokens.bin"
INDEX = "tokens.idx"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of a complete token store without reading its tokens."""

    vocabulary: int
    """Number of entries of the tokenizer; every id is below it."""
    end_of_text: int
    """The id that ends each document."""
    tokenizer: str
    """Fingerprint of the tokenizer, a SHA-256 in hexadecimal."""
    document_seed: int | None
    """The seed that gave the documents their order; None where they were adopted in theirs."""
    text_bytes: int | None
    """Size of the documents' text in UTF-8; None where nobody knows it."""
    provenance: Sequence[Mapping[str, Any]]
    """What the text was read from, as its source describes itself; empty if it was adopted."""
    block_bytes: int
    """Size of the blocks of the token files that have a hash each."""
    shards: Sequence[ShardRecord]
    """The shards, at least one, in the order in which they are read."""

    @property
    def tokens(self) -> int:
        """Number of tokens, end-of-text ids included."""
        return sum(shard.tokens for shard in self.shards)

    @property
    def documents(self) -> int:
        """Number of documents."""
        return sum(shard.documents for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(file.num_bytes for shard in self.shards for file in shard.files)

    @property
    def dtype(self) -> str:
        """Type in which ids are given out, whatever the shards store: `uint16` or `int32`."""
        return token_type(self.vocabulary)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what the tokens are: type, counts, tokenizer, file hashes; never paths."""
        identity: dict[str, Any] = {
            "vocabulary": self.vocabulary,
            "end_of_text": self.end_of_text,
            "tokenizer": self.tokenizer,
        }
        first, *others = self.shards
        names = [file.name for file in first.files]
        if not others and names == [TOKENS, INDEX]:  # the formula of stores prepared here
            identity |= {
                "dtype": first.dtype,
                "documents": first.documents,
                "tokens": first.tokens,
                "files": {file.name: file.xxh3_128 for file in first.files},
            }
        else:
            identity["shards"] = [
                {
                    "layout": shard.layout,
                    "dtype": shard.dtype,
                    "documents": shard.documents,
                    "tokens": shard.tokens,
                    "files": [file.xxh3_128 for file in shard.files],
                }
                for shard in self.shards
            ]
        return hashlib.sha256(canonical(identity)).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the one file content that stands for this manifest."""
        return sealed(
            {
                "format": FORMAT,
                "vocabulary": self.vocabulary,
                "end_of_text": self.end_of_text,
                "tokenizer": self.tokenizer,
                "document_seed": self.document_seed,
                "text_bytes": self.text_bytes,
                "provenance": [dict(entry) for entry in self.provenance],
                "block_bytes": self.block_bytes,
                "shards": [shard.to_json() for shard in self.shards],
            }
        )


def canonical(content: object) -> bytes:
    """Return the JSON of which hashes are taken."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return the content of a JSON file that has the hash of what it says inside."""
    digest = hashlib.sha256(canonical(content)).hexdigest()
    return json.dumps({**content, "sha256": digest}, indent=1, sort_keys=True).encode() + b"\n"


def unsealed(raw: bytes) -> dict[str, Any]:
    """Return what was sealed, if the hash fits and the bytes are the only ones that stand for it.

    Raises:
        ValueError: what is wrong, in words.
    """
    try:
        content: object = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from error
    if not is_table(content):
        raise ValueError("it is not a table")
    content.pop("sha256", None)
    if sealed(content) != raw:
        raise ValueError("its own hash does not fit its content")
    return content


def is_table(value: object) -> TypeGuard[dict[str, Any]]:
    """Say whether a JSON value is a table; JSON's keys are always text."""
    return isinstance(value, dict)


def manifest_path(place: Path) -> Path:
    """Return the manifest that is meant by a folder or by the manifest itself.

    Args:
        place: a manifest; or a folder with one, prepared or adopted.

    Raises:
        DataError: the folder has none, or several.
    """
    if not place.is_dir():
        return place
    prepared = place / MANIFEST
    found = sorted(place.glob(f"*{ADOPTED_SUFFIX}"))
    if prepared.exists() or prepared.is_symlink() or not found:
        return prepared
    if len(found) > 1:
        raise DataError(
            f"{place}: holds {len(found)} manifests, so it is not clear which is meant. Name one:"
            f" {', '.join(path.name for path in found)}."
        )
    return found[0]


def remedy(manifest: Path) -> str:
    """Return what to do about a damaged store."""
    folder = manifest.parent
    if manifest.name == MANIFEST:
        return (
            f"Restore {folder} from a copy, or delete that folder and run `rewarm prepare` to make"
            " it again."
        )
    return (
        f"Restore it from a copy. If {folder} holds other tokens on purpose, delete {manifest.name}"
        " and run `rewarm adopt` again."
    )
