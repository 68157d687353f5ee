"""Model, optimizer and random state come back bit for bit, through the files."""

import pytest
import torch

from rewarm.engine.checkpoint import load, save
from rewarm.engine.gradients import clip, norm
from rewarm.engine.optimizer import build_adamw, set_lr
from rewarm.engine.saved_tensors import SavedTensors
from rewarm.engine.snapshot import (
    load_model_tensors,
    load_optimizer_tensors,
    load_random_tensors,
    optimizer_tensors,
    random_tensors,
)
from rewarm.engine.tensor_file import write_tensors
from rewarm.engine.tensor_parts import whole_parts
from rewarm.errors import CheckpointError, MismatchError
from rewarm.tensors.held import own_tensors

CPU = torch.device("cpu")


def optimizer_of(model):
    return build_adamw(model, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)


def train(model, optimizer, steps):
    for step in steps:
        tokens = torch.randint(0, 29, (3, 8), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(tokens).backward()
        clip(list(model.parameters()), norm(list(model.parameters())), 1.0)
        set_lr(optimizer, 0.01 * (step + 1))
        optimizer.step()


def snapshot(model, optimizer):
    return {
        "model": own_tensors(model),
        "optimizer": optimizer_tensors(model, optimizer),
        "random": random_tensors(CPU),
    }


def copied(groups):
    return {
        group: {name: tensor.clone() for name, tensor in named.items()}
        for group, named in groups.items()
    }


@pytest.fixture
def through_file(tmp_path):
    """Return a function that writes tensors to a file and opens it."""

    def written(named):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        write_tensors(path, named)
        return SavedTensors([path])

    return written


def assert_equal(one, other):
    for group, named in one.items():
        assert named.keys() == other[group].keys()
        for name, tensor in named.items():
            assert torch.equal(tensor, other[group][name]), name


@pytest.mark.parametrize("restore_random", [True, False])
def test_stopped_and_resumed_equals_never_stopped(tmp_path, tied_model, restore_random):
    """With dropout, so the twin without the random state must differ."""
    torch.manual_seed(11)
    model = tied_model(1)
    optimizer = optimizer_of(model)
    train(model, optimizer, range(3))
    groups = {group: whole_parts(named) for group, named in snapshot(model, optimizer).items()}
    save(tmp_path / "c", groups, {})
    train(model, optimizer, range(3, 6))
    uninterrupted = copied(snapshot(model, optimizer))

    torch.manual_seed(99)
    groups = load(tmp_path / "c").groups
    resumed = tied_model(2)
    load_model_tensors(resumed, groups["model"])
    other = optimizer_of(resumed)
    load_optimizer_tensors(resumed, other, groups["optimizer"])
    if restore_random:
        load_random_tensors(groups["random"].whole(), CPU)
    train(resumed, other, range(3, 6))
    again = snapshot(resumed, other)
    if restore_random:
        assert_equal(uninterrupted, again)
    else:
        assert not torch.equal(uninterrupted["model"]["up.weight"], again["model"]["up.weight"])


def test_a_tied_tensor_is_stored_once_and_stays_tied(tied_model, through_file):
    tensors = own_tensors(tied_model(1))
    assert "head.weight" not in tensors
    assert {"embedding.weight", "seen"} <= set(tensors)
    model = tied_model(2)
    load_model_tensors(model, through_file(tensors))
    assert model.head.weight is model.embedding.weight
    assert torch.equal(model.head.weight, tensors["embedding.weight"])


def test_training_on_does_not_write_to_the_files(tied_model, through_file):
    model = tied_model(1)
    optimizer = optimizer_of(model)
    train(model, optimizer, range(2))
    kept = copied(snapshot(model, optimizer))
    files = {group: through_file(named) for group, named in kept.items()}
    other = tied_model(2)
    other_optimizer = optimizer_of(other)
    load_model_tensors(other, files["model"])
    load_optimizer_tensors(other, other_optimizer, files["optimizer"])
    train(other, other_optimizer, range(2))
    assert_equal(kept, {group: tensors.whole() for group, tensors in files.items()})


def test_differences_are_listed_and_nothing_is_changed(tied_model, through_file):
    model = tied_model(1)
    before = {name: tensor.clone() for name, tensor in own_tensors(model).items()}
    tensors = {name: tensor.clone() + 1 for name, tensor in before.items()}
    tensors["extra"] = tensors.pop("norm.bias")
    tensors["up.weight"] = tensors["up.weight"].T
    tensors["down.bias"] = tensors["down.bias"].double()
    with pytest.raises(CheckpointError) as caught:
        load_model_tensors(model, through_file(tensors))
    for part in (
        "4 differences",
        "missing: norm.bias",
        "not in the model: extra",
        "up.weight: F32 [16, 33] instead of F32 [33, 16]",
        "down.bias: F64 [16] instead of F32 [16]",
    ):
        assert part in str(caught.value)
    assert_equal({"model": before}, {"model": own_tensors(model)})


@pytest.mark.parametrize("change", ["unknown", "incomplete", "shape"])
def test_optimizer_state_of_another_model_is_refused(tied_model, through_file, change):
    model = tied_model(1)
    optimizer = optimizer_of(model)
    train(model, optimizer, range(2))
    tensors = optimizer_tensors(model, optimizer)
    if change == "unknown":
        tensors["other.weight.exp_avg"] = torch.zeros(2)
    elif change == "incomplete":
        del tensors["up.weight.step"]
    else:
        tensors["up.weight.exp_avg"] = torch.zeros(2)
    fresh = optimizer_of(model)
    with pytest.raises(CheckpointError, match="not of the optimizer"):
        load_optimizer_tensors(model, fresh, through_file(tensors))
    assert not fresh.state


def test_parameters_without_a_gradient_have_no_state(tied_model, through_file):
    model = tied_model(1)
    optimizer = optimizer_of(model)
    assert optimizer_tensors(model, optimizer) == {}
    train(model, optimizer, range(1))
    load_optimizer_tensors(model, optimizer, through_file({}))
    assert not optimizer.state


def test_settings_are_not_taken_over(tied_model, through_file):
    model = tied_model(1)
    optimizer = optimizer_of(model)
    train(model, optimizer, range(2))
    other = build_adamw(model, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.0)
    load_optimizer_tensors(model, other, through_file(optimizer_tensors(model, optimizer)))
    assert [(g["lr"], g["betas"], g["weight_decay"]) for g in other.param_groups] == [
        (0.0, (0.8, 0.9), 0.0)
    ] * 2


def test_random_state_of_another_kind_of_machine_is_refused():
    states = random_tensors(CPU)
    before = torch.get_rng_state()
    with pytest.raises(MismatchError, match=r"here are cpu\."):
        load_random_tensors(states | {"cuda": states["cpu"]}, CPU)
    assert torch.equal(torch.get_rng_state(), before)
