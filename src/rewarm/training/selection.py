"""Which stage of a run, and which step of it, somebody means."""

from rewarm.campaign import parse_quantity
from rewarm.errors import CampaignError
from rewarm.plan import Plan, StagePlan
from rewarm.plan.schedules import length_in_steps


def find_stage(plan: Plan, arm: str | None, stage: str) -> tuple[str, StagePlan]:
    """Return the arm and the stage of a name.

    Args:
        plan: of the run.
        arm: the arm; may be left out where only one stage of that name exists.
        stage: name of the stage in the campaign.

    Raises:
        CampaignError: there is no such arm or stage, or several.
    """
    found = {
        name: planned
        for name, stages in plan.arms.items()
        for planned in stages
        if planned.name == stage and arm in (None, name)
    }
    if not found:
        names = sorted({planned.name for stages in plan.arms.values() for planned in stages})
        raise CampaignError(
            f"there is no stage {stage!r}{f' in arm {arm!r}' if arm else ''}; arms: {', '.join(plan.arms)}; "
            f"stages: {', '.join(names)}"
        )
    if len({planned.key for planned in found.values()}) > 1:
        raise CampaignError(f"stage {stage!r} differs between arms; say --arm ({', '.join(found)})")
    return next(iter(found.items()))


def length_of(option: str, text: str, stage: StagePlan) -> int:
    """Return a length or place in a stage, in steps.

    Args:
        option: the option that gave it, for messages.
        text: a percentage of the stage, steps or tokens, with the unit.
        stage: the stage.

    Raises:
        CampaignError: it has no unit, or one that is no length of a stage.
    """
    try:
        quantity = parse_quantity(text)
    except ValueError as error:
        raise CampaignError(f"{option}: {error}") from error
    if quantity.unit == "sequences":
        raise CampaignError(f"{option} {text}: give a percentage of the stage, steps or tokens")
    return length_in_steps(quantity, of_steps=stage.steps, batch_tokens=stage.batch_tokens)
