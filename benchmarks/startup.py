"""How long `rewarm` takes to answer: its help, and the plan of the largest campaign of `campaigns/`.

    python benchmarks/startup.py

Every turn is a fresh process, from its start to its end, with all files in the page cache. What no program in
Python, and none that uses typer, can do without stands below.
"""

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path

from measuring import Contender, Result, in_turns, seconds_of, write_page

CAMPAIGNS = Path(__file__).resolve().parent.parent / "campaigns"
TARGETS = {"rewarm --help": 0.3, "rewarm plan": 1.0}


def process_seconds(*arguments: str) -> float:
    """Return how long a fresh Python takes for some arguments."""
    command = [sys.executable, *arguments]
    return seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))


def seconds_table(results: list[Result]) -> str:
    """Return a Markdown table of seconds."""
    lines = ["| | median, s | least | most | target |", "| --- | --- | --- | --- | --- |"]
    for each in results:
        target = TARGETS.get(each.name)
        said = (
            "" if target is None else f"{target:g} {'met' if each.median <= target else 'missed'}"
        )
        low, high = min(each.rates), max(each.rates)
        lines.append(
            f"| {each.name}: {each.counted} | {each.median:.3f} | {low:.3f} | {high:.3f} | {said} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    largest = max(CAMPAIGNS.glob("*.toml"), key=lambda path: path.stat().st_size)
    commands = {
        "rewarm --help": ("the command's help", ["-m", "rewarm", "--help"]),
        "rewarm plan": (f"of {largest.name}, as text", ["-m", "rewarm", "plan", str(largest)]),
        "typer": ("`import typer`", ["-c", "import typer"]),
        "python": ("`pass`", ["-c", "pass"]),
    }
    contenders = [
        Contender(name=name, counted=counted, run=partial(process_seconds, *arguments))
        for name, (counted, arguments) in commands.items()
    ]
    results = in_turns(contenders, rounds=options.rounds)
    rates = {each.name: each.rates for each in results}
    write_page("startup", "Time to answer", {"Processes": seconds_table(results)}, rates)


if __name__ == "__main__":
    main()
