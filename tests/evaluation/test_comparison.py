"""A model compared with itself is exactly zero, with another what the items say; other items are refused."""

import math
from dataclasses import replace

import numpy as np
import orjson
import pytest

from rewarm.engine.world import current_world
from rewarm.errors import CampaignError, CheckpointError, MismatchError
from rewarm.evaluation.comparison import compare_sides
from rewarm.evaluation.evaluate import Settings, evaluate, read_tasks
from rewarm.evaluation.model import open_model
from rewarm.evaluation.results import (
    Results,
    items_file,
    read_results,
    refuse_existing,
    results_file,
)
from rewarm.evaluation.sides import Side
from rewarm.evaluation.statistics import Part, smallest_visible


def compare_two(first: Results, second: Results):
    """Compare two models of one seed each."""
    (compared,) = compare_sides(Side(seeds=(first,)), [Side(seeds=(second,))]).models
    return compared


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, dict[str, str]]:
    """Return the files of four small tasks."""
    folder = tmp_path_factory.mktemp("tasks")
    rng = np.random.default_rng(2)

    def words(count: int) -> str:
        return " ".join("".join(rng.choice(list("abc"), 3)) for _ in range(count))

    rows = {
        "texts": [{"text": words(6), "domain": "xy"[n % 2]} for n in range(12)],
        "questions": [
            {"context": words(2), "choices": [words(1), words(2)], "answer": n % 2}
            for n in range(20)
        ],
        "asked": [{"context": words(2), "answers": [words(1)]} for n in range(3)],
    }
    for name, found in rows.items():
        lines = b"".join(orjson.dumps(row) + b"\n" for row in found)
        (folder / f"{name}.jsonl").write_bytes(lines)
    return {
        "documents": {"texts": str(folder / "texts.jsonl")},
        "questions": {"questions": str(folder / "questions.jsonl")},
        "generate": {"asked": str(folder / "asked.jsonl")},
    }


@pytest.fixture(scope="module")
def evaluated(files, model_folder, tmp_path_factory):
    """Return a function that evaluates a tiny model and reads the results."""
    made: dict[tuple[int, int | None], Results] = {}

    def results(seed: int, limit: int | None = None) -> Results:
        if (seed, limit) not in made:
            out = tmp_path_factory.mktemp("results") / "model"
            tasks = read_tasks(files, german_prompts=True, limit=limit)
            evaluate(
                open_model(model_folder("gpt_neox", seed)),
                tasks,
                out,
                world=current_world("cpu", 1),
                settings=Settings(batch=4),
                on_progress=lambda *_: None,
            )
            made[seed, limit] = read_results(out)
        return made[seed, limit]

    return results


def test_a_model_compared_with_itself_is_exactly_zero(evaluated):
    compared = compare_two(evaluated(1), evaluated(1))
    assert [task.task for task in compared.tasks] == ["texts", "questions", "asked"]
    for task in compared.tasks:
        assert (task.p_value, task.adjusted_p_value, task.is_significant) == (1.0, 1.0, False)
        for each in task.differences:
            found = each.difference
            assert (found.value, found.standard_error, found.low, found.high) == (0, 0, 0, 0)
            assert each.first == each.second
            assert each.smallest_visible is None
    assert compared.notes == []


def test_a_difference_is_that_of_the_items(evaluated):
    first, second = evaluated(1), evaluated(2)
    compared = compare_two(first, second)
    texts, questions, _ = compared.tasks
    pooled = texts.differences[0]
    a, b = first.of("texts"), second.of("texts")
    num_bytes = np.array([item.bytes for item in a])
    bits = np.array([y.nats - x.nats for x, y in zip(a, b, strict=True)]) / math.log(2)
    value = bits.sum() / num_bytes.sum()
    spread = np.square(bits - value * num_bytes).sum() * 12 / 11
    assert pooled.difference.value == pytest.approx(value)
    assert pooled.difference.value == pytest.approx(pooled.second - pooled.first)
    assert pooled.difference.standard_error == pytest.approx(math.sqrt(spread) / num_bytes.sum())
    assert pooled.smallest_visible == pytest.approx(
        smallest_visible([Part(variance=pooled.difference.standard_error**2, freedom=11)])
    )
    assert [d.difference.domain for d in texts.differences] == [None, None, "x", "y"]
    x, y = texts.differences[2:]
    macro = texts.differences[1].difference
    assert macro.value == pytest.approx((x.difference.value + y.difference.value) / 2)
    assert questions.differences[0].difference.value == pytest.approx(
        np.mean([item.is_right for item in second.of("questions")])
        - np.mean([item.is_right for item in first.of("questions")])
    )
    assert all(task.adjusted_p_value >= task.p_value for task in compared.tasks)
    back = compare_two(second, first).tasks[0].differences[0].difference
    assert back.value == -pooled.difference.value


def test_the_results_are_the_same_each_time_and_say_where_they_come_from(
    evaluated, files, model_folder, tmp_path
):
    first = evaluated(1)
    record, _ = evaluate(
        open_model(model_folder("gpt_neox", 1)),
        read_tasks(files, german_prompts=True, limit=None),
        tmp_path,
        world=current_world("cpu", 1),
        settings=Settings(batch=4),
        on_progress=lambda *_: None,
    )
    assert record == first.record
    assert items_file(tmp_path).read_bytes() == items_file(first.folder).read_bytes()
    assert set(record.model.weights) == {"model.safetensors"}
    assert [(task.name, task.kind, task.items) for task in record.tasks] == [
        ("texts", "documents", 12),
        ("questions", "questions", 20),
        ("asked", "generate", 3),
        ("german-prompts", "prompts", 5),
    ]
    with pytest.raises(CampaignError, match="were not touched"):
        refuse_existing(tmp_path)


def test_other_items_are_refused(evaluated):
    with pytest.raises(
        MismatchError, match=r"texts: .* differ in its number of items \(12 and 2\)"
    ):
        compare_two(evaluated(1), evaluated(1, 2))
    found = evaluated(1)
    texts = found.record.tasks[0]
    other = texts.model_copy(update={"data_sha256": "0"})
    changed = found.record.model_copy(update={"tasks": [other]})
    with pytest.raises(MismatchError, match="data"):
        compare_two(found, replace(found, record=changed))
    renamed = found.record.model_copy(
        update={"tasks": [texts.model_copy(update={"name": "others"})]}
    )
    with pytest.raises(MismatchError, match="no measured task of the same name"):
        compare_two(found, replace(found, record=renamed))


def test_what_else_differs_is_said(evaluated):
    found = evaluated(1)
    texts = found.record.tasks[0]
    changed = found.record.model_copy(update={"tasks": [texts], "batch": 8})
    compared = compare_two(found, replace(found, record=changed))
    assert "the batch differs: 4 and 8" in compared.notes
    assert "asked was not measured on all of them, and is left out" in compared.notes


def test_items_that_are_not_those_of_the_results_are_refused(evaluated, tmp_path):
    found = evaluated(1)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_results(tmp_path)
    results_file(tmp_path).write_bytes(results_file(found.folder).read_bytes())
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_results(tmp_path)
    items_file(tmp_path).write_bytes(items_file(found.folder).read_bytes() + b"\0")
    with pytest.raises(
        CheckpointError, match=r"is not the file that results\.json was written with"
    ):
        read_results(tmp_path)


def test_tasks_need_names_of_their_own(files):
    same = {"documents": {"a": files["documents"]["texts"]}}
    same |= {"questions": {"a": files["questions"]["questions"]}}
    with pytest.raises(CampaignError, match="two tasks are called 'a'"):
        read_tasks(same, german_prompts=False, limit=None)
    with pytest.raises(CampaignError, match="nothing is asked"):
        read_tasks({}, german_prompts=False, limit=None)
