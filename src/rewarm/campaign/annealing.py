"""Annealed branches taken after the fact: a copy of a stage's checkpoint, decayed to be released.

A run keeps a list of them; each becomes one more arm, a campaign like any other.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from pydantic import BaseModel, ConfigDict

from rewarm.campaign.campaign import Campaign, Stage
from rewarm.campaign.load import LoadedCampaign
from rewarm.campaign.quantities import Budget, Quantity
from rewarm.campaign.schedule import Anneal
from rewarm.errors import CampaignError


class Annealing(BaseModel):
    """An annealed branch, taken from a checkpoint of a stage after the fact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    """The arm that the stage belongs to."""
    stage: str
    """The stage."""
    step: int
    """Its step at which the branch is taken."""
    budget: Budget
    """Length of the annealing."""
    min_lr: float
    """Its end value."""
    shape: Literal["exponential", "linear", "cosine", "1-sqrt"] = "exponential"
    """Its shape; the paper's is exponential (section 7.2)."""

    @property
    def name(self) -> str:
        """Name of the branch's stage."""
        return f"{self.stage}-annealed-{self.step}-{int(self.budget.amount)}"

    @property
    def branch_arm(self) -> str:
        """Name of the arm that it makes."""
        return f"{self.arm}/{self.name}"


def is_of(arm: str, named: Collection[str]) -> bool:
    """Return whether an arm, or the one that it is an annealed branch of, is named.

    >>> is_of("replay/update-annealed-6-2", ["replay"]), is_of("replay-5", ["replay"])
    (True, False)
    """
    return any(arm == name or arm.startswith(f"{name}/") for name in named)


def annealed(campaign: Campaign, annealing: Annealing) -> Campaign:
    """Return the campaign up to a stage, with a branch that anneals a copy of it.

    The branch goes on with the stage's data and replay and keeps the optimizer state: it is the same
    training under another tail of the schedule.
    """
    trunk = next((stage for stage in campaign.stages if stage.name == annealing.stage), None)
    if trunk is None:
        names = ", ".join(stage.name for stage in campaign.stages)
        raise CampaignError(
            f"arm {annealing.arm!r} has no stage {annealing.stage!r}; it has {names}"
        )
    branch = Stage(
        name=annealing.name,
        budget=annealing.budget,
        schedule=Anneal(kind="anneal", min_lr=annealing.min_lr, shape=annealing.shape),
        after=trunk.name,
        at=Quantity(Fraction(annealing.step), "steps"),
        optimizer="keep",
    )
    return campaign.model_copy(update={"stages": [*campaign.lineage(trunk), branch]})


def with_annealings(loaded: LoadedCampaign, annealings: Iterable[Annealing]) -> LoadedCampaign:
    """Return a loaded campaign with an arm more for each annealed branch."""
    arms = dict(loaded.arms)
    for annealing in annealings:
        if annealing.arm not in loaded.arms:
            raise CampaignError(
                f"there is no arm {annealing.arm!r}; there are {', '.join(loaded.arms)}"
            )
        name = annealing.branch_arm
        if name in arms:
            raise CampaignError(
                f"{name}: there is a branch of this length at this step already, with another min_lr or shape; "
                "choose another step or budget"
            )
        arms[name] = annealed(loaded.arms[annealing.arm], annealing)
    return replace(loaded, arms=arms)
