"""Text to tokens: `rewarm prepare` against the encoders alone and datatrove, on the same cores.

    python benchmarks/prepare.py TEXT.jsonl.zst TOKENIZER.json --megabytes 40 --peers PYTHON

PYTHON is an interpreter that has tokenizers, tiktoken and datatrove; ours by default. What the encoders alone
are spared, and `prepare` does: reading, JSON, checking, hashing, the order of the documents, writing.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import zstandard
from measuring import Contender, in_turns, seconds_of, table, write

HERE = Path(__file__).parent


def cut(source: Path, megabytes: int, processes: int, folder: Path) -> Path:
    """Write the first megabytes of a corpus as JSON lines, whole and in as many parts as processes."""
    whole = folder / "text.jsonl"
    parts = [(folder / f"text.part-{n}.jsonl").open("wb") for n in range(processes)]
    written = 0
    with source.open("rb") as packed, whole.open("wb") as out:
        lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(packed))
        for number, line in enumerate(lines):
            out.write(line)
            parts[number % processes].write(line)
            written += len(line)
            if written >= megabytes * 10**6:
                break
    for part in parts:
        part.close()
    return whole


def ours(text: Path, tokenizer: Path, folder: Path, processes: int) -> float:
    """Prepare a campaign of this one dataset, from the command line, and return tokens per second."""
    work = folder / "ours"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "short.jsonl").write_text(json.dumps({"text": "Validation text. " * 40}) + "\n")
    (work / "campaign.toml").write_text(CAMPAIGN.format(tokenizer=tokenizer, text=text))
    command = [sys.executable, "-m", "rewarm", "prepare", "campaign.toml", "--prepared", "tokens"]
    command += ["--workers", str(processes)]
    seconds = seconds_of(lambda: subprocess.run(command, cwd=work, check=True, capture_output=True))
    return (work / "tokens/text/train/tokens.bin").stat().st_size / 2 / seconds


CAMPAIGN = """
name = "speed"
sequence_length = 128
batch = "8 sequences"
[model]
preset = "neox-0.8m"
[tokenizer]
from = "{tokenizer}"
[data.text]
train = ["{text}"]
validation = ["short.jsonl"]
[[stage]]
name = "pretrain"
data = {{ text = 1 }}
budget = "100 steps"
schedule = {{ kind = "constant", lr = 1e-3 }}
"""


def peer(
    name: str, text: Path, tokenizer: Path, folder: Path, options: argparse.Namespace
) -> float:
    """Give a peer its turn, and return tokens per second."""
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    command = [options.peers, str(HERE / "peers_text.py"), name]
    command += [str(text), str(tokenizer), str(place), str(options.processes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    return said["tokens"] / said["seconds"]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--only", nargs="*", default=["tokenizers", "tiktoken", "datatrove"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, tokenizer = Path(place), options.tokenizer.resolve()
        text = cut(options.text, options.megabytes, options.processes, folder)
        counted = {
            "tokenizers": "encode_batch_fast, text in memory, ids thrown away",
            "tiktoken": "encode_ordinary_batch, text in memory, ids thrown away",
            "datatrove": "JSON lines to shuffled .ds files, start-up of its workers included",
        }
        contenders = [
            Contender(
                name="rewarm prepare",
                counted="JSON lines to the finished token store, start-up included",
                run=lambda: ours(text, tokenizer, folder, options.processes) / 1e6,
            )
        ]
        contenders += [
            Contender(
                name=name,
                counted=counted[name],
                run=lambda name=name: peer(name, text, tokenizer, folder, options) / 1e6,
            )
            for name in options.only
        ]
        results = in_turns(contenders, rounds=options.rounds)
        unit, targets = "million tokens/s", {"tokenizers": 2.0, "tiktoken": 0.85}
        heading = f"{options.text.name}, {options.megabytes} MB, {options.processes} processes"
        title = "Preparing text"
        name = f"prepare-{options.text.name.partition('.')[0]}"
        write(name, title, {heading: (table(results, unit=unit, targets=targets), results)})


if __name__ == "__main__":
    main()
