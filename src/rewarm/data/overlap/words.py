"""Text to words to 64-bit hashes: what counts as the same text in the overlap.

Text is put in lower case; what is neither letter, mark, digit nor white space is removed (`don't` is
`dont`); white space separates words. In scripts that write without spaces each character is a word.
This is the normalisation of the n-gram checks in Brown et al., "Language Models are Few-Shot Learners",
2020, appendix C, which splits English text alone. All of it is numpy, a batch of documents at a time.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import xxhash
from numpy.typing import NDArray

from rewarm.data.order import split_mix_64

_REMOVED, _SPACE, _LETTER, _WORD = range(4)
_CODE_POINTS = 0x110000
_BASE = 0x9E3779B97F4A7C15
"""Odd, so that multiplying by its powers loses nothing."""
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of some documents, as hashes."""

    hashes: NDArray[np.uint64]
    """(words,), those of all documents one after the other."""
    bounds: NDArray[np.int64]
    """(documents + 1,), where in `hashes` each document begins, and the end."""

    def digest(self, document: int) -> bytes | None:
        """Return 128 bits that stand for a document's words in order; None if it has no word."""
        first, last = self.bounds[document : document + 2]
        return xxhash.xxh3_128_digest(self.hashes[first:last].data) if first < last else None

    def ngrams(self, length: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return every run of `length` words within a document, as a hash.

        Hashes are 64 bits: of n different runs compared with m others, n·m/2⁶⁴ are expected to be taken for
        the same by mistake.

        Args:
            length: words of a run, at least 1.

        Returns:
            (runs,) the hashes in the order of the text, and (documents + 1,) where each document's begin.
        """
        runs = np.maximum(np.diff(self.bounds) - length + 1, 0)
        bounds = np.concatenate(([0], np.cumsum(runs)))
        count = max(len(self.hashes) - length + 1, 0)
        values = self.hashes[:count].copy()
        for following in range(1, length):
            values *= np.uint64(_BASE)
            values += self.hashes[following : following + count]
        first = np.repeat(self.bounds[:-1] - bounds[:-1], runs) + np.arange(bounds[-1])
        return values[first], bounds


def hash_words(texts: Sequence[str]) -> Words:
    """Return the words of documents.

    Args:
        texts: one for each document.

    >>> a, b, c = (hash_words([text]).hashes for text in ("The end!", "the END", "then d"))
    >>> a.tolist() == b.tolist(), a.tolist() == c.tolist()
    (True, False)
    """
    lowered = [text.lower() for text in texts]
    codes = np.frombuffer("\n".join(lowered).encode("utf-32-le"), "<u4")
    kinds = _kinds()[codes]
    kept = np.flatnonzero(kinds >= _LETTER)
    starts = np.flatnonzero(_begins_word(kinds, kept))
    ends = np.cumsum([len(text) + 1 for text in lowered])
    bounds = np.searchsorted(kept[starts], np.concatenate(([0], ends)))
    if not len(starts):
        return Words(hashes=np.empty(0, np.uint64), bounds=bounds)
    lengths = np.diff(starts, append=len(kept))
    place = np.arange(len(kept)) - np.repeat(starts, lengths)
    letters = _values()[codes[kept]]
    letters *= _powers(int(lengths.max()))[place]
    return Words(hashes=_mixed(np.add.reduceat(letters, starts)), bounds=bounds)


def _begins_word(kinds: NDArray[np.uint8], kept: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each kept character whether a space, or a character that is a word, lies before it."""
    spaces = np.cumsum(kinds == _SPACE, dtype=np.int32)[kept]
    is_word = kinds[kept] == _WORD
    begins = is_word.copy()
    begins[:1] = True
    begins[1:] |= (spaces[1:] != spaces[:-1]) | is_word[:-1]
    return begins


@cache
def _kinds() -> NDArray[np.uint8]:
    """Return what becomes of each code point."""
    kinds = np.full(_CODE_POINTS, _REMOVED, np.uint8)
    for code in range(_CODE_POINTS):
        character = chr(code)
        if unicodedata.category(character)[0] in "LMN":
            kinds[code] = _LETTER
        elif character.isspace():
            kinds[code] = _SPACE
    for first, last in _UNSPACED:
        block = kinds[first : last + 1]
        block[block == _LETTER] = _WORD
    return kinds


@cache
def _values() -> NDArray[np.uint64]:
    """Return 64 random bits for each code point."""
    return split_mix_64(0, _CODE_POINTS)


def _powers(count: int) -> NDArray[np.uint64]:
    """Return the first powers of the base."""
    factors = np.full(count, _BASE, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every bit over all others (the last steps of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
