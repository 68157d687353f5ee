"""`rewarm compare`: models, recipes over seeds, and what could be seen, on the terminal and as JSON."""

import hashlib
import json

import numpy as np
import pytest
from tests.cli.command import rewarm
from tests.evaluation.simulated import documents, questions, results
from tests.report.conftest import Builder, _resolved

from rewarm.evaluation.items import PromptItem
from rewarm.evaluation.results import packed_items, write_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with three trainings each of two recipes; a prompt is among their tasks."""
    place = tmp_path_factory.mktemp("evaluations")
    draw = np.random.default_rng(1)
    for recipe, level in (("old", 0.0), ("new", 0.1)):
        for seed in (1, 2, 3):
            name = f"{recipe}-{seed}"
            tasks = [
                documents(draw, level + draw.normal(0, 0.01)),
                questions(draw, 0.0, "quiz"),
                questions(draw, 0.0, "exam"),
            ]
            made = results(name, tasks)
            prompt = PromptItem(task="p", id="1", prompt="Das [b]Pferd", continuation=name)
            packed = packed_items([*made.items, prompt])
            digest = hashlib.sha256(packed).hexdigest()
            record = made.record.model_copy(update={"items_sha256": digest})
            write_results(place / name, record, packed)
    return place


def of(folder, recipe: str, seeds=(1, 2, 3)) -> str:
    return ",".join(str(folder / f"{recipe}-{seed}") for seed in seeds)


def test_one_seed_a_side_speaks_of_these_checkpoints(folder):
    done = rewarm("compare", folder / "old-1", folder / "new-1", folder / "new-2")
    assert done.code == 0, done.err
    for letter, name in (("A", "old-1"), ("B", "new-1"), ("C", "new-2")):
        assert f"{letter}  {folder}/{name} (of {name})\n" in done.out
    assert "texts: A and B differ on these items in bits_per_byte (p = " in done.out
    assert "quiz: A and C: no difference seen on these items in acc (p = " in done.out
    assert " over 6 tests); 40 items, a true difference of " in done.out
    assert " points would be seen in four of five such comparisons" in done.out
    assert "significant" not in done.out
    assert done.out.count("says nothing of another training") == 1
    assert "average of 2 tasks" in done.out
    assert "Das [b]Pferd →\n  A: 'old-1'\n  B: 'new-1'\n  C: 'new-2'\n" in done.out


def test_several_seeds_a_side_speak_of_recipes(folder):
    done = rewarm("compare", of(folder, "old"), of(folder, "new"))
    assert done.code == 0, done.err
    assert "texts: A and B: the difference in bits_per_byte is significant (p = " in done.out
    assert "quiz: A and B: the difference in acc is not significant (p = " in done.out
    assert "these items" not in done.out
    assert "says nothing of another training" not in done.out
    assert "  A: 'old-1'\n  A: 'old-2'\n  A: 'old-3'\n  B: 'new-1'\n" in done.out


def test_the_json_says_over_what(folder):
    for sides, over in (
        ((folder / "old-1", folder / "new-1"), "items"),
        ((of(folder, "old"), of(folder, "new")), "items and seeds"),
    ):
        found = json.loads(rewarm("compare", *sides, "--json").out)
        (model,) = found["models"]
        assert {task["over"] for task in model["tasks"]} == {over} == {found["over"]}
        assert [each["tasks"] for each in model["averages"]] == [["quiz", "exam"]]
        assert found["prompts"][0]["prompt"] == "Das [b]Pferd"
    assert model["second"]["places"] == ["new-1", "new-2", "new-3"]


def test_what_could_be_seen_needs_no_second_model(folder):
    done = rewarm("compare", "--power", folder / "old-1")
    assert done.code == 0, done.err
    assert " points" in done.out
    assert " bits per byte" in done.out
    assert "right answers correlate by 0.7" in done.out
    assert "over items alone" in done.out
    done = rewarm("compare", "--power", of(folder, "old"), of(folder, "new"))
    assert (done.code, "over items alone" in done.out) == (0, False)
    found = json.loads(
        rewarm("compare", "--power", folder / "old-1", of(folder, "old"), "--json").out
    )
    assert [side["tasks"][0]["seeds"] for side in found] == [1, 3]
    assert found[0]["tasks"][0]["smallest_visible"] < found[1]["tasks"][0]["smallest_visible"]
    assert found[0]["tasks"][-1]["metric"] == "accuracy"


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["old-1"], 2, "there is nothing to compare it with"),
        (["old-1,F/old-2", "new-1"], 2, "2 and 1 folders"),
        (["old-1,F/old-1", "new-1,F/new-2"], 2, "is given twice on one side"),
        (["old-1", "none"], 4, "none/results.json"),
        (["old-1,", "new-1"], 2, "a folder is missing before or behind a comma"),
    ],
)
def test_what_cannot_be_compared_is_refused(folder, given, code, said):
    done = rewarm("compare", *(f"{folder}/{text.replace('F', str(folder))}" for text in given))
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_runs_are_compared_by_their_losses(tmp_path, folder):
    build = Builder()
    for seed in (1, 2):
        base = build.record("pretrain", key=f"b{seed}")
        update = build.record("update", key=f"u{seed}", parent=base.folder, start_step=10)
        stages = [
            build.finished(base, (9.0, 9.0), (3.0, 5.0)),
            build.finished(update, (3.0, 5.0), (3.5, 2.0)),
        ]
        arms = {"main": [base.folder, update.folder]}
        build.write(tmp_path / f"r{seed}", stages, arms, seed=seed, resolved=_resolved())
    done = rewarm("compare", tmp_path / "r1", tmp_path / "r2")
    assert done.code == 0, done.err
    assert "Over seeds 1 and 2 the average loss of main is 2.750" in done.out
    mixed = rewarm("compare", tmp_path / "r1", of(folder, "old", (1,)))
    assert mixed.code == 2
    assert "r1 is a run. Runs are compared with runs" in mixed.err
