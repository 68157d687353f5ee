"""What a file holds, told by its name alone."""

from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["json lines", "text", "parquet"]
"""One JSON object a line; a whole file that is one document; a table with a column of text."""
Compression = Literal["zstd", "gzip"]

_KINDS: dict[str, Kind] = {
    ".jsonl": "json lines",
    ".json": "json lines",
    ".txt": "text",
    ".md": "text",
    ".parquet": "parquet",
}
_COMPRESSIONS: dict[str, Compression] = {".zst": "zstd", ".gz": "gzip"}

KNOWN = ".jsonl, .json, .txt and .md, each also with .zst or .gz behind it, and .parquet"
"""What is read, for messages."""


def compression_of(name: str) -> Compression | None:
    """Return how a file is compressed around its content; None if it is not.

    >>> compression_of("a.jsonl.zst"), compression_of("a.jsonl")
    ('zstd', None)
    """
    return _COMPRESSIONS.get(PurePosixPath(name).suffix)


def kind_of(name: str) -> Kind | None:
    """Return what a file holds; None if it is nothing that is read.

    >>> [kind_of(name) for name in ("a.json.gz", "s3://b/a.md", "a.parquet", "a.parquet.gz")]
    ['json lines', 'text', 'parquet', None]
    """
    path = PurePosixPath(name)
    kind = _KINDS.get(path.suffix if compression_of(name) is None else path.with_suffix("").suffix)
    return None if kind == "parquet" and compression_of(name) else kind
