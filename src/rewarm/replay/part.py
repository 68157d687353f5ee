"""Parts of a source: a range of its tokens, one of several equal pieces of that, so many tokens of the piece.

A part is a function from its own windows, counted from 0, to those of the whole source. It keeps their
stored order, so that an order of a part reads the disk as the same order of the whole would. Which windows
it has depends on their number alone: not on a seed, nor on what the source is called.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rewarm.errors import DataError
from rewarm.replay.permutation import Numbers, derive_key, keyed_number

_PIECE_KEY = derive_key("rewarm", "piece")
_SAMPLE_KEY = derive_key("rewarm", "sample")


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows of a part, in their stored order: a range, a piece of the range, a sample of the piece.

    The range is cut into groups of as many neighbours as there are pieces. Every piece has one window of each
    group, turned by a random number; of a last group that is not full only the first pieces have one. For a
    sample of M the piece is cut into M strata of equal size, or of one more, and one window is drawn from each.
    So pieces and samples stand for the whole range, whatever its order, and more evenly than if every window
    were drawn without regard to the others.

    >>> pieces = [Windows(first=0, span=10, piece=k, num_pieces=3) for k in range(3)]
    >>> [[piece(index) for index in range(piece.length)] for piece in pieces]
    [[0, 5, 6, 9], [1, 3, 7], [2, 4, 8]]
    """

    first: int
    """The first window of the range."""
    span: int
    """How many windows the range has."""
    piece: int = 0
    """Which piece of the range, from 0."""
    num_pieces: int = 1
    """How many pieces the range is divided into."""
    sample: int | None = None
    """How many windows of the piece are used, from 1 to as many as it has; None for all."""

    @cached_property
    def piece_length(self) -> int:
        """Windows of the piece."""
        return self.span // self.num_pieces + (self.piece < self.span % self.num_pieces)

    @property
    def length(self) -> int:
        """Windows of the part."""
        return self.piece_length if self.sample is None else self.sample

    def __call__(self, index: Numbers) -> Numbers:
        """Return the source's window that is the part's `index`-th, counted from 0.

        Args:
            index: below `length`.
        """
        if self.length < self.piece_length:
            start, end = self._stratum_start(index), self._stratum_start(index + 1)
            index = start + keyed_number(_SAMPLE_KEY, index) % (end - start)
        if self.num_pieces > 1:
            start = index * self.num_pieces
            size = _smaller(self.num_pieces, self.span - start)
            turn = keyed_number(_PIECE_KEY, index) % size
            index = start + (self.piece + turn) % size
        return self.first + index

    def _stratum_start(self, index: Numbers) -> Numbers:
        """Return where a stratum of the sample begins; the first ones are those with one more."""
        size, num_larger = divmod(self.piece_length, self.length)
        return index * size + _smaller(index, num_larger)


def _smaller(a: Numbers, b: Numbers) -> Numbers:
    """Return the smaller of two, also for arrays of numbers without sign, where one may be a whole number."""
    return a - (a > b) * (a - b)


@dataclass(frozen=True, kw_only=True)
class SourcePart:
    """Which part of a source is read, in tokens; the whole of it by default.

    >>> SourcePart(end_token=100, piece=1, num_pieces=2).windows("english", 50, sequence_length=4).length
    12
    """

    start_token: int = 0
    """Where the range begins. A window is in the range in which its first token is."""
    end_token: int | None = None
    """The token behind the range; None for the source's end."""
    piece: int = 0
    """Which of the equal pieces of the range, from 0."""
    num_pieces: int = 1
    """How many pieces there are."""
    use_tokens: int | None = None
    """How many tokens of the piece are used; None for all."""

    def windows(self, source: str, num_windows: int, sequence_length: int) -> Windows:
        """Return the windows of the part.

        Args:
            source: its name, for messages.
            num_windows: how many windows the whole source has.
            sequence_length: tokens of a window.

        Raises:
            DataError: the part goes beyond the source, or is less than one window.
        """
        first = -(-self.start_token // sequence_length)
        end = num_windows
        if self.end_token is not None:
            # The tokens behind the last whole window belong to the source too.
            if self.end_token > (num_windows + 1) * sequence_length:
                raise DataError(
                    f"data.{source}: range ends at token {self.end_token:,}, but there are only "
                    f"{num_windows * sequence_length:,}; end it there, or add text"
                )
            end = min(end, -(-self.end_token // sequence_length))
        windows = Windows(
            first=first, span=max(0, end - first), piece=self.piece, num_pieces=self.num_pieces
        )
        there = windows.length * sequence_length
        if windows.length < 1:
            raise DataError(
                f"data.{source}: of {num_windows:,} sequences of {sequence_length:,} tokens its part has none "
                f"({self}); make the range or the piece larger, or add text"
            )
        if self.use_tokens is None:
            return windows
        sample = self.use_tokens // sequence_length
        if not 1 <= sample <= windows.length:
            raise DataError(
                f"data.{source}: use asks for {self.use_tokens:,} tokens in sequences of {sequence_length:,}; "
                f"there must be one sequence at least, and there are {there:,} tokens to choose from"
            )
        return Windows(
            first=first,
            span=windows.span,
            piece=self.piece,
            num_pieces=self.num_pieces,
            sample=sample,
        )

    def to_json(self) -> dict[str, Any]:
        """Describe how the part differs from the whole; the whole itself as nothing."""
        described: dict[str, Any] = {}
        if (self.start_token, self.end_token) != (0, None):
            described["range"] = [self.start_token, self.end_token]
        if self.num_pieces > 1:
            described["split"] = [self.piece, self.num_pieces]
        if self.use_tokens is not None:
            described["use"] = self.use_tokens
        return described

    def __str__(self) -> str:
        end = "the end" if self.end_token is None else f"{self.end_token:,}"
        return f"tokens {self.start_token:,} to {end}, piece {self.piece + 1} of {self.num_pieces}"
