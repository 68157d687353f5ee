"""What a model is asked to score: a context and what goes on from it, as token ids. Decided without a model.

The conventions are those of lm-evaluation-harness, so that scores can be compared with published ones: what is
scored without a context comes behind an end of text; white space at the end of a context belongs to the
continuation; a document is cut into windows that do not overlap, each with one token of context; what is too
long loses its beginning. One differs: nothing but the text's own tokens is put in, so no beginning-of-text
token either, as in training here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewarm.data.tokenizer import Tokenizer

Tokens = NDArray[Any]
"""Token ids, (tokens,), of an integer type."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What to score."""

    context: Tokens
    """What the model sees first; at least one token."""
    continuation: Tokens
    """What is scored behind it."""

    def inputs(self, context_length: int) -> Tokens:
        """Return what the model reads: all but the last token, or the end of that if it is too long."""
        whole = np.concatenate([self.context, self.continuation]).astype(np.int64)
        return whole[:-1][-context_length:]

    def is_truncated(self, context_length: int) -> bool:
        """Say whether the beginning of the context is not read."""
        return len(self.context) + len(self.continuation) - 1 > context_length


def encode_pairs(tokenizer: Tokenizer, pairs: list[tuple[str, str]]) -> list[Request]:
    """Encode contexts and continuations.

    The continuation's tokens are those of the whole text behind as many as the context has alone: where the
    border falls within a token of the whole, that token is not torn.

    Args:
        tokenizer: of the model.
        pairs: a context, which may be empty, and its continuation.

    Returns:
        A request for each; its continuation may have no token.
    """
    moved = [_with_spaces(*pair) for pair in pairs]
    contexts = tokenizer.encode([context for context, _ in moved])
    wholes = tokenizer.encode([context + continuation for context, continuation in moved])
    return [
        Request(
            context=context if len(context) else _end_of_text(tokenizer),
            continuation=whole[len(context) :],
        )
        for context, whole in zip(contexts, wholes, strict=True)
    ]


def document_requests(tokenizer: Tokenizer, text: str, context_length: int) -> Iterator[Request]:
    """Yield the windows of a document; each of its tokens is scored once.

    A window scores `context_length` tokens behind one token of context: an end of text for the first window,
    the last token of the one before for the others. The last window scores what is left, behind as much
    context as fits.

    Args:
        tokenizer: of the model.
        text: the document.
        context_length: tokens that the model reads at once, at least 1.
    """
    (tokens,) = tokenizer.encode([text])
    for start in range(0, len(tokens), context_length):
        stop = min(start + context_length, len(tokens))
        context = tokens[stop - context_length - 1 : start] if start else _end_of_text(tokenizer)
        yield Request(context=context, continuation=tokens[start:stop])


def encode_context(tokenizer: Tokenizer, context: str) -> Tokens:
    """Encode what a model is to go on from; an empty text becomes an end of text."""
    (tokens,) = tokenizer.encode([context])
    return tokens if len(tokens) else _end_of_text(tokenizer)


def _with_spaces(context: str, continuation: str) -> tuple[str, str]:
    """Move white space from the end of the context to the continuation."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation


def _end_of_text(tokenizer: Tokenizer) -> Tokens:
    return np.array([tokenizer.end_of_text])
