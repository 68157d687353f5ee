"""Recipes over seeds: rarely "significant" when they are one recipe, found when they differ, exact formulas."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.simulated import TASKS, recipe, results

from rewarm.errors import CampaignError, MismatchError
from rewarm.evaluation.comparison import compare_sides
from rewarm.evaluation.items import PromptItem
from rewarm.evaluation.results import packed_items, write_results
from rewarm.evaluation.sides import Side, letter, read_side
from rewarm.evaluation.statistics import Part, p_value, ratio, smallest_visible


def share_significant(kind: str, simulations: int, *, seeds: int = 3, level: float = 0.0) -> float:
    """Compare two groups of trainings again and again; the second recipe's level may be another."""
    draw = np.random.default_rng(7)
    found = 0
    for _ in range(simulations):
        first = recipe(draw, seeds, kinds=[kind])
        second = recipe(draw, seeds, kinds=[kind], level=level)
        (model,) = compare_sides(first, [second]).models
        found += model.tasks[0].is_significant
    return found / simulations


@pytest.mark.parametrize(("kind", "simulations"), [("documents", 400), ("questions", 200)])
def test_three_seeds_of_one_recipe_are_not_significant_in_95_of_100(kind, simulations):
    by_chance = 3 * math.sqrt(0.05 * 0.95 / simulations)
    assert share_significant(kind, simulations) == pytest.approx(0.05, abs=by_chance)


def test_one_seed_of_each_differs_on_its_items_far_more_often():
    """The twin: the error over items alone takes one recipe for two."""
    assert share_significant("documents", 60, seeds=1) > 0.5
    assert share_significant("questions", 60, seeds=1) > 0.3


@pytest.mark.parametrize(("kind", "found"), [("documents", 0.9), ("questions", 0.6)])
def test_a_difference_of_six_deviations_of_a_seed_is_found(kind, found):
    """That is 0.06 bits per byte here, or 2.4 nats between the choices."""
    assert share_significant(kind, 50, level=6) > found


def test_the_error_is_that_of_seeds_and_that_of_items():
    draw = np.random.default_rng(1)
    first, second = recipe(draw, 3), recipe(draw, 3, level=1)
    compared = compare_sides(first, [second])
    texts = compared.models[0].tasks[0]
    assert (compared.over, texts.over) == ("items and seeds", "items and seeds")
    a, b = ([[i.nats for i in own] for own in side.of("texts")] for side in (first, second))
    num_bytes = np.array([item.bytes for item in first.of("texts")[0]])
    bits = (np.array(b) - np.array(a)) / math.log(2)
    by_seed = bits.sum(axis=1) / num_bytes.sum()
    over_items = ratio(bits.mean(axis=0), num_bytes).standard_error
    found = texts.differences[0].difference
    assert found.value == pytest.approx(by_seed.mean())
    assert found.standard_error == pytest.approx(math.sqrt(by_seed.var(ddof=1) / 3 + over_items**2))
    assert texts.differences[0].first == pytest.approx(
        np.sum(a) / math.log(2) / 3 / num_bytes.sum()
    )
    parts = (
        Part(variance=by_seed.var(ddof=1) / 3, freedom=2),
        Part(variance=over_items**2, freedom=len(num_bytes) - 1),
    )
    assert texts.differences[0].smallest_visible == pytest.approx(smallest_visible(parts))
    back = compare_sides(second, [first]).models[0].tasks[0]
    assert back.p_value == pytest.approx(texts.p_value)
    assert back.differences[0].difference.value == pytest.approx(-found.value)


def test_a_recipe_compared_with_itself_is_exactly_zero():
    side = recipe(np.random.default_rng(1), 3)
    for task in compare_sides(side, [side]).models[0].tasks:
        assert (task.p_value, task.adjusted_p_value, task.is_significant) == (1.0, 1.0, False)
        for each in task.differences:
            found = each.difference
            assert (found.value, found.standard_error, found.low, found.high) == (0, 0, 0, 0)
            assert (each.first, each.smallest_visible) == (each.second, None)


def test_p_values_are_adjusted_over_the_tasks_of_all_models():
    draw = np.random.default_rng(1)
    first, others = recipe(draw, 1), [recipe(draw, 1, level=n) for n in range(3)]
    compared = compare_sides(first, others)
    assert [m.second.letter for m in compared.models] == ["B", "C", "D"]
    tasks = [task for model in compared.models for task in model.tasks]
    least = min(tasks, key=lambda task: task.p_value)
    assert least.adjusted_p_value == pytest.approx(6 * least.p_value)
    alone = compare_sides(first, others[:1]).models[0].tasks
    assert [t.p_value for t in alone] == [t.p_value for t in tasks[:2]]


def test_averages_are_over_tasks_and_pair_by_seed():
    draw = np.random.default_rng(1)

    def side(name: str) -> Side:
        makers = [make for make, _ in TASKS.values()]
        named = ("texts0", "quiz1", "texts2", "quiz3")
        seeds = [
            results(
                f"{name}{seed}", [makers[n % 2](draw, 0.0, task) for n, task in enumerate(named)]
            )
            for seed in range(2)
        ]
        return Side(seeds=tuple(seeds))

    first, second = side("a"), side("b")
    (model,) = compare_sides(first, [second]).models
    accuracy, bits = model.averages
    assert accuracy.tasks == ["quiz1", "quiz3"]
    assert bits.tasks == ["texts0", "texts2"]
    by_name = {task.task: task.differences[0] for task in model.tasks}
    own = [by_name[name] for name in accuracy.tasks]
    assert accuracy.difference.first == pytest.approx(np.mean([each.first for each in own]))
    found = accuracy.difference.difference
    assert found.metric == "accuracy"
    assert found.value == pytest.approx(np.mean([each.difference.value for each in own]))
    right = [
        np.array(
            [[[i.is_right for i in items] for items in side.of(name)] for name in accuracy.tasks]
        )
        for side in (first, second)
    ]
    gains = right[1].astype(float) - right[0]  # by task, seed and question
    over_seeds = gains.mean(axis=(0, 2)).var(ddof=1) / 2
    over_items = sum(g.var(ddof=1) / len(g) for g in gains.mean(axis=1)) / 4
    assert found.standard_error == pytest.approx(math.sqrt(over_seeds + over_items))


def test_prompts_stand_side_by_side():
    def said(name: str, words: str):
        item = PromptItem(task="p", id="1", prompt="Das Pferd", continuation=words)
        (found,) = recipe(np.random.default_rng(1), 1, name=name).seeds
        return Side(seeds=(replace(found, items=[*found.items, item]),))

    compared = compare_sides(said("a", "frisst"), [said("b", "schläft"), said("c", "lacht")])
    (prompt,) = compared.prompts
    assert prompt.prompt == "Das Pferd"
    assert prompt.continuations == {"A": ["frisst"], "B": ["schläft"], "C": ["lacht"]}


def test_sides_with_other_numbers_of_seeds_are_refused():
    draw = np.random.default_rng(1)
    with pytest.raises(CampaignError, match=r"3 and 2 folders.*as many on each side"):
        compare_sides(recipe(draw, 3), [recipe(draw, 2)])


def written(folder, names) -> None:
    """Write the evaluation of a model of each name."""
    for each in recipe(np.random.default_rng(1), len(names), kinds=["documents"]).seeds:
        name = names[int(each.record.model.name)]
        model = each.record.model.model_copy(update={"weights": {"m": name.replace("again", "a")}})
        packed = packed_items(each.items)
        digest = hashlib.sha256(packed).hexdigest()
        record = each.record.model_copy(update={"model": model, "items_sha256": digest})
        write_results(folder / name, record, packed)


def test_folders_are_joined_by_commas_unless_a_folder_is_called_so(tmp_path):
    written(tmp_path, ["a", "b", "a,b", "again"])
    joined = f"{tmp_path}/b,{tmp_path}/again"
    assert [each.folder.name for each in read_side(joined).seeds] == ["b", "again"]
    assert [each.folder.name for each in read_side(f"{tmp_path}/a,b").seeds] == ["a,b"]
    for text, said in (
        (f"{tmp_path}/a,{tmp_path}/../{tmp_path.name}/a", "is given twice on one side"),
        (f"{tmp_path}/a,", "a folder is missing before or behind a comma"),
    ):
        with pytest.raises(CampaignError, match=said):
            read_side(text)
    with pytest.raises(MismatchError, match="are evaluations of the same weights"):
        read_side(f"{tmp_path}/a,{tmp_path}/again")


def test_letters_go_on_behind_z():
    assert [letter(n) for n in (0, 25, 26, 51, 52, 701, 702)] == [
        *("A", "Z", "AA", "AZ", "BA", "ZZ", "AAA")
    ]


def test_the_p_value_and_the_interval_agree():
    for level in (0.0, 1.0, 2.0, 4.0, 8.0, 1e3):
        draw = np.random.default_rng(3)
        (model,) = compare_sides(recipe(draw, 3), [recipe(draw, 3, level=level)]).models
        for task in model.tasks:
            found = task.differences[0].difference
            assert (task.p_value < 0.05) == (found.low > 0 or found.high < 0)
            assert 0 <= task.p_value <= 1
    assert p_value(ratio([1e9, 1e9 + 1], [1, 1])) < 1e-8
