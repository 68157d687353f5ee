"""A stage of a finished run as a Hugging Face folder, and what its card says."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from tests.tiny import CAMPAIGN, Tiny
from tests.training.running import run
from tests.training.spoiling import sequences_of, spoiled
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewarm.campaign import PRESETS, load_campaign
from rewarm.data.tokenizer import load_tokenizer
from rewarm.engine import checkpoint
from rewarm.errors import CampaignError, CheckpointError, MismatchError
from rewarm.models.build import build_preset
from rewarm.models.folder import load_folder
from rewarm.plan import Plan, make_plan
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder, StageFolder
from rewarm.runs.records import ResolvedRecord, StageResult
from rewarm.training.evaluated import open_checkpoint
from rewarm.training.export import export_stage

TOKENS = torch.arange(24).view(2, 12) * 3
PADDED = "model.vocabulary=320"


@pytest.fixture(scope="module")
def finished(tiny: Tiny, tmp_path_factory) -> RunFolder:
    """Return the tiny campaign, carried out with padded embeddings; not to be changed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export") / "run"
    run(tiny.file, tiny.prepared, folder, PADDED)
    torch.set_num_threads(threads)
    return RunFolder(folder)


@pytest.fixture
def export(finished, tiny, tmp_path):
    """Return a function that exports from the finished run."""

    def exported(stage: str, **asked) -> Path:
        settings = {"arm": None, "at": None, "out": tmp_path / "out", "dtype": "fp32"}
        settings |= {"prepared": tiny.prepared}
        return export_stage(finished, stage, **(settings | asked))

    return exported


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


def only(finished: RunFolder, name: str) -> StageFolder:
    (path,) = finished.path.glob(f"stages/{name}-????????")
    return finished.stage(path.name)


def trained_model(folder: Path):
    """Return the model of a checkpoint, put together without any of what is tested here."""
    saved = checkpoint.load(folder)
    preset = PRESETS["neox-0.1m"]
    model = build_preset(preset, vocabulary=320, sequence_length=16, seed=0)
    model.load_state_dict(saved.groups["model"].whole())
    return model


def test_it_is_the_model_of_the_last_checkpoint_without_the_padding(finished, export):
    out = export("pretrain")
    expected = logits(trained_model(only(finished, "pretrain").checkpoint(24)))[..., :300]
    loaded = AutoModelForCausalLM.from_pretrained(out)
    assert torch.equal(logits(load_folder(out)), logits(loaded))
    torch.testing.assert_close(logits(loaded), expected, rtol=1e-5, atol=1e-6)
    assert loaded.config.vocab_size == 300


@pytest.mark.parametrize("at", [None, "50%"])
def test_a_checkpoint_is_evaluated_as_the_model_that_is_exported(finished, tiny, export, at):
    where = {"arm": None, "at": at, "prepared": tiny.prepared}
    opened = open_checkpoint(finished, "pretrain", context_length=None, **where)
    exported = load_folder(export("pretrain", at=at))
    assert torch.equal(logits(opened.model), logits(exported))
    assert logits(opened.model).shape[-1] == 300  # and not the 320 rows that were trained
    assert opened.context_length == 16
    with pytest.raises(CampaignError, match="reads at most 16 tokens"):
        open_checkpoint(finished, "pretrain", context_length=17, **where)


def test_an_earlier_checkpoint_is_another_model(finished, export, tmp_path):
    early = export("pretrain", at="50%", out=tmp_path / "early")
    expected = logits(trained_model(only(finished, "pretrain").checkpoint(12)))[..., :300]
    loaded = logits(load_folder(early))
    torch.testing.assert_close(loaded, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(loaded, logits(load_folder(export("pretrain"))), rtol=1e-3)
    card = (early / "README.md").read_text()
    assert "12 of 24 steps" in card
    assert "measured at step 12" in card


def test_the_tokenizer_is_the_one_that_it_was_trained_with(tiny, export):
    out = export("pretrain")
    ours = load_tokenizer(tiny.prepared / "tokenizer.json")
    theirs = AutoTokenizer.from_pretrained(out)
    text = "ba bedi, ü!"
    assert theirs(text)["input_ids"] == ours.encode_batch([text])[0][:-1].tolist()
    assert theirs.decode(theirs(text)["input_ids"]) == text
    assert load_tokenizer(out / "tokenizer.json").fingerprint == ours.fingerprint


def test_the_card_has_the_numbers_of_the_run(finished, tiny, export):
    card = (export("update", arm="replay-25") / "README.md").read_text()
    plan: Plan = make_plan(load_campaign(tiny.file, [PADDED]))
    update = plan.arms["replay-25"][-1]
    for source, count in update.ledger().items():
        new, replayed = count.new * 16, count.replayed * 16
        assert f"| {source} | {new:,} | {replayed:,} |" in card
    assert (
        "| old | 3,072 | 640 |" in card
    )  # 24 steps of 8 sequences of 16; a quarter of 20 steps again
    result = read_record(finished.stage(update.folder).result, StageResult)
    forgetting = result.final["old"] - result.before["old"]
    adaptation = result.before["new"] - result.final["new"]
    assert f"forgetting {forgetting:+.4f}" in card
    assert f"adaptation {adaptation:+.4f}" in card
    assert result.weights_sha256 in card
    assert "Seed 7" in card
    assert "replay 25%" in card
    assert re.search(r"1\. pretrain, all 24 steps: 3,072 tokens, replay none", card)
    assert re.search(r"2\. update, all 20 steps.*cosine", card)
    versions = read_record(finished.resolved, ResolvedRecord).versions
    assert f"torch {versions['torch']}" in card
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "base_model" not in card


def test_the_default_place_is_in_the_run(finished, tiny, tmp_path):
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(finished.path, copy.path)
    asked = {"arm": None, "at": None, "out": None, "prepared": tiny.prepared}
    out = export_stage(copy, "union", dtype="bf16", **asked)
    assert out == copy.path / "export" / only(copy, "union").path.name
    assert AutoModelForCausalLM.from_pretrained(out).dtype == torch.bfloat16
    with pytest.raises(CampaignError, match="exists already"):
        export_stage(copy, "union", dtype="fp32", **asked)


def test_arms_do_not_meet_in_the_default_place(finished, tiny, tmp_path):
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(finished.path, copy.path)
    asked = {"at": None, "out": None, "dtype": "fp32", "prepared": tiny.prepared}
    arms = ("replay-25", "no-replay")
    folders = [export_stage(copy, "update", arm=arm, **asked) for arm in arms]
    for arm, folder in zip(arms, folders, strict=True):
        assert f"It is arm {arm} " in (folder / "README.md").read_text()
    assert folders[0] != folders[1]


def test_the_tokens_of_steps_left_out_are_not_in_the_card(tiny, tmp_path):
    file = tiny.folder / "exported.toml"
    file.write_text(CAMPAIGN.split('[[stage]]\nname = "update"')[0], encoding="utf-8")
    plan = make_plan(load_campaign(file))
    bad = sequences_of(plan, tiny.prepared, plan.stages[0], (3, 9, 20))
    with spoiled(bad):
        run(file, tiny.prepared, tmp_path / "run", "training.not_finite=skip")
    asked = {"arm": None, "dtype": "fp32", "prepared": tiny.prepared}
    for at, progress, trained, left_out in (("50%", "12 of 24", 10, 2), ("100%", "all 24", 21, 3)):
        out = tmp_path / at
        export_stage(RunFolder(tmp_path / "run"), "pretrain", at=at, out=out, **asked)
        tokens = trained * 8 * 16
        said = rf"{progress} steps, {left_out} of them left out because .*: {tokens:,} tokens, replay none"
        assert re.search(said, (out / "README.md").read_text())


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"stage": "pretrian"}, CampaignError, "no stage 'pretrian'"),
        ({"stage": "update"}, CampaignError, "say --arm"),
        ({"arm": "main"}, CampaignError, "no stage 'pretrain' in arm 'main'"),
        ({"at": "10 steps"}, CheckpointError, "no checkpoint at step 10 .*; there are steps 6, 12"),
        ({"at": "10"}, CampaignError, "--at: '10' has no unit"),
        ({"dtype": "fp16"}, CampaignError, "--dtype fp16"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    export, tmp_path, asked, error, message
):
    with pytest.raises(error, match=message):
        export(**({"stage": "pretrain"} | asked))
    assert not list(tmp_path.iterdir())


def test_damage_and_other_tokenizers_are_refused(finished, tiny, tmp_path):
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(finished.path, copy.path)
    asked = {"arm": None, "at": None, "out": tmp_path / "out", "dtype": "fp32"}
    other = tmp_path / "prepared"
    other.mkdir()
    text = (tiny.prepared / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"dropout":null', '"dropout":0.0'))
    with pytest.raises(MismatchError, match="not the tokenizer"):
        export_stage(copy, "pretrain", prepared=other, **asked)
    weights = only(copy, "pretrain").checkpoint(24) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        export_stage(copy, "pretrain", prepared=tiny.prepared, **asked)
    shutil.rmtree(only(copy, "pretrain").checkpoints)
    with pytest.raises(CheckpointError, match="has no checkpoint in"):
        export_stage(copy, "pretrain", prepared=tiny.prepared, **asked)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CampaignError, match="is not a run folder"):
        export_stage(
            RunFolder(tmp_path), "x", arm=None, at=None, out=None, dtype="fp32", prepared=None
        )
