"""What deciding costs as a campaign grows: planning, the data order of a batch, counting what was read.

    python benchmarks/scaling.py

Campaigns of 1, 10, 100 and 1,000 datasets, or domains of one dataset, and of 1, 10 and 100 stages, where every
later stage replays a quarter from all before it. Planning is from the file to the plan, its printing left out.
The data order is what the reading thread does for a batch besides copying tokens: which sequences, in which
order, and how many of each source. A step also adds these to what was read before.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from measuring import seconds_of, write_page
from numpy.typing import NDArray

from rewarm.campaign import load_campaign
from rewarm.data.batches import Batches
from rewarm.data.source_reader import WindowStore
from rewarm.plan import Plan, make_plan
from rewarm.plan.epochs import check_epochs, in_tokens
from rewarm.training.state import TrainState

BATCHES_SEQUENCES = (64, 1104)
LENGTH, STEPS, WINDOWS = 2048, 10_000, 10**9

HEAD = f"""
name = "scaling"
sequence_length = {LENGTH}
batch = "BATCH sequences"
[model]
preset = "neox-405m"
vocabulary = 50304
[tokenizer]
from = "tokenizer.json"
[evaluation]
every = "100 steps"
"""
DATASET = """
[data.{name}]
train = ["{name}.jsonl"]
validation = ["{name}.valid.jsonl"]
"""
DOMAIN = """
[data.all.domains.{name}]
train = ["{name}.jsonl"]
weight = {weight}
"""
STAGE = f"""
[[stage]]
name = "stage-{{number}}"
budget = "{STEPS} steps"
replay = "{{replay}}"
schedule = {{{{ kind = "cosine", max_lr = 3e-4 }}}}
[stage.data]
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A campaign of some size."""

    name: str
    """What it is called in the table."""
    text: str
    """The campaign file, with BATCH in the place of its size."""


@dataclass(frozen=True, kw_only=True)
class NoTokens:
    """As a store of a source with enough windows: reading tokens is not measured."""

    def num_windows(self, sequence_length: int) -> int:
        """Return how many windows there are."""
        return WINDOWS

    def windows(self, numbers: Sequence[int] | NDArray[Any], sequence_length: int) -> NDArray[Any]:
        """Return rows of nothing."""
        return np.empty((len(numbers), sequence_length + 1), np.uint16)

    def num_targets(self, numbers: NDArray[Any], sequence_length: int) -> NDArray[np.int64]:
        """Return that all tokens of each window are predicted."""
        return np.full(len(numbers), sequence_length, np.int64)


def stages(datasets: Sequence[dict[str, int]]) -> str:
    """Return stages end to end on some data, each but the first with replay of all before it."""
    found = ""
    for number, shares in enumerate(datasets):
        found += STAGE.format(number=number, replay="25%" if number else "0%")
        found += "".join(f"{name} = {weight}\n" for name, weight in shares.items())
    return found


def cases() -> list[Case]:
    """Return the campaigns to measure."""
    found: list[Case] = []
    for count in (1, 10, 100, 1000):
        names = [f"d{number}" for number in range(count)]
        weights = {name: 1 + number % 7 for number, name in enumerate(names)}
        data = "".join(DATASET.format(name=name) for name in names)
        found.append(Case(name=f"{count:,} datasets", text=HEAD + data + stages([weights] * 2)))
    for count in (10, 100, 1000):
        data = '[data.all]\nvalidation = ["valid.jsonl"]\n'
        data += "".join(DOMAIN.format(name=f"d{n}", weight=1 + n % 7) for n in range(count))
        found.append(Case(name=f"{count:,} domains", text=HEAD + data + stages([{"all": 1}] * 2)))
    for count in (10, 100):
        names = [f"d{number}" for number in range(count)]
        data = "".join(DATASET.format(name=name) for name in names)
        each = [{name: 1} for name in names]
        found.append(Case(name=f"{count:,} stages", text=HEAD + data + stages(each)))
    return found


def planned(file: Path) -> Plan:
    """Do what `rewarm plan` does, but for printing."""
    plan = make_plan(load_campaign(file))
    check_epochs(plan, in_tokens({}))
    return plan


def order_seconds(plan: Plan, batches: int) -> tuple[float, float]:
    """Return the seconds of the data order, and of counting, for each batch of the last stage."""
    stage = plan.stages[-1]
    stores = dict.fromkeys(plan.campaign.leaves(), cast(WindowStore, NoTokens()))
    reading = Batches(
        stream=stage.stream,
        stores=stores,
        seed=plan.campaign.seed,
        batch_sequences=stage.batch_sequences,
        sequence_length=1,  # so that there is next to nothing to copy
    )
    readers = reading.readers()
    next(reading.read_range(1, 1, readers))  # makes what is made once
    began = time.perf_counter()
    found = [*reading.read_range(STEPS // 2, STEPS // 2 + batches - 1, readers)]
    order = (time.perf_counter() - began) / batches
    # Counting needs neither a model nor an optimizer.
    state = TrainState(model=cast(Any, None), optimizer=cast(Any, None), scale=cast(Any, None))
    state.read = stage.counts(STEPS // 2)
    began = time.perf_counter()
    for batch in found:
        state.advance(batch)
    return order, (time.perf_counter() - began) / batches


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sequences", type=int, default=1 << 17, help="read for each case")
    options = parser.parse_args()
    lines = [
        "| | planning, s "
        + "".join(f"| order of a batch of {n:,}, ms | counting it, ms " for n in BATCHES_SEQUENCES)
        + "|",
        "| --- | --- " + "| --- | --- " * len(BATCHES_SEQUENCES) + "|",
    ]
    rates: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "campaign.toml"
        for case in cases():
            row, kept = f"| {case.name} ", dict[str, list[float]]()
            for sequences in BATCHES_SEQUENCES:
                file.write_text(case.text.replace("BATCH", f"{sequences}"))
                if not kept:
                    planned(file)
                    kept["planning"] = [
                        seconds_of(lambda: planned(file)) for _ in range(options.rounds)
                    ]
                    row += f"| {statistics.median(kept['planning']):.3f} "
                plan = planned(file)
                measured = [
                    order_seconds(plan, options.sequences // sequences)
                    for _ in range(options.rounds)
                ]
                for what, seconds in zip(
                    ("order", "counting"), zip(*measured, strict=True), strict=True
                ):
                    kept[f"{what} of {sequences}"] = list(seconds)
                    row += f"| {statistics.median(seconds) * 1e3:.4f} "
            lines.append(row + "|")
            rates[case.name] = kept
            print(lines[-1], flush=True)
    write_page("scaling", "Cost of deciding", {"Seconds": "\n".join(lines)}, rates)


if __name__ == "__main__":
    main()
