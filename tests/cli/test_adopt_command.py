"""`rewarm adopt`, and a campaign on what it wrote."""

import json
import random
import re
import shutil

import numpy as np
import pytest
from tests.cli.command import QUICK, rewarm
from tests.data.foreign_files import write_megatron, write_npy
from tests.data.test_index_map import build

from rewarm.campaign import load_campaign
from rewarm.data.datasets import open_campaign
from rewarm.data.index_map import IndexMap
from rewarm.data.store import TokenStore
from rewarm.errors import CampaignError, DataError, MismatchError
from rewarm.plan import make_plan

GIVEN = 'train_tokens = "given/pile.rewarm.json"\nvalidation_tokens = "prepared/new/validation"'


@pytest.fixture
def place(tiny, tmp_path):
    """The tiny campaign, prepared, and its new data once more as two files of other tools."""
    shutil.copytree(tiny.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "given").mkdir()
    store = TokenStore.open(tmp_path / "prepared" / "new" / "train")
    documents = [store.document(number).tolist() for number in range(store.documents)]
    write_megatron(tmp_path / "given" / "pile_0.bin", documents[:30], "int32", pieces=7)
    write_npy(tmp_path / "given" / "pile_1.npy", documents[30:], "uint16")
    text = (tmp_path / "campaign.toml").read_text(encoding="utf-8")
    text = text.replace('train = { on = ["old"], vocabulary = 300 }', 'from = "tokenizer.json"')
    text = re.sub(r'train = \["new\.jsonl"\]\nvalidation = .*', GIVEN, text)
    (tmp_path / "given.toml").write_text(text, encoding="utf-8")
    shutil.copy(tmp_path / "prepared" / "tokenizer.json", tmp_path)
    return tmp_path


def adopt(place, *more):
    return rewarm("adopt", place / "given", "--tokenizer", place, *more)


def test_adopting_says_what_is_there_and_what_to_do_next(place):
    done = adopt(place)
    assert done.code == 0
    assert f"wrote {place}/given/pile.rewarm.json" in done.out
    assert "pile_0.bin  megatron, int32" in done.out
    assert "train_tokens = " in done.out
    assert "adopting" in done.err
    again = adopt(place, "--json")
    found = json.loads(again.out)
    assert (again.code, found["is_new"], len(found["shards"])) == (0, False, 2)
    store = TokenStore.open(place / "given")
    assert (found["tokens"], found["fingerprint"]) == (store.tokens, store.fingerprint)
    for verb in ("inspect", "verify"):
        for path in (place / "given", place / "given" / "pile.rewarm.json"):
            done = rewarm(verb, path)
            assert (done.code, done.err) == (0, "")
            assert "pile.rewarm.json" in done.out
    assert rewarm("inspect", place / "given" / "pile_1.npy").code == 2


def test_adopted_tokens_that_are_damaged_end_with_exit_code_3(place):
    adopt(place)
    content = bytearray((place / "given" / "pile_1.npy").read_bytes())
    content[-1] ^= 1
    (place / "given" / "pile_1.npy").write_bytes(content)
    done = rewarm("verify", place / "given")
    assert done.code == 3
    assert done.out.startswith("damaged")
    assert "pile_1.npy: block 0 " in done.err


def test_a_campaign_on_given_tokens_reads_what_one_on_their_text_reads(place):
    adopt(place)
    loaded = load_campaign(place / "given.toml")
    data = open_campaign(loaded.campaign, place, place / "prepared")
    text = load_campaign(place / "campaign.toml")
    same = open_campaign(text.campaign, place, place / "prepared")
    numbers = range(data.train["new"].num_windows(16))
    windows = [each.train["new"].windows(numbers, 16) for each in (data, same)]
    assert np.array_equal(*windows)
    assert data.fingerprints()["validation"] == same.fingerprints()["validation"]
    assert data.fingerprints()["train"]["old"] == same.fingerprints()["train"]["old"]
    assert data.fingerprints()["train"]["new"] != same.fingerprints()["train"]["new"]


def test_the_plan_knows_how_many_tokens_there_are_and_nothing_is_prepared(place):
    adopt(place)
    assert rewarm("plan", place / "given.toml", "--prepared", place / "prepared").code == 0
    shutil.rmtree(place / "prepared" / "new" / "train")
    done = rewarm("prepare", place / "given.toml", "--prepared", place / "prepared")
    assert done.code == 0
    assert not (place / "prepared" / "new" / "train").exists()
    tokens = TokenStore.open(place / "given").tokens
    assert f"new: {tokens:,} tokens, 60 documents" in done.out


def test_the_path_of_the_tokens_is_part_of_the_key(place):
    keys = {
        path: [
            stage.key
            for stage in make_plan(
                load_campaign(place / "given.toml", [f"data.new.train_tokens={path}"])
            ).stages
        ]
        for path in ("a.rewarm.json", "b.rewarm.json")
    }
    first, second = keys.values()
    assert first[0] == second[0]  # a stage that does not read them
    assert first[1] != second[1]


def test_another_trainer_is_given_a_single_pair_alone(place):
    adopt(place)
    plan = ("plan", place / "given.toml", "--prepared", place / "prepared", "--to", "megatron")
    arm = ("--stage", "update", "--arm", "no-replay")
    done = rewarm(*plan, *arm)
    assert done.code == 3
    assert "lies in 2 shards of layout megatron, npy" in done.err
    rewarm("adopt", place / "given" / "pile_0", "--tokenizer", place)
    single = "data.new.train_tokens=given/pile_0.rewarm.json"
    done = rewarm(*plan, *arm, "--set", single)
    assert done.code == 0, done.err
    assert str(place / "given" / "pile_0") in done.out


def test_tokens_of_another_end_of_text_are_refused(place):
    tokenizer = json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))
    special = {**tokenizer["added_tokens"][0], "id": 300, "content": "<|other|>"}
    tokenizer["added_tokens"].append(special)
    (place / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    done = adopt(place, "--end-of-text", "<|other|>")
    assert done.code == 3
    assert "the end-of-text id 300 occurs nowhere" in done.err
    rewarm("adopt", place / "given" / "pile_0", "--tokenizer", place, "--end-of-text", "<|other|>")
    settings = ["data.new.train_tokens=given/pile_0.rewarm.json"]
    settings += ["data.old.train_tokens=given/pile_0.rewarm.json", "data.old.train=[]"]
    loaded = load_campaign(place / "given.toml", settings)
    with pytest.raises(MismatchError, match="end with the id 300, the campaign's with 0"):
        open_campaign(loaded.campaign, place, place / "prepared")


def test_tokens_that_are_trained_and_validated_on_are_refused(place):
    adopt(place)
    settings = ["data.new.validation_tokens=given"]
    done = rewarm(
        "prepare", place / "given.toml", "--prepared", place / "prepared", "--set", *settings
    )
    assert done.code == 3
    assert "data.new.validation_tokens: given are also the training tokens of new" in done.err


def test_a_run_of_another_trainer_is_read_in_its_order(place):
    store = TokenStore.open(place / "prepared" / "new" / "train")
    documents = [store.document(number).tolist() for number in range(store.documents)]
    files, samples = build(place, documents, 16, 2, random.Random(6))
    maps = {name: path.name for name, path in vars(files).items()}
    written = ", ".join(f'{name} = "{file}"' for name, file in maps.items())
    text = (place / "given.toml").read_text(encoding="utf-8")
    text = text.replace("given/pile.rewarm.json", "prepared/new/train")
    consumed = len(samples) // 2
    table = (
        f'order = "sequential"\nindex_maps = {{ {written}, consumed = "{consumed} sequences" }}\n'
    )
    text = text.replace("validation_tokens", table + "validation_tokens")
    (place / "maps.toml").write_text(text, encoding="utf-8")
    loaded = load_campaign(place / "maps.toml")
    data = open_campaign(loaded.campaign, place, place / "prepared")
    found = data.windows("cut")["new"]
    assert isinstance(found, IndexMap)
    assert found.windows(range(found.num_windows(16)), 16).tolist() == samples[:consumed]
    assert data.num_windows("new", 16, "cut") == consumed
    assert data.fingerprints()["train"]["new"] == found.fingerprint
    done = rewarm("plan", place / "maps.toml", "--prepared", place / "prepared")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("file", "settings", "reason"),
    [
        ("given", ["data.new.train=['new.jsonl']"], "give one of train"),
        (
            "given",
            ["data.new.validation=['new.valid.jsonl']"],
            "give either validation_tokens or text to validate on",
        ),
        (
            "campaign",
            ["data.old.train=[]", "data.old.train_tokens=x"],
            "tokenizer.train.on.*: 'old' has tokens, not text",
        ),
        (
            "campaign",
            [
                "data.old.index_maps={documents='a', samples='b', shuffle='c', consumed='1 sequences'}"
            ],
            "give train_tokens",
        ),
        (
            "given",
            [
                "data.new.index_maps={documents='a', samples='b', shuffle='c', consumed='1 sequences'}"
            ],
            'give order = "sequential" with them',
        ),
        (
            "given",
            ["data.new.validation={fraction='1%'}", "data.new.validation_tokens=''"],
            "either validation_tokens or|give validation_tokens",
        ),
        (
            "given",
            ["data.new.index_maps={documents='a', samples='b', shuffle='c', consumed='1 tokens'}"],
            "the unit must be sequences",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(place, file, settings, reason):
    with pytest.raises(CampaignError, match=reason):
        load_campaign(place / f"{file}.toml", settings)


def test_tokens_that_are_not_there_are_told(place):
    loaded = load_campaign(place / "given.toml")
    with pytest.raises(DataError, match="there is no such manifest; `rewarm adopt` writes one"):
        open_campaign(loaded.campaign, place, place / "prepared")


def test_training_on_adopted_tokens_is_training_on_their_text(place):
    """The same losses, byte for byte, from int32 in two files of other layouts as from our own pair."""
    adopt(place)
    found = []
    for file in ("given", "campaign"):
        runs = place / f"{file}-runs"
        options = ("--runs", runs, "--prepared", place / "prepared", *QUICK)
        done = rewarm("train", place / f"{file}.toml", *options)
        assert done.code == 0, done.err
        found.append(sorted(path.read_bytes() for path in runs.glob("tiny/stages/*/metrics.jsonl")))
    assert len(found[0]) == 4
    assert found[0] == found[1]
