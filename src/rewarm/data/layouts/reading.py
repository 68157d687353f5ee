"""From a layout and its files to what they hold."""

from collections.abc import Sequence

import numpy as np

from rewarm.data.layouts.contents import Contents, OpenedFile
from rewarm.data.layouts.datatrove import datatrove_contents
from rewarm.data.layouts.flat import flat_contents, npy_contents
from rewarm.data.layouts.megatron import megatron_contents
from rewarm.data.shard_record import Layout


def read_contents(layout: Layout, files: Sequence[OpenedFile], dtype: str | None) -> Contents:
    """Read all but the tokens themselves.

    Args:
        layout: how they lie.
        files: the token file, and what the layout has besides, in the order of `FILES_OF`.
        dtype: type of the ids in a flat file; elsewhere the files say it.

    Raises:
        DataError: the files are not of that layout, or do not fit each other.
    """
    match layout:
        case "megatron":
            tokens, index = files
            return megatron_contents(tokens, index)
        case "datatrove":
            tokens, index, *metadata = files
            return datatrove_contents(tokens, index, metadata[0] if metadata else None)
        case "npy":
            return npy_contents(files[0])
        case "flat":
            assert dtype is not None, "a flat file does not say the type of its ids"
            return flat_contents(files[0], np.dtype(dtype).newbyteorder("<"))
