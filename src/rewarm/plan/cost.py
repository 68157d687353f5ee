"""What a plan costs, and what it saves against retraining on everything each time.

Tokens decide; hours and a price follow from a throughput that the user gives.
"""

from dataclasses import dataclass

from rewarm.plan.choice import choose_layout, for_one_rank
from rewarm.plan.plan import Plan
from rewarm.plan.stage import StagePlan


@dataclass(frozen=True, kw_only=True)
class Saving:
    """The tokens of updating and of retraining, for one line of stages.

    With budgets s_0 … s_n: updating costs Σ s_j over the stages after the first; retraining from scratch on the
    union at every update costs Σ_i Σ_{j≤i} s_j. The checkpoint of the first stage is taken to exist. A stage
    counts up to where the next one branches off, and one that goes on with the data of the stage before
    (an annealed branch) is part of the same update.
    Source: paper Fig. 1, where one update of equal size costs half of retraining.
    """

    update_tokens: int
    """Tokens of the updates."""
    retrain_tokens: int
    """Tokens of retraining on the union instead."""

    @property
    def share(self) -> float:
        """Part of the tokens saved, 1 - update/retrain."""
        return 1 - self.update_tokens / self.retrain_tokens


def saving(line: list[StagePlan]) -> Saving | None:
    """Return what updating saves along a line of stages; None if there is no update in it.

    >>> saving([]) is None
    True
    """
    budgets: list[int] = []
    for number, stage in enumerate(line):
        end = line[number + 1].start_step if number + 1 < len(line) else stage.steps
        if stage.stage.data is None:
            budgets[-1] += end * stage.batch_tokens
        else:
            budgets.append(end * stage.batch_tokens)
    if len(budgets) < 2:
        return None
    seen = [sum(budgets[: end + 1]) for end in range(1, len(budgets))]
    return Saving(update_tokens=sum(budgets[1:]), retrain_tokens=sum(seen))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What carrying out the whole plan takes."""

    tokens: int
    """Tokens trained on, shared stages once."""
    evaluation_tokens: int
    """Tokens that the validations read."""
    flops: float
    """Training FLOPs, without the validations'; 0 while the model's size is not known."""
    memory_bytes: int | None
    """Estimated memory of training on one rank."""
    checkpoint_bytes: int | None
    """Estimated disk space of the checkpoints that are kept."""
    token_bytes: int
    """Disk space of the tokens that are read, as far as their number is declared."""
    hours: float | None
    """At the given throughput."""
    price: float | None
    """At the given price per hour."""

    @property
    def evaluation_share(self) -> float:
        """FLOPs of the validations over those of training: a forward pass is a third of a training step."""
        return self.evaluation_tokens / (3 * self.tokens)


def cost(
    plan: Plan, tokens_per_second: float | None = None, price_per_hour: float | None = None
) -> Cost:
    """Estimate what the plan takes.

    Args:
        plan: the plan.
        tokens_per_second: measured or expected training throughput.
        price_per_hour: in any currency.
    """
    campaign = plan.campaign
    tokens = sum(stage.tokens for stage in plan.stages)
    memory = checkpoints = None
    if plan.size is not None:
        memory = max(_memory_bytes(plan, stage) for stage in plan.stages)
        checkpoints = sum(_checkpoint_bytes(plan, stage) for stage in plan.stages)
    hours = tokens / tokens_per_second / 3600 if tokens_per_second else None
    declared = [text.tokens for text, _ in campaign.leaves().values() if text.tokens is not None]
    width = 2 if plan.size is None or plan.size.vocabulary <= 65_536 else 4
    return Cost(
        tokens=tokens,
        evaluation_tokens=sum(plan.evaluation_tokens(stage) for stage in plan.stages),
        flops=sum(plan.train_flops(stage) for stage in plan.stages),
        memory_bytes=memory,
        checkpoint_bytes=checkpoints,
        token_bytes=width * sum(int(quantity.amount) for quantity in declared),
        hours=hours,
        price=hours * price_per_hour if hours is not None and price_per_hour is not None else None,
    )


def _memory_bytes(plan: Plan, stage: StagePlan) -> int:
    """Return what one rank alone would need."""
    return choose_layout(for_one_rank(stage.campaign), plan.size_of(stage), 1).most_bytes


def _checkpoint_bytes(plan: Plan, stage: StagePlan) -> int:
    size = plan.size_of(stage)
    return size.checkpoint_bytes * len(plan.kept_steps(stage)) if size else 0
