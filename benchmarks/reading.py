"""Tokens to batches: our reader against others, from the page cache and from the disk, and far in.

    python benchmarks/reading.py --megatokens 400 --peers PYTHON

PYTHON is an interpreter that has torch, litdata and mosaicml-streaming; ours by default. The tokens are random:
no reader looks at them.
"""

import argparse
import json
import mmap
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from measuring import Contender, Result, in_turns, seconds_of, table, write

from rewarm.data.batches import Batches
from rewarm.data.store import TokenStore, write_store
from rewarm.replay import Mixture, NewData, OrderKind, Replay, Stream, Tape

HERE = Path(__file__).parent
LENGTH, BATCH, LARGE_BATCH = 2048, 64, 1104
ASKED_RATE = 1000
"""Million tokens/s that batches from the page cache should come at."""
_AS = {True: "int64", False: "uint16 as stored"}
_PEERS = {
    "memory-map": "torch DataLoader over np.memmap, shuffled, int64",
    "litdata": "StreamingDataLoader, TokensLoader, shuffled; int32, which is not cast",
    "mosaic": "StreamingDataset (MDS) in a torch DataLoader, shuffled, int64",
}


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


def mixed(store: TokenStore) -> Batches:
    """Return the batches of a stage that reads seven domains in the shares of SlimPajama, and 5 % replay."""
    shares = {
        "web": 5209,
        "c4": 2669,
        "arxiv": 443,
        "books": 420,
        "wiki": 400,
        "qa": 337,
        "code": 522,
    }
    old = Tape(NewData(Mixture.of({"old": 1}), {}), length=10**6)
    replay = Replay(Fraction(1, 20), Mixture.of({"pretrain": 1}), {"pretrain": old})
    one = batches_of(store, "shuffled")
    stream = Stream(NewData(Mixture.of(shares), {}), replay)
    return replace(one, stream=stream, stores=dict.fromkeys([*shares, "old"], store), orders={})


def rate(batches: Batches, count: int, *, as_int64: bool = True) -> float:
    """Return million tokens/s of reading batches, cast as a training step casts them.

    As many are read before and not counted: a turn is short, and the peer before may still be shutting down.
    """
    reading = batches.read_range(1, 2 * count, batches.readers())

    def read() -> None:
        for batch in islice(reading, count):
            if as_int64:
                batch.tokens.astype(np.int64)

    read()
    return count * batches.batch_sequences * (LENGTH + 1) / seconds_of(read) / 1e6


def floor(path: Path, store: TokenStore, order: OrderKind, count: int, *, as_int64: bool) -> float:
    """Return million tokens/s of nothing but copying the same windows, whose numbers are known."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    shape = (store.num_windows(LENGTH), LENGTH + 1)
    rows = np.ndarray(shape, np.uint16, mapped, strides=(2 * LENGTH, 2))
    reader = batches_of(store, order).readers()["text"]
    numbers = reader.window_numbers(range(count * BATCH)).astype(np.int64).reshape(count, BATCH)

    def read() -> None:
        for each in numbers:
            found = rows[each]
            if as_int64:
                found.astype(np.int64)

    read()
    return numbers.size * (LENGTH + 1) / seconds_of(read) / 1e6


def cold(folder: Path, order: str, how: str, count: int) -> float:
    """Read what is not in the page cache, in a process of its own, and return million tokens/s.

    Raises:
        RuntimeError: the kernel has kept some of it.
    """
    command = [sys.executable, str(HERE / "cold_reading.py"), str(folder), order, how]
    command += [str(LENGTH), str(BATCH), str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    if said["cached"] > 0.001:
        raise RuntimeError(f"{folder}: {said['cached']:.1%} is still in the page cache")
    return said["tokens"] / said["seconds"] / 1e6


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
    path = store_folder / "tokens.bin"
    count = options.megatokens * 10**6 // BATCH // (LENGTH + 1) // 2
    # Before this process has the files open: pages that are mapped are not dropped.
    from_disk = in_turns(_cold_contenders(store_folder, 2 * count - 2), rounds=options.rounds)

    store = TokenStore.open(store_folder)
    rate(batches_of(store, "sequential"), count - 1)  # hashes every block, fills the page cache
    ours = [
        Contender(
            name=f"rewarm, {order}{', as stored' * (not as_int64)}",
            counted=f"draws, orders, rows of the store; {_AS[as_int64]}",
            run=lambda order=order, as_int64=as_int64: rate(
                batches_of(store, order), count, as_int64=as_int64
            ),
        )
        for as_int64 in (True, False)
        for order in ("shuffled", "blocks", "sequential")
    ]
    ours += [
        Contender(
            name="rewarm, 7 domains and replay",
            counted="the same of 8 sources in each batch, shuffled; int64",
            run=lambda: rate(mixed(store), count),
        ),
        Contender(
            name=f"rewarm, shuffled, batches of {LARGE_BATCH}",
            counted="draws, orders, rows of the store; as stored",
            run=lambda: rate(
                replace(batches_of(store, "shuffled"), batch_sequences=LARGE_BATCH),
                count * BATCH // LARGE_BATCH,
                as_int64=False,
            ),
        ),
    ]
    floors = [
        Contender(
            name=f"copying alone, {order}{', as stored' * (not as_int64)}",
            counted=f"the same windows, numbers known, rows of a map; {_AS[as_int64]}",
            run=lambda order=order, as_int64=as_int64: floor(
                path, store, order, count, as_int64=as_int64
            ),
        )
        for as_int64 in (True, False)
        for order in ("shuffled", "sequential")
    ]
    peers = [
        Contender(
            name=f"{name}, {workers} workers",
            counted=_PEERS[name],
            run=lambda name=name, workers=workers: peer(
                name, path, min(count, 400), workers, place, options.peers
            ),
        )
        for name in options.only
        for workers in (0, 2)
    ]
    warm = in_turns([*ours, *floors, *peers], rounds=options.rounds)
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
            "From the page cache": (f"{_table(warm)}\n\n{_warm_verdict(warm[: len(ours)])}", warm),
            "From the disk": (f"{_table(from_disk)}\n\n{_cold_verdict(from_disk)}", from_disk),
            "Far in": (table(begun, unit="batches/s", targets={}), begun),
        },
    )
    if options.folder is None:
        shutil.rmtree(place)


def _cold_contenders(folder: Path, count: int) -> list[Contender]:
    """Return the orders, read from the disk; the first is what the others are to be half as fast as."""
    said = {
        "again": "all blocks hashed before, the page cache dropped; rows as stored",
        "first": "every block of 64 MiB hashed when it is first touched; rows as stored",
        "bytes": "plain reads of 1 MiB, nothing else",
    }
    turns = [
        (order, how) for how in ("again", "first") for order in ("sequential", "blocks", "shuffled")
    ]
    return [
        Contender(
            name=f"{order}, {how}",
            counted=said[how],
            # Shuffled, a window costs so much that a tenth is enough.
            run=lambda order=order, how=how: cold(
                folder, order, how, count // (10 if (order, how) == ("shuffled", "again") else 1)
            ),
        )
        for order, how in [*turns, ("sequential", "bytes")]
    ]


def _warm_verdict(ours: list[Result]) -> str:
    """Say which of our rows reach what is asked for."""
    met = [each.name for each in ours if each.median >= ASKED_RATE]
    missed = [each.name for each in ours if each.median < ASKED_RATE]
    return f"{ASKED_RATE:,} million tokens/s: met by {'; '.join(met)}. Missed by {'; '.join(missed) or 'none'}."


def _cold_verdict(results: list[Result]) -> str:
    """Say how fast the orders are beside the stored one."""
    medians = {each.name: each.median for each in results}
    ratios = [
        f"{order}, {how}: {medians[f'{order}, {how}'] / medians[f'sequential, {how}']:.2f}"
        for how in ("again", "first")
        for order in ("blocks", "shuffled")
    ]
    return f"Speed over that of the stored order (blocks should be above 0.5): {'; '.join(ratios)}."


def _table(results: list[Result]) -> str:
    return table(results, unit="million tokens/s", targets={})


if __name__ == "__main__":
    main()
