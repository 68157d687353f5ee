"""Reads text files piece by piece, plain or compressed, in bounded memory.

A file that is cut short or damaged is an error that names it. Lines end at a line feed byte and
nowhere else.
"""

import gzip
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import zstandard

from rewarm.data.rejects import BadRow
from rewarm.data.sources.files import SourceFile
from rewarm.data.sources.formats import compression_of
from rewarm.errors import DataError

MAX_TEXT_BYTES = 1 << 26
"""Longest line that is accepted, and longest text file that is given out whole: 64 MiB."""
PIECE_BYTES = 1 << 24
"""Longest piece of a longer text file: 16 MiB."""

_READ_BYTES = 1 << 20
# A block of zstd has at least 4 bytes and gives at most 128 KiB, so 2 KiB give at most 64 MiB.
_ZSTD_PIECE_BYTES = 1 << 11
_BOM = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_MAX_CHARACTER_BYTES = 4


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
    """Its bytes, without the line feed; none of a line that is too long."""
    read_bytes: int
    """How much of the file, as it lies on the disk, was read to get here."""
    is_too_long: bool = False
    """Whether it has over `MAX_TEXT_BYTES`."""


class TextPiece(NamedTuple):
    """A text file, or a piece of one."""

    text: str
    """Its text as it is, line ends included."""
    read_bytes: int
    """How much of the file, as it lies on the disk, was read to get here."""
    ends: bool
    """Whether the file ends here."""


def read_lines(file: SourceFile) -> Iterator[Line]:
    """Yield the lines of a file, the empty ones too.

    Raises:
        DataError: it cannot be read or decompressed, or is UTF-16.
    """
    number = 1
    started: list[bytes] = []
    num_bytes = read_bytes = 0
    for piece in _read_pieces(file):
        read_bytes = piece.read_bytes
        *ends, start = piece.content.split(b"\n")
        for end in ends:
            yield _line(number, [*started, end], num_bytes + len(end), read_bytes)
            number += 1
            started, num_bytes = [], 0
        num_bytes += len(start)
        started.append(start)
        if num_bytes > MAX_TEXT_BYTES:
            started.clear()
    if num_bytes:
        yield _line(number, started, num_bytes, read_bytes)


def _line(number: int, parts: list[bytes], num_bytes: int, read_bytes: int) -> Line:
    """Return a line, without its content if it is too long."""
    if num_bytes > MAX_TEXT_BYTES:
        return Line(number, b"", read_bytes, is_too_long=True)
    return Line(number, b"".join(parts), read_bytes)


def read_text(file: SourceFile) -> Iterator[TextPiece]:
    """Yield a text file whole, or in pieces of at most 16 MiB if it has over 64 MiB.

    Where it is cut depends on the text alone.

    Raises:
        BadRow: it is not UTF-8.
        DataError: it cannot be read or decompressed.
    """
    started = bytearray()
    is_long = False
    number = 1
    read_bytes = 0
    for piece in _read_pieces(file):
        started += piece.content
        read_bytes = piece.read_bytes
        is_long = is_long or len(started) > MAX_TEXT_BYTES
        while is_long and len(started) > PIECE_BYTES:
            cut = _character_border(started, PIECE_BYTES)
            text = decode(bytes(started[:cut]), file.name, number)
            yield TextPiece(text, read_bytes, ends=False)
            number += text.count("\n")
            del started[:cut]
    yield TextPiece(decode(bytes(started), file.name, number), read_bytes, ends=True)


def _character_border(content: bytearray, most: int) -> int:
    """Return the last place up to `most` where a character of UTF-8 can begin."""
    for place in range(most, most - _MAX_CHARACTER_BYTES, -1):
        if content[place] & 0b1100_0000 != 0b1000_0000:
            return place
    return most  # no UTF-8 either way; decoding says so


def decode(content: bytes, name: str, number: int) -> str:
    """Return bytes as text.

    Args:
        content: the bytes.
        name: the file they are from.
        number: the line at which they start, counted from 1.

    Raises:
        BadRow: they are not UTF-8.

    >>> decode("grün".encode(), "a.txt", 1)
    'grün'
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        number += content.count(b"\n", 0, error.start)
        raise BadRow(
            "not UTF-8",
            f"{name}:{number}",
            f"not valid UTF-8 (byte 0x{content[error.start]:02x}: {error.reason}). Convert the"
            " file to UTF-8.",
        ) from error


def _read_pieces(file: SourceFile) -> Iterator[Piece]:
    """Yield the decompressed bytes without the byte order mark; never an empty first piece."""
    pieces = _decompressed(file)
    head = b""
    for piece in pieces:
        head += piece.content
        if len(head) >= len(_BOM):
            yield Piece(_without_mark(head, file.name), piece.read_bytes)
            break
    else:
        yield Piece(_without_mark(head, file.name), file.num_bytes)
    yield from pieces


def _without_mark(head: bytes, name: str) -> bytes:
    """Drop the UTF-8 byte order mark and refuse the UTF-16 ones."""
    if head.startswith(_UTF_16_MARKS):
        raise DataError(f"{name}:1: the file is UTF-16. Convert it to UTF-8.")
    return head.removeprefix(_BOM)


def _decompressed(file: SourceFile) -> Iterator[Piece]:
    """Yield the decompressed bytes, turning every way of failing into one error."""
    try:
        match compression_of(file.name):
            case "zstd":
                yield from _zstd_pieces(file)
            case "gzip":
                yield from _gzip_pieces(file)
            case None:
                yield from _plain_pieces(file)
    except (zstandard.ZstdError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise DataError(
            f"{file.name}: cannot be decompressed ({error}). It is damaged or cut short: fetch or"
            " compress it again."
        ) from error
    except OSError as error:
        raise DataError(f"{file.name}: cannot be read ({error.strerror or error}).") from error


def _plain_pieces(source: SourceFile) -> Iterator[Piece]:
    """Yield the bytes of a file."""
    with source.open() as file:
        while content := file.read(_READ_BYTES):
            yield Piece(content, file.tell())


def _gzip_pieces(source: SourceFile) -> Iterator[Piece]:
    """Yield the decompressed bytes of a gzip file."""
    with source.open() as file, gzip.GzipFile(fileobj=file) as unpacked:
        while content := unpacked.read(_READ_BYTES):
            yield Piece(content, file.tell())


def _zstd_pieces(source: SourceFile) -> Iterator[Piece]:
    """Yield the decompressed bytes of a zstd file of one or more frames.

    The library's stream reader takes the end of a file for the end of its data, so a file cut
    short would go unnoticed; the frames are followed here instead.
    """
    with source.open() as file:
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
