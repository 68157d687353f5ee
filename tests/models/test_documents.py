"""Isolated documents: a token sees its own document alone, in every family and whatever stands before it."""

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewarm.models.documents import document_positions
from rewarm.models.head import last_hidden_state
from rewarm.models.part import Part

END = 0
FAMILIES = ("gpt_neox", "llama", "mistral", "qwen3", "gemma3_text", "olmo2")


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=4))
def test_positions_are_counted_anew_behind_every_end(rows):
    length = max(map(len, rows))
    rows = [[*row, *[1] * (length - len(row))] for row in rows]
    expected: list[list[int]] = []
    for row in rows:
        place, places = 0, []
        for token in row:
            places.append(place)
            place = 0 if token == END else place + 1
        expected.append(places)
    assert document_positions(torch.tensor(rows), END).tolist() == expected


def documents():
    """Return documents: one cut off at the front, a short one, one of a single token, a long one."""
    draw = torch.Generator().manual_seed(1)
    lengths = (7, 3, 0, 12)
    texts = [torch.randint(1, 90, (length,), generator=draw) for length in lengths]
    return [torch.cat([text, torch.tensor([END])]) for text in texts]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_document_among_others_is_what_it_is_alone(tiny_model, family):
    model, texts = tiny_model(family).eval(), documents()
    together = torch.cat(texts)[None]
    # A row without a border and one with borders elsewhere: rows must not decide for each other.
    rows = torch.cat([together, together.where(together != END, 5), together.flip(1)])
    with torch.no_grad():
        hidden = last_hidden_state(model, rows, document_positions(rows, END))[0]
        begin = 0
        for text in texts:
            alone = last_hidden_state(model, text[None])[0]
            torch.testing.assert_close(hidden[begin : begin + len(text)], alone, rtol=0, atol=2e-5)
            begin += len(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_joined_documents_do_look_back(tiny_model, family):
    """The twin: without positions the later documents come out different."""
    model, texts = tiny_model(family).eval(), documents()
    with torch.no_grad():
        joined = last_hidden_state(model, torch.cat(texts)[None])[0]
        alone = last_hidden_state(model, texts[-1][None])[0]
    assert not torch.allclose(joined[-len(texts[-1]) :], alone, atol=1e-3)


def test_gradients_do_not_cross_documents(tiny_model):
    model, texts = tiny_model("llama"), documents()
    tokens = torch.cat(texts)[None]
    part = Part(model, precision=nullcontext, entries=97, isolated_by=END)
    embedded: list[torch.Tensor] = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        embedded.append(output)

    model.get_input_embeddings().register_forward_hook(keep)
    targets = torch.full_like(tokens[:, :-1], -100)
    targets[0, -3:] = 7  # losses in the last document alone
    part(tokens[:, :-1], targets).backward()
    gradient = embedded[0].grad[0].abs().sum(dim=1)
    border = sum(map(len, texts[:-1]))
    assert gradient[:border].max() == 0
    assert gradient[border:].max() > 0
