"""Where a causal language model divides into body and head, and the check that it does.

The chunked loss takes the logits to be W·h, with h the last hidden state. `check_head` proves that of a
model before it is trained; a model that does something else to its logits is refused.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedConfig, PreTrainedModel

from rewarm.errors import CheckpointError

_LOGIT_TOLERANCE = 1e-4
_LOSS_TOLERANCE = 1e-5


def head_weight(model: PreTrainedModel) -> Tensor:
    """Return the matrix W of the head, of shape (vocabulary, width).

    Raises:
        CheckpointError: the head is not one matrix.
    """
    return _head(model).weight


def last_hidden_state(
    model: PreTrainedModel, inputs: Tensor, position_ids: Tensor | None = None
) -> Tensor:
    """Run the body of the model.

    Args:
        model: a causal language model, or a part of one.
        inputs: token ids, (batch, sequence), or hidden states in their place, (batch, sequence, width).
        position_ids: (batch, sequence), where they are not 0, 1, 2, …; where they begin again, attention
            does not look back beyond that.

    Returns:
        h, (batch, sequence, width).
    """
    name = "inputs_embeds" if inputs.is_floating_point() else "input_ids"
    given = {name: inputs, "position_ids": position_ids}
    return model.base_model(**given, use_cache=False).last_hidden_state


def check_head(model: PreTrainedModel) -> None:
    """Check that the model's own logits and loss are those that `chunked_loss` computes.

    On two short sequences: the logits are W·h; they still are when h is made so large that a softcap or
    any other bend would show (a fresh model's logits are too small for that); no logit depends on a later
    token; and the loss is the plain cross entropy, without router or other extra terms.

    Args:
        model: a causal language model, on any real device; its mode and the random state are left as
            they were.

    Raises:
        CheckpointError: one of these does not hold, with the reason.
    """
    weight = head_weight(model).detach()
    input_ids = _two_sequences(model)
    with torch.no_grad(), _evaluation_mode(model):
        hidden = last_hidden_state(model, input_ids)
        output = model(input_ids=input_ids, labels=input_ids, use_cache=False)
        logits = hidden @ weight.T
        if not torch.isfinite(logits).all():
            raise _refusal(model, "its logits are not finite; its weights are damaged")
        if not _close(output.logits, logits, _LOGIT_TOLERANCE):
            raise _refusal(model, "its logits are not its head times the last hidden state")
        if not _close(logits[0, :-1], logits[1, :-1], _LOGIT_TOLERANCE):
            raise _refusal(model, "a logit depends on a later token, so the targets would leak")
        plain = nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten()
        )
        if not _close(output.loss, plain, _LOSS_TOLERANCE):
            raise _refusal(
                model, f"its loss is {output.loss:.5f} where plain cross entropy is {plain:.5f}"
            )
        probe = _probe(hidden, weight)
        with _replaced_head_input(model, probe):
            large = model(input_ids=input_ids, use_cache=False).logits
        if not _close(large, probe @ weight.T, _LOGIT_TOLERANCE):
            raise _refusal(
                model, "its logits are bent when they are large (softcapping, or the like)"
            )


def check_head_of(config: PreTrainedConfig) -> None:
    """Check a family by a small model of it, where none of the real ones is whole on any rank.

    It has the widths and switches of the configuration, but two blocks, few tokens and random weights:
    `check_head` is about what a model computes, not with which numbers.

    Args:
        config: of the model that is to be trained.

    Raises:
        CheckpointError: as `check_head`.
    """
    small = copy.deepcopy(config)
    small.num_hidden_layers = min(2, config.num_hidden_layers)
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[: small.num_hidden_layers]
    small.vocab_size = 97
    small.bos_token_id = small.eos_token_id = small.pad_token_id = None
    kind: type[PreTrainedModel] = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]  # type: ignore[assignment]  # lazy
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = kind(small)
    check_head(model.float())


def _head(model: PreTrainedModel) -> nn.Linear:
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise _refusal(model, f"its head is {type(head).__name__}, not a linear layer")
    if head.bias is not None:
        raise _refusal(model, "its head has a bias")
    return head


def _two_sequences(model: PreTrainedModel) -> Tensor:
    """Return two sequences of 8 tokens that differ in the last token alone."""
    vocabulary = head_weight(model).shape[0]
    tokens = torch.arange(8) * 7 % vocabulary
    other = tokens.clone()
    other[-1] = (tokens[-1] + 1) % vocabulary
    return torch.stack([tokens, other]).to(model.device)


def _probe(hidden: Tensor, weight: Tensor) -> Tensor:
    """Return a stand-in for the hidden state whose largest logit is 1,000."""
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(hidden.shape, generator=generator).to(hidden)
    return probe * (1000 / (probe @ weight.T).abs().max())


def _close(actual: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Compare the largest difference with the largest value; False where either is not finite."""
    difference = (actual - expected).abs().max()
    return bool(difference <= tolerance * expected.abs().max())


@contextmanager
def _evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _replaced_head_input(model: PreTrainedModel, hidden: Tensor) -> Iterator[None]:
    handle = _head(model).register_forward_pre_hook(lambda *_: (hidden,))
    try:
        yield
    finally:
        handle.remove()


def _refusal(model: PreTrainedModel, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{type(model).__name__} cannot be trained here: {reason}. The loss is computed from the head and "
        "the last hidden state, so this model would be mis-trained. Use a model whose logits are one "
        "matrix times the last hidden state, such as GPT-NeoX, Llama or Qwen3."
    )
