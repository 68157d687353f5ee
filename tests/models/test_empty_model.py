"""A model without weights: nothing allocated, buffers as they should be, ties kept, and filling it."""

import pytest
import torch
from transformers import AutoConfig, LlamaConfig

from rewarm.campaign.presets import PRESETS
from rewarm.errors import CheckpointError
from rewarm.models.build import preset_config
from rewarm.models.empty import empty_model, materialise
from rewarm.tensors.held import fill, own_tensors, shapes_of
from rewarm.tensors.source import MemorySource

CPU = torch.device("cpu")
FAMILIES = [
    ("gpt_neox", {}),
    ("gpt2", {"n_inner": 64}),
    ("llama", {}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}),
    ("qwen3", {"tie_word_embeddings": True}),
    ("gemma3_text", {}),
    ("mistral", {}),
    ("olmo2", {}),
    ("mixtral", {}),
]


def copied(model):
    """Build the same model from its configuration and the weights alone."""
    made = empty_model(model.config)
    materialise(made, CPU)
    fill(own_tensors(made), MemorySource(by_name=own_tensors(model)))
    return made


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_parameters_take_no_memory_and_buffers_are_those_of_an_ordinary_model(
    tiny_model, family, settings
):
    model = tiny_model(family, **settings)
    empty = empty_model(model.config)
    assert type(empty) is type(model)
    assert empty.training
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert {p.dtype for p in empty.parameters()} == {torch.float32}
    assert shapes_of(empty) == shapes_of(model)
    buffers = dict(model.named_buffers())
    assert dict(empty.named_buffers()).keys() == buffers.keys()
    for name, buffer in empty.named_buffers():
        assert buffer.device == CPU
        assert torch.equal(buffer, buffers[name]), name


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_with_the_weights_filled_in_it_is_the_same_model(tiny_model, family, settings):
    model = tiny_model(family, **settings)
    made = copied(model).eval()
    model.eval()
    tokens = torch.arange(24).view(2, 12) * 3
    with torch.no_grad():
        assert torch.equal(made(tokens).logits, model(tokens).logits)


def test_the_buffers_of_a_large_model_are_computed(tiny_model):
    """The scale of Gemma's embedding is the root of the width; no file has it."""
    empty = empty_model(tiny_model("gemma3_text").config)
    assert empty.model.embed_tokens.embed_scale.item() == pytest.approx(32**0.5)
    assert not empty.model.embed_tokens.embed_scale.is_meta


@pytest.mark.parametrize("tied", [False, True])
def test_a_tie_is_one_parameter_before_and_after_there_is_memory(tiny_model, tied):
    model = empty_model(tiny_model("qwen3", tie_word_embeddings=tied).config)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert ("lm_head.weight" in own_tensors(model)) == (not tied)
    materialise(model, CPU)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_the_random_state_and_the_default_device_have_no_part_in_it(tiny_model):
    config = tiny_model("llama").config
    before = torch.get_rng_state()
    with torch.device("meta"):
        model = empty_model(config)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(buffer.is_meta for buffer in model.buffers())


def test_modules_built_afterwards_are_ordinary_also_after_a_failure():
    with pytest.raises(CheckpointError, match="cannot build"):
        empty_model(LlamaConfig(hidden_act="no such function"))
    assert not torch.nn.Linear(2, 2).weight.is_meta


def test_the_largest_preset_is_built_without_its_38_gigabytes():
    """Source: paper Table 13; see `Preset.num_parameters`."""
    config = preset_config(PRESETS["neox-9.6b"], vocabulary=50_688, sequence_length=2048)
    model = empty_model(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 9_642_249_216
    assert sum(buffer.nbytes for buffer in model.buffers()) < 100_000


def test_frozen_parameters_stay_frozen(tiny_model):
    model = tiny_model("llama")
    model.lm_head.weight.requires_grad_(False)
    materialise(model, CPU)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["lm_head.weight"]


def test_a_configuration_is_enough():
    config = AutoConfig.for_model("olmo2", hidden_size=64, num_hidden_layers=1, vocab_size=50)
    assert shapes_of(empty_model(config))["lm_head.weight"] == (50, 64)
