"""What the runs of suites would cost: of each run, and of all, with the stages that they share counted once."""

from collections.abc import Sequence
from dataclasses import dataclass

from rewarm.campaign import load_campaign
from rewarm.plan import make_plan
from rewarm.suites.runs import Place, SuiteRun


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What one run would cost, or all of them."""

    name: str
    """The run."""
    stages: int
    """Stages that are to be trained, each once."""
    tokens: int
    """Tokens that they train on."""
    flops: float
    """FLOPs of that, by the counting rule of the plan; 0 where the size of the model is not known."""


def run_costs(runs: Sequence[SuiteRun], place: Place) -> list[RunCost]:
    """Plan the runs, and return what each costs, and as the last what all of them do together.

    Args:
        runs: their campaign files are written.
        place: where.

    Raises:
        CampaignError: one of them cannot be planned.
    """
    costs: list[RunCost] = []
    together: dict[str, tuple[int, float]] = {}
    for run in runs:
        plan = make_plan(load_campaign(run.file(place), root=place.root))
        of_stages = {s.key: (s.tokens, plan.train_flops(s)) for s in plan.stages}
        costs.append(_cost(run.name, of_stages))
        together |= of_stages
    return [*costs, _cost("in all", together)]


def _cost(name: str, of_stages: dict[str, tuple[int, float]]) -> RunCost:
    return RunCost(
        name=name,
        stages=len(of_stages),
        tokens=sum(tokens for tokens, _ in of_stages.values()),
        flops=sum(flops for _, flops in of_stages.values()),
    )


def cost_lines(costs: Sequence[RunCost]) -> list[str]:
    """Write costs as the lines of a table.

    >>> for line in cost_lines([RunCost(name="base-1", stages=1, tokens=2_000_000, flops=1.5e13)]):
    ...     print(line)
    run     stages     tokens     FLOPs
    base-1       1  2,000,000  1.50e+13
    """
    rows = [("run", "stages", "tokens", "FLOPs")]
    rows += [(c.name, f"{c.stages:,}", f"{c.tokens:,}", f"{c.flops:.2e}") for c in costs]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(row[k].rjust(widths[k]) for k in (1, 2, 3))])
        for row in rows
    ]
