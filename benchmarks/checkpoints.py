"""Saving and restoring: what it costs training, against `torch.save`, and against the disk alone.

    python benchmarks/checkpoints.py TEXT.jsonl.zst

Stall: the time for which the loop waits at each save, in the background as is the default. Slow-down: by how
much the steps beside the writer take longer than the others, added up for each save. `torch.save` writes the
same tensors while training waits. Restoring is what `resume_stage` does with a checkpoint: verify every byte,
and load it into model and optimizer. Files are let go from the page cache before each cold reading.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from measuring import seconds_of, write_page

from training import WARM_STEPS, add_size_options, set_up, train, train_anew

HERE = Path(__file__).resolve().parent
TIMED = (str(HERE / "timed_training.py"), "../clocks.json")
STALL_TARGET = 0.1
BLOCK_BYTES = 1 << 24

Calls = list[tuple[str, float, float]]
Measured = dict[str, float]


def forget(files: Iterable[Path]) -> None:
    """Have the system let go of what it keeps in memory of some files."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_through(files: Iterable[Path]) -> None:
    """Read files to their ends, and do nothing with what is read."""
    buffer = memoryview(bytearray(BLOCK_BYTES))
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def calls_of(folder: Path, path: str) -> list[tuple[float, float]]:
    """Return when each call of a part began and ended in the run that was timed last."""
    calls: Calls = json.loads((folder.parent / "clocks.json").read_text())["calls"]
    return [(began, began + seconds) for name, began, seconds in calls if name == path]


def seconds(calls: Iterable[tuple[float, float]]) -> list[float]:
    """Return how long calls took."""
    return [end - began for began, end in calls]


def settings(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the settings of the run: its last step is that of the last save."""
    steps = options.save_every * options.saves
    return (
        f"stages.pretrain.budget={steps} steps",
        f"evaluation.every={steps} steps",
        f"checkpoints.every={options.save_every} steps",
        "checkpoints.keep=1",
    )


def saving(options: argparse.Namespace, folder: Path) -> Measured:
    """Train once, and return what a save costs the loop."""
    train_anew(folder, options.threads, *settings(options), program=TIMED)
    saves, writes = calls_of(folder, "loop/save"), calls_of(folder, "write")
    steps = calls_of(folder, "loop/step")[WARM_STEPS:]
    beside = [
        step for step in steps if any(step[0] < end and began < step[1] for began, end in writes)
    ]
    quiet = statistics.median(seconds(set(steps) - set(beside)))
    slower = sum(seconds(beside)) - quiet * len(beside)
    return {
        "stall of a save": statistics.median(seconds(saves)),
        "longest stall": max(seconds(saves)),
        "writing in the background": statistics.median(seconds(writes)),
        "slow-down of the steps beside it": slower / (len(writes) - 1),  # the last has none
        "a step": quiet,
    }


def restoring(options: argparse.Namespace, folder: Path, checkpoint: Path) -> Measured:
    """Return what restoring takes, cold and warm, and reading the same files."""
    files = [path for path in checkpoint.iterdir() if path.is_file()]
    found: Measured = {}
    for state in ("cold", "warm"):
        if state == "cold":
            forget(files)
        found[f"reading its bytes, {state}"] = seconds_of(lambda: read_through(files))
        if state == "cold":
            forget(files)
        (checkpoint.parent.parent / "result.json").unlink()
        train(folder, options.threads, *settings(options), program=TIMED)
        (verified,) = seconds(calls_of(folder, "resume/verify"))
        (loaded,) = seconds(calls_of(folder, "resume/load"))
        found[f"verifying, {state}"] = verified
        found[f"loading, {state}"] = loaded
        found[f"restoring, {state}"] = verified + loaded
    return found


def with_torch(folder: Path, threads: int) -> Measured:
    """Return what `torch.save` and `torch.load` take for the same state, in a process of its own."""
    command = [sys.executable, str(HERE / "peers_checkpoints.py"), str(folder), str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


def page(rounds: list[Measured], num_bytes: int) -> str:
    """Return the table of all rounds."""
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    stall = median["stall of a save"] / median["torch.save"]
    cold = median["restoring, cold"] / median["reading its bytes, cold"]
    said = {
        "stall of a save": f"{stall:.2f} of torch.save; target {STALL_TARGET:g} "
        + ("met" if stall <= STALL_TARGET else "missed"),
        "restoring, cold": f"{cold:.2f} times reading the same bytes",
    }
    lines = ["| | median, s | least | most | GB/s | |", "| --- | --- | --- | --- | --- | --- |"]
    for name, middle in median.items():
        values = [each[name] for each in rounds]
        speed = "" if "step" in name else f"{num_bytes / middle / 1e9:.2f}"
        row = f"| {name} | {middle:.3f} | {min(values):.3f} | {max(values):.3f} | {speed} "
        lines.append(f"{row}| {said.get(name, '')} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_size_options(parser)
    parser.set_defaults(layers=10, width=640, length=64)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--save-every", type=int, default=12)
    parser.add_argument("--saves", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="where to work: on the disk that is to be measured"
    )
    options = parser.parse_args()
    rounds: list[Measured] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place) / "work"
        folder.mkdir()
        set_up(options, folder)
        for number in range(options.rounds):
            saved = saving(options, folder)
            (checkpoint,) = folder.glob("runs/speed/stages/*/checkpoints/step-*")
            num_bytes = sum(path.stat().st_size for path in checkpoint.iterdir())
            rounds.append(
                saved | restoring(options, folder, checkpoint) | with_torch(folder, options.threads)
            )
            print(f"round {number + 1}: {rounds[-1]}", flush=True)
    size = f"{options.layers} layers, {options.width} wide: {num_bytes / 1e6:,.0f} MB"
    write_page("checkpoints", "Saving and restoring", {size: page(rounds, num_bytes)}, rounds)


if __name__ == "__main__":
    main()
