"""How well the tokenizer codes each dataset: what the same amount of text costs in tokens.

A tokenizer made for other text splits new text into more and shorter tokens. The budget of a stage
is in tokens, so it then pays for less text.
"""

from collections.abc import Mapping, Sequence

LEAST_RATIO = 0.75
"""New text that has less than this times the bytes per token of the old is pointed out."""


def coding_line(bytes_per_token: Mapping[str, float]) -> str:
    """Return the bytes of text per token of each dataset in one line.

    >>> coding_line({"english": 4.327, "german": 2.4})
    'bytes of text per token: english 4.33, german 2.40'
    """
    parts = [f"{name} {value:.2f}" for name, value in bytes_per_token.items()]
    return f"bytes of text per token: {', '.join(parts)}"


def coding_warnings(datasets: Sequence[str], bytes_per_token: Mapping[str, float]) -> list[str]:
    """Return which later datasets are coded much worse than the first.

    Args:
        datasets: D0, D1, …, in the order in which the model meets them.
        bytes_per_token: bytes of text in UTF-8 per token, of those that are prepared.

    >>> print(*coding_warnings(["english", "german"], {"english": 4.33, "german": 2.4}))
    data.german needs 1.80 times the tokens of data.english for the same text: 2.40 against 4.33 bytes per token
    """
    known = [name for name in datasets if name in bytes_per_token]
    if not known or known[0] != datasets[0]:
        return []
    old = bytes_per_token[known[0]]
    return [
        f"data.{name} needs {old / bytes_per_token[name]:.2f} times the tokens of data.{known[0]} for the same "
        f"text: {bytes_per_token[name]:.2f} against {old:.2f} bytes per token"
        for name in known[1:]
        if bytes_per_token[name] < LEAST_RATIO * old
    ]
