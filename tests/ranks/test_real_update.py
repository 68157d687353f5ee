"""A real update: a Llama from a folder, a declared history with a proxy, 5 % replay, on two ranks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from rewarm.engine.checkpoint import load
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import StageResult
from rewarm.training.export import export_stage
from tests.training.running import run
from tests.training.test_hugging_face_base import CAMPAIGN

STEPS = 40


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with text, and a Llama that was trained on the old language for a while."""
    folder = tmp_path_factory.mktemp("real")
    for path in tiny.folder.glob("*.jsonl"):
        shutil.copy(path, folder)
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
    LlamaForCausalLM(config).save_pretrained(folder / "random")
    shutil.copy(tiny.prepared / "tokenizer.json", folder / "random")
    pretrain = CAMPAIGN.replace("base", "random").replace("hugging-face", "pretraining")
    pretrain = pretrain.replace('replay = "25%"\n', "").replace("new = 1.0", "old = 1.0")
    pretrain = (
        pretrain[: pretrain.index("[history.old]")] + pretrain[pretrain.index("[evaluation]") :]
    )
    pretrain = pretrain.replace('"8 steps"', f'"{STEPS} steps"').replace(
        "max_lr = 1e-3", "max_lr = 5e-3"
    )
    (folder / "pretrain.toml").write_text(pretrain, encoding="utf-8")
    run(folder / "pretrain.toml", tiny.prepared, folder / "pretraining")
    export_stage(
        RunFolder(folder / "pretraining"),
        "update",
        arm=None,
        at=None,
        out=folder / "base",
        dtype="fp32",
        prepared=None,
    )
    update = CAMPAIGN.replace('"25%"', '"5%"').replace('"8 steps"', f'"{STEPS} steps"')
    (folder / "campaign.toml").write_text(update, encoding="utf-8")
    return folder


def rewarm(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "rewarm", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_learns_the_new_keeps_the_old_and_is_exported_with_equal_logits(tiny, folder):
    prepared = str(tiny.prepared)
    rewarm(
        folder,
        *("train", "campaign.toml", "--prepared", prepared, "--device", "cpu"),
        *("--ranks", "2", "--threads", "1"),
    )
    (stage,) = (folder / "runs" / "hugging-face" / "stages").iterdir()
    result = read_record(stage / "result.json", StageResult)
    assert (result.read["old"].replayed, result.read["new"].new) == (16, STEPS * 8 - 16)
    assert result.ledger["old"].replayed == 16
    assert result.final["new"] < result.before["new"] - 0.5
    assert result.before["old"] < 5.0  # it was trained on that
    rewarm(
        folder,
        *("export", "runs/hugging-face", "--stage", "update", "--prepared", prepared),
        *("--out", "released"),
    )
    released = AutoModelForCausalLM.from_pretrained(folder / "released").eval()
    saved = load(stage / "checkpoints" / f"step-{STEPS:08d}")
    assert len([name for name in saved.manifest.files if name.startswith("model-")]) == 2
    own = LlamaForCausalLM(LlamaConfig(**released.config.to_dict())).eval()
    own.load_state_dict(saved.groups["model"].whole())
    tokens = torch.arange(24).view(2, 12) * 7
    with torch.no_grad():
        assert torch.equal(released(input_ids=tokens).logits, own(input_ids=tokens).logits)
    assert AutoTokenizer.from_pretrained(folder / "released").eos_token == "<|endoftext|>"
    card = (folder / "released" / "README.md").read_text()
    assert "5%" in card
    assert "a proxy for data that is not available" in card
