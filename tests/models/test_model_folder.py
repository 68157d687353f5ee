"""Loading a model folder: the same model as transformers loads, or a refusal; never any code."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rewarm.errors import CheckpointError
from rewarm.models.folder import load_folder, open_folder
from rewarm.tensors.blocks import slices, whole_blocks
from rewarm.tensors.held import own_tensors

TOKENS = torch.arange(24).view(2, 12) * 3


@pytest.fixture
def folder(tmp_path, tiny_model) -> Path:
    """A healthy GPT-NeoX folder."""
    path = tmp_path / "model"
    tiny_model("gpt_neox").save_pretrained(path)
    return path


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


FAMILIES = [
    ("gpt_neox", {}),
    ("gpt_neox", {"tie_word_embeddings": True}),
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True}),
    ("qwen3", {}),
    ("qwen3", {"tie_word_embeddings": True}),
    ("gemma3_text", {}),
    ("mistral", {}),
    ("olmo2", {}),
    ("gpt2", {"n_inner": 64}),
    ("mixtral", {}),
]


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_equals_what_transformers_loads(tmp_path, tiny_model, family, settings):
    tiny_model(family, **settings).save_pretrained(tmp_path)
    ours = load_folder(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert ours.training
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    assert torch.equal(logits(ours), logits(theirs))
    assert dict(ours.named_parameters()).keys() == dict(theirs.named_parameters()).keys()


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_saved_and_loaded_again_it_is_the_same(tmp_path, tiny_model, family, settings):
    tiny_model(family, **settings).save_pretrained(tmp_path / "first")
    first = load_folder(tmp_path / "first")
    first.save_pretrained(tmp_path / "second")
    assert torch.equal(logits(load_folder(tmp_path / "second")), logits(first))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "second")
    assert torch.equal(logits(theirs), logits(first))


def parts_of(shapes):
    """Return from each tensor the second half of its rows, and half of its last dimension."""
    parts = {}
    for name, shape in shapes.items():
        offset = [shape[0] // 2, *(0 for _ in shape[1:])]
        length = [shape[0] - shape[0] // 2, *shape[1:]]
        if len(shape) > 1:
            length[-1] = shape[-1] // 2
        parts[name] = (offset, length)
    return parts


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_a_part_of_a_tensor_is_read_alone(tmp_path, tiny_model, family, settings):
    tiny_model(family, **settings).save_pretrained(tmp_path, max_shard_size="20KB")
    opened = open_folder(tmp_path)
    source = opened.weights(opened.empty_model())
    loaded = own_tensors(load_folder(tmp_path))
    assert dict(source.shapes()) == {name: tuple(tensor.shape) for name, tensor in loaded.items()}
    wanted = parts_of(source.shapes())
    seen = list(source.tensors(wanted))
    assert sorted(name for name, _ in seen) == sorted(wanted)
    for name, part in seen:
        assert torch.equal(part, loaded[name].detach()[slices(wanted[name])]), name
        assert part.untyped_storage().nbytes() == part.nbytes


def test_names_in_the_file_and_in_the_model_differ_for_gpt_neox(folder):
    """The twin of the tests above: there is something to rename."""
    names = load_file(folder / "model.safetensors").keys()
    assert "embed_out.weight" in names
    assert "lm_head.weight" not in names
    assert "lm_head.weight" in own_tensors(load_folder(folder))


def test_a_tensor_under_both_of_its_names_is_refused(folder):
    edit_tensors(folder, lambda t: t.update({"lm_head.weight": t["embed_out.weight"].clone()}))
    with pytest.raises(CheckpointError, match=r"twice: lm_head\.weight"):
        load_folder(folder)


def test_a_tie_whose_matrix_is_in_the_files_twice_is_one_matrix(tmp_path, tiny_model):
    expected = logits(tiny_model("qwen3", tie_word_embeddings=True))
    tiny_model("qwen3", tie_word_embeddings=True).save_pretrained(tmp_path)
    name = "model.embed_tokens.weight"
    edit_tensors(tmp_path, lambda t: t.update({"lm_head.weight": t[name].clone()}))
    assert torch.equal(logits(load_folder(tmp_path)), expected)
    edit_tensors(tmp_path, lambda t: t.pop(name))
    model = load_folder(tmp_path)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert torch.equal(logits(model), expected)


def test_what_older_files_of_a_family_have_too_is_left_out(folder):
    """Source: the tensors of the Pythia models on the hub."""
    expected = logits(load_folder(folder))
    layer = "gpt_neox.layers.0.attention"
    older = {
        f"{layer}.bias": torch.ones(1, 1, 8, 8, dtype=torch.bool),
        f"{layer}.masked_bias": torch.tensor(-1e9),
        f"{layer}.rotary_emb.inv_freq": torch.ones(4),
    }
    edit_tensors(folder, lambda tensors: tensors.update(older))
    assert torch.equal(logits(load_folder(folder)), expected)


def test_integers_in_the_place_of_weights_are_refused(folder):
    name = "gpt_neox.layers.0.attention.dense.weight"
    edit_tensors(folder, lambda t: t.update({name: t[name].to(torch.int8)}))
    with pytest.raises(CheckpointError, match=f"wrong type: {name} is I8"):
        load_folder(folder)


def test_a_file_that_is_replaced_between_the_header_and_the_read_is_refused(folder):
    opened = open_folder(folder)
    model = opened.empty_model()
    source = opened.weights(model)
    name = "gpt_neox.layers.0.attention.dense.weight"
    edit_tensors(folder, lambda t: t.update({name: t[name][:8].clone()}))
    with pytest.raises(CheckpointError, match="has changed while it was read"):
        list(source.tensors(whole_blocks(source.shapes())))


def test_several_files_are_read_through_their_index(tmp_path, tiny_model):
    model = tiny_model("llama")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.equal(logits(load_folder(tmp_path)), logits(model))
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        load_folder(tmp_path)


def test_bfloat16_weights_become_float32(tmp_path, tiny_model):
    model = tiny_model("llama").bfloat16()
    model.save_pretrained(tmp_path)
    loaded = load_folder(tmp_path)
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name).float())


def test_an_older_configuration_is_read(folder):
    """Source: the spelling of the Pythia models on the hub."""
    expected = logits(load_folder(folder))
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["rope_parameters"], config["dtype"]
    config |= {"rotary_pct": 0.25, "rotary_emb_base": 10000, "torch_dtype": "float16"}
    config |= {"_name_or_path": "somewhere/pythia", "rope_scaling": None, "auto_map": None}
    path.write_text(json.dumps(config))
    assert torch.equal(logits(load_folder(folder)), expected)
    edit(folder, rotary_pct=0.5)
    assert not torch.equal(logits(load_folder(folder)), expected)


def test_the_loaded_weights_are_not_tied_to_the_file(folder):
    model = load_folder(folder)
    expected = logits(model).clone()
    path = folder / "model.safetensors"
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(logits(model), expected)


def test_missing_and_left_over_tensors_are_listed(folder):
    edit_tensors(folder, lambda tensors: tensors.update(extra=torch.zeros(2)))
    with pytest.raises(CheckpointError, match="not in the model: extra"):
        load_folder(folder)
    edit_tensors(folder, lambda t: [t.pop("extra"), t.pop("gpt_neox.final_layer_norm.bias")])
    with pytest.raises(CheckpointError, match=r"missing: gpt_neox\.final_layer_norm\.bias"):
        load_folder(folder)


def test_a_wrong_shape_is_listed(folder):
    edit(folder, vocab_size=101)
    with pytest.raises(CheckpointError, match=r"wrong shape.*embed_in"):
        load_folder(folder)


def test_a_tie_that_the_files_contradict_is_refused(tmp_path, tiny_model):
    tiny_model("qwen3").save_pretrained(tmp_path)
    edit(tmp_path, tie_word_embeddings=True)
    with pytest.raises(CheckpointError, match="two different matrices"):
        load_folder(tmp_path)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, -1])
def test_a_truncated_file_is_refused(folder, kept):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a complete"):
        load_folder(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"model_type": 3}', b"[" * 100_000, b" " * 1_000_001]
)
def test_a_file_that_is_no_configuration_is_refused(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_folder(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "many"},
        {"num_attention_heads": 5},
        {"hidden_act": "no such function"},
        {"rope_parameters": {"rope_type": "no such type"}},
    ],
)
def test_a_configuration_without_sense_is_refused(folder, changes):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=r"not a valid|cannot build"):
        load_folder(folder)


def test_a_missing_folder_or_missing_weights_are_refused(folder, tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        load_folder(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors"):
        load_folder(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read"):
        load_folder(folder)


def test_a_softcapped_model_is_refused(tmp_path, tiny_model):
    tiny_model("gemma2").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="Gemma2ForCausalLM cannot be trained here"):
        load_folder(tmp_path)


def test_quantised_weights_are_refused(folder):
    name = "gpt_neox.layers.0.attention.dense.weight"
    edit_tensors(folder, lambda t: t.update({name: t[name].to(torch.float8_e4m3fn)}))
    with pytest.raises(CheckpointError, match="quantised weights"):
        load_folder(folder)


class Touch:
    """Pickles to a call that makes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def plant(folder: Path) -> Path:
    """Put code into every place of a folder from which some loader would run it."""
    marker = folder.parent / "code-was-run"
    code = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
    (folder / "modeling_planted.py").write_text(code)
    (folder / "configuration_planted.py").write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "planted/base"}')
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(marker)))
    return marker


def test_the_planted_code_would_leave_its_mark(folder):
    """The twin of the tests below: what they plant does work where it is run."""
    marker = plant(folder)
    pickle.loads((folder / "pytorch_model.bin").read_bytes())
    assert marker.exists()
    marker.unlink()
    exec((folder / "modeling_planted.py").read_text())
    assert marker.exists()


def test_a_folder_with_pickled_weights_alone_is_refused(folder):
    marker = plant(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="save_pretrained"):
        load_folder(folder)
    assert not marker.exists()


def test_planted_files_beside_the_weights_change_nothing(folder):
    expected = logits(load_folder(folder))
    marker = plant(folder)
    assert torch.equal(logits(load_folder(folder)), expected)
    assert not marker.exists()


AUTO_MAP = {
    "AutoConfig": "configuration_planted.PlantedConfig",
    "AutoModelForCausalLM": "modeling_planted.PlantedForCausalLM",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_map": AUTO_MAP},
        {"auto_map": AUTO_MAP, "model_type": "planted"},
        {"auto_map": AUTO_MAP, "trust_remote_code": True},
        {"trust_remote_code": False},
        {"_attn_implementation_internal": "planted/kernel"},
        {"_attn_implementation": "planted/kernel"},
        {"_experts_implementation_internal": "planted/kernel"},
        {"attn_implementation": "planted/kernel"},
        {"attn_implementation": {"": "planted/kernel"}},
        {"experts_implementation": "planted/kernel"},
        {"use_kernels": True},
        {"kernel_config": {"kernel_mapping": {"RMSNorm": "planted/kernel"}}},
        {"fusion_config": {"planted": True}},
        {"quantization_config": {"quant_method": "planted"}},
        {"transformers_weights": "pytorch_model.bin"},
        {"custom_pipelines": {"planted": {"impl": "modeling_planted.Planted"}}},
        {"rope_parameters": {"rope_type": "default", "_attn_implementation_internal": "x/y"}},
        {"rope_parameters": {"layers": [{"auto_map": AUTO_MAP}]}},
        {"text_config": {"model_type": "llama"}},
        {"rope_parameters": {"model_type": "llama"}},
        {"unknown_text": "planted/kernel"},
        {"unknown_list": ["planted/kernel"]},
        {"unknown_object": {"planted": 1}},
        {"__class__": 1},
        {"model_type": "modeling_planted"},
        {"model_type": "../modeling_planted"},
        {"model_type": "vit"},
        {"is_encoder_decoder": True},
    ],
)
def test_a_configuration_that_asks_for_code_is_refused_and_none_is_run(folder, changes):
    marker = plant(folder)
    load_folder(folder)
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_folder(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["../other/model.safetensors", "/etc/model.safetensors", "pytorch_model.bin", 3, ""]
)
def test_an_index_that_leads_elsewhere_is_refused(folder, name):
    marker = plant(folder)
    shutil.copytree(folder, folder.parent / "other")
    index = {"weight_map": {"lm_head.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="beside it"):
        load_folder(folder)
    assert not marker.exists()
