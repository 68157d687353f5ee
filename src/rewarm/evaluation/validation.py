"""The validation loss of a dataset: mean nats per token over fixed sequences, cut as in training.

The sequences are the first of the validation store, whose documents were permuted when it was written, so
they are a fixed random sample and the same at every step, in every arm.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rewarm.data.store import TokenStore
from rewarm.errors import DataError


def validation_sequences(store: TokenStore, dataset: str, sequence_length: int, wanted: int) -> int:
    """Return how many sequences an evaluation reads: those wanted, or all there are.

    Raises:
        DataError: there is not one whole sequence.
    """
    there = store.num_windows(sequence_length)
    if there < 1:
        raise DataError(
            f"{dataset}: the validation set has {store.tokens:,} tokens, less than one sequence of "
            f"{sequence_length:,}; add validation text"
        )
    return min(wanted, there)


def mean_loss(
    losses: Callable[[NDArray[np.integer]], Tensor],
    store: TokenStore,
    *,
    sequences: int,
    sequence_length: int,
    at_once: int,
) -> float:
    """Return the mean loss in nats per token.

    Args:
        losses: gives the summed loss of each sequence of token ids, (sequences, sequence_length + 1), in
            nats, (sequences,).
        store: the validation tokens.
        sequences: how many to read, from `validation_sequences`.
        sequence_length: tokens in a sequence.
        at_once: sequences whose losses are added up before they are added to the others. Another number
            gives other last bits.
    """
    tokens = store.windows(range(sequences), sequence_length)
    nats = sum(part.sum().item() for part in losses(tokens).split(at_once))
    return nats / (sequences * sequence_length)
