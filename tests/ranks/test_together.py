"""What two ranks do together in the engine: results and mistakes told, a lost rank named, nothing left out.

Starting ranks is slow, so one launch does all that is asked here but for a rank that is lost.
"""

from typing import Any

import pytest

from rewarm.engine.snapshot import optimizer_tensors
from rewarm.engine.world import World
from rewarm.plan.layout import Layout
from tests.ranks.launching import on_ranks
from tests.ranks.tiny_models import fresh_state, train, validation


def together(world: World) -> dict[str, Any]:
    """On each of two ranks: everything."""
    return {"moments": names_of_moments(world)}


def names_of_moments(world: World) -> dict[str, list[list[str]]]:
    """Return the names of the moments after a step and after an evaluation."""
    state = fresh_state(world, "llama", Layout(micro_batch=4, shard=2))
    (model,) = state.model.models
    found: dict[str, list[list[str]]] = {"saved": [], "parameters": []}
    for work in (lambda: train(state, 1, 1), lambda: validation(state)):
        work()
        # First those that the optimizer knows by the parameters that the model shows just now.
        shown = [name for name, p in model.named_parameters() if p in state.optimizer.state]
        found["parameters"].append(shown)
        found["saved"].append(list(optimizer_tensors(model, state.optimizer)))
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the ranks say."""
    return on_ranks(2, together, tmp_path_factory.mktemp("together"))


def test_moments_are_all_saved_also_right_after_an_evaluation(results):
    for rank in results:
        step, evaluation = rank["moments"]["saved"]
        assert step
        assert evaluation == step


def test_right_after_an_evaluation_a_sharded_model_shows_other_parameters(results):
    """The twin: there is something to be left out."""
    for rank in results:
        step, evaluation = rank["moments"]["parameters"]
        assert step
        assert not evaluation
