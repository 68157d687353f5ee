"""Token ids back to text, many documents at a time.

The text is taken from the tokens, since they are what is trained on; so it is also there for token files
that came without text. The library decodes 3 to 5 MB a second, which would be most of the work. With a
byte-level tokenizer (GPT-2, GPT-NeoX, Llama 3, Qwen) the text is the bytes of the entries one after the
other, and looking them up is 3 to 6 times as fast.
"""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray
from tokenizers import decoders

from rewarm.data.tokenizer import Tokenizer

Decode = Callable[[Sequence[NDArray[Any]]], list[str]]
"""From the ids of documents to their texts, without the end-of-text ids."""


def decoder(tokenizer: Tokenizer) -> Decode:
    """Return the fastest way to the text of ids that is exact for a tokenizer."""
    is_byte_level = isinstance(tokenizer.backend.decoder, decoders.ByteLevel)
    return _by_table(tokenizer) if is_byte_level else _by_library(tokenizer)


def _by_library(tokenizer: Tokenizer) -> Decode:
    """Leave it to the library."""

    def decode(documents: Sequence[NDArray[Any]]) -> list[str]:
        texts = [ids[ids != tokenizer.end_of_text].tolist() for ids in documents]
        return tokenizer.backend.decode_batch(texts, skip_special_tokens=False)

    return decode


def _by_table(tokenizer: Tokenizer) -> Decode:
    """Look up the bytes of each id."""
    letters = _byte_letters()
    entries = [b""] * tokenizer.vocabulary
    for entry, number in tokenizer.backend.get_vocab(with_added_tokens=True).items():
        # An added token may be written in letters that stand for no byte; it is text as it is.
        is_spelt = all(letter in letters for letter in entry)
        entries[number] = bytes(map(letters.__getitem__, entry)) if is_spelt else entry.encode()
    entries[tokenizer.end_of_text] = b""
    look_up = entries.__getitem__

    def decode(documents: Sequence[NDArray[Any]]) -> list[str]:
        return [
            b"".join(map(look_up, ids.tolist())).decode("utf-8", "replace") for ids in documents
        ]

    return decode


def _byte_letters() -> dict[str, int]:
    """Return the byte for which each letter of a byte-level vocabulary stands.

    Printable bytes of Latin-1 stand for themselves, the others are counted up from U+0100 (the byte
    alphabet of GPT-2, Radford et al. 2019).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }
