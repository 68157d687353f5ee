"""Contexts and continuations are divided, and documents cut, as lm-evaluation-harness does."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarm.evaluation.requests import Request, document_requests, encode_pairs

SAME_TOKENIZER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text("ab ü", max_size=12)


def tokens_of(request: Request) -> tuple[list[int], list[int]]:
    return request.context.tolist(), request.continuation.tolist()


@given(TEXT, TEXT.filter(lambda text: bool(text.strip())))
@SAME_TOKENIZER
def test_a_pair_is_the_whole_text_divided_behind_the_contexts_own_tokens(tokenizer, context, rest):
    (request,) = encode_pairs(tokenizer, [(context, rest)])
    stripped = context.rstrip()
    (alone,), (whole,) = tokenizer.encode([stripped]), tokenizer.encode([context + rest])
    first, second = tokens_of(request)
    assert first == (alone.tolist() or [tokenizer.end_of_text])
    assert second == whole[len(alone) :].tolist()


def test_a_space_at_the_end_of_a_context_is_scored(tokenizer):
    with_space, without = encode_pairs(tokenizer, [("b ", "a"), ("b", " a")])
    assert tokens_of(with_space) == tokens_of(without)
    assert tokenizer.decode(with_space.continuation) == " a"
    assert len(with_space.continuation) == 1  # one token with its space, as the text is read


def test_windows_are_those_of_the_example(tokenizer):
    """Ten tokens, four at once; worked out by hand from the rule of the harness."""
    text = "0123456789"
    found = [
        (tokenizer.decode(r.context), tokenizer.decode(r.continuation))
        for r in document_requests(tokenizer, text, 4)
    ]
    assert found == [("<|endoftext|>", "0123"), ("3", "4567"), ("567", "89")]


@given(st.text("01234 ", min_size=1, max_size=60), st.integers(1, 20))
@SAME_TOKENIZER
def test_each_token_is_scored_once_and_the_last_window_is_full(tokenizer, text, length):
    windows = list(document_requests(tokenizer, text, length))
    (tokens,) = tokenizer.encode([text])
    assert np.concatenate([w.continuation for w in windows]).tolist() == tokens.tolist()
    assert not any(window.is_truncated(length) for window in windows)
    read = np.concatenate([[tokenizer.end_of_text], tokens])
    end = len(read)
    if len(windows) > 1:
        assert windows[-1].inputs(length).tolist() == read[end - length - 1 : end - 1].tolist()
    assert all(len(window.context) == 1 for window in windows[:-1])


@pytest.mark.parametrize(("length", "truncated"), [(6, False), (5, True)])
def test_what_is_too_long_loses_its_beginning(length, truncated):
    request = Request(context=np.arange(5), continuation=np.array([7, 8]))
    assert request.is_truncated(length) == truncated
    assert request.inputs(length).tolist() == [0, 1, 2, 3, 4, 7][-length:]
