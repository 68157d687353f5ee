"""AdamW's groups, its arithmetic against torch's plain loop, and clipping."""

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rewarm.engine.gradients import clip, norm
from rewarm.engine.optimizer import build_adamw, set_lr

SETTINGS = {"betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
TOKENS = torch.arange(24).view(2, 12)


@pytest.mark.parametrize("family", ["gpt_neox", "llama", "qwen3"])
def test_the_groups_are_those_of_gpt_neox(family):
    """Source: GPT-NeoX, megatron/model/utils.py: norms by module type, biases by name."""
    config = AutoConfig.for_model(
        family,
        vocab_size=31,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        attention_bias=True,
    )
    model = AutoModelForCausalLM.from_config(config)
    spared = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if type(module).__name__.endswith(("LayerNorm", "RMSNorm")) or name == "bias"
    }
    decaying, constant = build_adamw(model, **SETTINGS).param_groups
    assert (decaying["weight_decay"], constant["weight_decay"]) == (0.1, 0.0)
    assert {id(parameter) for parameter in constant["params"]} == spared
    assert spared
    everything = [*decaying["params"], *constant["params"]]
    assert {id(p) for p in everything} == {id(p) for p in model.parameters()}
    assert len(everything) == len(list(model.parameters()))


def train(model, optimizer, steps=5):
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        optimizer.zero_grad()
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        set_lr(optimizer, 1e-2 / (1 + step))
        optimizer.step()


def test_equals_torch_s_plain_loop(tied_model):
    ours, plain = tied_model(0), tied_model(0)
    optimizer = build_adamw(ours, **SETTINGS)
    assert optimizer.defaults["fused"]
    groups = copy.copy(build_adamw(plain, **SETTINGS).param_groups)
    reference = torch.optim.AdamW(
        [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in groups],
        betas=(0.9, 0.95),
        eps=1e-8,
        fused=False,
        foreach=False,
    )
    train(ours, optimizer)
    train(plain, reference)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, plain.get_parameter(name), rtol=1e-5, atol=1e-7)


def test_nothing_moves_until_a_learning_rate_is_set(tied_model):
    model, before = tied_model(0), tied_model(0)
    optimizer = build_adamw(model, **SETTINGS)
    model(TOKENS).backward()
    optimizer.step()
    assert all(torch.equal(p, before.get_parameter(n)) for n, p in model.named_parameters())
    set_lr(optimizer, 1e-3)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-3]
    optimizer.step()
    assert not any(torch.equal(p, before.get_parameter(n)) for n, p in model.named_parameters())


def test_frozen_parameters_are_left_out(tied_model):
    model = tied_model(0)
    model.embedding.weight.requires_grad_(False)
    groups = build_adamw(model, **SETTINGS).param_groups
    assert not any(p is model.embedding.weight for group in groups for p in group["params"])


@pytest.mark.parametrize("max_norm", [1e-3, 1e6, float("inf")])
def test_clipping_scales_to_the_norm_and_returns_the_norm_before(tied_model, max_norm):
    model = tied_model(0)
    model(TOKENS).backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    expected = torch.cat([gradient.flatten().double() for gradient in before]).norm()
    parameters = list(model.parameters())
    found = norm(parameters)
    clip(parameters, found, max_norm)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
    factor = min(1.0, max_norm / expected.item())
    for parameter, gradient in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient * factor, rtol=1e-3, atol=0)
    if factor == 1:
        assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))


def test_a_norm_that_is_not_finite_is_returned_as_such(tied_model):
    model = tied_model(0)
    model(TOKENS).backward()
    model.norm.bias.grad[0] = float("nan")
    assert not torch.isfinite(norm(list(model.parameters())))
