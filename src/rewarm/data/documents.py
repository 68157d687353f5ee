"""What preparation reads: documents from a source, in a fixed order.

A row that cannot be used is told to `Rejects`, which ends the work or counts it; none is left out
in silence.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, Self

from rewarm.data.rejects import Rejects
from rewarm.errors import DataError


@dataclass(frozen=True, slots=True)
class Document:
    """One text, or a piece of one, and where it is from."""

    text: str
    """The text: not empty, no NUL, and always representable in UTF-8."""
    origin: str
    """Where to find it, such as `data/a.jsonl.zst:12`."""
    read_bytes: int = 0
    """Bytes of the source's files read when this document came out; 0 where it has no files."""
    ends: bool = True
    """Whether the text ends here; if not, the next piece goes on with it."""


class TextSource(Protocol):
    """Documents in a fixed order, read anew at each call, in bounded memory."""

    def documents(self, rejects: Rejects) -> Iterator[Document]:
        """Yield every document; the same ones in the same order at each call.

        Args:
            rejects: told of every row read, and of those that cannot be used. Read through
                `read_documents`, which checks its limit at the end as well.
        """
        ...

    def describe(self) -> list[dict[str, Any]]:
        """Return what the documents come from, as tables that JSON can hold; quick to make.

        Raises:
            MissingTextError: it is not there, or cannot be reached.
        """
        ...

    def num_bytes(self) -> int | None:
        """Return what `Document.read_bytes` is at the end; None where the source has no files."""
        ...

    def part(self, number: int, of: int) -> Self:
        """Return one of `of` parts that have no document in common and together have all.

        Args:
            number: which part, from 1 to `of`.
            of: number of parts, at least 1.

        Raises:
            DataError: there is no such part, or the source cannot be cut into so many.
        """
        ...


class MissingTextError(DataError):
    """The text is not there, or cannot be reached; tokens made from it before are good without it."""


class Part(NamedTuple):
    """Every `of`-th thing of a sorted list, from the `number`-th on; all of them unless said."""

    number: int = 1
    of: int = 1

    def takes(self, index: int) -> bool:
        """Say whether the thing with this index, from 0, belongs to the part."""
        return index % self.of == self.number - 1


def part_of(whole: Part, number: int, of: int) -> Part:
    """Return a part of something that is whole so far.

    Raises:
        DataError: there is no such part.
    """
    assert whole == Part(), "parts are taken of the whole alone"
    if not 1 <= number <= of:
        raise DataError(
            f"there is no part {number} of {of}; the parts are numbered from 1 to {max(of, 1)}."
        )
    return Part(number, of)


def read_documents(source: TextSource, rejects: Rejects) -> Iterator[Document]:
    """Yield every document, and hold the bad rows against their limit.

    Raises:
        DataError: a row cannot be used and none or no more may be left out; or a file cannot be
            read. The message names the file and the line.
    """
    yield from source.documents(rejects)
    rejects.check_share()


@dataclass(frozen=True)
class Joined:
    """Several sources one after the other."""

    sources: tuple[TextSource, ...]
    """At least one."""

    def documents(self, rejects: Rejects) -> Iterator[Document]:
        """Yield the documents of each source in turn."""
        done_bytes = 0
        for source in self.sources:
            for document in source.documents(rejects):
                yield replace(document, read_bytes=done_bytes + document.read_bytes)
            done_bytes += source.num_bytes() or 0

    def describe(self) -> list[dict[str, Any]]:
        """Return what each says of itself."""
        return [entry for source in self.sources for entry in source.describe()]

    def num_bytes(self) -> int | None:
        """Return the sum; None if one has no size."""
        sizes = [source.num_bytes() for source in self.sources]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def part(self, number: int, of: int) -> Self:
        """Return that part of each source."""
        return type(self)(tuple(source.part(number, of) for source in self.sources))
