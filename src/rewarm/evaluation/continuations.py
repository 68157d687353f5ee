"""How a model continues given prompts, greedily: not a measurement, but something to look at."""

from collections.abc import Callable, Sequence

from rewarm.data.tokenizer import Tokenizer


def continuation(
    next_token: Callable[[Sequence[int]], int],
    tokenizer: Tokenizer,
    prompt: str,
    *,
    num_tokens: int,
) -> str:
    """Return the text that a model adds to a prompt, taking the likeliest token each time.

    Args:
        next_token: gives the likeliest token behind token ids.
        tokenizer: made the tokens that the model was trained on.
        prompt: the text to continue.
        num_tokens: how many tokens to add at most; the end of the text ends it sooner.
    """
    ids = tokenizer.encode_batch([prompt])[0][:-1].tolist()
    start = len(ids)
    for _ in range(num_tokens):
        best = next_token(ids)
        if best == tokenizer.end_of_text:
            break
        ids.append(best)
    return tokenizer.decode(ids[start:])
