"""Writing a model folder: it loads as the same model, whole or not at all."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewarm.data.tokenizer import train_tokenizer
from rewarm.errors import CampaignError, CheckpointError, DataError
from rewarm.models.export import FolderContent, write_model_folder
from rewarm.models.folder import load_folder, open_folder
from rewarm.tensors.held import own_tensors, shapes_of
from rewarm.tensors.source import MemorySource

TOKENS = torch.arange(24).view(2, 12) * 3
FAMILIES = [
    ("gpt_neox", {}),
    ("llama", {}),
    ("llama", {"pad_token_id": 0}),
    ("qwen3", {}),
    ("qwen3", {"tie_word_embeddings": True}),
    ("gemma3_text", {}),
    ("mistral", {}),
    ("olmo2", {}),
    ("gpt2", {"n_inner": 64}),
    ("mixtral", {}),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    return train_tokenizer(["ba be bi bo bu " * 40], vocabulary=260, path=path)


@pytest.fixture
def content(tokenizer) -> FolderContent:
    return FolderContent(
        tokenizer_json=tokenizer.path,
        end_of_text=tokenizer.end_of_text_token,
        vocabulary=None,
        dtype="fp32",
        card="# A card\n",
    )


def source_of(model) -> MemorySource:
    return MemorySource(by_name=own_tensors(model))


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


def theirs(folder: Path, **settings):
    return AutoModelForCausalLM.from_pretrained(folder, **settings)


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_transformers_loads_the_same_logits(tmp_path, tiny_model, content, family, settings):
    model = tiny_model(family, **{"vocab_size": 260} | settings)
    out = tmp_path / "out"
    write_model_folder(out, model.config, source_of(model), content)
    assert torch.equal(logits(theirs(out)), logits(model))
    assert torch.equal(logits(load_folder(out)), logits(model))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("family", ["gpt_neox", "llama", "qwen3", "gemma3_text", "mixtral"])
def test_files_and_names_are_those_that_transformers_writes(tmp_path, tiny_model, content, family):
    model = tiny_model(family, vocab_size=260)
    write_model_folder(tmp_path / "ours", model.config, source_of(model), content)
    model.save_pretrained(tmp_path / "theirs")
    ours = load_file(tmp_path / "ours" / "model.safetensors")
    expected = load_file(tmp_path / "theirs" / "model.safetensors")
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())
    kept = json.loads((tmp_path / "ours" / "config.json").read_text())
    wanted = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert kept | {"eos_token_id": wanted["eos_token_id"]} == wanted
    ours = {path.name for path in (tmp_path / "ours").iterdir()}
    extra = {"tokenizer.json", "tokenizer_config.json", "README.md"}
    assert ours == {path.name for path in (tmp_path / "theirs").iterdir()} | extra


@pytest.mark.parametrize("family", ["gpt_neox", "mixtral"])
def test_large_models_are_several_files(tmp_path, tiny_model, content, family):
    model = tiny_model(family, vocab_size=260)
    out = tmp_path / "out"
    write_model_folder(out, model.config, source_of(model), content, shard_bytes=20_000)
    files = sorted(path.name for path in out.glob("*.safetensors"))
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert len(files) > 2
    index = json.loads((out / "model.safetensors.index.json").read_text())
    stored = {name: file for file in files for name in load_file(out / file)}
    assert index["weight_map"] == stored
    assert index["metadata"]["total_parameters"] == model.num_parameters()
    assert index["metadata"]["total_size"] == 4 * model.num_parameters()
    assert torch.equal(logits(theirs(out)), logits(model))


def test_every_file_can_be_read_by_whom_the_umask_lets(tmp_path, tiny_model, content):
    model = tiny_model("gpt_neox", vocab_size=260)
    before = os.umask(0o027)
    try:
        write_model_folder(tmp_path / "out", model.config, source_of(model), content)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()}
    assert modes == dict.fromkeys(modes, 0o640)


def test_bfloat16_rounds_each_weight_once(tmp_path, tiny_model, content):
    model = tiny_model("llama", vocab_size=260)
    out = tmp_path / "out"
    write_model_folder(out, model.config, source_of(model), replace(content, dtype="bf16"))
    loaded = theirs(out)
    assert loaded.dtype == torch.bfloat16
    for name, parameter in model.named_parameters():
        assert torch.equal(loaded.get_parameter(name), parameter.bfloat16())


@pytest.mark.parametrize(
    ("family", "settings"), [("gpt_neox", {}), ("qwen3", {"tie_word_embeddings": True})]
)
def test_padding_of_the_vocabulary_is_left_out(tmp_path, tiny_model, content, family, settings):
    model = tiny_model(family, vocab_size=320, **settings)
    out = tmp_path / "out"
    write_model_folder(out, model.config, source_of(model), replace(content, vocabulary=260))
    loaded = theirs(out)
    assert loaded.config.vocab_size == 260
    assert logits(loaded).shape[-1] == 260
    torch.testing.assert_close(logits(loaded), logits(model)[..., :260], rtol=1e-5, atol=1e-6)
    kept = own_tensors(model)
    for name, tensor in own_tensors(loaded).items():
        assert torch.equal(tensor, kept[name][: len(tensor)]), name
    shapes = shapes_of(loaded)
    assert sum(shape[0] == 260 for shape in shapes.values()) == (1 if settings else 2)
    assert model.config.vocab_size == 320


def test_the_tokenizer_comes_back_and_ends_texts(tmp_path, tiny_model, content, tokenizer):
    model = tiny_model("llama", vocab_size=260)
    out = tmp_path / "out"
    write_model_folder(out, model.config, source_of(model), content)
    loaded = AutoTokenizer.from_pretrained(out)
    text = "ba be, Bo!\n  naïve 12 — ü"
    (expected,) = tokenizer.encode_batch([text])
    assert loaded(text)["input_ids"] == expected[:-1].tolist()
    assert loaded.decode(loaded(text)["input_ids"]) == text
    ids = (loaded.eos_token_id, loaded.bos_token_id, loaded.pad_token_id)
    assert ids == (tokenizer.end_of_text,) * 3
    generation = theirs(out).generation_config
    assert (generation.eos_token_id, generation.pad_token_id) == (tokenizer.end_of_text,) * 2
    assert (out / "tokenizer.json").read_bytes() == tokenizer.path.read_bytes()
    assert (out / "README.md").read_text() == "# A card\n"


def test_no_row_of_the_embedding_loses_its_gradient(tmp_path, tiny_model, content):
    """A padding id in config.json would do that to the end of text, in training from the exported folder."""
    model = tiny_model("llama", vocab_size=260)
    write_model_folder(tmp_path / "out", model.config, source_of(model), content)
    loaded = load_folder(tmp_path / "out")
    assert loaded.model.embed_tokens.padding_idx is None


def test_what_is_there_already_is_not_touched(tmp_path, tiny_model, content):
    model = tiny_model("llama", vocab_size=260)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for name in ("file", "full"):
        with pytest.raises(CampaignError, match="exists already"):
            write_model_folder(tmp_path / name, model.config, source_of(model), content)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "mine"]
    (tmp_path / "empty").mkdir()
    write_model_folder(tmp_path / "empty", model.config, source_of(model), content)
    assert (tmp_path / "empty" / "config.json").exists()


def test_a_tokenizer_without_the_end_of_text_is_refused(tmp_path, tiny_model, content):
    model = tiny_model("llama", vocab_size=260)
    with pytest.raises(DataError, match="no token '</s>'"):
        write_model_folder(
            tmp_path / "out", model.config, source_of(model), replace(content, end_of_text="</s>")
        )
    assert not list(tmp_path.iterdir())


class Unsteady:
    """A source that gives other weights when it is read again, as a damaged disk would."""

    def __init__(self, source: MemorySource):
        self.source = source
        self.read = 0

    def shapes(self):
        return self.source.shapes()

    def tensors(self, wanted):
        self.read += 1
        for name, tensor in self.source.tensors(wanted):
            yield name, tensor + (1e-7 if self.read > 1 and "norm" in name else 0)


def test_a_folder_that_is_not_the_model_gets_no_name(tmp_path, tiny_model, content):
    model = tiny_model("llama", vocab_size=260)
    with pytest.raises(CheckpointError, match="norm"):
        write_model_folder(tmp_path / "out", model.config, Unsteady(source_of(model)), content)
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_trained_here_is_not_exported_either(tmp_path, tiny_model, content):
    model = tiny_model("gemma2", vocab_size=260)
    with pytest.raises(CheckpointError, match=r"bent|not its head"):
        write_model_folder(tmp_path / "out", model.config, source_of(model), content)
    assert not list(tmp_path.iterdir())


def test_what_was_exported_can_be_opened_in_parts(tmp_path, tiny_model, content):
    model = tiny_model("gpt_neox", vocab_size=260)
    write_model_folder(tmp_path / "out", model.config, source_of(model), content)
    opened = open_folder(tmp_path / "out")
    source = opened.weights(opened.empty_model())
    assert dict(source.shapes()) == shapes_of(model)
