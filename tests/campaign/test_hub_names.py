"""What `from` names: a path that is here, or a model of the hub as far as the cache has it."""

import json

import pytest
from tests.hub import FIRST, SECOND, HubCache, use_cache

from rewarm.campaign.hub import (
    commit_of,
    hub_id,
    hub_name,
    missing_files,
    model_folder,
    tokenizer_file,
)

NAME = "maker/tiny"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> HubCache:
    return use_cache(tmp_path / "cache", monkeypatch)


def complete(folder):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("name", [NAME, f"hf://{NAME}", f"{NAME}@main", f"{NAME}@{FIRST}"])
def test_a_name_stands_for_what_the_cache_has(cache, tmp_path, name):
    folder = complete(cache.snapshot(NAME))
    assert model_folder(name, tmp_path) == folder
    assert tokenizer_file(name, tmp_path) == folder / "tokenizer.json"
    assert commit_of(name, tmp_path) == FIRST


def test_nothing_stands_for_a_model_that_is_not_in_the_cache(cache, tmp_path):
    complete(cache.snapshot("maker/other"))
    assert model_folder(NAME, tmp_path) is None
    assert tokenizer_file(NAME, tmp_path) is None
    assert commit_of(NAME, tmp_path) is None
    assert model_folder(f"maker/other@{SECOND}", tmp_path) is None


def test_a_settled_commit_is_kept_when_the_branch_moves(cache, tmp_path):
    first, second = complete(cache.snapshot(NAME)), complete(cache.snapshot(NAME, SECOND))
    assert model_folder(NAME, tmp_path) == second
    assert model_folder(NAME, tmp_path, {NAME: FIRST}) == first
    assert tokenizer_file(NAME, tmp_path, {NAME: FIRST}) == first / "tokenizer.json"
    assert commit_of(NAME, tmp_path, {NAME: FIRST}) == FIRST
    assert model_folder(NAME, tmp_path, {f"hf://{NAME}": FIRST}) == second


def test_what_is_here_is_taken_unless_the_name_says_hub(cache, tmp_path):
    complete(cache.snapshot(NAME))
    local = tmp_path / NAME
    local.mkdir(parents=True)
    assert model_folder(NAME, tmp_path) == local
    assert tokenizer_file(NAME, tmp_path) == local / "tokenizer.json"
    assert (hub_name(NAME, tmp_path), commit_of(NAME, tmp_path)) == (None, None)
    assert hub_name(f"hf://{NAME}", tmp_path) == hub_id(NAME)


@pytest.mark.parametrize("name", ["tokenizer.json", "base/tokenizer.json", "../base"])
def test_a_path_stays_a_path_though_nothing_is_there(tmp_path, name):
    assert tokenizer_file(name, tmp_path) == tmp_path / name


def test_the_index_says_which_weights_there_must_be(tmp_path):
    assert missing_files(tmp_path) == ["config.json", "model.safetensors"]
    (tmp_path / "config.json").write_text("{}")
    names = {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert missing_files(tmp_path) == ["one.safetensors", "two.safetensors"]
    (tmp_path / "two.safetensors").write_text("")
    assert missing_files(tmp_path) == ["one.safetensors"]
