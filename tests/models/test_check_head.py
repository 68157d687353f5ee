"""`check_head` passes plain heads and refuses the others, saying why."""

import pytest
import torch

from rewarm.errors import CheckpointError
from rewarm.models.head import check_head


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("gpt_neox", {}),
        ("gpt_neox", {"hidden_dropout": 0.5}),
        ("gpt2", {"n_inner": 64}),
        ("llama", {}),
        ("qwen3", {}),
        ("qwen3", {"tie_word_embeddings": True}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("granite", {"logits_scaling": 1.0}),
        ("cohere", {"logit_scale": 1.0}),
        ("opt", {"ffn_dim": 64}),
    ],
)
def test_a_plain_head_passes(tiny_model, family, settings):
    check_head(tiny_model(family, **settings))


@pytest.mark.parametrize(
    ("family", "settings", "reason"),
    [
        ("gemma2", {"final_logit_softcapping": 30.0}, "not its head times"),
        (
            "gemma2",
            {"final_logit_softcapping": 30.0, "initializer_range": 1e-3},
            "bent when they are large",
        ),
        ("granite", {"logits_scaling": 8.0}, "not its head times the last hidden state"),
        ("cohere", {"logit_scale": 0.0625}, "not its head times the last hidden state"),
        ("phi", {}, "its head has a bias"),
        ("mixtral", {"output_router_logits": True}, "plain cross entropy"),
    ],
)
def test_another_head_or_loss_is_refused_with_the_reason(tiny_model, family, settings, reason):
    with pytest.raises(CheckpointError, match=reason):
        check_head(tiny_model(family, **settings))


def test_a_model_that_sees_later_tokens_is_refused(tiny_model):
    model = tiny_model("llama")

    def leak(_module, _inputs, output):
        hidden = output["last_hidden_state"]
        output["last_hidden_state"] = hidden + 0.01 * hidden.mean(dim=1, keepdim=True)
        return output

    handle = model.base_model.register_forward_hook(leak)
    with pytest.raises(CheckpointError, match="later token"):
        check_head(model)
    handle.remove()
    check_head(model)


def test_weights_that_are_not_finite_are_refused(tiny_model):
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.norm.weight[3] = float("nan")
    with pytest.raises(CheckpointError, match="weights are damaged"):
        check_head(model)


def test_the_model_is_left_as_it_was(tiny_model):
    model = tiny_model("gpt_neox", hidden_dropout=0.5)
    model.gpt_neox.layers[0].eval()
    modes = [module.training for module in model.modules()]
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    state = torch.get_rng_state()
    check_head(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
