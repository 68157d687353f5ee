"""Schedules behind torch's scheduler interface: absolute rates, resuming, re-warming."""

import io

import pytest
import torch

from rewarm import schedules
from rewarm.errors import CheckpointError
from rewarm.integrations.lr_scheduler import ScheduledLR, scheduled

FIRST = schedules.warmup_cosine(max_lr=3e-4, min_lr=3e-5, warmup_steps=3, steps=12)
REWARMED = schedules.warmup_cosine(max_lr=6e-4, min_lr=6e-5, warmup_steps=5, steps=20)


def new_optimizer() -> torch.optim.AdamW:
    """Two groups, with rates that no schedule has."""
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    return torch.optim.AdamW([{"params": [weights[0]], "lr": 123.0}, {"params": [weights[1]]}])


def lrs(optimizer: torch.optim.Optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def used(optimizer: torch.optim.Optimizer, scheduler: ScheduledLR, num_steps: int) -> list[float]:
    """Make optimizer steps and return the rate that each of them used."""
    seen = []
    for _ in range(num_steps):
        first, second = lrs(optimizer)
        assert [first, second] == scheduler.get_last_lr() == [first] * 2
        seen.append(first)
        optimizer.step()
        scheduler.step()
    return seen


def stopped(num_steps: int) -> tuple[dict, dict]:
    """State of optimizer and scheduler after some steps of the first schedule, through a file."""
    optimizer = new_optimizer()
    scheduler = scheduled(optimizer, FIRST)
    used(optimizer, scheduler, num_steps)
    file = io.BytesIO()
    torch.save((optimizer.state_dict(), scheduler.state_dict()), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_every_step_uses_the_schedules_rate_in_every_group():
    optimizer = new_optimizer()
    scheduler = scheduled(optimizer, FIRST)
    assert used(optimizer, scheduler, 15) == [FIRST(step) for step in range(1, 16)]


def test_the_first_rate_is_set_at_once():
    optimizer = new_optimizer()
    scheduled(optimizer, FIRST)
    assert lrs(optimizer) == [FIRST(1)] * 2


def test_an_update_is_that_of_an_optimizer_with_that_rate():
    weight, same = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = torch.optim.SGD([weight], lr=123.0)
    scheduled(optimizer, FIRST)
    plain = torch.optim.SGD([same], lr=FIRST(1))
    for parameter in (weight, same):
        parameter.grad = torch.ones(1)
    optimizer.step()
    plain.step()
    assert torch.equal(weight, same)


def test_the_state_is_the_count_of_steps_and_nothing_of_the_schedule():
    assert stopped(4)[1] == {"last_epoch": 4}


@pytest.mark.parametrize("order", ["optimizer first", "scheduler first"])
@pytest.mark.parametrize("stop", [0, 1, 3, 7, 14])
def test_stopped_and_resumed_equals_never_stopped(stop, order):
    optimizer_state, scheduler_state = stopped(stop)
    optimizer = new_optimizer()
    scheduler = scheduled(optimizer, FIRST)
    loads = [
        lambda: optimizer.load_state_dict(optimizer_state),
        lambda: scheduler.load_state_dict(scheduler_state),
    ]
    for load in loads if order == "optimizer first" else reversed(loads):
        load()
    assert used(optimizer, scheduler, 10) == [FIRST(stop + step) for step in range(1, 11)]


def test_a_new_stage_re_warms_across_a_checkpoint():
    optimizer_state, _ = stopped(12)
    assert optimizer_state["param_groups"][0]["lr"] == FIRST(13)
    optimizer = new_optimizer()
    scheduler = scheduled(optimizer, REWARMED)
    optimizer.load_state_dict(optimizer_state)
    assert used(optimizer, scheduler, 20) == [REWARMED(step) for step in range(1, 21)]


def test_a_new_stage_may_re_warm_the_optimizer_of_the_old_one():
    optimizer = new_optimizer()
    used(optimizer, scheduled(optimizer, FIRST), 12)
    scheduler = scheduled(optimizer, REWARMED)
    optimizer.load_state_dict(optimizer.state_dict())
    assert used(optimizer, scheduler, 20) == [REWARMED(step) for step in range(1, 21)]


@pytest.mark.parametrize("order", ["optimizer first", "scheduler first"])
def test_after_loading_a_count_of_steps_the_new_schedule_wins(order):
    optimizer_state, scheduler_state = stopped(7)
    optimizer = new_optimizer()
    scheduler = scheduled(optimizer, REWARMED)
    if order == "optimizer first":
        optimizer.load_state_dict(optimizer_state)
    scheduler.load_state_dict(scheduler_state)
    if order == "scheduler first":
        optimizer.load_state_dict(optimizer_state)
    assert used(optimizer, scheduler, 5) == [REWARMED(7 + step) for step in range(1, 6)]


def test_torchs_own_scheduler_would_have_kept_the_old_rate():
    """The twin: what the tests above guard against does happen without our scheduler."""
    optimizer_state, _ = stopped(12)
    optimizer = new_optimizer()
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: REWARMED(step + 1))
    optimizer.load_state_dict(optimizer_state)
    assert lrs(optimizer) == [FIRST(13)] * 2 != [REWARMED(1)] * 2


def test_the_count_of_another_torch_scheduler_is_read_and_its_curve_is_not():
    optimizer = new_optimizer()
    other = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for _ in range(6):
        optimizer.step()
        other.step()
    optimizer = new_optimizer()
    scheduler = scheduled(optimizer, FIRST)
    scheduler.load_state_dict(other.state_dict())
    assert used(optimizer, scheduler, 5) == [FIRST(6 + step) for step in range(1, 6)]


def test_a_rate_held_in_a_tensor_keeps_its_tensor():
    rate = torch.tensor(123.0, dtype=torch.float64)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=rate)
    scheduler = scheduled(optimizer, FIRST)
    optimizer.step()
    scheduler.step()
    held = optimizer.param_groups[0]["lr"]
    scheduler.load_state_dict({"last_epoch": 5})
    assert optimizer.param_groups[0]["lr"] is held
    assert held.item() == FIRST(6)


def test_groups_added_later_follow_the_schedule_too():
    optimizer = new_optimizer()
    scheduler = scheduled(optimizer, FIRST)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    optimizer.step()
    scheduler.step()
    assert lrs(optimizer) == [FIRST(2)] * 3


def test_stepping_without_the_optimizer_is_warned_of_as_in_torch():
    scheduler = scheduled(new_optimizer(), FIRST)
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        scheduler.step()


@pytest.mark.parametrize("state", [{}, {"last_epoch": -1}, {"last_epoch": 2.5}])
def test_a_state_without_a_count_of_steps_is_refused(state):
    scheduler = scheduled(new_optimizer(), FIRST)
    with pytest.raises(CheckpointError, match="is not a number of steps"):
        scheduler.load_state_dict(state)
    scheduler.load_state_dict({"last_epoch": 0})
