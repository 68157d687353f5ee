"""One turn at reading tokens that are not in the page cache, in a process of its own; prints what it came to.

    python benchmarks/cold_reading.py STORE ORDER HOW LENGTH BATCH BATCHES

HOW is `first` for batches of a store just opened, which hashes a block of 64 MiB before it gives out a token of
it; `again` for the same batches when all blocks have been hashed, as in a later epoch of a text larger than
the memory; or `bytes` for plain reads of 1 MiB from the beginning of the file, which is what the disk gives. No
other process may have the files mapped: the kernel does not drop pages that are.
"""

import ctypes
import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rewarm.data.batches import Batches
from rewarm.data.store import TokenStore
from rewarm.replay import Mixture, NewData, Stream

PAGE = mmap.PAGESIZE


def drop(path: Path) -> None:
    """Have the kernel forget a file, which must be on the disk before it can be."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(path: Path) -> float:
    """Return which share of a file's pages is in the page cache, as the kernel says (`mincore`)."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        # A private mapping, since only of a writable one can the address be had; nothing is written.
        with mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE) as mapped:
            start = (ctypes.c_char * size).from_buffer(mapped)
            pages = (ctypes.c_ubyte * -(-size // PAGE))()
            address = ctypes.c_void_p(ctypes.addressof(start))
            if ctypes.CDLL(None, use_errno=True).mincore(address, ctypes.c_size_t(size), pages):
                raise OSError(ctypes.get_errno(), "mincore")
            del start
    return float(np.mean(np.frombuffer(pages, np.uint8) & 1))


def turn(folder: Path, order: str, how: str, length: int, batch: int, count: int) -> Callable:
    """Return the work of a turn: reads so many batches, and returns the tokens."""
    path = folder / "tokens.bin"
    if how == "bytes":

        def read_bytes() -> int:
            with path.open("rb", buffering=0) as file:
                return sum(
                    len(file.read(1 << 20)) // 2 for _ in range(count * batch * length >> 19)
                )

        return read_bytes
    store = TokenStore.open(folder)
    batches = Batches(
        stream=Stream(NewData(Mixture.of({"text": 1}), {})),
        stores={"text": store},
        orders={"text": order},
        seed=1234,
        batch_sequences=batch,
        sequence_length=length,
    )
    readers = batches.readers()
    if how == "again":
        windows = np.arange(store.num_windows(length))
        for some in np.array_split(windows, -(-len(windows) // 1024)):
            store.windows(some, length)
        # The store has no use for this, so it has no name for it either: its pages, given back.
        store.shards[0].tokens._blocks.data.obj.madvise(mmap.MADV_DONTNEED)
    return lambda: sum(each.tokens.size for each in batches.read_range(1, count, readers))


def main() -> None:
    """Drop the files, read, and say how fast; and how much of them was in memory before."""
    folder, order, how, *numbers = sys.argv[1:]
    path = Path(folder) / "tokens.bin"
    drop(path)
    work = turn(Path(folder), order, how, *map(int, numbers))
    drop(path)
    before = cached(path)
    began = time.perf_counter()
    tokens = work()
    seconds = time.perf_counter() - began
    print(
        json.dumps({"tokens": tokens, "seconds": seconds, "cached": before, "after": cached(path)})
    )


if __name__ == "__main__":
    main()
