"""A campaign that starts from a Hugging Face folder: its weights, its tokenizer, a declared history."""

import shutil

import numpy as np
import pytest
import torch
from tests.training.running import run
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rewarm.data.store import TokenStore
from rewarm.engine import checkpoint
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EvalRecord, RunRecord, StageResult
from rewarm.training.export import export_stage

CAMPAIGN = """
name = "hugging-face"
sequence_length = 16
batch = "8 sequences"

[model]
from = "base"

[tokenizer]
from = "base/tokenizer.json"

[data.old]
train = ["old.jsonl"]
validation = ["old.valid.jsonl"]

[data.new]
train = ["new.jsonl"]
validation = ["new.valid.jsonl"]

[history.old]
tokens = "4000 tokens"
proxy = true

[evaluation]
every = "50%"
sequences = 8
final_steps = 2
final_every = 1

[checkpoints]
every = "50%"

[[stage]]
name = "update"
data = { new = 1.0 }
budget = "8 steps"
replay = "25%"
schedule = { kind = "cosine", max_lr = 1e-3, warmup = "1 steps" }
"""


@pytest.fixture
def base(tiny, tmp_path):
    """Return a folder with a tiny Llama, its tokenizer, the text and a campaign that starts from it."""
    for path in tiny.folder.glob("*.jsonl"):
        shutil.copy(path, tmp_path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=304,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    shutil.copy(tiny.prepared / "tokenizer.json", tmp_path / "base")
    (tmp_path / "campaign.toml").write_text(CAMPAIGN, encoding="utf-8")
    return tmp_path


def test_an_update_starts_from_the_weights_of_the_folder_and_replays_the_declared_history(
    tiny, base
):
    plan = run(base / "campaign.toml", tiny.prepared, base / "run")
    folder = RunFolder(base / "run").stage(plan.stages[0].folder)
    first = {r.dataset: r.loss for r in read_records(folder.evals, EvalRecord) if r.step == 0}
    model = LlamaForCausalLM.from_pretrained(base / "base").eval()
    for dataset in ("old", "new"):
        store = TokenStore.open(tiny.prepared / dataset / "validation")
        tokens = torch.from_numpy(store.windows(range(8), 16).astype(np.int64))
        with torch.no_grad():
            logits = model(input_ids=tokens[:, :-1]).logits
        expected = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()
        assert first[dataset] == pytest.approx(expected, rel=1e-6)
    result = read_record(folder.result, StageResult)
    assert (result.read["old"].replayed, result.read["new"].new) == (16, 48)
    assert result.final["new"] < result.before["new"]
    record = read_record(RunFolder(base / "run").plan, RunRecord)
    assert "proxy" in record.history["old"]
    assert record.datasets == ["old", "new"]
    assert record.parameters == model.num_parameters()


def test_an_exported_update_is_the_base_of_the_next_campaign(tiny, base):
    plan = run(base / "campaign.toml", tiny.prepared, base / "run")
    first = RunFolder(base / "run")
    out = base / "released"
    export_stage(first, "update", arm=None, at=None, out=out, dtype="fp32", prepared=None)
    saved = checkpoint.load(first.stage(plan.stages[0].folder).checkpoint(8))
    released = AutoModelForCausalLM.from_pretrained(out)
    for name, tensor in saved.groups["model"].whole().items():
        assert torch.equal(released.get_parameter(name), tensor)
    assert released.config.vocab_size == 304
    card = (out / "README.md").read_text()
    assert "a proxy for data that is not available" in card
    assert "a model in a local folder" in card

    text = (base / "campaign.toml").read_text().replace("base", "released")
    (base / "next.toml").write_text(text.replace("hugging-face", "next"))
    following = run(base / "next.toml", tiny.prepared, base / "next")
    evals = RunFolder(base / "next").stage(following.stages[0].folder).evals
    before = {r.dataset: r.loss for r in read_records(evals, EvalRecord) if r.step == 0}
    evals = first.stage(plan.stages[0].folder).evals
    after = {r.dataset: r.loss for r in read_records(evals, EvalRecord) if r.step == 8}
    assert before == after
