"""The size of the model and what a token costs, read from names, headers and formulas; nothing is loaded.

FLOPs of training a token are 6 for each parameter in a matrix product (forward 2, backward 4) and
12·layers·width·sequence_length for attention scores, counted in full. The input embedding is a look-up and
is left out. (The paper's "non-embedding" count leaves out the same matrix.)
"""

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any, cast

from rewarm.campaign.campaign import Campaign
from rewarm.campaign.hub import NO_COMMITS, model_folder, tokenizer_file, weight_files
from rewarm.campaign.presets import PRESETS
from rewarm.errors import CampaignError

FLOPS_RULE = (
    "6 per parameter in a matrix product (input embedding left out) "
    "+ 12 · layers · width · sequence length for attention, per token"
)

_IN_A_BLOCK = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.\d+\.")
_WRITES_THE_STREAM = (
    ".o_proj",
    ".out_proj",
    ".down_proj",
    ".dense",
    ".dense_4h_to_h",
    ".c_proj",
    ".fc2",
)


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """What a model weighs."""

    parameters: int
    """All parameters, embeddings included."""
    embedding: int
    """Parameters of the input embedding that are used for nothing else (0 if the head shares them)."""
    layers: int
    """Transformer blocks."""
    width: int
    """Size of the hidden state."""
    attention_width: int
    """Heads times head dimension."""
    vocabulary: int
    """Rows of the head."""
    heads: int
    """Attention heads."""
    key_value_heads: int
    """Heads of keys and values; fewer than the others where they are grouped."""
    intermediate: int
    """Width inside the feed-forward part."""
    gated: bool
    """Whether the feed-forward part multiplies two matrices' products, as Llama's does."""
    block_split: int
    """Parameters of one block that tensor ranks split: its matrices, and the biases of what they put out."""
    block_whole: int
    """Parameters of one block that every tensor rank has: norms, and the biases of what they add up."""
    outside: int
    """Parameters neither in a block nor in the embedding or the head: the final norm."""
    tied: bool
    """Whether the head is the embedding's matrix."""

    def flops_per_token(self, sequence_length: int) -> float:
        """Return the FLOPs of training one token: 6·(N - embedding) + 12·layers·width·sequence_length.

        >>> from rewarm.campaign import PRESETS
        >>> size = preset_size("neox-405m", 50_304)
        >>> round(size.flops_per_token(2048) / 1e9, 2)
        2.73
        """
        matrices = self.parameters - self.embedding
        return 6.0 * matrices + 12.0 * self.layers * self.attention_width * sequence_length

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of one checkpoint: fp32 weights and two moments."""
        return 12 * self.parameters


def preset_size(name: str, vocabulary: int) -> ModelSize:
    """Return the size of a preset with so many rows in its embeddings."""
    preset = PRESETS[name]
    width = preset.width
    return ModelSize(
        parameters=preset.num_parameters(vocabulary),
        embedding=vocabulary * width,
        layers=preset.layers,
        width=width,
        attention_width=width,
        vocabulary=vocabulary,
        heads=preset.heads,
        key_value_heads=preset.heads,
        intermediate=4 * width,
        gated=False,
        block_split=12 * width**2 + (3 + 4) * width,
        block_whole=(1 + 1) * width + 4 * width,
        outside=2 * width,
        tied=False,
    )


def model_size(
    campaign: Campaign, root: Path, commits: Mapping[str, str] = NO_COMMITS
) -> ModelSize | None:
    """Return the size of a campaign's model.

    Args:
        campaign: the campaign.
        root: folder that relative paths are relative to.
        commits: the commit that a name of the hub stands for, where that is settled.

    Returns:
        None while a model of the hub is not downloaded, or the vocabulary is not known because
        `tokenizer.json` is not there yet.

    Raises:
        CampaignError: the model folder is not one, or the tokenizer file is not a tokenizer.
    """
    model = campaign.model
    if model.from_ is not None:
        folder = model_folder(model.from_, root, commits)
        return None if folder is None else folder_size(folder)
    assert model.preset is not None, "a model is a preset or a folder"
    vocabulary = model.vocabulary or vocabulary_of(campaign, root, commits)
    return preset_size(model.preset, vocabulary) if vocabulary else None


def vocabulary_of(
    campaign: Campaign, root: Path, commits: Mapping[str, str] = NO_COMMITS
) -> int | None:
    """Return the number of entries of a campaign's tokenizer; None if its file is not there yet.

    Raises:
        CampaignError: the file is not a `tokenizer.json`.
    """
    if campaign.tokenizer.train is not None:
        return campaign.tokenizer.train.vocabulary
    assert campaign.tokenizer.from_ is not None, "a tokenizer is trained or given"
    path = tokenizer_file(campaign.tokenizer.from_, root, commits)
    if path is None or not path.exists():
        return None
    try:
        content = cast(dict[str, Any], json.loads(path.read_bytes()))
        vocabulary = content["model"]["vocab"]
        added = max((int(token["id"]) for token in content.get("added_tokens", [])), default=-1)
        return max(len(vocabulary) - 1, added) + 1
    except (ValueError, KeyError, TypeError) as error:
        raise CampaignError(
            f"{path}: not a tokenizer.json of the tokenizers library ({error!r})"
        ) from error


def folder_size(folder: Path) -> ModelSize:
    """Count the parameters of a Hugging Face folder from the headers of its safetensors files."""
    try:
        config = cast(dict[str, Any], json.loads((folder / "config.json").read_bytes()))
        names = weight_files(folder)
        files = [folder / name for name in names] or sorted(folder.glob("*.safetensors"))
        shapes = {name: shape for file in files for name, shape in _tensor_shapes(file).items()}
        text = config.get("text_config", config)
        width, layers = int(text["hidden_size"]), int(text["num_hidden_layers"])
        heads = int(text["num_attention_heads"])
        head_width = int(text.get("head_dim") or width // heads)
        key_value_heads = int(text.get("num_key_value_heads") or heads)
        vocabulary = int(text["vocab_size"])
        intermediate = int(text.get("intermediate_size") or 4 * width)
    except FileNotFoundError as error:
        raise CampaignError(
            f"model.from: {folder} is not a model folder ({error.filename} is missing); it must hold "
            "config.json and *.safetensors"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise CampaignError(
            f"model.from: {folder} cannot be read as a model folder ({error!r})"
        ) from error
    if not files:
        raise CampaignError(
            f"model.from: {folder} has no *.safetensors file; convert the weights first"
        )
    parameters = sum(prod(shape) for shape in shapes.values())
    tied = sum(1 for shape in shapes.values() if shape == [vocabulary, width]) < 2
    blocks = {name: shape for name, shape in shapes.items() if _IN_A_BLOCK.search(name)}
    split = sum(prod(shape) for name, shape in blocks.items() if _is_split(name, blocks))
    inside = sum(prod(shape) for shape in blocks.values())
    wide = sum(1 for shape in blocks.values() if len(shape) == 2 and intermediate in shape)
    return ModelSize(
        parameters=parameters,
        embedding=0 if tied else vocabulary * width,
        layers=layers,
        width=width,
        attention_width=heads * head_width,
        vocabulary=vocabulary,
        heads=heads,
        key_value_heads=key_value_heads,
        intermediate=intermediate,
        gated=wide == 3 * layers,
        block_split=ceil(split / layers),
        block_whole=ceil((inside - split) / layers),
        outside=max(0, parameters - inside - (1 if tied else 2) * vocabulary * width),
        tied=tied,
    )


def _is_split(name: str, blocks: Mapping[str, list[int]]) -> bool:
    """Whether tensor ranks split a tensor of a block: a matrix, or the bias of one that is split by rows.

    The matrices whose products are added up over the ranks are those that write into the residual stream.
    """
    if len(blocks[name]) >= 2:
        return True
    module, _, kind = name.rpartition(".")
    is_bias = kind == "bias" and len(blocks.get(f"{module}.weight", [])) == 2
    return is_bias and not module.endswith(_WRITES_THE_STREAM)


def _tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Read the header of a safetensors file: 8 bytes of length, then JSON."""
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > 100_000_000:
            raise ValueError(f"{file.name}: header of {length} bytes")
        header = json.loads(stream.read(length))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
