"""Text to token ids and back: any `tokenizer.json`, or a byte-level BPE trained here.

Text is only ever text: the name of a special token inside a document is encoded letter by letter,
and the one special id in the output is the end-of-text id behind each document.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from rewarm.data.files import make_folder
from rewarm.data.index import token_dtype
from rewarm.errors import DataError
from rewarm.storage import write_whole

END_OF_TEXT = "<|endoftext|>"
"""Name of the end-of-text token unless another is given: that of GPT-2 and GPT-NeoX."""

_MIN_PAIR_COUNT = 2
_NUM_BYTES = 256


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A tokenizer and what identifies it. Make one with `load_tokenizer` or `train_tokenizer`."""

    path: Path
    """The `tokenizer.json`."""
    vocabulary: int
    """Number of entries, added tokens included: the highest id + 1."""
    end_of_text: int
    """The id behind each document."""
    end_of_text_token: str
    """The name of that id."""
    fingerprint: str
    """SHA-256 of the file's content, whatever its formatting."""
    backend: tokenizers.Tokenizer = field(repr=False, compare=False)
    """The library's tokenizer, set up to take text as text."""

    @cached_property
    def content(self) -> dict[str, Any]:
        """The `tokenizer.json` as the library writes it: whole, and in one spelling."""
        return json.loads(self.backend.to_str())

    def encode(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Return the ids of each text, without an end of text.

        Args:
            texts: representable in UTF-8, so without lone surrogates.

        Returns:
            An array for each text, uint16 if the vocabulary has at most 65,536 entries, else
            int32.
        """
        dtype = token_dtype(self.vocabulary)
        encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, dtype) for encoding in encodings]

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Return the ids of each text and the end-of-text id behind them; as `encode`."""
        return [np.append(ids, ids.dtype.type(self.end_of_text)) for ids in self.encode(texts)]

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """Return the text of ids; special tokens show by name."""
        return self.backend.decode([int(each) for each in ids], skip_special_tokens=False)


def load_tokenizer(path: Path, end_of_text: str = END_OF_TEXT) -> Tokenizer:
    """Load a `tokenizer.json`; the one that was loaded last is not parsed again.

    Truncation and padding that it asks for are switched off: they would change the text.

    Args:
        path: the file.
        end_of_text: the name of its end-of-text token.

    Raises:
        DataError: it cannot be read, has no such token, or would not give the same ids each time.
    """
    try:
        return _loaded(path, path.read_text(encoding="utf-8"), end_of_text)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}). Name a tokenizer.json, or train one."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a tokenizer.json: {error}.") from error


@lru_cache(maxsize=1)
def _loaded(path: Path, text: str, end_of_text: str) -> Tokenizer:
    """Return the tokenizer of a file with this text."""
    try:
        content = json.loads(text)
        backend = _backend(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not a tokenizer.json: {error}.") from error
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    entries = backend.get_vocab(with_added_tokens=True)
    _check_added_ids(path, content, entries)
    if end_of_text not in entries:
        raise DataError(
            f"{path}: has no token {end_of_text!r} to end documents with. Name the one it has;"
            f" its special tokens are: {_special_tokens(backend)}."
        )
    tokenizer = Tokenizer(
        path=path,
        vocabulary=max(entries.values()) + 1,
        end_of_text=entries[end_of_text],
        end_of_text_token=end_of_text,
        fingerprint=hashlib.sha256(canonical.encode()).hexdigest(),
        backend=backend,
    )
    _check_text_stays_text(tokenizer)
    return tokenizer


def train_tokenizer(
    texts: Iterable[str], *, vocabulary: int, path: Path, end_of_text: str = END_OF_TEXT
) -> Tokenizer:
    """Train a byte-level BPE on texts, and write it.

    The same texts in the same order give the same file. Id 0 is the end of a text, 1 to 256 are
    the bytes, so every text can be encoded and comes back unchanged.

    Args:
        texts: what to learn from.
        vocabulary: number of entries, at least 257; the texts must have enough different pairs to
            fill it (a pair counts if it occurs twice).
        path: where to write the `tokenizer.json`; replaced if it exists.
        end_of_text: the name of the end-of-text token.

    Raises:
        DataError: the vocabulary is too small for the bytes, or too large for the texts; nothing
            is written then.
        StorageError: the disk is full or refuses to write.
    """
    if vocabulary <= _NUM_BYTES:
        raise DataError(
            f"A vocabulary of {vocabulary} cannot hold the {_NUM_BYTES} bytes and the end of text;"
            f" give at least {_NUM_BYTES + 1}."
        )
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=_MIN_PAIR_COUNT,
        special_tokens=[end_of_text],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    if backend.get_vocab_size() != vocabulary:
        raise DataError(
            f"The texts fill only {backend.get_vocab_size():,} of {vocabulary:,} entries of the"
            f" vocabulary. Give more text, or ask for at most {backend.get_vocab_size():,}."
        )
    make_folder(path.parent)
    write_whole(path, backend.to_str().encode())
    return load_tokenizer(path, end_of_text)


def _backend(content: str) -> tokenizers.Tokenizer:
    """Return the library's tokenizer, with nothing on that changes the text."""
    try:
        backend = tokenizers.Tokenizer.from_str(content)
    except Exception as error:
        # The library raises plain `Exception` for content that it does not understand.
        raise ValueError(str(error)) from error
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend


def _special_tokens(backend: tokenizers.Tokenizer) -> str:
    """Return the names that could mean the end of a text."""
    added = backend.get_added_tokens_decoder().values()
    return ", ".join(repr(token.content) for token in added if token.special) or "none"


def _check_added_ids(path: Path, content: dict[str, Any], entries: dict[str, int]) -> None:
    """Refuse ids that the library would replace by others without a word."""
    for token in content.get("added_tokens") or []:
        if entries.get(token["content"]) != token["id"]:
            raise DataError(
                f"{path}: the added token {token['content']!r} has the id {token['id']}, but the"
                f" library takes {entries.get(token['content'])}. Added tokens must follow the"
                " vocabulary without a gap: correct the file."
            )


def _check_text_stays_text(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that encodes at random, or finds its end of text in the text."""
    if getattr(tokenizer.backend.model, "dropout", None):
        raise DataError(
            f"{tokenizer.path}: has BPE dropout, so the same text gives other ids each time. Set"
            " `dropout` to null in it."
        )
    ids = tokenizer.backend.encode(tokenizer.end_of_text_token, add_special_tokens=False).ids
    if tokenizer.end_of_text in ids:
        raise DataError(
            f"{tokenizer.path}: gives the text {tokenizer.end_of_text_token!r} the end-of-text id,"
            " so a document could end in its middle. Set `special` to true for that token in"
            " `added_tokens`."
        )
