"""The validation loss of a dataset: mean nats per token over fixed sequences, cut as in training.

The sequences are the first of the validation store, whose documents were permuted when it was written, so
they are a fixed random sample and the same at every step, in every arm.
"""

import numpy as np
import torch
from transformers import PreTrainedModel

from rewarm.data.store import TokenStore
from rewarm.errors import DataError
from rewarm.models.loss import sequence_losses


def validation_sequences(store: TokenStore, dataset: str, sequence_length: int, wanted: int) -> int:
    """Return how many sequences an evaluation reads: those wanted, or all there are.

    Raises:
        DataError: there is not one whole sequence.
    """
    there = store.num_sequences(sequence_length)
    if there < 1:
        raise DataError(
            f"{dataset}: the validation set has {store.tokens:,} tokens, less than one sequence of "
            f"{sequence_length:,}; add validation text"
        )
    return min(wanted, there)


@torch.no_grad()
def validation_loss(
    model: PreTrainedModel,
    store: TokenStore,
    *,
    sequences: int,
    sequence_length: int,
    micro_batch: int,
    device: torch.device,
) -> float:
    """Return the mean loss in nats per token.

    Args:
        model: the model; its mode (dropout) is put back as it was.
        store: the validation tokens.
        sequences: how many to read, from `validation_sequences`.
        sequence_length: tokens in a sequence.
        micro_batch: sequences that go through the model at once.
        device: where the model is.
    """
    was_training = model.training
    model.eval()
    nats = 0.0
    for first in range(0, sequences, micro_batch):
        rows = range(first, min(first + micro_batch, sequences))
        tokens = torch.from_numpy(store.read(rows, sequence_length).astype(np.int64)).to(device)
        losses = sequence_losses(model, tokens[:, :-1], tokens[:, 1:])
        nats += losses.double().sum().item()
    model.train(was_training)
    return nats / (sequences * sequence_length)
