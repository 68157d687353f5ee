"""New GPT-NeoX models: size, initialisation, randomness."""

import math

import pytest
import torch

from rewarm.campaign.presets import PRESETS, Preset
from rewarm.models.build import PresetWeights, build_preset, preset_config
from rewarm.models.empty import empty_model
from rewarm.tensors.held import shapes_of

SMALL = Preset(layers=3, width=96, heads=3)


def build(seed: int = 1):
    return build_preset(SMALL, vocabulary=211, sequence_length=64, seed=seed)


def empty(name: str, vocabulary: int):
    """Build a preset on the meta device."""
    return empty_model(preset_config(PRESETS[name], vocabulary=vocabulary, sequence_length=2048))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("vocabulary", [50_304, 50_688])
def test_number_of_parameters_is_what_the_preset_says(name, vocabulary):
    counted = sum(parameter.numel() for parameter in empty(name, vocabulary).parameters())
    assert counted == PRESETS[name].num_parameters(vocabulary)


def test_the_paper_s_parameter_counts():
    """Source: paper Table 13, with the vocabularies of `Preset.num_parameters`."""
    for name, vocabulary, expected in [
        ("neox-405m", 50_304, 405_334_016),
        ("neox-9.6b", 50_688, 9_642_249_216),
    ]:
        parameters = empty(name, vocabulary).parameters()
        assert sum(parameter.numel() for parameter in parameters) == expected


def test_settings_are_the_paper_s():
    config = build().config
    assert config.model_type == "gpt_neox"
    assert config.use_parallel_residual
    assert config.rope_parameters["partial_rotary_factor"] == 0.25
    assert config.rope_parameters["rope_theta"] == 10_000
    assert config.hidden_act == "gelu"
    assert config.intermediate_size == 4 * SMALL.width
    assert config.max_position_embeddings == 64
    assert not config.tie_word_embeddings
    assert config.attention_dropout == config.hidden_dropout == 0


def test_initialisation_follows_small_init_and_wang_init():
    model = build()
    assert model.training
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32
        if name.endswith("norm.weight"):
            assert torch.all(parameter == 1)
        elif parameter.ndim == 1:
            assert torch.all(parameter == 0), name
        else:
            is_output = "attention.dense" in name or "dense_4h_to_h" in name
            std = 2 / 3 / math.sqrt(96) if is_output else math.sqrt(2 / 5 / 96)
            # Standard error of a standard deviation: std / sqrt(2 n).
            error = 5 * std / math.sqrt(2 * parameter.numel())
            assert parameter.detach().std().item() == pytest.approx(std, abs=error), name
            assert parameter.detach().mean().abs() < 5 * std / math.sqrt(parameter.numel()), name


def test_weights_depend_on_the_seed_alone_and_the_caller_s_random_state_is_kept():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = build()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again, other = build(), build(seed=2)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_parts_are_cut_from_the_same_draws_whatever_else_is_wanted():
    model = build()
    whole = model.state_dict()
    source = PresetWeights(preset=SMALL, model_shapes=shapes_of(model), seed=1)
    assert dict(source.shapes()) == {name: tuple(tensor.shape) for name, tensor in whole.items()}
    row, block = "lm_head.weight", "gpt_neox.layers.1.mlp.dense_4h_to_h.weight"
    wanted = {
        row: ((70, 0), (71, 96)),
        block: ((0, 100), (96, 30)),
        "gpt_neox.final_layer_norm.weight": ((32,), (32,)),
    }
    parts = dict(source.tensors(wanted))
    assert parts.keys() == wanted.keys()
    assert torch.equal(parts[row], whole[row][70:141])
    assert torch.equal(parts[block], whole[block][:, 100:130])
    assert torch.equal(dict(source.tensors({row: wanted[row]}))[row], parts[row])
    assert all(part.untyped_storage().nbytes() == 4 * part.numel() for part in parts.values())
