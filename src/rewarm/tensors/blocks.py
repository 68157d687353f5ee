"""Blocks of a tensor: where a part of it begins, and how long it is in each dimension. Pure."""

from collections.abc import Mapping, Sequence

Block = tuple[Sequence[int], Sequence[int]]
"""Offset and shape of a part of a tensor."""


def whole_blocks(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Block]:
    """Return the block of each tensor that is all of it.

    >>> whole_blocks({"weight": (3, 2)})
    {'weight': ((0, 0), (3, 2))}
    """
    return {name: ((0,) * len(shape), shape) for name, shape in shapes.items()}


def overlap(one: Block, other: Block) -> Block | None:
    """Return the block that two blocks of one tensor have in common.

    >>> overlap(((0, 0), (4, 8)), ((2, 4), (4, 8)))
    ((2, 4), (2, 4))
    >>> overlap(((0,), (4,)), ((4,), (4,))) is None
    True
    """
    offset = tuple(map(max, one[0], other[0]))
    ends = [
        min(a + n, b + m) for a, n, b, m in zip(one[0], one[1], other[0], other[1], strict=True)
    ]
    shape = tuple(end - start for start, end in zip(offset, ends, strict=True))
    return None if any(length <= 0 for length in shape) else (offset, shape)


def slices(block: Block, origin: Sequence[int] | None = None) -> tuple[slice, ...]:
    """Return the index that takes a block out of a tensor.

    Args:
        block: its offset is one in the whole tensor.
        origin: where in the whole the indexed tensor begins; None if it is the whole.

    >>> slices(((2, 0), (1, 4)))
    (slice(2, 3, None), slice(0, 4, None))
    >>> slices(((2, 0), (1, 4)), origin=(2, 0))
    (slice(0, 1, None), slice(0, 4, None))
    """
    offset, shape = block
    zeros = (0,) * len(offset) if origin is None else origin
    return tuple(
        slice(start - zero, start - zero + length)
        for start, length, zero in zip(offset, shape, zeros, strict=True)
    )
