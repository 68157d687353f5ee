"""The fast encoder: tiktoken, fed with what a `tokenizer.json` says.

It gives the ids of the reference, which is the library that the file is made for, at several times
the speed. Files that it could not follow to the letter are refused, with the reason.

Why merging by tiktoken is the same. The reference merges listed pairs, tiktoken any two neighbours
that make an entry, both the earliest entry first. `_ranks` sees to it that each entry is listed as
one pair, behind its two halves, and `_check_entries` that the reference makes each entry's text
that one entry. Merges inside a piece of text do not depend on what is around it. So the moment
before an entry is made, its text is always the one listed pair.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tiktoken
from numpy.typing import NDArray

from rewarm.data.index import token_dtype
from rewarm.data.split_patterns import in_two_groups, split_pattern
from rewarm.data.tokenizer import Tokenizer
from rewarm.errors import DataError

_NUM_BYTES = 256
# Between texts that are encoded together. It is in none of them, since every source refuses NUL, and
# with a NUL at both ends no normaliser joins it to what is around it.
_BORDER = "\0\1\0"
# tiktoken keeps its place for every character of a run of white space, and gives up at about a
# million. A run of twice this length covers a whole block of it.
_BLANK_CHARACTERS = 1 << 13


@dataclass(frozen=True, kw_only=True)
class TiktokenEncoder:
    """A tokenizer's ids by way of tiktoken. Make one with `tiktoken_encoder`."""

    tokenizer: Tokenizer
    """The reference; also encodes texts that tiktoken cannot take."""
    _encoding: tiktoken.Encoding = field(repr=False)
    _ids: NDArray[Any] = field(repr=False)
    """The id of each rank; of the border of two texts the end of text."""
    _added: Mapping[str, int] = field(repr=False)
    """Added tokens that are looked for in the text, and their ids."""
    _split_added: re.Pattern[str] | None = field(repr=False)
    _to_nfc: bool

    def encode(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Return the ids of each text, without an end of text; as `Tokenizer.encode`.

        Args:
            texts: without NUL.
        """
        together = _BORDER.join(texts)
        if len(texts) < 2 or _has_long_blank(together):
            return [self._encode_one(text) for text in texts]
        # In one call, during which other threads can work.
        ids = self._encode_one(together)
        borders = np.flatnonzero(ids == self._ids[-1]).tolist()
        starts = [0, *(border + 1 for border in borders)]
        return [ids[start:stop] for start, stop in zip(starts, [*borders, len(ids)], strict=True)]

    def _encode_one(self, text: str) -> NDArray[Any]:
        """Return the ids of one text."""
        if _has_long_blank(text):
            return self.tokenizer.encode([text])[0]
        if self._to_nfc and not unicodedata.is_normalized("NFC", text):
            # By the library itself: Python's tables may be of another version of Unicode.
            text = self.tokenizer.backend.normalizer.normalize_str(text)
        if self._split_added is None:
            return self._merged(text)
        parts = [*self._in_parts(text, self._split_added)]
        return np.concatenate(parts) if parts else self._ids[:0]

    def _in_parts(self, text: str, split_added: re.Pattern[str]) -> Iterator[NDArray[Any]]:
        """Yield the ids of what lies between added tokens, and theirs."""
        for number, part in enumerate(split_added.split(text)):
            if number % 2:
                yield np.array([self._added[part]], self._ids.dtype)
            elif part:
                yield self._merged(part)

    def _merged(self, text: str) -> NDArray[Any]:
        """Return the ids of text without added tokens."""
        ranks = self._encoding.encode_to_numpy(
            text, allowed_special={_BORDER}, disallowed_special=()
        )
        return self._ids[ranks]


def _has_long_blank(text: str) -> bool:
    """Say whether there is a very long run of white space; none of 16 Ki characters is missed."""
    return any(
        text[start : start + _BLANK_CHARACTERS].isspace()
        for start in range(0, len(text) - _BLANK_CHARACTERS + 1, _BLANK_CHARACTERS)
    )


def tiktoken_encoder(tokenizer: Tokenizer) -> TiktokenEncoder:
    """Return the fast encoder of a tokenizer.

    Raises:
        DataError: it has something that tiktoken does not do, or not in the same way.
    """
    content = tokenizer.content
    pattern = split_pattern(content)
    if pattern is None:
        raise _cannot(tokenizer, "it splits text in a way that is not among the known ones")
    normalizer = (content["normalizer"] or {"type": None})["type"]
    if normalizer not in {None, "NFC"}:
        raise _cannot(tokenizer, f"its normaliser is {normalizer}, not NFC or none")
    added = _findable(tokenizer, content["added_tokens"], normalizer)
    ranks = _ranks(tokenizer, content["model"])
    _check_entries(tokenizer, ranks)
    ids = [content["model"]["vocab"][entry] for entry in ranks]
    if tokenizer.end_of_text in {*ids, *added.values()}:
        raise _cannot(tokenizer, "its end-of-text id is also that of a text")
    return TiktokenEncoder(
        tokenizer=tokenizer,
        _encoding=tiktoken.Encoding(
            "rewarm",
            pat_str=in_two_groups(pattern),
            mergeable_ranks={_as_bytes(entry): rank for entry, rank in ranks.items()},
            special_tokens={_BORDER: len(ranks)},
        ),
        _ids=np.array([*ids, tokenizer.end_of_text], token_dtype(tokenizer.vocabulary)),
        _added=added,
        _split_added=_alternatives(added) if added else None,
        _to_nfc=normalizer == "NFC",
    )


def _cannot(tokenizer: Tokenizer, reason: str) -> DataError:
    """Return the error for a tokenizer that tiktoken cannot follow."""
    return DataError(
        f"{tokenizer.path}: tiktoken cannot encode for it: {reason}. Use the reference encoder."
    )


def _findable(
    tokenizer: Tokenizer, added: Sequence[Mapping[str, Any]], normalizer: str | None
) -> dict[str, int]:
    """Return the added tokens that the reference finds in text: those that are not special."""
    found = [token for token in added if not token["special"]]
    for token in found:
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise _cannot(
                tokenizer, f"the added token {token['content']!r} takes in what is round it"
            )
        if not token["content"].isascii() or token["normalized"] != (normalizer == "NFC"):
            raise _cannot(
                tokenizer,
                f"the added token {token['content']!r} is not ASCII, or is looked for at another"
                " time than text is normalised",
            )
    texts = [token["content"] for token in found]
    for token in added:
        if token["special"] and any(_overlap(token["content"], text) for text in texts):
            raise _cannot(tokenizer, f"the special token {token['content']!r} overlaps with others")
    return {token["content"]: token["id"] for token in found}


def _overlap(special: str, text: str) -> bool:
    """Say whether two tokens have a character in common, so that one could hide the other."""
    return not set(special).isdisjoint(text)


def _alternatives(added: Mapping[str, int]) -> re.Pattern[str]:
    """Return what finds the leftmost added token, and the longest of those."""
    longest_first = sorted(added, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})")


def _ranks(tokenizer: Tokenizer, model: Mapping[str, Any]) -> dict[str, int]:
    """Return the entries that merging can make, in the order in which it makes them."""
    if model["type"] != "BPE":
        raise _cannot(tokenizer, f"it is a {model['type']} model, not BPE")
    for option in ("ignore_merges", "byte_fallback", "continuing_subword_prefix", "dropout"):
        if model[option]:
            raise _cannot(tokenizer, f"it sets {option}")
    if model["end_of_word_suffix"]:
        raise _cannot(tokenizer, "it sets end_of_word_suffix")
    ranks = {character: rank for rank, character in enumerate(_CHARACTERS)}
    if missing := [each for each in ranks if each not in model["vocab"]]:
        raise _cannot(
            tokenizer, f"{len(missing)} of the {_NUM_BYTES} bytes are not in its vocabulary"
        )
    for left, right in model["merges"]:
        if left not in ranks or right not in ranks:
            raise _cannot(tokenizer, f"it merges {left!r} and {right!r} before it makes both")
        if left + right in ranks:
            raise _cannot(tokenizer, f"it merges {left + right!r} from more than one pair")
        ranks[left + right] = len(ranks)
    return ranks


def _check_entries(tokenizer: Tokenizer, ranks: Mapping[str, int]) -> None:
    """Refuse an entry that merging its own bytes would not give: tiktoken looks those up whole."""
    merge = tokenizer.backend.model.tokenize
    for entry in ranks:
        if [token.value for token in merge(entry)] != [entry]:
            raise _cannot(tokenizer, f"merging the bytes of {entry!r} does not give that entry")


def _characters() -> list[str]:
    """Return the character that stands for each byte in a byte-level vocabulary.

    Printable ones stand for themselves; the others are numbered from U+0100 on. Source: GPT-2.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(_NUM_BYTES)]


_CHARACTERS = _characters()
_BYTES = str.maketrans({character: chr(byte) for byte, character in enumerate(_CHARACTERS)})


def _as_bytes(entry: str) -> bytes:
    """Return the bytes of an entry of the vocabulary."""
    return entry.translate(_BYTES).encode("latin-1")
