"""Steps of a stage in words."""

from collections.abc import Sequence


def steps_text(steps: Sequence[int], most: int = 6) -> str:
    """Name steps, neighbours together.

    Args:
        steps: at least one, rising.
        most: how many runs of neighbours to name; the steps of the others are counted.

    >>> steps_text([7]), steps_text([2, 4, 5, 6]), steps_text([1, 3, 5, 7], most=2)
    ('step 7', 'steps 2 and 4 to 6', 'steps 1, 3 and 2 more')
    """
    runs: list[tuple[int, int]] = []
    for step in steps:
        start = runs.pop()[0] if runs and runs[-1][1] == step - 1 else step
        runs.append((start, step))
    named = [f"{a:,}" if a == b else f"{a:,} to {b:,}" for a, b in runs[:most]]
    rest = sum(b - a + 1 for a, b in runs[most:])
    if rest:
        named.append(f"{rest:,} more")
    *first, last = named
    return ("step " if len(steps) == 1 else "steps ") + (
        f"{', '.join(first)} and {last}" if first else last
    )
