"""Evaluating models and stages of a run by the command, and comparing the results."""

import gzip
import json

import orjson
import pytest
from tests.cli.command import QUICK, rewarm
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewarm.campaign import PRESETS
from rewarm.models.build import build_preset
from rewarm.plan import make_plan
from rewarm.runs.folder import RunFolder
from rewarm.training.anneal import load_run

TEXTS = ["ba bebi bodu", "dida bubo ba de", "ke zu kazo ki", "kozo ze", "bi ba"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_bytes(b"".join(orjson.dumps({"text": text}) + b"\n" for text in TEXTS))
    return path


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "questions.jsonl"
    rows = [{"context": text[:2], "choices": [text[2:], "x"], "answer": 0} for text in TEXTS]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


@pytest.fixture
def model_of(tiny, tmp_path_factory):
    """Return a function that makes the folder of a small random model with so long a context."""

    def made(sequence_length: int):
        folder = tmp_path_factory.mktemp("models") / "base"
        preset = PRESETS["neox-0.1m"]
        model = build_preset(preset, vocabulary=300, sequence_length=sequence_length, seed=0)
        model.config.eos_token_id = 0
        model.save_pretrained(folder)
        (folder / "tokenizer.json").write_bytes((tiny.prepared / "tokenizer.json").read_bytes())
        return folder

    return made


def test_a_stage_and_its_export_score_the_same(untouched, texts, tmp_path):
    """A checkpoint is read as the model that `export` writes, and both as transformers reads that."""
    folder, out = tmp_path / "model", tmp_path / "out"
    where = ("--stage", "pretrain", "--prepared", untouched.prepared)
    assert rewarm("export", untouched.run, *where, "--out", folder).code == 0
    asked = ("--documents", f"old={texts}", "--out", out, "--json", *QUICK)
    done = rewarm("eval", untouched.run, folder, *where, *asked)
    assert done.code == 0, done.err
    stage, exported = json.loads(done.out)
    assert stage["tasks"] == exported["tasks"]
    assert stage["model"]["name"] == f"tiny-{untouched.stage('pretrain').name}-step-24"
    assert (stage["context_length"], stage["model"]["parameters"]) == (
        16,
        exported["model"]["parameters"],
    )
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    short = [text for text in TEXTS if len(tokenizer(text)["input_ids"]) <= 16]
    found = {item["id"]: item for item in items(out / "model")}
    assert len(short) >= 2
    for text in short:
        ids = tokenizer(f"<|endoftext|>{text}", return_tensors="pt")["input_ids"]
        nats = model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        assert found[str(TEXTS.index(text) + 1)]["nats"] == pytest.approx(nats, rel=1e-5)


def items(folder) -> list[dict]:
    content = gzip.decompress((folder / "items.jsonl.gz").read_bytes())
    return [json.loads(line) for line in content.splitlines()]


def test_two_steps_of_a_stage_are_compared(untouched, texts, questions, tmp_path):
    tasks = ("--documents", f"old={texts}", "--questions", f"pick={questions}")
    where = ("--stage", "update", "--arm", "replay-25", "--prepared", untouched.prepared)
    stage = make_plan(load_run(RunFolder(untouched.run))).arms["replay-25"][-1].folder
    for step in (12, 20):
        asked = ("--at", f"{step} steps", "--out", tmp_path, *tasks, *QUICK)
        done = rewarm("eval", untouched.run, *where, *asked)
        assert done.code == 0, done.err
        assert "bits_per_byte" in done.out
        assert f"wrote {tmp_path}/tiny-replay-25-{stage}-step-{step}" in done.err
    folders = [tmp_path / f"tiny-replay-25-{stage}-step-{step}" for step in (12, 20)]
    done = rewarm("compare", *folders)
    assert done.code == 0, done.err
    assert "no difference seen on these items" in done.out
    assert "significant" not in done.out
    assert "would be seen in four of five such comparisons" in done.out
    compared = json.loads(rewarm("compare", *folders, "--json").out)
    assert [task["task"] for task in compared["models"][0]["tasks"]] == ["old", "pick"]
    assert rewarm("compare", folders[0], tmp_path).code == 4
    again = rewarm("eval", untouched.run, *where, "--out", tmp_path, *tasks, *QUICK)
    assert (again.code, "were not touched" in again.err) == (2, True)


def test_several_arms_are_measured_in_one_command_and_what_they_share_once(
    untouched, texts, tmp_path
):
    arms = ("--arm", "no-replay", "--arm", "replay-25", "--prepared", untouched.prepared)
    asked = (*arms, "--documents", f"old={texts}", "--out", tmp_path, *QUICK)
    done = rewarm("eval", untouched.run, "--stage", "update", *asked)
    assert done.code == 0, done.err
    first, second = sorted(each.name for each in tmp_path.iterdir())
    assert first.startswith("tiny-no-replay-update-")
    assert second.startswith("tiny-replay-25-update-")
    assert f"A  {first}\nB  {second}\n" in done.out
    done = rewarm("eval", untouched.run, "--stage", "pretrain", *asked)
    assert done.code == 0, done.err
    assert "arm replay-25 has the same pretrain as tiny-no-replay-pretrain-" in done.err
    assert len(list(tmp_path.iterdir())) == 3
    done = rewarm("eval", untouched.run, "--stage", "pretrain", "--arm", "none", *asked)
    assert (done.code, "arm 'none'" in done.err) == (2, True)


def test_results_of_several_tasks_are_averaged_and_prompts_stand_side_by_side(
    model_of, texts, tmp_path
):
    first, second = model_of(64), model_of(64)
    second = second.rename(second.parent / "other")
    asked = ("--documents", f"a={texts}", "--documents", f"b={texts}", "--german-prompts")
    done = rewarm("eval", first, second, *asked, "--out", tmp_path, *QUICK)
    assert done.code == 0, done.err
    assert "A  base\nB  other\n" in done.out
    assert "average of 2 tasks" in done.out
    lines = done.out.splitlines()
    start = lines.index("Eine typisch deutsche Mahlzeit ist →")
    assert [line[:4] for line in lines[start + 1 : start + 3]] == ["  A:", "  B:"]


def test_runs_whose_results_would_meet_are_refused_before_any_work(untouched, texts, tmp_path):
    asked = ("--stage", "pretrain", "--documents", f"a={texts}", "--out", tmp_path / "out")
    done = rewarm("eval", untouched.run, untouched.run, *asked, *QUICK)
    assert (done.code, "two models are called 'tiny-pretrain-" in done.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_prompts_are_printed_where_there_is_room_for_them(untouched, model_of, texts, tmp_path):
    where = ("--stage", "pretrain", "--prepared", untouched.prepared)
    done = rewarm("eval", untouched.run, *where, "--german-prompts", "--out", tmp_path, *QUICK)
    assert (done.code, "may have 40" in done.err) == (2, True)
    assert not list(tmp_path.iterdir())
    asked = ("--german-prompts", "--documents", f"old={texts}", "--limit", "2", "--out", tmp_path)
    done = rewarm("eval", model_of(64), *asked, *QUICK)
    assert done.code == 0, done.err
    assert "Eine typisch deutsche Mahlzeit ist →" in done.out
    found = items(tmp_path / "base")
    assert [item["kind"] for item in found] == ["document"] * 2 + ["prompt"] * 5


def test_models_that_would_fail_later_are_refused_at_once(untouched, model_of, texts, tmp_path):
    folder = model_of(16)
    asked = ("--documents", f"a={texts}", "--out", tmp_path / "out", *QUICK)
    for models, code, message in (
        ((folder, model_of(16)), 2, "two models are called 'base'"),
        ((folder, tmp_path / "none"), 4, "none: no such folder"),
        ((folder, untouched.run), 2, "is a run; say with --stage"),
        ((folder, "--at", "50%"), 2, "no model is one"),
    ):
        done = rewarm("eval", *models, *asked)
        assert (done.code, done.out) == (code, "")
        assert message in done.err
    assert not (tmp_path / "out").exists()
    assert rewarm("eval", folder, *asked).code == 0
    assert rewarm("eval", folder, *asked).code == 2


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        (("--stage", "pretrain"), 2, "nothing is asked of the models"),
        (("--documents", "old"), 2, "--documents old: give a name and a file"),
        (("--documents", "a=TEXTS", "--documents", "a=TEXTS"), 2, "the name 'a' twice"),
        (("--stage", "pretrain", "--documents", "a=none.jsonl"), 3, "no file matches 'none.jsonl'"),
        (
            ("--stage", "pretrain", "--questions", "a=TEXTS"),
            3,
            "texts.jsonl:1: has no key 'choices'",
        ),
        (("--documents", "a=TEXTS"), 2, "is a run; say with --stage"),
        (("--documents", "a=TEXTS", "--precision", "fp16"), 2, "--precision fp16"),
    ],
)
def test_mistakes_are_said_before_any_work(untouched, texts, tmp_path, asked, code, message):
    given = [str(each).replace("TEXTS", str(texts)) for each in asked]
    done = rewarm("eval", untouched.run, *given, "--out", tmp_path / "out", *QUICK)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert not (tmp_path / "out").exists()
