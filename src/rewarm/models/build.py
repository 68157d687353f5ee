"""A new GPT-NeoX model of a preset size, with the paper's settings and initialisation.

The weights depend on the seed alone; the caller's random state is left as it was.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from transformers import GPTNeoXConfig, PreTrainedModel

from rewarm.campaign.presets import Preset
from rewarm.models.empty import empty_model, materialise
from rewarm.tensors.blocks import Block, slices
from rewarm.tensors.held import fill, own_tensors, shapes_of

_OUTPUT_PROJECTIONS = ("attention.dense.weight", "mlp.dense_4h_to_h.weight")


def preset_config(preset: Preset, *, vocabulary: int, sequence_length: int) -> GPTNeoXConfig:
    """Return the configuration of a preset.

    Args:
        preset: the dimensions.
        vocabulary: rows of the embedding matrices, at least 1.
        sequence_length: the longest sequence, in tokens.

    Returns:
        The configuration; a model of it has `preset.num_parameters(vocabulary)` parameters.

    Source: paper Table 13.
    """
    return GPTNeoXConfig(
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


@dataclass(frozen=True, kw_only=True)
class PresetWeights:
    """Fresh weights of a preset, drawn as they are read; a `TensorSource`.

    Matrices are normal with standard deviation sqrt(2 / (5·w)) ("small init"), except the two that write
    into the residual stream in each block, attention.dense and mlp.dense_4h_to_h: 2 / (l·sqrt(w)) ("Wang
    init"), with w the width and l the number of layers. Biases are 0, LayerNorm gains 1.

    They are one stream of draws over the parameters in the order of their names, so they are given in that
    order, and every process draws all of them up to the last that it wants. One whole tensor is in memory
    at a time.

    Source: `small_init` and `wang_init` of GPT-NeoX, which the paper's configuration files name. The draws
    are ours.
    """

    preset: Preset
    """The dimensions."""
    model_shapes: Mapping[str, tuple[int, ...]]
    """Shapes of the model's tensors, `shapes_of` a model of the preset."""
    seed: int
    """Of the draws, at least 0."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every tensor, by name."""
        return self.model_shapes

    def tensors(self, wanted: Mapping[str, Block]) -> Iterator[tuple[str, Tensor]]:
        """Yield each wanted part once, in the order of the names; see `TensorSource`."""
        generator = torch.Generator().manual_seed(self.seed)
        remaining = set(wanted)
        assert remaining <= set(self.model_shapes)
        for name, shape in sorted(self.model_shapes.items()):
            if not remaining:
                return
            tensor = self._draw(name, shape, generator)
            if name in wanted:
                remaining.discard(name)
                offset, length = wanted[name]
                is_whole = prod(length) == tensor.numel()
                # A part has memory of its own, so that what is not wanted can be let go.
                yield name, tensor if is_whole else tensor[slices((offset, length))].clone()

    def _draw(self, name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        tensor = torch.empty(shape, device="cpu")
        if len(shape) < 2:
            return tensor.fill_(1.0 if name.endswith("norm.weight") else 0.0)
        wang_init = 2 / (self.preset.layers * math.sqrt(self.preset.width))
        is_output = name.endswith(_OUTPUT_PROJECTIONS)
        deviation = wang_init if is_output else _small_init(self.preset)
        return tensor.normal_(0.0, deviation, generator=generator)


def build_preset(
    preset: Preset, *, vocabulary: int, sequence_length: int, seed: int
) -> PreTrainedModel:
    """Build a model with fresh weights (`PresetWeights`), in float32, in training mode, on the CPU.

    Args:
        preset: the dimensions.
        vocabulary: rows of the embedding matrices, at least 1.
        sequence_length: the longest sequence, in tokens.
        seed: of the initialisation, at least 0.
    """
    config = preset_config(preset, vocabulary=vocabulary, sequence_length=sequence_length)
    model = empty_model(config)
    source = PresetWeights(preset=preset, model_shapes=shapes_of(model), seed=seed)
    materialise(model, torch.device("cpu"))
    fill(own_tensors(model), source)
    return model


def _small_init(preset: Preset) -> float:
    return math.sqrt(2 / (5 * preset.width))
