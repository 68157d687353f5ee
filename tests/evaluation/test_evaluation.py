"""Validation losses equal the model's own, and continuations its own greedy generation."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from rewarm.campaign.presets import PRESETS
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import load_tokenizer
from rewarm.data.writer import write_store
from rewarm.errors import DataError
from rewarm.evaluation.continuations import continuation
from rewarm.evaluation.validation import mean_loss, validation_sequences
from rewarm.models.build import build_preset
from rewarm.models.part import Part

LENGTH = 16


@pytest.fixture(scope="module")
def model():
    return build_preset(PRESETS["neox-0.1m"], vocabulary=257, sequence_length=LENGTH, seed=1)


@pytest.fixture
def store(tmp_path) -> TokenStore:
    rng = np.random.default_rng(0)
    write_store(
        tmp_path / "validation",
        [np.append(rng.integers(1, 257, 199), 0).astype(np.uint16)],
        vocabulary=257,
        end_of_text=0,
        tokenizer="none",
        document_seed=0,
        text_bytes=200,
        provenance=[],
    )
    return TokenStore.open(tmp_path / "validation")


@pytest.fixture(scope="module")
def part(model) -> Part:
    return Part(model, precision=nullcontext, entries=257)


@pytest.mark.parametrize("at_once", [1, 4, 16])
def test_the_loss_is_the_mean_of_the_models_own(model, part, store, at_once):
    tokens = torch.from_numpy(store.windows(range(10), LENGTH).astype(np.int64))
    logits = model(input_ids=tokens[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).double(), tokens[:, 1:].flatten()
    )

    @torch.no_grad()
    def losses(tokens):
        rows = torch.from_numpy(tokens.astype(np.int64))
        return part(rows[:, :-1], rows[:, 1:]).double()

    found = mean_loss(losses, store, sequences=10, sequence_length=LENGTH, at_once=at_once)
    assert found == pytest.approx(expected.item(), rel=1e-6)


def test_all_sequences_are_read_where_fewer_are_there_than_wanted(store):
    assert validation_sequences(store, "d", LENGTH, 1000) == 12
    assert validation_sequences(store, "d", LENGTH, 5) == 5
    with pytest.raises(DataError, match="less than one sequence"):
        validation_sequences(store, "d", 200, 5)


def test_a_continuation_is_the_models_greedy_generation(model, part, tmp_path):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0} | {letter: n + 1 for n, letter in enumerate(alphabet)}
    backend = Backend(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")

    @torch.no_grad()
    def next_token(context):
        return int(part(torch.tensor([context]), positions=torch.tensor([len(context) - 1])))

    text = continuation(next_token, tokenizer, "abc", num_tokens=9)
    ids = torch.tensor([tokenizer.encode_batch(["abc"])[0][:-1].tolist()])
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=9,
        do_sample=False,
        eos_token_id=0,
        pad_token_id=0,
    )
    expected = [int(token) for token in made[0, ids.shape[1] :] if token != 0]
    assert text == tokenizer.decode(expected)
