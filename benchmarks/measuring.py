"""What all benchmarks share: contenders in turns, one table, and a result file with the machine in it.

Machines are noisy, so every contender has its turn in every round, and what is read off is the ratio of
medians. The first round is not counted.
"""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something that is measured."""

    name: str
    """What it is called in the table."""
    counted: str
    """What was counted as its work, and with which settings."""
    run: Callable[[], float]
    """Does the work once and returns its rate, in the unit of the table."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The rates of one contender over the rounds."""

    name: str
    counted: str
    rates: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes by the clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(contenders: list[Contender], *, rounds: int) -> list[Result]:
    """Measure contenders in turns, after a round that is not counted."""
    rates: dict[str, list[float]] = {each.name: [] for each in contenders}
    for number in range(rounds + 1):
        for each in contenders:
            rate = each.run()
            print(f"round {number}: {each.name}: {rate:,.4g}", flush=True)
            if number:
                rates[each.name].append(rate)
    return [Result(name=c.name, counted=c.counted, rates=rates[c.name]) for c in contenders]


def table(results: list[Result], *, unit: str, targets: Mapping[str, float]) -> str:
    """Return a Markdown table: rates, and the first contender's over each other's.

    Args:
        results: ours first.
        unit: of the rates.
        targets: what ours over a peer's should at least be.
    """
    ours = results[0].median
    lines = [
        f"| | median, {unit} | least | most | ours over it | target | counted |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        target = targets.get(result.name)
        ratio = ours / result.median
        said = "" if target is None else f"{target:g} {'met' if ratio >= target else 'missed'}"
        low, high = min(result.rates), max(result.rates)
        lines.append(
            f"| {result.name} | {result.median:,.4g} | {low:,.4g} | {high:,.4g} | {ratio:.2f} | {said} "
            f"| {result.counted} |"
        )
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Return what the rates depend on, without anything that names the machine."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    wanted = ("torch", "numpy", "tokenizers", "tiktoken", "transformers")
    versions = {name: metadata.version(name) for name in wanted}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    ).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    return {
        "cpu": f"{cores} cores of {cpu}",
        "python": platform.python_version(),
        **versions,
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
    }


def write(name: str, title: str, sections: Mapping[str, tuple[str, list[Result]]]) -> None:
    """Print the tables, and write them and every single rate to `results/NAME.md` and `.json`."""
    tables = {heading: text for heading, (text, _) in sections.items()}
    rates = {heading: [asdict(r) for r in results] for heading, (_, results) in sections.items()}
    write_page(name, title, tables, rates)


def write_page(name: str, title: str, tables: Mapping[str, str], rates: Mapping[str, Any]) -> None:
    """Print tables, and write them and what they were made from to `results/NAME.md` and `.json`."""
    facts = machine()
    lines = [f"# {title}", "", ", ".join(f"{key} {value}" for key, value in facts.items()), ""]
    for heading, text in tables.items():
        lines += [f"## {heading}", "", text, ""]
    page = "\n".join(lines)
    print(page)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(page)
    content = {"machine": facts, "rates": rates}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
