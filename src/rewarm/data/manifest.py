"""What a token store is: counts, tokenizer, provenance, and a hash of every file and block.

The manifest is written last, so its presence means that the store is complete. Its bytes are a
function of its content, and its content has a SHA-256 inside: a change of any bit is noticed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

from rewarm.data.files import plain_file_size, read_plain_file, remedy
from rewarm.data.index import index_bytes, token_dtype
from rewarm.errors import DataError

FORMAT = 1
"""Version of the format; a reader refuses any other."""
MANIFEST = "manifest.json"
TOKENS = "tokens.bin"
INDEX = "tokens.idx"

_MAX_MANIFEST_BYTES = 1 << 28
_KEYS = {
    *("format", "dtype", "vocabulary", "end_of_text", "tokenizer", "document_seed", "documents"),
    *("tokens", "text_bytes", "provenance", "block_bytes", "files", "blocks", "sha256"),
}


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """Size and hash of one file of a store."""

    num_bytes: int
    """Its size; `bytes` in the file."""
    xxh3_128: str
    """XXH3 hash of its content, 128 bits in hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is known of a complete token store without reading its tokens."""

    format: int = FORMAT
    """Version of the format."""
    dtype: str
    """Type of the token ids: `uint16` or `int32`."""
    vocabulary: int
    """Number of entries of the tokenizer; every id is below it."""
    end_of_text: int
    """The id that ends each document."""
    tokenizer: str
    """Fingerprint of the tokenizer, a SHA-256 in hexadecimal."""
    document_seed: int
    """The seed that gave the documents their order."""
    documents: int
    """Number of documents, at least 1."""
    tokens: int
    """Number of tokens, end-of-text ids included."""
    text_bytes: int
    """Size of the documents' text in UTF-8."""
    provenance: Sequence[Mapping[str, Any]]
    """What the text was read from, as its source describes itself."""
    block_bytes: int
    """Size of the blocks of the token file that have a hash each."""
    files: Mapping[str, StoredFile]
    """The token file and its index, by name."""
    blocks: Sequence[str]
    """XXH3 hash of each block of the token file in order, 64 bits in hexadecimal."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what the tokens are: type, counts, tokenizer, file hashes; never paths."""
        identity = {
            "dtype": self.dtype,
            "vocabulary": self.vocabulary,
            "end_of_text": self.end_of_text,
            "tokenizer": self.tokenizer,
            "documents": self.documents,
            "tokens": self.tokens,
            "files": {name: file.xxh3_128 for name, file in self.files.items()},
        }
        return hashlib.sha256(_canonical(identity)).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the one file content that stands for this manifest."""
        content = {
            "format": self.format,
            "dtype": self.dtype,
            "vocabulary": self.vocabulary,
            "end_of_text": self.end_of_text,
            "tokenizer": self.tokenizer,
            "document_seed": self.document_seed,
            "documents": self.documents,
            "tokens": self.tokens,
            "text_bytes": self.text_bytes,
            "provenance": [dict(entry) for entry in self.provenance],
            "block_bytes": self.block_bytes,
            "files": {
                name: {"bytes": file.num_bytes, "xxh3_128": file.xxh3_128}
                for name, file in self.files.items()
            },
            "blocks": list(self.blocks),
        }
        content["sha256"] = hashlib.sha256(_canonical(content)).hexdigest()
        return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _canonical(content: object) -> bytes:
    """Return the JSON of which hashes are taken."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a token store; its files are not looked at.

    Args:
        folder: the store.

    Raises:
        DataError: there is none, it is damaged, or it was written by another version.
    """
    path = folder / MANIFEST
    if not path.exists() and not path.is_symlink():
        raise DataError(
            f"{folder}: not prepared, or the preparation was stopped; run `rewarm prepare`."
        )
    if plain_file_size(path) > _MAX_MANIFEST_BYTES:
        raise _damaged(path, "it is far too large")
    raw = read_plain_file(path)
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    manifest = _parse(path, content)
    if manifest.to_bytes() != raw:
        raise _damaged(path, "its own hash does not fit its content")
    return manifest


def _damaged(path: Path, reason: str) -> DataError:
    """Return the error for a manifest that cannot be trusted."""
    return DataError(f"{path}: damaged or changed by hand: {reason}. {remedy(path.parent)}")


def _parse(path: Path, content: object) -> Manifest:
    """Turn the JSON of a manifest into a value, checking every field."""
    if not _is_table(content):
        raise _damaged(path, "it is not a table")
    if content.get("format") != FORMAT:
        raise DataError(
            f"{path}: has format {content.get('format')!r}, this version of rewarm reads format"
            f" {FORMAT}. {remedy(path.parent)}"
        )
    if content.keys() != _KEYS:
        raise _damaged(path, f"wrong keys: {', '.join(sorted(content.keys() ^ _KEYS))}")
    provenance = content["provenance"]
    if not isinstance(provenance, list) or not all(map(_is_table, provenance)):
        raise _damaged(path, "`provenance` is not a list of tables")
    manifest = Manifest(
        dtype=_text(path, content, "dtype"),
        vocabulary=_count(path, content, "vocabulary", 1),
        end_of_text=_count(path, content, "end_of_text", 0),
        tokenizer=_text(path, content, "tokenizer"),
        document_seed=_count(path, content, "document_seed", 0),
        documents=_count(path, content, "documents", 1),
        tokens=_count(path, content, "tokens", 1),
        text_bytes=_count(path, content, "text_bytes", 0),
        provenance=provenance,
        block_bytes=_count(path, content, "block_bytes", 4),
        files=_files(path, content["files"]),
        blocks=_blocks(path, content["blocks"]),
    )
    _check_sizes(path, manifest)
    return manifest


def _is_table(value: object) -> TypeGuard[dict[str, Any]]:
    """Say whether a JSON value is a table; JSON's keys are always text."""
    return isinstance(value, dict)


def _text(path: Path, content: dict[str, Any], key: str) -> str:
    """Return a field that must be text."""
    value = content[key]
    if not isinstance(value, str) or not value:
        raise _damaged(path, f"`{key}` is {value!r}, not a text")
    return value


def _count(path: Path, content: dict[str, Any], key: str, least: int) -> int:
    """Return a field that must be a whole number of at least `least`."""
    value = content[key]
    if type(value) is not int or value < least:
        raise _damaged(path, f"`{key}` is {value!r}, not a whole number of at least {least}")
    return value


def _files(path: Path, value: object) -> dict[str, StoredFile]:
    """Return the table of files; a name that could lead out of the folder is refused."""
    if not _is_table(value):
        raise _damaged(path, "`files` is not a table")
    for name in value:
        if name in {"", ".", ".."} or any(character in name for character in "/\\\0"):
            raise _damaged(path, f"the file name {name!r} leads out of the folder")
    if value.keys() != {TOKENS, INDEX}:
        raise _damaged(path, f"`files` names {sorted(value)}, not {TOKENS} and {INDEX}")
    files: dict[str, StoredFile] = {}
    for name, entry in value.items():
        if not _is_table(entry) or entry.keys() != {"bytes", "xxh3_128"}:
            raise _damaged(path, f"the entry of {name} is not `bytes` and `xxh3_128`")
        files[name] = StoredFile(
            num_bytes=_count(path, entry, "bytes", 1), xxh3_128=_text(path, entry, "xxh3_128")
        )
    return files


def _blocks(path: Path, value: object) -> list[str]:
    """Return the hashes of the blocks."""
    if not isinstance(value, list) or not all(isinstance(block, str) for block in value):
        raise _damaged(path, "`blocks` is not a list of hashes")
    return cast("list[str]", value)


def _check_sizes(path: Path, manifest: Manifest) -> None:
    """Refuse numbers that contradict each other."""
    dtype = token_dtype(manifest.vocabulary)
    num_bytes = manifest.files[TOKENS].num_bytes
    checks = {
        "`dtype` does not fit `vocabulary`": manifest.dtype == dtype.name,
        "`end_of_text` is not in the vocabulary": manifest.end_of_text < manifest.vocabulary,
        "fewer tokens than documents": manifest.tokens >= manifest.documents,
        f"the size of {TOKENS} does not fit `tokens`": num_bytes
        == manifest.tokens * dtype.itemsize,
        f"the size of {INDEX} does not fit `documents`": manifest.files[INDEX].num_bytes
        == index_bytes(manifest.documents),
        "`block_bytes` is not a multiple of 4": manifest.block_bytes % 4 == 0,
        "the number of `blocks` does not fit": len(manifest.blocks)
        == -(-num_bytes // manifest.block_bytes),
    }
    for problem, is_fine in checks.items():
        if not is_fine:
            raise _damaged(path, problem)
