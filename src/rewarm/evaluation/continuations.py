"""How a model continues given prompts, greedily: not a measurement, but something to look at."""

import torch
from transformers import PreTrainedModel

from rewarm.data.tokenizer import Tokenizer


@torch.no_grad()
def continuation(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    num_tokens: int,
    sequence_length: int,
    device: torch.device,
) -> str:
    """Return the text that the model adds to a prompt, taking the likeliest token each time.

    Args:
        model: the model; its mode (dropout) is put back as it was.
        tokenizer: made the tokens that the model was trained on.
        prompt: the text to continue; only its last `sequence_length` tokens are seen.
        num_tokens: how many tokens to add at most; the end of the text ends it sooner.
        sequence_length: the longest context that the model was trained with.
        device: where the model is.
    """
    was_training = model.training
    model.eval()
    ids = tokenizer.encode_batch([prompt])[0][:-1].tolist()
    start = len(ids)
    for _ in range(num_tokens):
        context = torch.tensor([ids[-sequence_length:]], device=device)
        hidden = model(input_ids=context, logits_to_keep=1, use_cache=False)
        best = int(hidden.logits[0, -1, : tokenizer.vocabulary].argmax())
        if best == tokenizer.end_of_text:
            break
        ids.append(best)
    model.train(was_training)
    return tokenizer.decode(ids[start:])
