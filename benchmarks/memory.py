"""Memory of training with a large vocabulary: `rewarm train` against the Hugging Face Trainer, on CPU cores.

    python benchmarks/memory.py TEXT.jsonl.zst --tokenizer TOKENIZER.json

Every contender trains the same model on the same windows for a few steps, the whole batch at once, in a process
of its own. What is compared is the resident memory of that process at its peak (VmHWM): Python, libraries,
weights, gradients, optimizer, activations, and for rewarm also validation and saving. Nothing is subtracted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from measuring import write_page

from training import add_size_options, set_up, train_anew

HERE = Path(__file__).resolve().parent
TIMED = (str(HERE / "timed_training.py"), "../clocks.json")
PEERS = ("Trainer", "plain loop")
TARGET = 0.5
WARM_STEPS = 1

Used = Mapping[str, int]
"""Resident bytes: `built` with the model made, `peak` at the end."""


def ours(folder: Path, options: argparse.Namespace, batch: int) -> Used:
    """Train by rewarm, and return the memory that it used."""
    steps = options.steps + WARM_STEPS
    settings = (
        f"batch={batch} sequences",
        f"training.micro_batch={batch}",
        f"stages.pretrain.budget={steps} steps",
        f"evaluation.every={steps} steps",
        f"checkpoints.every={steps} steps",
    )
    train_anew(folder, options.threads, *settings, program=TIMED)
    found = json.loads((folder.parent / "clocks.json").read_text())
    return {"built": found["built_bytes"][0], "peak": found["peak_bytes"]}


def theirs(name: str, folder: Path, options: argparse.Namespace, batch: int) -> Used:
    """Train by a peer, and return the memory that it used."""
    command = [sys.executable, str(HERE / "peers_training.py"), name, str(folder)]
    command += [str(options.length), str(batch), str(options.steps), str(WARM_STEPS)]
    command += [options.precision, str(options.threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found = json.loads(done.stdout.splitlines()[-1])
    return {"built": found["built_bytes"][0], "peak": found["peak_bytes"]}


def page(rounds: list[dict[str, Used]]) -> str:
    """Return the table of one batch size: the most of all rounds."""
    most = {
        name: {kind: max(each[name][kind] for each in rounds) for kind in ("built", "peak")}
        for name in rounds[0]
    }
    (name, own), *others = most.items()
    lines = [
        "| | peak, GB | with the model made, GB | rewarm's peak over it | target |",
        "| --- | --- | --- | --- | --- |",
        f"| {name} | {own['peak'] / 1e9:.2f} | {own['built'] / 1e9:.2f} | | |",
    ]
    for name, used in others:
        ratio = own["peak"] / used["peak"]
        said = f"{TARGET:g} {'met' if ratio <= TARGET else 'missed'}" if name == "Trainer" else ""
        lines.append(
            f"| {name} | {used['peak'] / 1e9:.2f} | {used['built'] / 1e9:.2f} | {ratio:.2f} | {said} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_size_options(parser)
    parser.set_defaults(layers=8, width=384, length=512, steps=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16])
    options = parser.parse_args()
    tables: dict[str, str] = {}
    found: dict[str, list[dict[str, Used]]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "work"
        folder.mkdir()
        set_up(options, folder)
        for batch in options.batches:
            heading = f"{batch} sequences of {options.length}, {options.precision}"
            rounds = found[heading] = []
            for _ in range(options.rounds):
                used = {"rewarm train": ours(folder, options, batch)}
                used |= {name: theirs(name, folder, options, batch) for name in PEERS}
                rounds.append(used)
                print(f"{heading}: {used}", flush=True)
            tables[heading] = page(rounds)
    name = f"memory-{options.layers}x{options.width}-{options.length}-{options.precision}"
    write_page(name, "Memory of training", tables, found)


if __name__ == "__main__":
    main()
