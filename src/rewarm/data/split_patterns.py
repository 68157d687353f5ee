"""Which split pattern a tokenizer has, and where a text may be cut without changing its ids.

Byte-level tokenizers split text by one regular expression and merge only inside what it matches.
All patterns known here split between a letter or digit and the white space behind it. A text that
is cut there has the ids of its parts end to end.
"""

import re
from collections.abc import Mapping
from typing import Any

GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2, GPT-NeoX and Pythia, and every BPE trained here; what `ByteLevel` means by itself."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_SPACE = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA_3 = _CONTRACTIONS + r"\p{N}{1,3}" + _SPACE
"""GPT-4, Llama 3, OLMo 2: digits in groups of up to three."""
QWEN_2 = _CONTRACTIONS + r"\p{N}" + _SPACE
"""Qwen 2 and 3: digits one by one."""

# Letters and digits that have been so since the first versions of Unicode: ASCII, Latin, Greek,
# Cyrillic, Hebrew, Arabic, Devanagari, kana, Chinese characters, Hangul.
_LETTER = (
    r"0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0391-\u03a1\u03a3-\u03a9\u03b1-\u03c9"
    r"\u0410-\u044f\u05d0-\u05ea\u0621-\u063a\u0641-\u064a\u0905-\u0939\u3041-\u3096\u30a1-\u30fa"
    r"\u4e00-\u9fa5\uac00-\ud7a3"
)
# Behind a letter and before white space; or behind a line feed that stands alone, before a letter.
_BORDER = re.compile(rf"(?<=[{_LETTER}])(?=[ \n])|(?<=\S\n)(?=[{_LETTER}])")
_LOOK_AHEAD = r"\s+(?!\S)"
_FIRST_WINDOW = 1 << 10


def split_pattern(content: Mapping[str, Any]) -> str | None:
    """Return the regular expression by which a tokenizer splits text.

    Args:
        content: its `tokenizer.json`.

    Returns:
        One of the patterns of this module; None if it splits in any other way.
    """
    match content.get("pre_tokenizer"):
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return GPT_2
        case {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": pattern},
                    "behavior": behavior,
                    "invert": invert,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        } if (behavior, invert) in {("Isolated", False), ("Removed", True)}:
            return pattern if pattern in {GPT_2, LLAMA_3, QWEN_2} else None
        case _:
            return None


def in_two_groups(pattern: str) -> str:
    r"""Return one of the patterns of this module, written so that tiktoken matches it faster.

    It means the same. tiktoken's regular expressions try the alternatives next to a look-ahead one by
    one; those in a group without one are a single search of a finite automaton.

    >>> in_two_groups(GPT_2).endswith(r"|(?:\s+(?!\S)|\s+)")
    True
    """
    before, look_ahead, behind = pattern.partition(_LOOK_AHEAD)
    return f"(?:{before.removesuffix('|')})|(?:{look_ahead}{behind})"


def can_be_cut(content: Mapping[str, Any]) -> bool:
    """Say whether a text with a `tokenizer.json`'s ids may be cut at the borders of `last_border`.

    Not where the split is another, where a normaliser may reach over a border, or where an added
    token may lie across one.
    """
    return (
        split_pattern(content) is not None
        and (content.get("normalizer") or {"type": "NFC"}).get("type") == "NFC"
        and not any(_may_cross(token) for token in content.get("added_tokens") or ())
    )


def _may_cross(token: Mapping[str, Any]) -> bool:
    """Say whether an added token may be found across a border; special ones are never found."""
    text = token["content"]
    is_plain = text.isspace() or not re.search(r"\s", text)
    takes_more = token["lstrip"] or token["rstrip"] or token["single_word"]
    return not token["special"] and (takes_more or not is_plain)


def last_border(text: str, start: int, stop: int) -> int | None:
    """Return the last place in [start, stop) where a text may be cut, or None.

    What is left of it and what is right of it have together the ids of the whole.

    >>> last_border("warm again", 1, 10), last_border("warm", 1, 4)
    (4, None)
    """
    window = _FIRST_WINDOW
    while True:
        first = max(start, stop - window)
        borders = [
            found.start() for found in _BORDER.finditer(text, first, min(stop + 1, len(text)))
        ]
        inside = [border for border in borders if first <= border < stop]
        if inside or first == start:
            return inside[-1] if inside else None
        window *= 16


def first_border(text: str, start: int) -> int | None:
    """Return the first place from `start` on where a text may be cut, or None."""
    found = _BORDER.search(text, start)
    return None if found is None else found.start()
