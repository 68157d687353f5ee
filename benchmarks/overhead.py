"""What a step of `rewarm train` spends outside forward, backward and update.

    python benchmarks/overhead.py TEXT.jsonl.zst

Each round is a run in a process of its own, with clocks around the parts of its loop (`timed_training.py`); the
first steps are left out. Evaluation and saving are no part of a step and stand apart. The norm of the gradient
and clipping count as the update, as in every trainer.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from measuring import write_page

from training import WARM_STEPS, add_size_options, set_up, train_anew

TIMED = (str(Path(__file__).resolve().parent / "timed_training.py"), "../clocks.json")
OUTSIDE_TARGET, WAIT_TARGET = 0.02, 0.005

Calls = list[tuple[str, float, float]]


def counted_steps(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Train once and return the seconds of each part, for one of the steps that count."""
    settings = (
        f"stages.pretrain.budget={options.steps + WARM_STEPS} steps",
        f"evaluation.every={options.evaluation_every} steps",
        f"evaluation.sequences={options.evaluation_sequences}",
        f"checkpoints.every={options.save_every} steps",
    )
    train_anew(folder, options.threads, *settings, program=TIMED)
    calls: Calls = json.loads((folder.parent / "clocks.json").read_text())["calls"]
    ((_, loop_began, loop_seconds),) = [call for call in calls if call[0] == "loop"]
    waits = sorted(began for path, began, _ in calls if path == "loop/wait")
    begin, end = waits[WARM_STEPS], loop_began + loop_seconds
    seconds = {
        path: sum(call[2] for call in calls if call[0] == path and call[1] >= begin)
        for path in dict.fromkeys(call[0] for call in calls)
    }
    return {path: spent / options.steps for path, spent in seconds.items()} | {
        "all": (end - begin) / options.steps
    }


def parts_of(seconds: dict[str, float]) -> dict[str, float]:
    """Return the parts of a step by their names in the table; they add up to the whole."""

    def spent(*paths: str) -> float:
        return sum(seconds.get(f"loop/{path}", 0.0) for path in paths)

    step = seconds["all"] - spent("evaluate", "save")
    copying = spent("step/gradients/copy")
    update = spent("step/norm", "step/clip", "step/update")
    in_step = spent("step") - spent("step/gradients") - update
    parts = {
        "forward and backward": spent("step/gradients") - copying,
        "update: AdamW": spent("step/update"),
        "update: norm and clipping": spent("step/norm", "step/clip"),
        "waiting for the batch": spent("wait"),
        "tokens to the device": copying,
        "the rest of the step: zero gradients, numbers to Python": in_step,
        "counting what was read": spent("count"),
        "the record of the step": spent("record"),
        "showing": spent("show"),
    }
    return parts | {"the rest of the loop": step - sum(parts.values())}


def share(whole: float, parts: Iterable[float]) -> float:
    """Return the share of some parts in a whole."""
    return sum(parts) / whole


def page(measured: list[dict[str, float]]) -> str:
    """Return the table of all rounds."""
    parts = [parts_of(seconds) for seconds in measured]
    steps = [sum(each.values()) for each in parts]

    def row(name: str, seconds: list[float], target: float | None = None) -> str:
        shares = [spent / step for spent, step in zip(seconds, steps, strict=True)]
        median = statistics.median(shares)
        said = "" if target is None else f"{target:.1%} {'met' if median <= target else 'missed'}"
        return (
            f"| {name} | {statistics.median(seconds) * 1e3:,.3f} | {median:.3%} | {min(shares):.3%} "
            f"| {max(shares):.3%} | {said} |"
        )

    lines = [
        "| of a step | median, ms | share of a step | least | most | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in parts[0]:
        target = WAIT_TARGET if name == "waiting for the batch" else None
        lines.append(row(name, [each[name] for each in parts], target))
    within = ("forward and backward", "update: AdamW", "update: norm and clipping")
    outside = [sum(spent for n, spent in each.items() if n not in within) for each in parts]
    lines.append(row("**outside forward, backward and update**", outside, OUTSIDE_TARGET))
    lines.append(row("the whole step", steps))
    for name, path in (("evaluation", "loop/evaluate"), ("saving", "loop/save")):
        apart = [seconds.get(path, 0.0) for seconds in measured]
        lines.append(row(f"apart from the step: {name}", apart))
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_size_options(parser)
    parser.set_defaults(steps=60)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--evaluation-every", type=int, default=30)
    parser.add_argument("--evaluation-sequences", type=int, default=16)
    parser.add_argument("--save-every", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "work"
        folder.mkdir()
        set_up(options, folder)
        measured = list[dict[str, Any]]()
        for number in range(options.rounds):
            measured.append(counted_steps(options, folder))
            print(f"round {number + 1}: {measured[-1]['all']:.3f} s a step", flush=True)
    size = f"{options.layers} layers, {options.width} wide, length {options.length}"
    heading = (
        f"{size}, {options.precision}, {options.threads} threads; evaluation every "
        f"{options.evaluation_every} steps on {options.evaluation_sequences} sequences, saved every "
        f"{options.save_every}"
    )
    write_page(
        "overhead", "Outside forward, backward and update", {heading: page(measured)}, measured
    )


if __name__ == "__main__":
    main()
