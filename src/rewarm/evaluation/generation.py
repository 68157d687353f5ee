"""How a model goes on from texts, the likeliest token each time.

Each step reads the whole texts again, many at once: keys and values are not kept. So it works alike for every
family, and texts of different lengths need no padding before them, which would be seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from rewarm.evaluation.requests import Tokens
from rewarm.evaluation.scoring import Reader
from rewarm.models.head import head_weight, last_hidden_state


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What a model has added to a text."""

    text: str
    """The text, up to where it stops."""
    is_truncated: bool
    """Whether the beginning of the context was not read."""


def go_on(
    reader: Reader,
    contexts: Sequence[Tokens],
    *,
    num_tokens: int,
    stops: Sequence[Sequence[str]],
    on_done: Callable[[int], None] | None = None,
) -> list[Continuation]:
    """Continue contexts greedily, the longest first.

    Args:
        reader: the model.
        contexts: token ids of each, at least one; of what does not fit beside `num_tokens` the end is read.
        num_tokens: how many tokens to add at most, fewer than `context_length`. An end of text ends it
            sooner.
        stops: for each context texts that end it; what comes from there on is cut off.
        on_done: told after each batch how many more are done.
    """
    assert num_tokens < reader.context_length
    most = reader.context_length - num_tokens
    written = [
        _Writing(tokens=[int(token) for token in context[-most:]], stops=stop)
        for context, stop in zip(contexts, stops, strict=True)
    ]
    order = sorted(written, key=lambda each: -len(each.tokens))
    for start in range(0, len(order), reader.batch):
        batch = order[start : start + reader.batch]
        for _ in range(num_tokens):
            going_on = [each for each in batch if not each.is_over]
            if not going_on:
                break
            for each, best in zip(going_on, _likeliest(reader, going_on), strict=True):
                each.add(best, reader)
        if on_done is not None:
            on_done(len(batch))
    return [
        Continuation(text=each.text, is_truncated=len(context) > most)
        for each, context in zip(written, contexts, strict=True)
    ]


@dataclass(kw_only=True)
class _Writing:
    """A text that a model is going on from."""

    tokens: list[int]
    stops: Sequence[str]
    made: list[int] = field(default_factory=list[int])
    text: str = ""
    is_over: bool = False

    def add(self, token: int, reader: Reader) -> None:
        """Add a token, or end the text."""
        if token == reader.tokenizer.end_of_text:
            self.is_over = True
            return
        self.tokens.append(token)
        self.made.append(token)
        self.text = reader.tokenizer.decode(self.made)
        ends = [place for stop in self.stops if (place := self.text.find(stop)) >= 0]
        if ends:
            self.text = self.text[: min(ends)]
            self.is_over = True


@torch.no_grad()
def _likeliest(reader: Reader, batch: Sequence[_Writing]) -> list[int]:
    """Return the likeliest token behind each text; rows of the head beyond the tokenizer's mean nothing."""
    lengths = [len(each.tokens) for each in batch]
    rows = np.zeros((len(batch), max(lengths)), np.int64)
    for row, each in zip(rows, batch, strict=True):
        row[: len(each.tokens)] = (
            each.tokens
        )  # what stands behind is not seen by what stands before
    device = reader.model.device
    with reader.precision():
        hidden = last_hidden_state(reader.model, torch.from_numpy(rows).to(device))
        last = hidden[torch.arange(len(batch)), torch.tensor(lengths) - 1]
        logits = last @ head_weight(reader.model).T
    return logits[:, : reader.tokenizer.vocabulary].argmax(dim=1).tolist()
