"""Scores of requests by a model on one device: log-likelihoods, and whether greedy decoding would say the same.

The head is applied to the tokens that are scored alone, some at a time, so the logits of a whole batch are
never held.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.data.tokenizer import Tokenizer
from rewarm.errors import NumericsError
from rewarm.evaluation.requests import Request
from rewarm.models.head import head_weight, last_hidden_state
from rewarm.models.loss import CHUNK_TOKENS


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A model that reads, and how it does."""

    model: PreTrainedModel
    """In evaluation mode, on its device."""
    tokenizer: Tokenizer
    """What its tokens were made with."""
    context_length: int
    """Tokens that it reads at once."""
    batch: int
    """Requests that it reads at once."""
    precision: Callable[[], AbstractContextManager[Any]]
    """The context in which it runs."""


@dataclass(frozen=True)
class Score:
    """How likely a continuation is."""

    log_likelihood: float
    """Σ ln p(token | all before) over the continuation, in nats, at most 0."""
    is_greedy: bool
    """Whether each of its tokens is the likeliest."""


def score(
    reader: Reader, requests: Sequence[Request], on_done: Callable[[int], None] | None = None
) -> list[Score]:
    """Score requests, the longest first, so that a batch too large for the memory fails at once.

    Args:
        reader: the model.
        requests: each with 1 to `context_length` tokens to score; of its context the end is read.
        on_done: told after each batch how many more are done.

    Returns:
        A score for each request. Another batch size may give other last bits.

    Raises:
        NumericsError: a log-likelihood is not finite.
    """
    lengths = [len(request.context) + len(request.continuation) for request in requests]
    order = sorted(range(len(requests)), key=lambda index: -lengths[index])
    found: dict[int, Score] = {}
    for start in range(0, len(order), reader.batch):
        batch = order[start : start + reader.batch]
        scores = _score_batch(reader, [requests[index] for index in batch])
        found |= dict(zip(batch, scores, strict=True))
        if on_done is not None:
            on_done(len(batch))
    return [found[index] for index in range(len(requests))]


@torch.no_grad()
def _score_batch(reader: Reader, batch: Sequence[Request]) -> list[Score]:
    inputs = [request.inputs(reader.context_length) for request in batch]
    rows = np.zeros((len(batch), max(map(len, inputs))), np.int64)
    scored = np.zeros(rows.shape, np.bool_)
    for row, mask, tokens, request in zip(rows, scored, inputs, batch, strict=True):
        row[: len(tokens)] = tokens  # what stands behind is not seen by what stands before
        mask[len(tokens) - len(request.continuation) : len(tokens)] = True
    device = reader.model.device
    targets = np.concatenate([request.continuation for request in batch]).astype(np.int64)
    with reader.precision():
        hidden = last_hidden_state(reader.model, torch.from_numpy(rows).to(device))
        nats, is_best = _token_scores(
            hidden[torch.from_numpy(scored).to(device)],
            head_weight(reader.model),
            torch.from_numpy(targets).to(device),
        )
    counts = [len(request.continuation) for request in batch]
    return [
        Score(log_likelihood=_finite(float(each.sum())), is_greedy=bool(best.all()))
        for each, best in zip(nats.split(counts), is_best.split(counts), strict=True)
    ]


def _finite(log_likelihood: float) -> float:
    if not math.isfinite(log_likelihood):
        raise NumericsError(
            f"the model gives a log-likelihood of {log_likelihood}, so it has no score. Its weights are not "
            "finite, or the precision is too narrow for them: try --precision fp32, or another checkpoint."
        )
    return log_likelihood


def _token_scores(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln p of each target and whether it is the likeliest, (tokens,), on the CPU; float64 sums well."""
    nats: list[Tensor] = []
    is_best: list[Tensor] = []
    for rows, wanted in zip(hidden.split(CHUNK_TOKENS), targets.split(CHUNK_TOKENS), strict=True):
        logits = (rows @ weight.T).float()
        chosen = logits.gather(1, wanted[:, None])[:, 0]
        nats.append((chosen - logits.logsumexp(dim=1)).double().cpu())
        is_best.append((logits.argmax(dim=1) == wanted).cpu())
    return torch.cat(nats), torch.cat(is_best)
