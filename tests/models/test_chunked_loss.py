"""The chunked head and loss against the ordinary way, which holds all logits."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from rewarm.models.head import head_weight, last_hidden_state
from rewarm.models.loss import CHUNK_TOKENS, chunked_loss, sequence_losses

FAMILIES = [
    ("gpt_neox", {}),
    ("llama", {}),
    ("qwen3", {}),
    ("qwen3", {"tie_word_embeddings": True}),
]
VOCABULARY = 97


def batch(ignored: int = 5):
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, VOCABULARY, (3, 21), generator=generator)
    input_ids, targets = tokens[:, :-1], tokens[:, 1:].clone()
    targets[1, :ignored] = -100
    return input_ids, targets


def head_and_loss(model, input_ids, targets, chunk_tokens=CHUNK_TOKENS):
    hidden = last_hidden_state(model, input_ids).flatten(0, 1)
    return chunked_loss(hidden, head_weight(model), targets.flatten(), chunk_tokens=chunk_tokens)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_loss(model, input_ids, targets):
    """The sum by transformers' own forward: its mean over the counted targets times their number."""
    # transformers shifts the labels by itself, so the first is one that is never looked at.
    labels = torch.cat([torch.full((len(targets), 1), -100), targets], dim=1)
    padded = torch.cat([input_ids, input_ids[:, :1]], dim=1)
    return model(input_ids=padded, labels=labels).loss * (targets != -100).sum()


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_loss_and_gradients_equal_transformers_in_float64(tiny_model, family, settings):
    model = tiny_model(family, **settings).double()
    input_ids, targets = batch()
    logits = model(input_ids=input_ids).logits
    plain = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
    ours = head_and_loss(model, input_ids, targets, chunk_tokens=7)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=0)
    expected, actual = gradients(model, plain / 50), gradients(model, ours / 50)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_loss_and_gradients_equal_transformers_in_float32(tiny_model, family, settings):
    model = tiny_model(family, **settings)
    input_ids, targets = batch()
    plain = plain_loss(model, input_ids, targets)
    ours = head_and_loss(model, input_ids, targets, chunk_tokens=16)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain, rtol=2e-6, atol=0)
    expected, actual = gradients(model, plain), gradients(model, ours)
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(actual[name], gradient, rtol=1e-4, atol=2e-5 * scale)


@pytest.mark.parametrize(("family", "settings"), FAMILIES)
def test_bfloat16_autocast_is_as_near_to_float32_as_transformers_is(tiny_model, family, settings):
    model = tiny_model(family, **settings)
    input_ids, targets = batch()
    exact = gradients(model, plain_loss(model, input_ids, targets))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = plain_loss(model, input_ids, targets)
        ours = head_and_loss(model, input_ids, targets, chunk_tokens=16)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain.float(), rtol=1e-4, atol=0)
    theirs_off = distance(gradients(model, plain), exact)
    ours_off = distance(gradients(model, ours), exact)
    assert 0 < ours_off < 1.1 * theirs_off


def distance(actual, expected):
    squares = [((actual[name] - gradient).square().sum()) for name, gradient in expected.items()]
    return torch.stack(squares).sum().sqrt().item()


def test_bfloat16_products_and_a_float32_softmax():
    """The products are bfloat16's; what follows them is not."""
    hidden, weight, targets = head_inputs(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = chunked_loss(hidden, weight, targets, chunk_tokens=64)
    logits = (hidden.bfloat16() @ weight.bfloat16().T).float()
    expected = cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)


def head_inputs(dtype, tokens=11, width=6, vocabulary=13):
    generator = torch.Generator().manual_seed(9)
    hidden = torch.randn(tokens, width, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, vocabulary, (tokens,), generator=generator)
    targets[2] = -100
    return hidden, weight, targets


@pytest.mark.parametrize("chunk_tokens", [1, 4, 11, 1000])
def test_gradcheck(chunk_tokens):
    hidden, weight, targets = head_inputs(torch.float64)

    def loss(hidden, weight):
        return 0.37 * chunked_loss(hidden, weight, targets, chunk_tokens=chunk_tokens)

    assert torch.autograd.gradcheck(loss, (hidden, weight))


def test_large_logits_neither_overflow_nor_lose_the_loss():
    hidden, weight, targets = head_inputs(torch.float32)
    ours = chunked_loss(hidden * 1e4, weight, targets)
    expected = cross_entropy(hidden * 1e4 @ weight.T, targets, reduction="sum")
    torch.testing.assert_close(ours, expected)
    assert torch.isfinite(torch.autograd.grad(ours, weight)[0]).all()


def test_a_batch_without_targets_has_loss_zero_and_gradients_zero():
    hidden, weight, targets = head_inputs(torch.float32)
    loss = chunked_loss(hidden, weight, torch.full_like(targets, -100))
    assert loss == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(loss, (hidden, weight)))


def test_a_target_outside_the_vocabulary_is_an_error():
    hidden, weight, targets = head_inputs(torch.float32)
    for wrong in (-1, 13):
        targets[0] = wrong
        with pytest.raises(RuntimeError, match="index"):
            chunked_loss(hidden, weight, targets)


@pytest.mark.parametrize("frozen", ["head", "body"])
def test_a_frozen_part_gets_no_gradient_and_the_other_the_same(tiny_model, frozen):
    model = tiny_model("llama")
    input_ids, targets = batch()
    everything = gradients(model, head_and_loss(model, input_ids, targets))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_((name == "lm_head.weight") == (frozen == "body"))
    model.zero_grad(set_to_none=True)
    part = gradients(model, head_and_loss(model, input_ids, targets))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(part) == trained
    torch.testing.assert_close(part, {name: everything[name] for name in trained})


def test_no_grad_gives_the_same_loss_and_no_graph(tiny_model):
    model = tiny_model("gpt_neox")
    input_ids, targets = batch()
    with_gradients = head_and_loss(model, input_ids, targets)
    with torch.no_grad():
        without = head_and_loss(model, input_ids, targets)
    assert with_gradients.requires_grad
    assert not without.requires_grad
    assert torch.equal(without, with_gradients)


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
def test_sequence_losses_are_the_rows_of_the_sum(tiny_model, precision):
    model = tiny_model("qwen3").eval()
    input_ids, targets = batch()
    with torch.autocast("cpu", dtype=precision or torch.bfloat16, enabled=precision is not None):
        hidden = last_hidden_state(model, input_ids)
        rows = sequence_losses(hidden, head_weight(model), targets, chunk_tokens=7)
        total = head_and_loss(model, input_ids, targets, chunk_tokens=7)
        logits = model(input_ids=input_ids).logits.float()
    expected = cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum(dim=1)
    assert rows.shape == (3,)
    assert not rows.requires_grad
    torch.testing.assert_close(rows, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(rows.sum(), total.detach(), rtol=1e-6, atol=0)


class LargestTensor(TorchDispatchMode):
    """Remembers the elements of the largest tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_the_full_logits_are_never_held(tiny_model):
    model = tiny_model("gpt_neox", vocab_size=1009)
    input_ids, targets = batch()
    with LargestTensor() as largest:
        head_and_loss(model, input_ids, targets, chunk_tokens=8).backward()
    assert largest.elements == max(8 * 1009, 1009 * 32)
    with LargestTensor() as largest:
        plain_loss(model, input_ids, targets).backward()
    assert largest.elements >= targets.numel() * 1009


def test_the_hidden_state_is_what_the_head_of_the_model_gets(tiny_model):
    model = tiny_model("llama").eval()
    input_ids, _ = batch()
    with torch.no_grad():
        hidden = last_hidden_state(model, input_ids)
        assert torch.equal(model.lm_head(hidden), model(input_ids=input_ids).logits)
