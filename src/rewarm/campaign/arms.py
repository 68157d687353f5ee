"""Arms: variants of a campaign in one comparison, and the paper's baselines made by one word.

An arm is a campaign like any other. Stages that come out the same in several arms run once.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

from rewarm.campaign.campaign import BASE, Campaign, Replay, Stage
from rewarm.campaign.quantities import Quantity
from rewarm.campaign.schedule import (
    Anneal,
    Constant,
    Cosine,
    Infinite,
    LinearDecay,
    RepeatedCosine,
    Schedule,
    Wsd,
)
from rewarm.errors import CampaignError

Baseline = Literal["union", "scratch", "no-replay", "no-rewarming"]


def no_replay(campaign: Campaign) -> Campaign:
    """Return the campaign with every replay share at zero."""
    stages = [s.model_copy(update={"replay": Replay(share=Fraction(0))}) for s in campaign.stages]
    return campaign.model_copy(update={"stages": stages})


def no_rewarming(campaign: Campaign) -> Campaign:
    """Return the campaign whose last stage stays at the min_lr of its schedule (paper section 6.1)."""
    *before, last = campaign.stages
    floor = _floor(last)
    if floor is None or floor == 0:
        raise CampaignError(
            f"stage {last.name!r}: the baseline no-rewarming holds min_lr, and the stage's schedule has no "
            'min_lr above 0; write the arm out with schedule = { kind = "constant", lr = … }'
        )
    constant = Constant(kind="constant", lr=floor)
    return campaign.model_copy(
        update={"stages": [*before, last.model_copy(update={"schedule": constant})]}
    )


def scratch(campaign: Campaign) -> Campaign:
    """Return the last stage alone, from the base model: what the new data gives by itself."""
    last = campaign.stages[-1]
    schedule = _schedule(campaign, last)
    if isinstance(schedule, Anneal):
        raise CampaignError(
            f"stage {last.name!r} anneals from the rate of the stage before, which the baseline scratch does "
            'not have; write the arm out with after = "base" and a schedule'
        )
    update = {
        "after": BASE,
        "at": None,
        "data": campaign.shares(last),
        "replay": Replay(share=Fraction(0)),
        "optimizer": "reset",
        "schedule": schedule,
    }
    return campaign.model_copy(update={"stages": [last.model_copy(update=update)]})


def union(campaign: Campaign) -> Campaign:
    """Return the expensive reference: one stage on all data at once, from the base model.

    Each dataset gets the tokens that the stages on the way to the last one would have spent on new data were
    there no replay; the budget is their sum; the schedule is that of the first of them, stretched.

    Source: paper section 5 ("D0 ∪ D1").
    """
    line = campaign.lineage(campaign.stages[-1])
    weights: dict[str, Fraction] = {}
    total = Fraction(0)
    for stage in line:
        if stage.at is not None:
            raise CampaignError(
                f"stage {stage.name!r} branches off inside another; its union is not defined"
            )
        tokens = _budget_tokens(campaign, stage)
        total += tokens
        for dataset, share in campaign.shares(stage).items():
            weights[dataset] = weights.get(dataset, Fraction(0)) + share * tokens
    stage = Stage(
        name="union",
        data={dataset: weight / total for dataset, weight in weights.items()},
        budget=Quantity(total, "tokens"),
        schedule=line[0].schedule,
        after=BASE,
    )
    return campaign.model_copy(update={"stages": [stage]})


BASELINES: dict[Baseline, Callable[[Campaign], Campaign]] = {
    "union": union,
    "scratch": scratch,
    "no-replay": no_replay,
    "no-rewarming": no_rewarming,
}
"""The baselines by name, as an arm writes them: `{ baseline = "union" }`."""


def _budget_tokens(campaign: Campaign, stage: Stage) -> Fraction:
    steps = stage.budget.unit == "steps"
    return stage.budget.amount * (campaign.batch_tokens if steps else 1)


def _schedule(campaign: Campaign, stage: Stage) -> Schedule | None:
    """Return the schedule of a stage, or of the nearest stage before it that has one."""
    written = [s.schedule for s in campaign.lineage(stage) if s.schedule is not None]
    return written[-1] if written else None


def _floor(stage: Stage) -> float | None:
    """Return the min_lr of a stage's schedule, given or by default; None if its kind has none."""
    match stage.schedule:
        case Cosine() | Infinite() | RepeatedCosine() as schedule:
            return 0.1 * schedule.max_lr if schedule.min_lr is None else schedule.min_lr
        case Wsd() | LinearDecay() | Anneal() as schedule:
            return schedule.min_lr
        case _:
            return None
