"""A new GPT-NeoX model of a preset size, with the paper's settings and initialisation.

The weights depend on the seed alone; the caller's random state is left as it was.
"""

import math

import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel

from rewarm.campaign.presets import Preset

_OUTPUT_PROJECTIONS = ("attention.dense.weight", "mlp.dense_4h_to_h.weight")


def build_preset(
    preset: Preset, *, vocabulary: int, sequence_length: int, seed: int
) -> PreTrainedModel:
    """Build a model with fresh weights, in float32 and in training mode.

    Matrices are normal with standard deviation sqrt(2 / (5·w)) ("small init"), except the two that write
    into the residual stream in each block, attention.dense and mlp.dense_4h_to_h: 2 / (l·sqrt(w)) ("Wang
    init"), with w the width and l the number of layers. Biases are 0, LayerNorm gains 1.

    Args:
        preset: the dimensions.
        vocabulary: rows of the embedding matrices, at least 1.
        sequence_length: the longest sequence, in tokens.
        seed: of the initialisation, at least 0.

    Returns:
        The model, on torch's default device. Its parameters number `preset.num_parameters(vocabulary)`.

    Source: paper Table 13, and `small_init` and `wang_init` of GPT-NeoX, which the paper's configuration
    files name. The draws are ours: one stream over the parameters in the order of their names.
    """
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=preset.width,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        intermediate_size=4 * preset.width,
        hidden_act="gelu",
        attention_bias=True,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        max_position_embeddings=sequence_length,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "partial_rotary_factor": 0.25,
        },
        layer_norm_eps=1e-5,
        initializer_range=_small_init(preset),
        use_parallel_residual=True,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        dtype=torch.float32,
    )
    # Only the CPU's generator is drawn from: torch.manual_seed would reseed the accelerators' as well.
    with torch.random.fork_rng(devices=[]):
        model = GPTNeoXForCausalLM(config).float()
        torch.default_generator.manual_seed(seed)
        _initialise(model, preset)
    return model.train()


@torch.no_grad()
def _initialise(model: PreTrainedModel, preset: Preset) -> None:
    wang_init = 2 / (preset.layers * math.sqrt(preset.width))
    for name, parameter in sorted(model.named_parameters()):
        if parameter.ndim >= 2:
            is_output = name.endswith(_OUTPUT_PROJECTIONS)
            parameter.normal_(0.0, wang_init if is_output else _small_init(preset))
        else:
            parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)


def _small_init(preset: Preset) -> float:
    return math.sqrt(2 / (5 * preset.width))
