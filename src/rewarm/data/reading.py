"""Reads text files piece by piece, plain or compressed, in bounded memory.

A file that is cut short, damaged or in another encoding is an error that names the file and the
line. Lines end at a line feed byte and nowhere else.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard

from rewarm.errors import DataError

MAX_TEXT_BYTES = 1 << 26
"""Longest line, and longest text file, that is accepted: 64 MiB."""

_READ_BYTES = 1 << 20
# A block of zstd has at least 4 bytes and gives at most 128 KiB, so 2 KiB give at most 64 MiB.
_ZSTD_PIECE_BYTES = 1 << 11
_BOM = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Piece(NamedTuple):
    """Some bytes of a file."""

    content: bytes
    """The bytes, decompressed."""
    read_bytes: int
    """How much of the file, as it lies on the disk, was read to get here."""


class Line(NamedTuple):
    """One line of a file."""

    number: int
    """Counted from 1."""
    content: bytes
    """Its bytes, without the line feed."""
    read_bytes: int
    """How much of the file, as it lies on the disk, was read to get here."""


def read_lines(path: Path, name: str) -> Iterator[Line]:
    """Yield the lines of a file, the empty ones too.

    Args:
        path: the file; `.zst` and `.gz` are decompressed.
        name: what to call it in messages.

    Raises:
        DataError: it cannot be read or decompressed, is UTF-16, or has a line over 64 MiB.
    """
    number = 1
    started: list[bytes] = []
    started_bytes = 0
    read_bytes = 0
    for piece in _read_pieces(path, name):
        read_bytes = piece.read_bytes
        *ends, start = piece.content.split(b"\n")
        for end in ends:
            _check_length(name, number, started_bytes + len(end))
            yield Line(number, b"".join([*started, end]), read_bytes)
            number += 1
            started, started_bytes = [], 0
        started.append(start)
        started_bytes += len(start)
        _check_length(name, number, started_bytes)
    if started_bytes:
        yield Line(number, b"".join(started), read_bytes)


def read_text(path: Path, name: str) -> str:
    """Return a whole text file as it is, line ends included.

    Args:
        path: the file; `.zst` and `.gz` are decompressed.
        name: what to call it in messages.

    Raises:
        DataError: it cannot be read or decompressed, is not UTF-8, or has over 64 MiB.
    """
    content = bytearray()
    for piece in _read_pieces(path, name):
        content += piece.content
        if len(content) > MAX_TEXT_BYTES:
            raise DataError(
                f"{name}: over {MAX_TEXT_BYTES:,} bytes, and a text file is one document. Split"
                " it into files, or write its documents as JSON lines."
            )
    return decode(bytes(content), name, 1)


def decode(content: bytes, name: str, number: int) -> str:
    """Return bytes as text.

    Args:
        content: the bytes.
        name: the file they are from.
        number: the line at which they start, counted from 1.

    Raises:
        DataError: they are not UTF-8.

    >>> decode("grün".encode(), "a.txt", 1)
    'grün'
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        number += content.count(b"\n", 0, error.start)
        raise DataError(
            f"{name}:{number}: not valid UTF-8 (byte 0x{content[error.start]:02x}:"
            f" {error.reason}). Convert the file to UTF-8."
        ) from error


def _check_length(name: str, number: int, num_bytes: int) -> None:
    """Refuse a line that is too long to hold in memory."""
    if num_bytes > MAX_TEXT_BYTES:
        raise DataError(
            f"{name}:{number}: a line of over {MAX_TEXT_BYTES:,} bytes. Split that document, or"
            " check that the file has one JSON object a line."
        )


def _read_pieces(path: Path, name: str) -> Iterator[Piece]:
    """Yield the decompressed bytes without the byte order mark; never an empty first piece."""
    pieces = _decompressed(path, name)
    head = b""
    for piece in pieces:
        head += piece.content
        if len(head) >= len(_BOM):
            yield Piece(_without_mark(head, name), piece.read_bytes)
            break
    else:
        yield Piece(_without_mark(head, name), path.stat().st_size)
    yield from pieces


def _without_mark(head: bytes, name: str) -> bytes:
    """Drop the UTF-8 byte order mark and refuse the UTF-16 ones."""
    if head.startswith(_UTF_16_MARKS):
        raise DataError(f"{name}:1: the file is UTF-16. Convert it to UTF-8.")
    return head.removeprefix(_BOM)


def _decompressed(path: Path, name: str) -> Iterator[Piece]:
    """Yield the decompressed bytes, turning every way of failing into one error."""
    try:
        match path.suffix:
            case ".zst":
                yield from _zstd_pieces(path)
            case ".gz":
                yield from _gzip_pieces(path)
            case _:
                yield from _plain_pieces(path)
    except (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise DataError(
            f"{name}: cannot be decompressed ({error}). It is damaged or cut short: fetch or"
            " compress it again."
        ) from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}).") from error


def _plain_pieces(path: Path) -> Iterator[Piece]:
    """Yield the bytes of a file."""
    with path.open("rb") as file:
        while content := file.read(_READ_BYTES):
            yield Piece(content, file.tell())


def _gzip_pieces(path: Path) -> Iterator[Piece]:
    """Yield the decompressed bytes of a gzip file."""
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
        while content := unpacked.read(_READ_BYTES):
            yield Piece(content, file.tell())


def _zstd_pieces(path: Path) -> Iterator[Piece]:
    """Yield the decompressed bytes of a zstd file of one or more frames.

    The library's stream reader takes the end of a file for the end of its data, so a file cut
    short would go unnoticed; the frames are followed here instead.
    """
    with path.open("rb") as file:
        frame: zstandard.ZstdDecompressionObj | None = None
        while content := file.read(_ZSTD_PIECE_BYTES):
            while content:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                unpacked = frame.decompress(content)
                content = frame.unused_data
                if frame.eof:
                    frame = None
                if unpacked:
                    yield Piece(unpacked, file.tell())
        if frame is not None:
            raise EOFError("the last frame has no end")
