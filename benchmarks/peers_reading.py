"""One peer's turn at reading windows of tokens, run by that peer's own interpreter; prints tokens and seconds.

    python benchmarks/peers_reading.py PEER TOKENS.bin LENGTH BATCH BATCHES WORKERS FOLDER

TOKENS.bin is a row of uint16. Peers with a format of their own write it into FOLDER first, once, uncounted.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def memory_map(path: str, length: int, batch: int, _folder: str, workers: int) -> Iterable:
    """Return a torch DataLoader over a memory map, shuffled, as in nanoGPT-style loops."""
    import torch

    class Windows(torch.utils.data.Dataset):
        def __init__(self) -> None:
            self.tokens = np.memmap(path, np.uint16, "r")

        def __len__(self) -> int:
            return (len(self.tokens) - 1) // length

        def __getitem__(self, number: int) -> "torch.Tensor":
            window = self.tokens[number * length : number * length + length + 1]
            return torch.from_numpy(window.astype(np.int64))

    return torch.utils.data.DataLoader(
        Windows(), batch_size=batch, shuffle=True, num_workers=workers, drop_last=True
    )


def _windows(path: str, length: int, numbers: range) -> "torch.Tensor":
    """Return neighbouring windows end to end, as int32."""
    import torch

    tokens = np.memmap(path, np.uint16, "r")
    windows = [tokens[n * length : n * length + length + 1] for n in numbers]
    return torch.from_numpy(np.concatenate(windows).astype(np.int32))


def litdata(path: str, length: int, batch: int, folder: str, workers: int) -> Iterable:
    """Return litdata's loader over its token chunks of 64 MB, shuffled."""
    import litdata as ld

    place = Path(folder) / "litdata"
    if not place.exists():
        count = (Path(path).stat().st_size // 2 - 1) // length
        ld.optimize(
            fn=partial(_windows, path, length),  # workers are sent it, so it cannot be local
            inputs=[range(first, min(first + 64, count)) for first in range(0, count, 64)],
            output_dir=str(place),
            chunk_size=(length + 1) * 8192,
            item_loader=ld.TokensLoader(block_size=length + 1),
            num_workers=1,
        )
    data = ld.StreamingDataset(
        str(place), item_loader=ld.TokensLoader(block_size=length + 1), shuffle=True
    )
    return ld.StreamingDataLoader(data, batch_size=batch, num_workers=workers, drop_last=True)


def mosaic(path: str, length: int, batch: int, folder: str, workers: int) -> Iterable:
    """Return a DataLoader over MosaicML Streaming's shards, shuffled by `py1e`."""
    import torch
    from streaming import MDSWriter, StreamingDataset

    place = Path(folder) / "mds"
    if not place.exists():
        tokens = np.memmap(path, np.uint16, "r")
        with MDSWriter(out=str(place), columns={"tokens": f"ndarray:uint16:{length + 1}"}) as out:
            for number in range((len(tokens) - 1) // length):
                out.write(
                    {"tokens": np.array(tokens[number * length : number * length + length + 1])}
                )
    data = StreamingDataset(local=str(place), shuffle=True, batch_size=batch)
    return torch.utils.data.DataLoader(
        data,
        batch_size=batch,
        num_workers=workers,
        collate_fn=lambda rows: torch.from_numpy(
            np.stack([row["tokens"] for row in rows]).astype(np.int64)
        ),
    )


def take(loader: Iterable, batches: int) -> tuple[int, float]:
    """Read batches behind a first one; return their tokens and the seconds."""
    iterator: Iterator = iter(loader)
    next(iterator)
    began = time.perf_counter()
    tokens = 0
    for _ in range(batches):
        tokens += next(iterator).numel()
    return tokens, time.perf_counter() - began


if __name__ == "__main__":
    peers = {"memory-map": memory_map, "litdata": litdata, "mosaic": mosaic}
    name, tokens_file, *numbers, place = sys.argv[1:]
    length, batch, batches, workers = map(int, numbers)
    tokens, seconds = take(peers[name](tokens_file, length, batch, place, workers), batches)
    print(json.dumps({"tokens": tokens, "seconds": seconds}))
