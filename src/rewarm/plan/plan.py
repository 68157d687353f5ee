"""The plan of a campaign: every stage of every arm resolved, each piece of work listed once.

The plan is all that training needs to know; nothing in it depends on a machine.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rewarm.campaign.annealing import is_of
from rewarm.campaign.campaign import Campaign
from rewarm.campaign.load import LoadedCampaign
from rewarm.campaign.quantities import Quantity
from rewarm.campaign.schedule import Anneal
from rewarm.errors import CampaignError, RewarmError
from rewarm.plan.model import ModelSize, model_size
from rewarm.plan.schedules import length_in_steps
from rewarm.plan.stage import StagePlan, plan_stage


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a campaign will do."""

    loaded: LoadedCampaign
    """The campaign file."""
    arms: Mapping[str, tuple[StagePlan, ...]]
    """The stages of each arm, in the order of the file."""
    stages: tuple[StagePlan, ...]
    """Every stage once; a parent comes before its children."""
    datasets: tuple[str, ...]
    """D0, D1, …: the datasets in the order in which the model meets them."""
    size: ModelSize | None
    """The model's size; None while it is not downloaded, or its tokenizer is not there."""

    @property
    def campaign(self) -> Campaign:
        """The base campaign."""
        return self.loaded.campaign

    def arms_of(self, stage: StagePlan) -> list[str]:
        """Return the arms that a stage belongs to."""
        return [arm for arm, stages in self.arms.items() if any(s.key == stage.key for s in stages)]

    def stages_of(self, arms: Collection[str] | None) -> tuple[StagePlan, ...]:
        """Return the stages of some arms and their annealed branches, or all; parents before children.

        Raises:
            CampaignError: there is no such arm.
        """
        if arms is None:
            return self.stages
        for arm in arms:
            if arm not in self.arms:
                raise CampaignError(
                    f"--arm {arm}: there is no such arm; there are {', '.join(self.arms)}"
                )
        keys = {s.key for arm, stages in self.arms.items() if is_of(arm, arms) for s in stages}
        return tuple(stage for stage in self.stages if stage.key in keys)

    def branch_steps(self, stage: StagePlan) -> set[int]:
        """Return the steps of a stage at which others start; they need a checkpoint."""
        return {
            s.start_step for s in self.stages if s.parent is not None and s.parent.key == stage.key
        }

    def size_of(self, stage: StagePlan) -> ModelSize | None:
        """Return the size of a stage's model, which an arm may have changed."""
        if stage.campaign.model == self.campaign.model:
            return self.size
        return model_size(stage.campaign, self.loaded.root, self.loaded.commits)

    def train_flops(self, stage: StagePlan) -> float:
        """Return the FLOPs of training a stage; 0 while the model's size is not known."""
        size = self.size_of(stage)
        return size.flops_per_token(stage.sequence_length) * stage.tokens if size else 0.0

    def evaluation_steps(self, stage: StagePlan) -> list[int]:
        """Return the steps after which a stage is evaluated: 0, every so often, and the final ones."""
        evaluation = self.campaign.evaluation
        marks = self._marks(stage, "evaluation.every", evaluation.every)
        final = range(stage.steps, stage.steps - evaluation.final_steps, -evaluation.final_every)
        return sorted({0, *marks, *final, stage.steps})

    def evaluation_tokens(self, stage: StagePlan) -> int:
        """Return the tokens that the validations of a stage read, where every dataset has enough of them."""
        sequences = self.campaign.evaluation.sequences * len(self.datasets)
        return len(self.evaluation_steps(stage)) * sequences * stage.sequence_length

    def checkpoint_steps(self, stage: StagePlan) -> list[int]:
        """Return the steps after which a stage is saved."""
        marks = self._marks(stage, "checkpoints.every", self.campaign.checkpoints.every)
        return sorted({*marks, *self.lasting_steps(stage)})

    def lasting_steps(self, stage: StagePlan) -> set[int]:
        """Return the steps whose checkpoints stay: the end, where others branch off, and every so often."""
        every = self.campaign.checkpoints.keep_every
        marks = self._marks(stage, "checkpoints.keep_every", every) if every else set[int]()
        return {*marks, *self.branch_steps(stage), stage.steps}

    def annealable(self) -> list[StagePlan]:
        """Return the stages of which the gate's policy `anneal-earlier` may anneal an earlier checkpoint."""
        gate = self.campaign.gate
        if gate is None or gate.policy != "anneal-earlier":
            return []
        ends = [
            stages[-1]
            for arm, stages in self.arms.items()
            if not gate.arms or is_of(arm, gate.arms)
        ]
        found = {s.key: s for s in ends if not isinstance(s.stage.schedule, Anneal)}
        return list(found.values())

    def kept_steps(self, stage: StagePlan) -> set[int]:
        """Return the steps whose checkpoints are there when a stage has ended."""
        saved, keep = self.checkpoint_steps(stage), self.campaign.checkpoints.keep
        newest = saved if keep == "all" else saved[-keep:]
        return {*newest, *self.lasting_steps(stage)}

    def _marks(self, stage: StagePlan, key: str, distance: Quantity) -> set[int]:
        """Return the steps of a cadence. "10%" means 10 %, 20 %, …, each rounded down as `at` is."""
        every = length_in_steps(distance, of_steps=stage.steps, batch_tokens=stage.batch_tokens)
        if every < 1:
            raise CampaignError(
                f"{self.origin(key)}: {key} = {str(distance)!r} is less than a step of stage "
                f"{stage.name!r}, which has {stage.steps:,} steps; make it longer"
            )
        if distance.unit != "%":
            return set(range(every, stage.steps + 1, every))
        parts = int(100 / distance.amount)
        return {int(k * distance.amount * stage.steps / 100) for k in range(1, parts + 1)}

    def origin(self, key: str) -> str:
        """Return where a value was written; the file for a default."""
        return self.loaded.origins.get(key, str(self.loaded.path))


def make_plan(loaded: LoadedCampaign) -> Plan:
    """Resolve a campaign.

    Raises:
        CampaignError: something in it cannot be done; the arm and the stage are named.
    """
    size = model_size(loaded.campaign, loaded.root, loaded.commits)
    arms: dict[str, tuple[StagePlan, ...]] = {}
    unique: dict[str, StagePlan] = {}
    for arm, campaign in loaded.arms.items():
        planned: dict[str, StagePlan] = {}
        for stage in campaign.stages:
            parent = campaign.parent_of(stage)
            try:
                plan = plan_stage(campaign, stage, planned[parent.name] if parent else None)
            except RewarmError as error:
                raise CampaignError(
                    f"{loaded.path}: {_place(loaded, arm, stage.name)}: {error}"
                ) from error
            planned[stage.name] = unique.setdefault(plan.key, plan)
        arms[arm] = tuple(planned.values())
    plan = Plan(
        loaded=loaded,
        arms=arms,
        stages=tuple(unique.values()),
        datasets=datasets_as_met(loaded.campaign),
        size=size,
    )
    _check_evaluation(plan)
    _check_annealing(plan)
    return plan


def _place(loaded: LoadedCampaign, arm: str, stage: str) -> str:
    return f"stages.{stage}" if len(loaded.arms) == 1 else f"arm {arm!r}, stages.{stage}"


def datasets_as_met(campaign: Campaign) -> tuple[str, ...]:
    """Return the datasets in the order in which the model meets them; those that no stage reads come last."""
    met: dict[str, None] = dict.fromkeys(campaign.history)
    for stage in campaign.stages:
        met |= dict.fromkeys(stage.data or ())
    met |= dict.fromkeys(campaign.data)
    return tuple(met)


def _check_evaluation(plan: Plan) -> None:
    """Refuse a final window that is longer than a stage, and cadences below one step."""
    final_steps = plan.campaign.evaluation.final_steps
    is_written = "evaluation.final_steps" in plan.loaded.origins
    for stage in plan.stages:
        plan.evaluation_steps(stage)
        plan.checkpoint_steps(stage)
        if final_steps > stage.steps:
            raise CampaignError(
                f"{plan.origin('evaluation.final_steps')}: evaluation.final_steps = {final_steps:,}"
                f"{'' if is_written else ' (the default)'} is longer than stage {stage.name!r}, which has "
                f"{stage.steps:,} steps, fewer than its final loss is to be the mean of; set it to at most "
                "that in [evaluation]"
            )


def _check_annealing(plan: Plan) -> None:
    """Refuse a policy of the gate whose annealed branch would be shorter than what its final loss is over."""
    gate, final_steps = plan.campaign.gate, plan.campaign.evaluation.final_steps
    if gate is None:
        return
    for stage in plan.annealable():
        steps = length_in_steps(gate.anneal, of_steps=stage.steps, batch_tokens=stage.batch_tokens)
        if steps < max(1, final_steps):
            raise CampaignError(
                f"{plan.origin('gate.anneal')}: gate.anneal = {str(gate.anneal)!r} is {steps:,} steps of stage "
                f"{stage.name!r}, and the final loss of the branch is to be the mean over "
                f"evaluation.final_steps = {final_steps:,}; make it longer, or those fewer"
            )
