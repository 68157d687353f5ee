"""Memory of `rewarm prepare` on large files: a text in one line, JSON in one line, JSON lines.

    python benchmarks/prepare_memory.py TOKENIZER.json --megabytes 2000

The files are made of random words, which encode fast. Counted is the peak of the resident memory of the
process and of all that it starts together, every 20 ms; pages of mapped files are in it. A line of JSON of
over 64 MiB is refused, and that must not take memory either.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from measuring import write_page
from prepare import CAMPAIGN

LIMIT_MEGABYTES = 1000
_INTERVAL_SECONDS = 0.02
_LINE_WORDS = 160
_BLOCK_LINES = 10_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file to prepare."""

    name: str
    file: str
    write: Callable[[Path, int], None]
    is_refused: bool = False


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What preparing one file took."""

    name: str
    file_bytes: int
    peak_bytes: int
    processes: int
    seconds: float
    tokens: int


def lines() -> list[str]:
    """Return lines of about a kilobyte each, of 5,000 random words."""
    draw = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(5000)]
    return [" ".join(draw.choices(words, k=_LINE_WORDS)) for _ in range(_BLOCK_LINES)]


def write_repeated(path: Path, block: bytes, num_bytes: int, begin: bytes, end: bytes) -> None:
    """Write a block again and again until a file has a size."""
    with path.open("wb") as file:
        file.write(begin)
        while file.tell() < num_bytes:
            file.write(block)
        file.write(end)


def write_one_line(path: Path, num_bytes: int) -> None:
    """Write a text without a line feed."""
    write_repeated(path, " ".join([*lines(), ""]).encode(), num_bytes, b"", b"The end.")


def write_one_json(path: Path, num_bytes: int) -> None:
    """Write one JSON object in one line."""
    write_repeated(path, " ".join([*lines(), ""]).encode(), num_bytes, b'{"text": "', b'"}\n')


def write_json_lines(path: Path, num_bytes: int) -> None:
    """Write a document of about a kilobyte a line."""
    block = "".join(json.dumps({"text": line}) + "\n" for line in lines()).encode()
    write_repeated(path, block, num_bytes, b"", b"")


CASES = (
    Case(name="JSON lines of a kilobyte", file="lines.jsonl", write=write_json_lines),
    Case(name="text in one line", file="line.txt", write=write_one_line),
    Case(name="JSON in one line, refused", file="one.jsonl", write=write_one_json, is_refused=True),
)


def resident(pid: int) -> Iterator[int]:
    """Yield the resident bytes of a process and of each below it; nothing of one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return
    yield sum(
        1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")
    )
    for child in children:
        yield from resident(int(child))


def measure(case: Case, tokenizer: Path, megabytes: int, processes: int) -> Measured:
    """Write a file, prepare it, and watch."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        case.write(folder / case.file, megabytes * 10**6)
        (folder / "short.jsonl").write_text(json.dumps({"text": "Validation text."}) + "\n")
        (folder / "campaign.toml").write_text(CAMPAIGN.format(tokenizer=tokenizer, text=case.file))
        command = [sys.executable, "-m", "rewarm", "prepare", "campaign.toml"]
        command += ["--prepared", "tokens", "--workers", str(processes)]
        began = time.perf_counter()
        with (folder / "said").open("w") as said:
            process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
            peak_bytes = most = 0
            while process.poll() is None:
                found = [*resident(process.pid)]
                peak_bytes, most = max(peak_bytes, sum(found)), max(most, len(found))
                time.sleep(_INTERVAL_SECONDS)
        seconds = time.perf_counter() - began
        if (process.returncode != 0) != case.is_refused:
            sys.exit(f"{case.name}: {(folder / 'said').read_text()}")
        tokens = folder / "tokens/text/train/tokens.bin"
        return Measured(
            name=case.name,
            file_bytes=(folder / case.file).stat().st_size,
            peak_bytes=peak_bytes,
            processes=most,
            seconds=seconds,
            tokens=0 if case.is_refused else tokens.stat().st_size // 2,
        )


def table(results: list[Measured]) -> str:
    """Return a Markdown table."""
    rows = [
        "| | file, MB | peak, MB | target, MB | processes | seconds | million tokens |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in results:
        peak = each.peak_bytes / 1e6
        said = "met" if peak < LIMIT_MEGABYTES else "missed"
        rows.append(
            f"| {each.name} | {each.file_bytes / 1e6:,.0f} | {peak:,.0f} | {LIMIT_MEGABYTES:,} {said}"
            f" | {each.processes} | {each.seconds:.0f} | {each.tokens / 1e6:,.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    results: list[Measured] = []
    for case in CASES:
        results.append(
            measure(case, options.tokenizer.resolve(), options.megabytes, options.workers)
        )
        print(results[-1], flush=True)
    heading = f"{options.megabytes:,} MB, {options.workers} workers"
    content = {heading: [asdict(result) for result in results]}
    write_page("prepare_memory", "Memory of preparing", {heading: table(results)}, content)


if __name__ == "__main__":
    main()
