"""The named model sizes: the paper's three, and small ones that train on a CPU.

All are GPT-NeoX: pre-LN, parallel residual, rotary on a quarter of each head, GELU, feed-forward four
times the width, untied head, no dropout (paper Table 13 and the authors' configuration files).
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The dimensions of a GPT-NeoX model."""

    layers: int
    """Number of transformer blocks."""
    width: int
    """Size of the hidden state."""
    heads: int
    """Number of attention heads; each has width / heads dimensions."""

    def num_parameters(self, vocabulary: int) -> int:
        """Count the parameters, both embedding matrices included.

        Each block has 12·w² + 13·w (attention 4·w² + 4·w, feed-forward 8·w² + 5·w, two LayerNorms 4·w);
        the final LayerNorm has 2·w, the two embeddings 2·v·w.

        Args:
            vocabulary: rows of the embedding matrices, v.

        >>> PRESETS["neox-405m"].num_parameters(50_304)
        405334016
        >>> PRESETS["neox-9.6b"].num_parameters(50_688)
        9642249216

        Source: paper Table 13. The vocabulary printed there, 50,432, gives neither count; padding to
        a multiple of 128 for tensor parallelism 1 and 6 gives both.
        """
        width = self.width
        return self.layers * (12 * width**2 + 13 * width) + 2 * width + 2 * vocabulary * width


PRESETS = {
    "neox-0.1m": Preset(layers=2, width=64, heads=2),
    "neox-0.3m": Preset(layers=3, width=96, heads=3),
    "neox-0.8m": Preset(layers=4, width=128, heads=4),
    "neox-4m": Preset(layers=6, width=240, heads=6),
    "neox-25m": Preset(layers=8, width=512, heads=8),
    "neox-49m": Preset(layers=10, width=640, heads=10),
    "neox-405m": Preset(layers=24, width=1024, heads=16),
    "neox-9.6b": Preset(layers=36, width=4608, heads=36),
}
"""Sizes by name; the small ones are named for their parameters without the embeddings."""
