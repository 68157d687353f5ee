"""What a comparison could see: formulas, against comparisons that were made, and how many items it takes."""

import math

import numpy as np
import pytest
from tests.evaluation.simulated import TASKS, documents, questions, recipe, results

from rewarm.errors import MismatchError
from rewarm.evaluation.comparison import compare_sides
from rewarm.evaluation.power import ANSWERS_AGREE, DOCUMENTS_AGREE, expected_power
from rewarm.evaluation.sides import Side
from rewarm.evaluation.statistics import accuracy_difference_error


def test_what_is_expected_follows_from_values_spread_and_agreement():
    side = recipe(np.random.default_rng(1), 1)
    texts, quiz = side.seeds[0].record.tasks
    bits, answers = expected_power(side).tasks
    assert (bits.tasks, answers.tasks) == (["texts"], ["quiz"])
    assert bits.standard_error == pytest.approx(
        texts.metrics[0].standard_error * math.sqrt(2 * (1 - DOCUMENTS_AGREE))
    )
    accuracy = quiz.metrics[0].value
    assert answers.standard_error == pytest.approx(
        accuracy_difference_error(40, accuracy=accuracy, correlation=ANSWERS_AGREE)
    )
    assert answers.disagreeing == pytest.approx(40 * answers.standard_error**2)
    assert (bits.disagreeing, bits.seeds, bits.items) == (None, 1, 40)


@pytest.mark.parametrize("kind", TASKS)
def test_so_many_items_would_see_a_hundredth(kind):
    """The error falls with the root of the items, so as many as are wanted see just that."""
    (power,) = expected_power(recipe(np.random.default_rng(1), 1, kinds=[kind])).tasks
    ratio = power.items_wanted / power.items
    assert power.smallest_visible / math.sqrt(ratio) == pytest.approx(0.01, rel=0.01)


def test_the_spread_of_seeds_is_in_it_where_there_are_several():
    draw = np.random.default_rng(1)
    side = recipe(draw, 3, kinds=["documents"])
    (one,) = expected_power(Side(seeds=side.seeds[:1])).tasks
    (several,) = expected_power(side).tasks
    spread = np.std([each.record.tasks[0].metrics[0].value for each in side.seeds], ddof=1)
    assert several.standard_error == pytest.approx(
        math.sqrt(2 * spread**2 / 3 + one.standard_error**2), rel=1e-3
    )
    assert several.smallest_visible > one.smallest_visible
    assert (several.seeds, several.items_wanted) == (3, None)
    errors = []
    for _ in range(40):
        groups = (recipe(draw, 3, kinds=["documents"]) for _ in range(2))
        (model,) = compare_sides(next(groups), [next(groups)]).models
        errors.append(model.tasks[0].differences[0].difference.standard_error)
    assert 0.3 < several.standard_error / np.median(errors) < 3


def test_seeds_on_other_items_are_refused():
    draw = np.random.default_rng(1)
    seeds = tuple(results(str(n), [documents(draw, 0.0)[:n]]) for n in (20, 40))
    with pytest.raises(MismatchError, match=r"number of items \(20 and 40\)"):
        expected_power(Side(seeds=seeds))


def test_averages_see_more_than_their_tasks():
    draw = np.random.default_rng(1)
    tasks = [questions(draw, 0.0, "a"), questions(draw, 0.0, "b"), documents(draw, 0.0)]
    *alone, mean = expected_power(Side(seeds=(results("m", tasks),))).tasks
    assert (mean.tasks, mean.metric, mean.items) == (["a", "b"], "accuracy", 80)
    first, second = alone[:2]
    assert mean.standard_error == pytest.approx(
        math.hypot(first.standard_error, second.standard_error) / 2
    )
    assert mean.smallest_visible < first.smallest_visible


def test_where_all_answers_are_right_nothing_can_be_told():
    always = questions(np.random.default_rng(1), 100.0)
    (power,) = expected_power(Side(seeds=(results("m", [always]),))).tasks
    assert power.value == 1.0
    assert (power.standard_error, power.smallest_visible, power.items_wanted) == (None,) * 3
    (one,) = expected_power(Side(seeds=(results("m", [always[:1]]),))).tasks
    assert one.smallest_visible is None
