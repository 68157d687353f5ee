"""Sizes and FLOPs, from formulas and from the headers of a model folder; nothing is loaded."""

import json
import struct

import pytest

from rewarm.campaign import PRESETS
from rewarm.errors import CampaignError
from rewarm.plan.model import preset_size

WIDTH, LAYERS, HEADS, VOCABULARY = 32, 2, 4, 100
CONFIG = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "vocab_size": VOCABULARY,
}
BODY = {"norm": [WIDTH], "up": [4 * WIDTH, WIDTH], "down": [WIDTH, 4 * WIDTH]}
EMBEDDING, HEAD = {"embed": [VOCABULARY, WIDTH]}, {"head": [VOCABULARY, WIDTH]}
FROM_FOLDER = ('preset = "neox-0.1m"\nvocabulary = 300', 'from = "base"')


def num_parameters(*parts: dict[str, list[int]]) -> int:
    total = 0
    for part in parts:
        for shape in part.values():
            size = 1
            for length in shape:
                size *= length
            total += size
    return total


@pytest.fixture
def folder(planned):
    path = planned.folder / "base"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    return path


def write_header(path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file without its numbers: the header is all that is read."""
    entries = {
        name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
        for name, shape in shapes.items()
    }
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.mark.parametrize(
    ("name", "vocabulary", "parameters", "non_embedding"),
    [
        ("neox-405m", 50_304, 405_334_016, 353_822_720),
        ("neox-9.6b", 50_688, 9_642_249_216, 9_408_678_912),
    ],
)
def test_the_papers_sizes(name, vocabulary, parameters, non_embedding):
    """Table 13, both rows: the count there leaves out one of the two embeddings."""
    size = preset_size(name, vocabulary)
    assert size.parameters == parameters
    assert size.parameters - size.embedding == non_embedding


def test_flops_of_a_token_of_the_405m_model():
    """6 for each of 353,822,720 parameters, and 12·24·1024·2048 for attention."""
    flops = preset_size("neox-405m", 50_304).flops_per_token(2048)
    assert flops == 6 * 353_822_720 + 12 * 24 * 1024 * 2048
    assert round(flops / 1e9, 2) == 2.73


@pytest.mark.parametrize("name", PRESETS)
def test_every_head_has_whole_dimensions(name):
    preset = PRESETS[name]
    assert preset.width % preset.heads == 0


def test_a_checkpoint_is_12_bytes_a_parameter():
    assert preset_size("neox-405m", 50_304).checkpoint_bytes == 12 * 405_334_016


@pytest.mark.parametrize("name", PRESETS)
def test_the_parts_of_a_preset_add_up(name):
    size = preset_size(name, 300)
    blocks = size.layers * (size.block_split + size.block_whole)
    assert blocks + size.outside + 2 * 300 * size.width == size.parameters


def test_a_folder_with_a_head_of_its_own(planned, pieces, folder):
    write_header(folder / "model.safetensors", EMBEDDING | BODY | HEAD)
    size = planned(pieces["both"], FROM_FOLDER).size
    assert size.parameters == num_parameters(EMBEDDING, BODY, HEAD)
    assert size.embedding == VOCABULARY * WIDTH
    assert (size.layers, size.width, size.vocabulary) == (LAYERS, WIDTH, VOCABULARY)


def test_a_folder_whose_head_is_the_embedding(planned, pieces, folder):
    """Then the embedding is in a matrix product and counts."""
    write_header(folder / "model.safetensors", EMBEDDING | BODY)
    size = planned(pieces["both"], FROM_FOLDER).size
    assert size.parameters == num_parameters(EMBEDDING, BODY)
    assert size.embedding == 0
    attention = 12 * LAYERS * WIDTH * 8
    assert size.flops_per_token(8) == 6 * size.parameters + attention


def in_blocks(block: dict[str, list[int]]) -> dict[str, list[int]]:
    return {
        f"model.layers.{n}.{name}": shape for n in range(LAYERS) for name, shape in block.items()
    }


def test_the_blocks_of_a_folder_in_parts(planned, pieces, folder):
    """Tensor ranks split matrices and the biases of what they put out; what is added up is whole."""
    split = {
        "attention.query_key_value.weight": [3 * WIDTH, WIDTH],
        "attention.query_key_value.bias": [3 * WIDTH],
        "attention.dense.weight": [WIDTH, WIDTH],
        "mlp.dense_h_to_4h.weight": [4 * WIDTH, WIDTH],
        "mlp.dense_h_to_4h.bias": [4 * WIDTH],
        "mlp.dense_4h_to_h.weight": [WIDTH, 4 * WIDTH],
    }
    whole = {
        "input_layernorm.weight": [WIDTH],
        "input_layernorm.bias": [WIDTH],
        "attention.dense.bias": [WIDTH],
        "mlp.dense_4h_to_h.bias": [WIDTH],
    }
    norm = {"norm.weight": [WIDTH]}
    write_header(folder / "model.safetensors", EMBEDDING | in_blocks(split | whole) | norm | HEAD)
    size = planned(pieces["both"], FROM_FOLDER).size
    assert size.block_split == num_parameters(split)
    assert size.block_whole == num_parameters(whole)
    assert (size.outside, size.tied, size.gated) == (WIDTH, False, False)
    assert size.intermediate == 4 * WIDTH


def test_a_gate_and_a_tied_head_are_seen(planned, pieces, folder):
    inner = 48
    block = {
        "mlp.gate_proj.weight": [inner, WIDTH],
        "mlp.up_proj.weight": [inner, WIDTH],
        "mlp.down_proj.weight": [WIDTH, inner],
    }
    config = CONFIG | {"intermediate_size": inner}
    (folder / "config.json").write_text(json.dumps(config))
    write_header(folder / "model.safetensors", EMBEDDING | in_blocks(block))
    size = planned(pieces["both"], FROM_FOLDER).size
    assert (size.gated, size.tied, size.intermediate) == (True, True, inner)
    assert (size.block_split, size.block_whole, size.outside) == (num_parameters(block), 0, 0)


def test_a_folder_in_several_files(planned, pieces, folder):
    write_header(folder / "model-00001-of-00002.safetensors", EMBEDDING | BODY)
    write_header(folder / "model-00002-of-00002.safetensors", HEAD)
    size = planned(pieces["both"], FROM_FOLDER).size
    assert size.parameters == num_parameters(EMBEDDING, BODY, HEAD)


def test_only_the_files_that_the_model_is_read_from_are_counted(planned, pieces, folder):
    write_header(folder / "consolidated.safetensors", BODY)
    write_header(folder / "model.safetensors", EMBEDDING | BODY | HEAD)
    parameters = num_parameters(EMBEDDING, BODY, HEAD)
    assert planned(pieces["both"], FROM_FOLDER).size.parameters == parameters
    (folder / "model.safetensors").rename(folder / "one.safetensors")
    index = {"weight_map": {"embed": "one.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert planned(pieces["both"], FROM_FOLDER).size.parameters == parameters


def test_heads_may_be_wider_than_the_width_over_their_number(planned, pieces, folder):
    (folder / "config.json").write_text(json.dumps(CONFIG | {"head_dim": 16}))
    write_header(folder / "model.safetensors", EMBEDDING | BODY)
    assert planned(pieces["both"], FROM_FOLDER).size.attention_width == HEADS * 16


def test_a_model_for_text_and_images_is_counted_by_its_text_part(planned, pieces, folder):
    (folder / "config.json").write_text(json.dumps({"text_config": CONFIG, "hidden_size": 1}))
    write_header(folder / "model.safetensors", EMBEDDING | BODY)
    assert planned(pieces["both"], FROM_FOLDER).size.width == WIDTH


def test_a_folder_that_is_not_there_is_refused(planned, pieces):
    refused = planned.refusal(pieces["both"], FROM_FOLDER)
    assert refused.startswith("model.from: base is not a model folder")
    assert "config.json is missing" in refused


def test_a_folder_without_safetensors_is_refused(planned, pieces, folder):
    (folder / "pytorch_model.bin").write_bytes(b"")
    refused = planned.refusal(pieces["both"], FROM_FOLDER)
    assert refused == "model.from: base has no *.safetensors file; convert the weights first"


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 7, struct.pack("<Q", 10**12), struct.pack("<Q", 2) + b"{]", b"\xff" * 100],
)
def test_a_file_that_is_no_safetensors_is_refused(planned, pieces, folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused = planned.refusal(pieces["both"], FROM_FOLDER)
    assert refused.startswith("model.from: base cannot be read as a model folder")


@pytest.mark.parametrize("config", ["{}", "[]", "x", '{"hidden_size": "wide"}'])
def test_a_config_that_is_none_is_refused(planned, pieces, folder, config):
    write_header(folder / "model.safetensors", EMBEDDING | BODY)
    (folder / "config.json").write_text(config)
    refused = planned.refusal(pieces["both"], FROM_FOLDER)
    assert refused.startswith("model.from: base cannot be read as a model folder")


def test_the_vocabulary_comes_from_the_tokenizer_if_not_written(planned, pieces):
    """Entries and added tokens, by the largest number."""
    content = {
        "model": {"vocab": {"a": 0, "b": 1, "c": 2}},
        "added_tokens": [{"id": 1}, {"id": 7}],
    }
    (planned.folder / "tokenizer.json").write_text(json.dumps(content))
    plan = planned(pieces["both"], ("vocabulary = 300", ""))
    assert plan.size == preset_size("neox-0.1m", 8)
    content["added_tokens"] = []
    (planned.folder / "tokenizer.json").write_text(json.dumps(content))
    assert planned(pieces["both"], ("vocabulary = 300", "")).size == preset_size("neox-0.1m", 3)


def test_the_vocabulary_of_a_tokenizer_to_be_trained_is_known(planned, pieces):
    trained = ('from = "tokenizer.json"', 'train = { on = ["english"], vocabulary = 512 }')
    plan = planned(pieces["both"], ("vocabulary = 300", ""), trained)
    assert plan.size == preset_size("neox-0.1m", 512)


@pytest.mark.parametrize("content", ["x", "{}", "[]", '{"model": {}}'])
def test_a_tokenizer_that_is_none_is_refused(planned, pieces, content):
    (planned.folder / "tokenizer.json").write_text(content)
    with pytest.raises(CampaignError, match=r"not a tokenizer\.json of the tokenizers library"):
        planned(pieces["both"], ("vocabulary = 300", ""))
