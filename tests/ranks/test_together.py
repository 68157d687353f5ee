"""What two ranks do together in the engine: results and mistakes told, a lost rank named, nothing left out.

Starting ranks is slow, so one launch does all that is asked here but for a rank that is lost.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.distributed.device_mesh import init_device_mesh

from rewarm.campaign import load_campaign
from rewarm.data.datasets import open_campaign
from rewarm.engine.grid import PIPELINE, REPLICATE, SHARD, TENSOR, make_grid
from rewarm.engine.saver import Saver
from rewarm.engine.snapshot import optimizer_tensors
from rewarm.engine.tensor_parts import whole_parts
from rewarm.engine.world import World
from rewarm.errors import RankLostError
from rewarm.plan import make_plan
from rewarm.plan.layout import Layout
from rewarm.runs.folder import RunFolder
from rewarm.training.campaign import train_campaign
from tests.ranks.launching import SECONDS, on_ranks
from tests.ranks.tiny_models import fresh_state, train, validation


def together(world: World, folder: str) -> dict[str, Any]:
    """On each of two ranks: everything."""
    ranks = world.ranks
    return {
        "results": [
            ranks.together(lambda: 10 * ranks.rank, ranks.words),
            ranks.first_alone(lambda: "done"),
        ],
        "mistake": said(lambda: ranks.together(lambda: 1 // (1 - ranks.rank), ranks.words)),
        "save": said(lambda: save_in_background(world, Path(folder))),
        "moments": names_of_moments(world),
        "timeouts": timeouts(world),
    }


def said(work: Callable[[], object]) -> list[str]:
    """Return the kind and the words of the error that a work ends with."""
    try:
        work()
    except Exception as error:
        return [type(error).__name__, str(error)]
    raise AssertionError("it was to fail")


def save_in_background(world: World, folder: Path) -> None:
    """Save a checkpoint in which the second rank has a group whose name cannot be that of a file."""
    group = ("model", "no/folder")[world.ranks.rank]
    saver = Saver(world.ranks, in_background=True)
    saver.save(folder / "step", {group: whole_parts({"w": torch.ones(3)})}, {}, lambda: None)
    saver.finish()


def timeouts(world: World) -> dict[str, float]:
    """Return the timeouts of all groups of ranks of a layout, in seconds."""
    sides = (PIPELINE, REPLICATE, SHARD, TENSOR)
    plain = init_device_mesh("cpu", (1, 1, 1, 2), mesh_dim_names=sides)
    grid = make_grid(world, Layout(micro_batch=4, pipeline=2))
    groups = {side: grid.group(side) for side in sides} | {"ends": grid.ends}
    groups |= {f"plain {side}": plain.get_group(side) for side in sides}
    return {
        name: group._get_backend(world.device).options._timeout.total_seconds()
        for name, group in groups.items()
    }


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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, Any]]:
    """What the ranks say."""
    return on_ranks(2, together, folder, str(folder / "checkpoints"))


def test_each_rank_has_what_its_own_work_returns(results):
    assert [rank["results"] for rank in results] == [[0, "done"], [10, None]]


@pytest.mark.parametrize(
    ("what", "kind"), [("mistake", "ZeroDivisionError"), ("save", "FileNotFoundError")]
)
def test_an_error_that_is_none_of_ours_ends_all_ranks_and_is_named(results, what, kind):
    """In what ranks do together, and in the thread that writes checkpoints; nobody waits for a timeout."""
    first, second = (rank[what] for rank in results)
    assert second[0] == kind
    assert first == ["RewarmError", first[1]]
    assert first[1].startswith(f"rank 1 ended with {kind}: {second[1]}. ")


def test_of_a_checkpoint_that_failed_nothing_is_left(results, folder):
    assert results
    assert not list((folder / "checkpoints").iterdir())


def test_groups_of_a_mesh_wait_as_long_as_the_ranks_do(results):
    """Those of a mesh as torch makes it wait for longer."""
    for rank in results:
        plain = {s for name, s in rank["timeouts"].items() if name.startswith("plain")}
        ours = {s for name, s in rank["timeouts"].items() if not name.startswith("plain")}
        assert ours == {SECONDS}
        assert max(plain) > SECONDS


def lose_a_rank(world: World, file: str, prepared: str, folder: str) -> str:
    """On two ranks: carry out a campaign, where the second is gone as soon as the first has the lock."""
    if world.ranks.rank == 1:
        world.ranks.first_alone(lambda: None)
        (Path(folder) / "1.json").write_text('"gone"')
        os._exit(0)
    loaded = load_campaign(Path(file), ["parallel.shard=2"])
    data = open_campaign(loaded.campaign, loaded.root, Path(prepared))
    run = RunFolder(Path(folder) / "run")
    console = Console(stderr=True, quiet=True)
    try:
        train_campaign(make_plan(loaded), run, data, world=world, console=console)
    except RankLostError as error:
        (Path(folder) / "0.json").write_text(json.dumps(str(error)))
        os._exit(0)  # not to wait for the other rank when they part
    raise AssertionError("the other rank is there")


def test_a_rank_that_is_lost_before_the_first_stage_is_named(tiny, tmp_path):
    first, _ = on_ranks(2, lose_a_rank, tmp_path, str(tiny.file), str(tiny.prepared), str(tmp_path))
    assert "Dead or hanging: rank 1 (" in first
    assert not (tmp_path / "run" / "stages").exists()


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
