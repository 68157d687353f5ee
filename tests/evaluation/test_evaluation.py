"""Validation losses equal the model's own, and continuations its own greedy generation."""

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
from rewarm.evaluation.validation import validation_loss, validation_sequences
from rewarm.models.build import build_preset

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


@pytest.mark.parametrize("micro_batch", [1, 4, 16])
def test_the_loss_is_the_mean_of_the_models_own(model, store, micro_batch):
    tokens = torch.from_numpy(store.read(range(10), LENGTH).astype(np.int64))
    logits = model(input_ids=tokens[:, :-1]).logits
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).double(), tokens[:, 1:].flatten()
    )
    found = validation_loss(
        model,
        store,
        sequences=10,
        sequence_length=LENGTH,
        micro_batch=micro_batch,
        device=torch.device("cpu"),
    )
    assert found == pytest.approx(expected.item(), rel=1e-6)


def test_evaluating_leaves_mode_and_random_numbers_alone(model, store):
    model.train()
    before = torch.random.get_rng_state()
    validation_loss(
        model, store, sequences=4, sequence_length=LENGTH, micro_batch=2, device=torch.device("cpu")
    )
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_all_sequences_are_read_where_fewer_are_there_than_wanted(store):
    assert validation_sequences(store, "d", LENGTH, 1000) == 12
    assert validation_sequences(store, "d", LENGTH, 5) == 5
    with pytest.raises(DataError, match="less than one sequence"):
        validation_sequences(store, "d", 200, 5)


def test_a_continuation_is_the_models_greedy_generation(model, tmp_path):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<|endoftext|>": 0} | {letter: n + 1 for n, letter in enumerate(alphabet)}
    backend = Backend(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    text = continuation(
        model, tokenizer, "abc", num_tokens=9, sequence_length=LENGTH, device=torch.device("cpu")
    )
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
