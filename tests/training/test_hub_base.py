"""A campaign from a model of the hub, from its plan to its export: a cache laid out by hand, no network."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from tests.cli.command import Workplace, rewarm
from tests.hub import FIRST, SECOND, HubCache, use_cache
from tests.training.running import run
from tests.training.test_hugging_face_base import CAMPAIGN
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rewarm.campaign import load_campaign
from rewarm.errors import CheckpointError, MismatchError
from rewarm.models.hub import check_here
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import ResolvedRecord, RunRecord

NAME = "maker/tiny-llama"


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> HubCache:
    return use_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def place(tiny, tmp_path) -> Workplace:
    """Return a campaign that starts from a model of the hub, and its text."""
    made = Workplace(tmp_path / "place")
    made.folder.mkdir()
    for path in tiny.folder.glob("*.jsonl"):
        shutil.copy(path, made.folder)
    text = CAMPAIGN.replace('"base"', f'"{NAME}"').replace('"base/tokenizer.json"', f'"{NAME}"')
    made.file.write_text(text.replace("hugging-face", "tiny"), encoding="utf-8")
    return made


def fill(folder: Path, tiny, seed: int) -> None:
    """Put a tiny Llama and its tokenizer into a folder."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=304,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copy(tiny.prepared / "tokenizer.json", folder)


def commits(place: Workplace) -> dict[str, str | None]:
    return read_record(RunFolder(place.run).resolved, ResolvedRecord).hub_commits


def one_stage_is_unfinished(place: Workplace) -> None:
    (result,) = place.run.glob("stages/*/result.json")
    result.unlink()


def test_plan_train_and_export(tiny, cache, place, tmp_path):
    first = rewarm("plan", place.file)
    assert first.code == 0, first.err
    assert f"model: from {NAME}; its parameters are known once it is downloaded" in first.out
    assert f"note: model {NAME} is not downloaded yet, so its size is not known" in first.out
    assert f"note: the tokenizer of {NAME} is not downloaded yet" in first.out
    assert f"({place.folder / NAME} is no folder here)" in first.out

    snapshot = cache.snapshot(NAME)
    fill(snapshot, tiny, seed=0)
    parameters = LlamaForCausalLM.from_pretrained(snapshot).num_parameters()
    again = rewarm("plan", place.file)
    assert f"model: from {NAME}, {parameters:,} parameters (vocabulary 304)" in again.out
    assert "not downloaded" not in again.out

    prepared = place.prepare()
    assert prepared.code == 0, prepared.err
    assert f"{NAME}: commit {FIRST}" in prepared.out
    trained = place.train()
    assert trained.code == 0, trained.err
    assert commits(place) == {NAME: FIRST}
    assert read_record(RunFolder(place.run).plan, RunRecord).parameters == parameters

    out = tmp_path / "released"
    asked = ("--stage", "update", "--out", out, "--prepared", place.prepared)
    exported = rewarm("export", place.run, *asked)
    assert exported.code == 0, exported.err
    card = (out / "README.md").read_text()
    assert re.search(rf'^base_model: "{NAME}"$', card, re.MULTILINE)
    assert f"[{NAME}](https://huggingface.co/{NAME}), commit `{FIRST}`" in card
    assert AutoModelForCausalLM.from_pretrained(out).num_parameters() == parameters


def test_a_run_goes_on_with_its_own_commit_when_the_branch_has_moved(tiny, cache, place):
    fill(cache.snapshot(NAME), tiny, seed=0)
    assert place.train().code == 0
    before = place.results()
    fill(cache.snapshot(NAME, SECOND), tiny, seed=1)
    shutil.rmtree(next(place.run.glob("stages/*")))
    again = place.train()
    assert again.code == 0, again.err
    assert commits(place) == {NAME: FIRST}
    assert place.results().keys() == before.keys()
    weights = [name for name in before if name.endswith("model.safetensors")]
    assert weights
    assert all(place.results()[name] == before[name] for name in weights)


def test_another_run_takes_what_the_branch_is_now(tiny, cache, place):
    """The twin: the weights above could have been others."""
    fill(cache.snapshot(NAME), tiny, seed=0)
    assert place.train().code == 0
    before = place.results()
    fill(cache.snapshot(NAME, SECOND), tiny, seed=1)
    shutil.rmtree(place.run)
    assert place.train().code == 0
    assert commits(place) == {NAME: SECOND}
    weights = [name for name in before if name.endswith("model.safetensors")]
    assert not any(place.results()[name] == before[name] for name in weights)


def test_another_commit_under_a_run_is_refused(tiny, cache, place):
    fill(cache.snapshot(NAME), tiny, seed=0)
    assert place.train().code == 0
    one_stage_is_unfinished(place)
    fill(cache.snapshot(NAME, SECOND), tiny, seed=1)
    with pytest.raises(MismatchError, match=f'from = "{NAME}@{FIRST}"'):
        run(place.file, place.prepared, place.run)


def test_a_folder_that_takes_the_place_of_a_model_of_the_hub_is_refused(tiny, cache, place):
    fill(cache.snapshot(NAME), tiny, seed=0)
    assert place.train().code == 0
    one_stage_is_unfinished(place)
    shutil.copytree(cache.snapshot(NAME), place.folder / NAME)
    refused = place.train()
    assert refused.code == 5
    assert f"{NAME!r} was commit {FIRST} of the hub, and now it is a local path" in refused.err
    assert "Move away what is at that path" in refused.err
    shutil.rmtree(place.folder / NAME)
    assert place.train().code == 0


def test_the_commit_of_a_run_that_is_gone_from_the_cache_is_asked_for(tiny, cache, place):
    fill(cache.snapshot(NAME), tiny, seed=0)
    assert place.train().code == 0
    one_stage_is_unfinished(place)
    shutil.rmtree(cache.snapshot(NAME))
    fill(cache.snapshot(NAME, SECOND), tiny, seed=1)
    refused = place.train()
    assert refused.code == 4
    assert f"`hf download {NAME} --revision {FIRST}`" in refused.err


def test_two_arms_may_start_from_two_commits(tiny, cache, place):
    fill(cache.snapshot(NAME), tiny, seed=0)
    fill(cache.snapshot(NAME, SECOND), tiny, seed=1)
    arms = f'[arms]\nnow = {{}}\nthen = {{ "model.from" = "{NAME}@{FIRST}" }}\n'
    place.file.write_text(f"{place.file.read_text()}\n{arms}", encoding="utf-8")
    trained = place.train()
    assert trained.code == 0, trained.err
    assert commits(place) == {NAME: SECOND, f"{NAME}@{FIRST}": FIRST}
    losses = {
        json.loads(path.read_text().splitlines()[0])["loss"]
        for path in place.run.glob("stages/*/evals.jsonl")
    }
    assert len(losses) == 2


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_a_mistyped_path_that_looks_like_a_name_is_refused_with_both_readings(place, verb):
    mistyped = ("--set", "model.from=bas/e")
    done = place.prepare(*mistyped) if verb == "prepare" else place.train(*mistyped)
    assert done.code == 4
    assert "model bas/e: the hub's cache on this machine has not config.json" in done.err
    assert f"{place.folder / 'bas' / 'e'} is no folder here" in done.err
    assert not place.prepared.exists()


def test_a_machine_without_the_model_says_which_file_is_missing(tiny, cache, place):
    fill(cache.snapshot(NAME), tiny, seed=0)
    loaded = load_campaign(place.file)
    check_here(loaded)
    (cache.snapshot(NAME) / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has not tokenizer\.json.*`hf download maker/"):
        check_here(loaded)
    (cache.snapshot(NAME) / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has not model\.safetensors.*`rewarm prepare`"):
        check_here(loaded)


def test_records_from_before_there_were_commits_are_read(tiny, place, cache):
    fill(cache.snapshot(NAME), tiny, seed=0)
    assert place.train().code == 0
    one_stage_is_unfinished(place)
    path = RunFolder(place.run).resolved
    older = json.loads(path.read_text())
    del older["hub_commits"]
    path.write_text(json.dumps(older))
    assert place.train().code == 0
    assert commits(place) == {NAME: FIRST}
