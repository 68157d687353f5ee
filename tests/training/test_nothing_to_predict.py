"""Rows that end with nothing: their losses and gradients are those of what they hold."""

import numpy as np
import torch
from tests.ranks.tiny_models import fresh_state

from rewarm.engine.ranks import ALONE
from rewarm.engine.world import World
from rewarm.plan.layout import Layout

WORLD = World(device=torch.device("cpu"), threads=1, ranks=ALONE)


def test_nothing_is_neither_read_nor_predicted():
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 97, (4, 17)).astype(np.int32)
    ends = (17, 12, 2, 17)
    cut = rows.copy()
    for row, end in zip(cut, ends, strict=True):
        row[end:] = -1
    state = fresh_state(WORLD, "llama", Layout(micro_batch=2))
    total = float(state.model.backward(cut, 7.0))
    found = [p.grad.clone() for p in state.model.parameters()]

    state = fresh_state(WORLD, "llama", Layout(micro_batch=1))
    alone = sum(
        float(state.model.backward(row[None, :end], 7.0))
        for row, end in zip(rows, ends, strict=True)
    )
    assert abs(total - alone) < 1e-3
    for one, parameter in zip(found, state.model.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=0, atol=1e-5)
