"""Which encoder turns text into ids: the reference, or a fast one that has shown to be its equal.

The ids are the same either way. The fast one is compared with the reference before it is used, on
hard cases and on the first documents, and then on a document of every chunk.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from rewarm.data.documents import Document
from rewarm.data.split_patterns import last_border
from rewarm.data.tiktoken_encoder import tiktoken_encoder
from rewarm.data.tokenizer import Tokenizer
from rewarm.errors import DataError

EncoderName = Literal["reference", "tiktoken"]
"""`reference`: the library that `tokenizer.json` is made for; `tiktoken`: several times as fast."""
Wanted = Literal["auto", "reference", "tiktoken"]
"""`auto`: tiktoken where it has the same ids, else the reference."""

_SAMPLE_CHARACTERS = 1 << 18
_SPOT_CHARACTERS = 1 << 13
_NUM_DRAWN = 300


def as_wanted(name: str) -> Wanted:
    """Return the option that a user wrote.

    Raises:
        DataError: there is no such encoder.
    """
    for wanted in get_args(Wanted):
        if name == wanted:
            return wanted
    raise DataError(f"--encoder {name}: there is {', '.join(get_args(Wanted))}.")


class Encoder(Protocol):
    """What turns texts into ids."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Return the ids of each text, without an end of text, in the type of the store."""
        ...


@dataclass(frozen=True)
class EncoderChoice:
    """Which encoder is used, and why not the fast one."""

    name: EncoderName
    """The encoder."""
    reason: str | None = None
    """Why it is the reference although the fast one was looked at first; else None."""


@lru_cache(maxsize=2)
def make_encoder(tokenizer: Tokenizer, name: EncoderName) -> Encoder:
    """Return an encoder of a tokenizer.

    Raises:
        DataError: tiktoken cannot encode for it.
    """
    return tokenizer if name == "reference" else tiktoken_encoder(tokenizer)


def choose_encoder(
    tokenizer: Tokenizer, documents: Iterable[Document], wanted: Wanted
) -> EncoderChoice:
    """Choose the encoder of a split, comparing the fast one on hard cases and on its first text.

    Args:
        tokenizer: the reference.
        documents: the split's; about 256 Ki characters are read.
        wanted: what the user asks for.

    Raises:
        DataError: tiktoken is asked for, but cannot encode for this tokenizer or has other ids;
            or the text cannot be used.
    """
    if wanted == "reference":
        return EncoderChoice("reference")
    texts = [*_hard_cases(tokenizer), *_first_texts(documents)]
    try:
        fast = make_encoder(tokenizer, "tiktoken")
        for text in texts:
            _compare(tokenizer, fast, text)
    except DataError as error:
        if wanted == "tiktoken":
            raise
        return EncoderChoice("reference", str(error))
    return EncoderChoice("tiktoken")


def check_spot(tokenizer: Tokenizer, text: str, ids: NDArray[Any]) -> None:
    """Compare the ids of a text, or of the start of a long one, with the reference.

    Raises:
        DataError: they differ.
    """
    if len(text) > _SPOT_CHARACTERS:
        border = last_border(text, 1, _SPOT_CHARACTERS)
        if border is None:
            return
        text = text[:border]
    (expected,) = tokenizer.encode([text])
    if not np.array_equal(ids[: len(expected)], expected):
        raise _differs(tokenizer, text)


def _compare(tokenizer: Tokenizer, fast: Encoder, text: str) -> None:
    """Compare two encoders on one text."""
    if not np.array_equal(fast.encode([text])[0], tokenizer.encode([text])[0]):
        raise _differs(tokenizer, text)


def _differs(tokenizer: Tokenizer, text: str) -> DataError:
    """Return the error for a text of which the ids differ."""
    return DataError(
        f"{tokenizer.path}: tiktoken has other ids than the reference for the text that begins"
        f" {text[:40]!r}. Use the reference: `--encoder reference`."
    )


def _first_texts(documents: Iterable[Document]) -> Iterable[str]:
    """Yield the first texts of a split, the last one cut short."""
    left = _SAMPLE_CHARACTERS
    for document in documents:
        yield document.text[:left]
        left -= len(document.text)
        if left <= 0:
            return


_HARD = (
    "it's IT'S they'LL 've'D 'ſ don’t 'Re''s's",
    "a  b   c\t\td \n e\n\n\nf\r\n\r\ng \u00a0 \u2003\u2028\u0085\x0b\x0c\x1c\x1d \u180e\u200b\ufeff ",
    "1 12 123 1234 12345678 ٣٤٥ ²³ ½ Ⅳ 一二三 𝟘𝟙",
    "e\u0301 \u0301 ü u\u0308 Å \u212b ﬁ \u1100\u1161\u11a8 각 \u0958 q\u0307\u0323 \u0344 \U0001d15e",
    "日本語の文章。中文，没有空格。한국어 ไทย हिन्दी العربية עברית",
    "👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 ☺️ ⃣ \U0010fffd \ue000 \u0378 \U000e0041",
    "if (x<=0){return\t-1;}//--**__##@@$$%%^^&&!!??..,,;;::''\"\"``~~||\\\\/",
    "!\n!\n\n? \r. \r\n, \n ;\n/\n/",
    "    indented\n        more\n\tand\n  \n",
    "a" * 3000 + " " * 3000 + "x" + "\n" * 3000 + "!" * 3000 + "1" * 3000,
)
"""Contractions, white space, digits, marks that combine, scripts, emoji, code, runs."""


def _hard_cases(tokenizer: Tokenizer) -> Iterable[str]:
    """Yield texts on which encoders differ if anywhere, and mixtures of them drawn at random."""
    names = [token.content for token in tokenizer.backend.get_added_tokens_decoder().values()]
    yield from _HARD
    yield "".join(f"{name} a{name}{name}b  {name}\n" for name in names)
    draw = random.Random(0)
    characters = "".join(_HARD[:-1]) + "".join(names)
    for _ in range(_NUM_DRAWN):
        yield "".join(draw.choices(characters, k=draw.randint(1, 60)))
