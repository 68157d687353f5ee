"""Places to stored sequences, a whole batch at once: what `rewarm.replay.order` says, in arrays."""

import numpy as np
from numpy.typing import NDArray

from rewarm.replay.order import BLOCK, AsStored, Blocks, EpochOrder, EpochPermutation
from rewarm.replay.permutation import Permutation, keyed_number, network, round_keys

Array = NDArray[np.uint64]


def stored_sequences(order: EpochOrder, places: Array) -> Array:
    """Return which stored sequence is read at each place, as `order` itself would.

    Args:
        order: the order of the source.
        places: from 0, over any number of epochs, in any order.
    """
    epochs, within = np.divmod(places, np.uint64(order.length))
    found = np.empty_like(places)
    for epoch in np.unique(epochs).tolist():
        here = epochs == epoch
        found[here] = _in_epoch(order.epoch(epoch), within[here])
    return found


def _in_epoch(order: EpochPermutation, places: Array) -> Array:
    if isinstance(order, AsStored):
        return places
    if isinstance(order, Blocks):
        return _in_blocks(order, places)
    assert isinstance(order, Permutation), f"no such order: {order}"
    return permuted(order, places)


def permuted(permutation: Permutation, places: Array) -> Array:
    """Return where a permutation sends each place: through its network until all are inside."""
    found: Array = network(places, permutation.bits, permutation.keys)
    while len(outside := np.flatnonzero(found >= permutation.length)):
        found[outside] = network(found[outside], permutation.bits, permutation.keys)
    return found


def _in_blocks(order: Blocks, places: Array) -> Array:
    found = np.empty_like(places)
    in_rest = (places >= order.rest_at) & (places < order.rest_at + order.rest)
    if in_rest.any():
        rest = permuted(order.within(order.whole_blocks), places[in_rest] - order.rest_at)
        found[in_rest] = order.whole_blocks * BLOCK + rest
    if not in_rest.all():
        whole = places[~in_rest]
        whole = np.where(whole < order.rest_at, whole, whole - order.rest)
        turns, within = np.divmod(whole, np.uint64(BLOCK))
        blocks = permuted(order.blocks, turns)
        # A block is a power of two, so no number leaves it and each may have keys of its own.
        keys = round_keys(keyed_number(order.inner_key, blocks))
        found[~in_rest] = blocks * BLOCK + network(within, BLOCK.bit_length() - 1, keys)
    return found
