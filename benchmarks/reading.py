"""Tokens to batches: our reader against others, from the page cache, and how far in it may begin.

    python benchmarks/reading.py --megatokens 400 --peers PYTHON

PYTHON is an interpreter that has torch, litdata and mosaicml-streaming; ours by default. The tokens are random:
no reader looks at them.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measuring import Contender, Result, in_turns, seconds_of, table, write

from rewarm.data.batches import Batches
from rewarm.data.store import TokenStore, write_store
from rewarm.replay import Mixture, NewData, OrderKind, Stream

HERE = Path(__file__).parent
LENGTH, BATCH = 2048, 64


def documents(megatokens: int) -> Iterator[np.ndarray]:
    """Yield random documents of about 1,000 tokens."""
    draw = np.random.default_rng(1)
    for _ in range(megatokens * 1000):
        ids = draw.integers(1, 50_000, 1000)
        ids[-1] = 0
        yield ids


def batches_of(store: TokenStore, order: OrderKind) -> Batches:
    """Return the batches of a stage that reads nothing but this store."""
    return Batches(
        stream=Stream(NewData(Mixture.of({"text": 1}), {})),
        stores={"text": store},
        orders={"text": order},
        seed=1234,
        batch_sequences=BATCH,
        sequence_length=LENGTH,
    )


def rate(batches: Batches, first: int, count: int) -> float:
    """Return million tokens/s of reading batches as int64, as a training step takes them."""
    readers = batches.readers()
    batches.read(first, readers)

    def read() -> None:
        for step in range(first + 1, first + 1 + count):
            batches.read(step, readers).tokens.astype(np.int64)

    return count * BATCH * (LENGTH + 1) / seconds_of(read) / 1e6


def peer(name: str, path: Path, batches: int, workers: int, folder: Path, python: str) -> float:
    """Give a peer its turn, and return million tokens/s."""
    command = [python, str(HERE / "peers_reading.py"), name, str(path), str(LENGTH), str(BATCH)]
    command += [str(batches), str(workers), str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    return said["tokens"] / said["seconds"] / 1e6


def first_batch(store: TokenStore, step: int) -> float:
    """Return how many first batches a second can be had: readers made, one batch read."""

    def read() -> None:
        batches = batches_of(store, "shuffled")
        batches.read(step, batches.readers())

    return 20 / seconds_of(lambda: [read() for _ in range(20)])


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megatokens", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--only", nargs="*", default=["memory-map", "litdata", "mosaic"])
    parser.add_argument("--folder", type=Path, help="Where the tokens go; a temporary folder.")
    options = parser.parse_args()
    place = options.folder or Path(tempfile.mkdtemp())
    store_folder = place / "store"
    write_store(
        store_folder,
        documents(options.megatokens),
        vocabulary=50_000,
        end_of_text=0,
        tokenizer="0" * 64,
        document_seed=0,
        text_bytes=0,
        provenance=[{"random": 1}],
    )
    store, path = TokenStore.open(store_folder), store_folder / "tokens.bin"
    count = options.megatokens * 10**6 // BATCH // (LENGTH + 1) // 2
    rate(
        batches_of(store, "sequential"), 1, 2 * count - 2
    )  # hashes every block, fills the page cache

    contenders = [
        Contender(
            name=f"rewarm, {order}",
            counted="Batches.read: order, draws, rows; int64",
            run=lambda order=order: rate(batches_of(store, order), 1, count),
        )
        for order in ("shuffled", "blocks", "sequential")
    ]
    said = {
        "memory-map": "torch DataLoader over np.memmap, shuffled, int64",
        "litdata": "StreamingDataLoader, TokensLoader, shuffled",
        "mosaic": "StreamingDataset (MDS) in a torch DataLoader, shuffled, int64",
    }
    contenders += [
        Contender(
            name=f"{name}, {workers} workers",
            counted=said[name],
            run=lambda name=name, workers=workers: peer(
                name, path, min(count, 400), workers, place, options.peers
            ),
        )
        for name in options.only
        for workers in (0, 2)
    ]
    warm = in_turns(contenders, rounds=options.rounds)
    begun = in_turns(
        [
            Contender(
                name=f"first batch at step {step:,}",
                counted="readers made and one batch read, 20 times",
                run=lambda step=step: first_batch(store, step),
            )
            for step in (1, 10**9 // BATCH)
        ],
        rounds=options.rounds,
    )
    write(
        "reading",
        f"Reading {options.megatokens} million tokens, windows of {LENGTH + 1}, batches of {BATCH}",
        {
            "From the page cache": (_table(warm), warm),
            "Far in": (table(begun, unit="batches/s", targets={}), begun),
        },
    )
    if options.folder is None:
        shutil.rmtree(place)


def _table(results: list[Result]) -> str:
    return table(results, unit="million tokens/s", targets={})


if __name__ == "__main__":
    main()
