"""Tiny models of four families, trained for some steps on any layout."""

import hashlib
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from rewarm.data.batches import Batch
from rewarm.engine.checkpoint import load, save
from rewarm.engine.grid import make_grid
from rewarm.engine.loss_scale import LossScale
from rewarm.engine.optimizer import build_adamw
from rewarm.engine.world import Precision, World
from rewarm.models.empty import empty_model
from rewarm.plan.layout import Layout, rows_of
from rewarm.plan.model import ModelSize, folder_size
from rewarm.tensors.held import fill, own_tensors
from rewarm.tensors.source import MemorySource
from rewarm.training.model import TrainedModel
from rewarm.training.state import TrainState, load_tensors, tensors_to_write
from rewarm.training.step import train_step

FAMILIES = ("gpt_neox", "llama", "qwen3", "gemma3_text")
VOCABULARY, LENGTH, SEQUENCES, STEPS = 97, 16, 16, 10
MIDDLE = 5
"""The step after which a checkpoint is written."""


def config_of(family: str) -> PreTrainedConfig:
    """Return a configuration with grouped keys and, for Gemma 3, sliding windows and tied embeddings."""
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "initializer_range": 0.2,
    }
    if family != "gpt_neox":
        settings |= {"num_key_value_heads": 4, "head_dim": 8}
    if family == "gemma3_text":
        layers = ["sliding_attention", "full_attention"] * 2
        settings |= {"sliding_window": 8, "layer_types": layers}
    return AutoConfig.for_model(family, **settings)


def first_weights(family: str) -> MemorySource:
    """Return the same random weights on every rank."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = AutoModelForCausalLM.from_config(config_of(family)).float()
    return MemorySource(by_name=own_tensors(model))


def fresh_state(
    world: World,
    family: str,
    layout: Layout,
    *,
    precision: Precision = "fp32",
    invariant: bool = False,
    isolated: bool = False,
) -> TrainState:
    """Return a tiny model with its first weights, spread over the ranks, and a new optimizer."""
    model = TrainedModel(
        partial(empty_model, config_of(family)),
        make_grid(world, layout),
        precision=precision,
        entries=VOCABULARY,
        isolated_by=0 if isolated else None,
        in_one_order=invariant,
    )
    weights = first_weights(family)
    for part in model.models:
        fill(own_tensors(part), weights)
    # With the usual 1e-8 a gradient that is zero but for rounding moves a weight by the whole rate, and in
    # whichever direction the rounding went: other orders of sums would be seen to diverge that do not.
    optimizer = build_adamw(
        nn.ModuleList(model.parts), betas=(0.9, 0.95), eps=1e-4, weight_decay=0.1
    )
    return TrainState(model=model, optimizer=optimizer, scale=LossScale.first(precision))


def batch_of(step: int, layout: Layout, data_rank: int) -> Batch:
    """Return this rank's rows of the batch of a step."""
    rng = np.random.default_rng(step)
    tokens = rng.integers(0, VOCABULARY, (SEQUENCES, LENGTH + 1))
    rows = rows_of(layout, data_rank, SEQUENCES)
    return Batch(
        step=step, tokens=tokens[list(rows)], num_tokens=SEQUENCES * LENGTH, new={}, replayed={}
    )


def train(state: TrainState, first: int, last: int) -> list[tuple[float, float]]:
    """Do some steps, and return the loss and the norm of the gradient of each."""
    grid = state.model.grid
    found: list[tuple[float, float]] = []
    for step in range(first, last + 1):
        batch = batch_of(step, grid.layout, grid.data_rank)
        result = train_step(
            state.model, state.optimizer, batch, 0.003, clip_norm=1.0, scale=state.scale
        )
        found.append((result.loss, result.gradient_norm))
    return found


def validation(state: TrainState) -> list[float]:
    """Return the losses of 11 sequences, a number that no layout divides evenly."""
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (11, LENGTH + 1))
    return state.model.losses(tokens).tolist()


def save_to(state: TrainState, folder: Path) -> None:
    """Write a checkpoint, together with the other ranks."""
    ranks = state.model.grid.world.ranks
    save(folder, tensors_to_write(state), {"machine": {"ranks": ranks.size}}, ranks)


def load_from(state: TrainState, folder: Path) -> None:
    """Take over a checkpoint that was written on any layout."""
    load_tensors(state, load(folder, state.model.grid.world.ranks), optimizer=True)


def digest(state: TrainState) -> str:
    """Return a hash of the weights where every rank has them all."""
    found = hashlib.sha256()
    for name, tensor in sorted(own_tensors(state.model.models[0]).items()):
        found.update(name.encode() + tensor.detach().numpy().tobytes())
    return found.hexdigest()


def size_of(family: str) -> ModelSize:
    """Return the size of a tiny model, read as the plan reads one: from the headers of a folder."""
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(config_of(family)).save_pretrained(folder)
        return folder_size(Path(folder))
