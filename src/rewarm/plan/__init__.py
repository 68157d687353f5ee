"""What a campaign will do, before it does it: steps, rates, data, cost. No torch."""

from rewarm.plan.plan import Plan, make_plan
from rewarm.plan.stage import StagePlan

__all__ = ["Plan", "StagePlan", "make_plan"]
