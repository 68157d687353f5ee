"""Every layout trains like one rank, and each goes on from the checkpoints of the others.

Starting ranks is slow, so one launch of each number of ranks does all that is asked here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rewarm.engine.grid import PIPELINE
from rewarm.engine.loss_scale import LossScale
from rewarm.engine.ranks import ALONE
from rewarm.engine.world import Precision, World
from rewarm.plan.layout import Layout
from rewarm.plan.memory import rank_memory
from rewarm.tensors.held import local
from rewarm.training.step import train_step
from tests.plan.held import state_bytes
from tests.ranks.launching import on_ranks
from tests.ranks.tiny_models import (
    FAMILIES,
    LENGTH,
    MIDDLE,
    SEQUENCES,
    STEPS,
    VOCABULARY,
    batch_of,
    digest,
    fresh_state,
    load_from,
    save_to,
    size_of,
    train,
    validation,
)

LAYOUTS: dict[str, dict[str, Any]] = {
    "one": {},
    "fsdp-2": {"shard": 2},
    "tensor-2": {"tensor": 2, "micro_batch": 16},
    "pipeline-2": {"pipeline": 2},
    "fsdp-4": {"shard": 4, "reshard": True, "micro_batch": 2},
    "tensor-4": {"tensor": 4, "micro_batch": 16},
    "pipeline-4": {"pipeline": 4},
    "fsdp-2-tensor-2": {"shard": 2, "tensor": 2},
    "pipeline-2-fsdp-2": {"pipeline": 2, "shard": 2},
}
MORE: dict[str, dict[str, Any]] = {
    "copies-2": {"replicate": 2},
    "interleaved-2": {"pipeline": 2, "pipeline_schedule": "interleaved", "stages_per_rank": 2},
    "full-2": {"shard": 2, "activation_checkpointing": "full"},
    "selective-2": {"shard": 2, "activation_checkpointing": "selective"},
    "compiled-2": {"shard": 2, "compile": True},
    "copies-2-fsdp-2": {"replicate": 2, "shard": 2},
    "pipeline-2-tensor-2": {"pipeline": 2, "tensor": 2},
}
"""For one family alone."""

WORLD = World(device=torch.device("cpu"), threads=1, ranks=ALONE)


def layout_of(name: str) -> Layout:
    return Layout(**{"micro_batch": 4, **(LAYOUTS | MORE)[name]})


def cases(size: int) -> list[tuple[str, str]]:
    """Return the families and layouts of a number of ranks."""
    wanted = [(family, name) for family in FAMILIES for name in LAYOUTS]
    wanted += [("qwen3", name) for name in MORE]
    return [(family, name) for family, name in wanted if layout_of(name).ranks == size]


def first_half(world: World, folder: str) -> dict[str, Any]:
    """On each rank: train every case from the beginning, saving in the middle; and what else is asked."""
    size = world.ranks.size
    found: dict[str, Any] = {
        f"{family}/{name}": train_case(world, family, name, Path(folder))
        for family, name in cases(size)
    }
    found["in one order"] = in_one_order(world)
    found["16 bits"] = {precision: in_16_bits(world, precision) for precision in ("bf16", "fp16")}
    found["isolated"] = isolated(world)
    if size > 1:
        found["not finite"] = not_finite_on_one_rank(world)
    return found


def train_case(world: World, family: str, name: str, folder: Path) -> dict[str, Any]:
    state = fresh_state(world, family, layout_of(name))
    before = validation(state)
    steps = train(state, 1, MIDDLE)
    save_to(state, folder / f"{family}-{name}" / "step-00000005")
    steps += train(state, MIDDLE + 1, STEPS)
    held = state_bytes(nn.ModuleList(state.model.parts), state.optimizer)
    return {
        "steps": steps,
        "before": before,
        "after": validation(state),
        "next": state.model.next_token([3, 1, 4, 1, 5], LENGTH),
        "held": held,
        "pipeline": state.model.grid.at(PIPELINE),
    }


def in_one_order(world: World) -> str:
    """Return a hash of all weights after training with gradients added up in one order."""
    layout = Layout(micro_batch=2, replicate=world.ranks.size)
    state = fresh_state(world, "llama", layout, invariant=True)
    train(state, 1, 4)
    return digest(state)


def in_16_bits(world: World, precision: Precision) -> list[tuple[float, float]]:
    """Train sharded and split in 16 bits; in fp16 with a scaled loss."""
    sides = {1: {}, 2: {"pipeline": 2}, 4: {"shard": 2, "tensor": 2}}[world.ranks.size]
    state = fresh_state(world, "gemma3_text", Layout(micro_batch=4, **sides), precision=precision)
    return train(state, 1, 4)


def isolated(world: World) -> list[tuple[float, float]]:
    """Train on isolated documents, sharded and split."""
    sides = {
        1: {},
        2: {"shard": 2, "activation_checkpointing": "full"},
        4: {"shard": 2, "tensor": 2},
    }
    layout = Layout(micro_batch=4, **sides[world.ranks.size])
    return train(fresh_state(world, "gemma3_text", layout, isolated=True), 1, 4)


def not_finite_on_one_rank(world: World) -> dict[str, Any]:
    """Plant a gradient that is not a number on the last rank, and see what all ranks do."""
    state = fresh_state(world, "llama", Layout(micro_batch=4, shard=world.ranks.size))
    weights = [local(p.detach()).clone() for p in state.model.parameters()]
    batch = batch_of(1, state.model.grid.layout, state.model.grid.data_rank)
    target = state.model.parts[0].model.get_input_embeddings()
    if world.ranks.rank == world.ranks.size - 1:
        handle = target.register_forward_hook(lambda *given: given[2] * float("nan"))
    result = train_step(state.model, state.optimizer, batch, 0.1, clip_norm=1.0, scale=LossScale())
    if world.ranks.rank == world.ranks.size - 1:
        handle.remove()
    now = [local(p.detach()) for p in state.model.parameters()]
    untouched = all(torch.equal(a, b) for a, b in zip(weights, now, strict=True))
    (after, _), *_ = train(state, 1, 1)
    return {"finite": result.is_finite, "untouched": untouched, "after": after}


def others_of(name: str) -> list[str]:
    """Return the layouts whose checkpoints a layout goes on from: each is read by three others."""
    names = list(LAYOUTS)
    return [names[(names.index(name) + distance) % len(names)] for distance in (2, 4, 7)]


def second_half(world: World, folder: str) -> dict[str, Any]:
    """On each rank: go on from the checkpoints of other layouts."""
    found: dict[str, Any] = {}
    for family, name in cases(world.ranks.size):
        if name in MORE:
            continue
        state = fresh_state(world, family, layout_of(name))
        for other in others_of(name):
            load_from(state, Path(folder) / f"{family}-{other}" / "step-00000005")
            found[f"{family}/{name} from {other}"] = train(state, MIDDLE + 1, MIDDLE + 2)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts")


@pytest.fixture(scope="module")
def alone(folder: Path) -> Iterator[dict[str, Any]]:
    """What one rank does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield first_half(WORLD, str(folder / "checkpoints"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """What the ranks of worlds of 2 and of 4 say, each for all its cases."""
    checkpoints = str(folder / "checkpoints")
    return {size: on_ranks(size, first_half, folder / f"of-{size}", checkpoints) for size in (2, 4)}


@pytest.mark.parametrize(("family", "name"), [*cases(2), *cases(4)])
def test_losses_and_norms_are_those_of_one_rank(alone, results, family, name):
    expected = alone[f"{family}/one"]
    for rank in results[layout_of(name).ranks]:
        found = rank[f"{family}/{name}"]
        torch.testing.assert_close(
            torch.tensor(found["steps"]), torch.tensor(expected["steps"]), rtol=0, atol=1e-5
        )
        for when in ("before", "after"):
            assert found[when] == pytest.approx(expected[when], rel=1e-5)
        assert found["next"] == expected["next"]


@pytest.mark.parametrize(("family", "name"), [*cases(2), *cases(4)])
def test_a_rank_holds_what_the_plan_says(results, family, name):
    layout = layout_of(name)
    expected = rank_memory(
        size_of(family),
        layout,
        batch_sequences=SEQUENCES,
        sequence_length=LENGTH,
        precision="fp32",
    )
    for rank in results[layout.ranks]:
        found = rank[f"{family}/{name}"]
        memory = expected[found["pipeline"]]
        # Gradients are let go after the step; what is left of a step are weights and moments.
        for what in ("parameters", "optimizer"):
            assert found["held"][what] == pytest.approx(getattr(memory, what), rel=0.1), what


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("size", [2, 4])
def test_16_bits_are_those_of_one_rank_but_for_rounding(alone, results, size, precision):
    found = torch.tensor(results[size][0]["16 bits"][precision])
    # bfloat16 has 8 bits: sums in another order differ by more than those of float16, which has 11.
    tolerance = {"bf16": 3e-2, "fp16": 5e-3}[precision]
    one = torch.tensor(alone["16 bits"][precision])
    torch.testing.assert_close(found, one, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", [2, 4])
def test_isolated_documents_are_those_of_one_rank(alone, results, size):
    found = torch.tensor(results[size][0]["isolated"])
    torch.testing.assert_close(found, torch.tensor(alone["isolated"]), rtol=0, atol=1e-5)
    joined = torch.tensor(alone["gemma3_text/one"]["steps"][:4])
    assert (found - joined).abs().max() > 1e-3


def test_one_two_and_four_ranks_have_the_same_bits_if_asked_to(alone, results):
    hashes = {alone["in one order"]}
    hashes |= {rank["in one order"] for ranks in results.values() for rank in ranks}
    assert len(hashes) == 1


def test_without_being_asked_to_the_bits_differ(alone, results):
    """The twin: the sums of two and of four ranks are not those of one by chance."""
    after = [alone["llama/one"]["after"], results[4][0]["llama/fsdp-4"]["after"]]
    assert after[0] != after[1]


@pytest.mark.parametrize("size", [2, 4])
def test_a_gradient_that_is_not_finite_on_one_rank_is_an_update_on_none(alone, results, size):
    for rank in results[size]:
        found = rank["not finite"]
        assert not found["finite"]
        assert found["untouched"]
        assert found["after"] == pytest.approx(alone["llama/one"]["steps"][0][0], abs=1e-5)


@pytest.fixture(scope="module")
def continued(folder: Path, alone: Any, results: Any) -> dict[str, Any]:
    assert alone
    assert results
    checkpoints = str(folder / "checkpoints")
    found = dict(second_half(WORLD, checkpoints))
    for size in (2, 4):
        found |= on_ranks(size, second_half, folder / f"again-{size}", checkpoints)[0]
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_it_goes_on_from_the_checkpoints_of_other_layouts(alone, continued, family, name):
    expected = torch.tensor(alone[f"{family}/one"]["steps"][MIDDLE : MIDDLE + 2])
    for other in others_of(name):
        found = torch.tensor(continued[f"{family}/{name} from {other}"])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_tokens_are_of_the_vocabulary(alone):
    """The next token is a token, and not the same for every family by construction."""
    found = [alone[f"{family}/one"]["next"] for family in FAMILIES]
    assert all(0 <= token < VOCABULARY for token in found)
    assert len(set(found)) > 1
