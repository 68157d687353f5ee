"""Documents within a sequence, for models that are to look back at one document at a time."""

import torch
from torch import Tensor


def document_positions(tokens: Tensor, end_of_text: int) -> Tensor:
    """Return the place of each token within its document.

    The end-of-text token is the last of its document: what follows it, if anything, begins at 0. So the first
    token of a document is still predicted, from the end of the document before, as in Megatron-LM with
    `--reset-position-ids --reset-attention-mask`; every token has a part in the loss, and losses can be
    compared with those of joined documents.

    Args:
        tokens: ids, (batch, sequence).
        end_of_text: the id that ends each document.

    Returns:
        (batch, sequence), int64. What the sequence cuts off from the beginning of its first document is not
        counted. The models of transformers take a place that is not one more than the one before for the
        beginning of another text, and let no attention across.

    >>> document_positions(torch.tensor([[5, 6, 0, 7, 0, 0, 8, 9]]), end_of_text=0).tolist()
    [[0, 1, 2, 0, 1, 0, 0, 1]]
    """
    places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    begins = torch.zeros_like(places)
    begins[:, 1:] = places[:, 1:].where(tokens[:, :-1] == end_of_text, 0)
    return places - begins.cummax(dim=1).values
