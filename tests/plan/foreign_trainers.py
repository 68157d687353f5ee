"""The learning rates of Megatron-LM and GPT-NeoX, written down from their sources, without rewarm."""

import math
import shlex
from typing import Any


def flags_of(words: list[str]) -> dict[str, list[str]]:
    """Return the values of each flag of a command line."""
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


def megatron_rates(words: list[str]) -> list[float]:
    """Return the rate of each optimizer step.

    Source: Megatron-LM at d98e8a64. `OptimizerParamScheduler` counts samples, starts at 0 and is moved on by a
    global batch after each update (`training.py`, "Update learning rate"); `get_lr` is what follows.
    """
    flags = flags_of(words)

    def number(name: str) -> float:
        (value,) = flags.get(f"--{name}", ["0"])
        return float(value)

    batch, top, low = number("global-batch-size"), number("lr"), number("min-lr")
    warmup, end = number("lr-warmup-iters") * batch, number("lr-decay-iters") * batch
    (style,) = flags["--lr-decay-style"]
    assert end > 0
    assert warmup < end
    assert 0 <= low <= top
    assert number("lr-warmup-init") <= top

    def rate(samples: float) -> float:
        if warmup > 0 and samples <= warmup:
            start = number("lr-warmup-init")
            return start + (top - start) * samples / warmup
        if style == "constant":
            return top
        if samples > end:
            return low
        x = (samples - warmup) / (end - warmup)
        if style == "WSD":
            decay = number("lr-wsd-decay-iters") * batch
            if samples <= end - decay:
                return top
            x = (samples - (end - decay)) / decay
            (style_at_end,) = flags["--lr-wsd-decay-style"]
        else:
            style_at_end = style
        height = {
            "linear": 1 - x,
            "cosine": (math.cos(math.pi * x) + 1) / 2,
            "minus_sqrt": 1 - math.sqrt(x),
        }[style_at_end]
        return low + height * (top - low)

    return [rate(step * batch) for step in range(int(number("train-iters")))]


def neox_rates(config: dict[str, Any]) -> list[float]:
    """Return the rate of each optimizer step.

    Source: GPT-NeoX at ea7aefd8. `AnnealingLR` is made at iteration 0 (`training.py`, `init_step`), and
    DeepSpeed's engine calls its `step()`, which adds 1, after each `optimizer.step()`.
    """
    top, low = config["optimizer"]["params"]["lr"], config["min_lr"]
    total, style = config["lr_decay_iters"], config["lr_decay_style"]
    warmup = config["warmup"] * total
    assert total > 0

    def rate(made: int) -> float:
        if warmup > 0 and made <= warmup:
            return top * max(1, made) / warmup
        left = total - warmup
        if style == "cosine":
            found = low + (top - low) / 2 * (math.cos(math.pi * (made - warmup) / left) + 1)
        elif style == "linear":
            found = top * (left - (made - warmup)) / left
        else:
            assert style == "constant"
            found = top
        return max(found, low)

    return [rate(made) for made in range(config["train_iters"])]


def words_of(array: str) -> list[str]:
    """Return the words of a Bash array `STAGE=( … )`."""
    words = shlex.split(array, comments=True)
    assert (words[0], words[-1]) == ("STAGE=(", ")"), words
    return words[1:-1]
