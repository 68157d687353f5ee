"""Scores equal a plain softmax over all logits of one request at a time."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tests.evaluation.conftest import CONTEXT

from rewarm.engine.world import autocast, current_world
from rewarm.errors import NumericsError
from rewarm.evaluation.generation import go_on
from rewarm.evaluation.model import open_model
from rewarm.evaluation.requests import Request
from rewarm.evaluation.scoring import Reader, score

FAMILIES = ["gpt_neox", "llama", "qwen3"]


@pytest.fixture
def reader_of(model_folder):
    """Return a function that opens a tiny model for reading."""

    def opened(family: str, batch: int = 4) -> Reader:
        found = open_model(model_folder(family))
        return Reader(
            model=found.model.eval(),
            tokenizer=found.tokenizer,
            context_length=found.context_length,
            batch=batch,
            precision=partial(autocast, current_world("cpu"), "fp32"),
        )

    return opened


def requests_of(seed: int, count: int = 11) -> list[Request]:
    """Return requests of all lengths, some longer than the model reads at once."""
    rng = np.random.default_rng(seed)
    return [
        Request(
            context=rng.integers(0, 261, rng.integers(1, 60)),
            continuation=rng.integers(0, 261, rng.integers(1, 20)),
        )
        for _ in range(count)
    ]


@torch.no_grad()
def naive(model, request: Request) -> tuple[float, bool]:
    """Return the score by the definition."""
    whole = torch.tensor(np.concatenate([request.context, request.continuation]))[-(CONTEXT + 1) :]
    logits = model(input_ids=whole[None, :-1]).logits[0].double()
    count = len(request.continuation)
    chosen = torch.log_softmax(logits[-count:], dim=-1)
    wanted = whole[-count:]
    return (
        float(chosen[torch.arange(count), wanted].sum()),
        bool((chosen.argmax(dim=-1) == wanted).all()),
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", [1, 4])
def test_a_score_is_the_softmax_over_everything(reader_of, family, batch):
    reader, requests = reader_of(family, batch), requests_of(3)
    for found, request in zip(score(reader, requests), requests, strict=True):
        log_likelihood, is_greedy = naive(reader.model, request)
        assert found.log_likelihood == pytest.approx(log_likelihood, rel=1e-5)
        assert found.is_greedy == is_greedy


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", [1, 4])
def test_what_a_model_writes_is_what_transformers_writes(reader_of, family, batch):
    reader = reader_of(family, batch)
    contexts = [np.array(ids) for ids in ([9, 33, 71], [5], [200, 4, 4, 4, 17], [81, 90])]
    found = go_on(reader, contexts, num_tokens=8, stops=[()] * 4)
    for context, continuation in zip(contexts, found, strict=True):
        theirs = reader.model.generate(
            torch.from_numpy(context)[None],
            attention_mask=torch.ones(1, len(context), dtype=torch.int64),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=0,
            pad_token_id=0,
            suppress_tokens=list(range(reader.tokenizer.vocabulary, 272)),
        )[0, len(context) :]
        ids = [int(token) for token in theirs if token != 0]
        assert continuation.text == reader.tokenizer.decode(ids)


def test_writing_stops_where_it_is_told_to(reader_of):
    reader = reader_of("gpt_neox")
    context = np.array([9, 33, 71])
    (whole,) = go_on(reader, [context], num_tokens=8, stops=[()])
    assert len(whole.text) > 3
    stop = whole.text[2]
    free, stopped = go_on(
        reader, [context, context], num_tokens=8, stops=[(), (stop, "never written")]
    )
    assert free == whole
    assert stopped.text == whole.text[: whole.text.index(stop)]


def test_of_a_long_context_the_end_is_read(reader_of):
    reader = reader_of("llama")
    long = np.arange(1, 100)
    first, second = go_on(reader, [long, long[-(CONTEXT - 8) :]], num_tokens=8, stops=[(), ()])
    assert first.is_truncated
    assert not second.is_truncated
    assert first.text == second.text


def test_progress_adds_up(reader_of):
    done: list[int] = []
    score(reader_of("llama", 4), requests_of(1, 10), done.append)
    assert done == [4, 4, 2]


def test_a_model_without_sense_is_refused(reader_of):
    reader = reader_of("llama")
    with torch.no_grad():
        reader.model.get_output_embeddings().weight[5, 0] = torch.nan
    with pytest.raises(NumericsError, match="not finite"):
        score(replace(reader, batch=1), requests_of(2, 1))
