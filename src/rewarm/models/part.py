"""A part of a causal language model: a run of its blocks, with the embedding before or the head behind it.

A whole model is the part with everything. In a pipeline each stage has a part; the blocks of the others are
replaced by stand-ins, so that every name and every index stays what it is in the whole model.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.errors import CampaignError
from rewarm.models.documents import document_positions
from rewarm.models.head import head_weight, last_hidden_state
from rewarm.models.loss import chunked_loss, sequence_losses


class Part(nn.Module):
    """A run of blocks that takes token ids or hidden states, and gives hidden states, losses or tokens."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        precision: Callable[[], AbstractContextManager[Any]],
        entries: int,
        isolated_by: int | None = None,
        is_first: bool = True,
        is_last: bool = True,
    ) -> None:
        """Make a part of a model that has been cut already.

        Args:
            model: whole, or from `cut`.
            precision: the context in which it runs.
            entries: of the tokenizer; rows of the head beyond them are never the likeliest token.
            isolated_by: the end-of-text id, if a token is to look back at its own document alone; only for a
                whole model.
            is_first: whether it begins with the embedding.
            is_last: whether it ends with the head.
        """
        super().__init__()
        self.model = model
        self.is_first = is_first
        self.is_last = is_last
        self._precision = precision
        self._entries = entries
        self._isolated_by = isolated_by

    def forward(
        self, inputs: Tensor, targets: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """Run the part.

        Args:
            inputs: token ids, (batch, sequence), for the first part; else hidden states, (batch, sequence,
                width).
            targets: the token that follows each, (batch, sequence); for losses.
            positions: (batch,); for the likeliest token behind each of these positions.

        Returns:
            Hidden states, unless it is the last part. Then, with positions: tokens, (batch,). Else, where
            gradients are taken, the sum of the losses in nats, a scalar; where not, that of each sequence,
            (batch,).
        """
        with self._precision():
            position_ids = (
                None if self._isolated_by is None else document_positions(inputs, self._isolated_by)
            )
            hidden = last_hidden_state(self.model, inputs, position_ids)
            if not self.is_last:
                return hidden
            weight = head_weight(self.model)
            if positions is not None:
                rows = torch.arange(len(positions), device=positions.device)
                logits = hidden[rows, positions] @ weight.to(hidden.dtype).T
                return logits[:, : self._entries].argmax(dim=-1)
            assert targets is not None, "the last part needs targets or positions"
            if torch.is_grad_enabled():
                return chunked_loss(hidden.flatten(0, 1), weight, targets.flatten())
            return sequence_losses(hidden, weight, targets)

    def blocks(self) -> list[nn.Module]:
        """Return the blocks that are here."""
        return [block for block in all_blocks(self.model) if not isinstance(block, Elsewhere)]

    def embedding(self) -> nn.Parameter:
        """Return the matrix of the embedding, where it is here."""
        weight = self.model.get_input_embeddings().weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def splitting(self) -> dict[str, str]:
        """Return how the model's own plan splits its matrices: the style of each module, by its name here.

        Only blocks are split. The embedding and the head stay whole on every rank: the losses are computed
        from them in chunks.

        Raises:
            CampaignError: the model has no such plan, or dropout.
        """
        base = self.model.base_model
        plan: dict[str, str] = getattr(base.config, "base_model_tp_plan", None) or {}
        layers = _layers_name(self.model)
        prefix = self.model.base_model_prefix
        found: dict[str, str] = {}
        for pattern, style in plan.items():
            if not pattern.startswith(f"{layers}.*."):
                continue
            inner = pattern.removeprefix(f"{layers}.*.")
            for number, block in enumerate(all_blocks(self.model)):
                if not isinstance(block, Elsewhere):
                    found[f"model.{prefix}.{layers}.{number}.{inner}"] = style
        dropping = [m for m in base.modules() if isinstance(m, nn.Dropout) and m.p > 0]
        if dropping or getattr(base.config, "attention_dropout", 0.0):
            raise CampaignError(
                f"{type(self.model).__name__} has dropout, whose draws would have to agree between ranks that "
                "split a matrix. Set it to 0, or use parallel.tensor = 1."
            )
        if not found:
            raise CampaignError(
                f"{type(self.model).__name__} has no plan of its own for splitting its matrices, and guessing "
                "one could train something else. Use parallel.tensor = 1."
            )
        return found


class Elsewhere(nn.Module):
    """Stands for what another rank has: hidden states pass through."""

    def forward(self, hidden: Tensor, *_args: object, **_kwargs: object) -> Tensor:
        return hidden


def cut(model: PreTrainedModel, blocks: range, *, is_first: bool, is_last: bool) -> PreTrainedModel:
    """Leave a run of blocks of a model and what goes with it; the rest becomes stand-ins, in place.

    A matrix that is embedding and head at once stays in the first and in the last part.

    Args:
        model: whole.
        blocks: the numbers of the blocks that stay.
        is_first: whether the embedding stays.
        is_last: whether the final norm and the head stay.

    Raises:
        CampaignError: the model does not say what its pieces are.
    """
    layers = all_blocks(model)
    for number in range(len(layers)):
        if number not in blocks:
            layers[number] = Elsewhere()
    embedding, tied = model.get_input_embeddings(), has_tied_head(model)
    pieces = _pieces(model)
    middle = pieces.index(_layers_name(model))
    for place, name in enumerate(pieces):
        module = getattr(model.base_model, name)
        keeps = is_first if place < middle else is_last
        if place != middle and not (keeps or (tied and is_last and module is embedding)):
            setattr(model.base_model, name, Elsewhere())
    if not is_last:
        model.set_output_embeddings(Elsewhere())
    return model


def has_tied_head(model: PreTrainedModel) -> bool:
    """Return whether one matrix is both the embedding and the head."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return head is not None and embedding is not None and head.weight is embedding.weight


def _pieces(model: PreTrainedModel) -> list[str]:
    """Return the names of the pieces of the body in their order: embedding, layers, final norm."""
    plan = getattr(model.base_model.config, "base_model_pp_plan", None)
    if not plan:
        raise CampaignError(
            f"{type(model).__name__} does not say what its pieces are, so it cannot be laid out as a pipeline. "
            "Use parallel.pipeline = 1."
        )
    return list(plan)


def _layers_name(model: PreTrainedModel) -> str:
    lists = [n for n, m in model.base_model.named_children() if isinstance(m, nn.ModuleList)]
    if len(lists) != 1:
        raise CampaignError(
            f"{type(model).__name__} has {len(lists)} lists of blocks, not one, so it cannot be spread over "
            "ranks. Use one rank."
        )
    return lists[0]


def all_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Return the blocks of a model, with stand-ins for those that are elsewhere.

    Raises:
        CampaignError: it has not one list of blocks.
    """
    found = getattr(model.base_model, _layers_name(model))
    assert isinstance(found, nn.ModuleList)
    return found
