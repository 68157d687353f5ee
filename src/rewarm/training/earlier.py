"""The policy `anneal-earlier` of the gate: what is released instead of the end of a stage that lost too much.

The stage is annealed from its last checkpoint at which the limits on losses held, by a branch as `rewarm
anneal` makes it. The branch is recorded like any other, so it is planned, resumed and reported as they are.
"""

from dataclasses import replace

from rewarm.campaign.annealing import Annealing, is_of, with_annealings
from rewarm.campaign.schedule import Anneal
from rewarm.engine.retention import saved_steps
from rewarm.errors import GateError
from rewarm.evaluation.earlier import breaks_losses, steps_within
from rewarm.evaluation.gate import judge
from rewarm.plan import StagePlan, make_plan
from rewarm.plan.record import gate_record, run_record
from rewarm.runs.files import write_record
from rewarm.runs.lock import records_locked
from rewarm.runs.steps import steps_text
from rewarm.training.anneal import default_min_lr, find_annealing, record_annealing, recorded
from rewarm.training.gate import record_gate
from rewarm.training.job import Job


def branch_earlier(job: Job, stage: StagePlan, broken: GateError) -> tuple[Job, StagePlan]:
    """Plan and record the branch that is to be judged instead of a stage; of several ranks all call this.

    Args:
        job: what training needs.
        stage: a finished stage.
        broken: what the gate finds of it.

    Returns:
        The same with the branch in its plan, and the branch, which is to be trained.

    Raises:
        GateError: what was found, if the policy is another or nothing can be released instead; it says why.
    """
    gate = job.plan.campaign.gate
    if gate is None or gate.policy != "anneal-earlier":
        raise broken

    def choose() -> tuple[str, list[dict[str, object]]]:
        arms = _ending_arms(job, stage, broken)
        step = _last_step(job, stage, broken)
        asked = {"stage": stage.name, "at": f"{step} steps", "budget": str(gate.anneal)}
        found = [
            find_annealing(job.run, arm=arm, min_lr=None, shape="exponential", **asked)
            for arm in arms
        ]
        for annealing in found:
            record_annealing(job.run, annealing)
        new = [a for a in recorded(job.run) if a.branch_arm not in job.plan.arms]
        return found[0].branch_arm, [annealing.model_dump(mode="json") for annealing in new]

    chosen, new = job.ranks.gather(job.ranks.first_alone(choose))[0]
    annealings = [Annealing.model_validate(each) for each in new]
    plan = make_plan(with_annealings(job.plan.loaded, annealings))
    branch = plan.arms[chosen][-1]

    def announce() -> None:
        with records_locked(job.run):
            write_record(job.run.plan, run_record(plan))
            record_gate(plan, job.run)
        message = f"it is annealed from step {branch.start_step:,} of {stage.steps:,} instead"
        job.journal(stage).event(stage.steps, "gate", message)
        job.reporter.say(f"gate: {stage.folder} breaks a limit; {message}: {branch.folder}")

    job.ranks.first_alone(announce)
    job.reporter.add(branch.tokens)
    return replace(job, plan=plan), branch


def _ending_arms(job: Job, stage: StagePlan, broken: GateError) -> list[str]:
    """Return the gated arms that a stage is of, if it is the last of all of them and no annealing itself."""
    record, judgement = gate_record(job.plan), judge(job.run)
    assert record is not None, "its policy is known"
    assert judgement is not None, "it was written down before training began"
    if isinstance(stage.stage.schedule, Anneal):
        raise _not_possible(broken, f"{stage.folder} is an annealing already")
    if not breaks_losses(judgement.broken(stage.folder)):
        raise _not_possible(
            broken, "no limit on losses is broken, which are all that is known earlier"
        )
    gated = [arm for arm in job.plan.arms_of(stage) if arm in record.arms]
    arms = [arm for arm in gated if not is_of(arm, [other for other in gated if other != arm])]
    going_on = [arm for arm in arms if job.plan.arms[arm][-1].key != stage.key]
    if going_on:
        raise _not_possible(broken, f"{', '.join(going_on)} would go on from its end")
    return arms


def _last_step(job: Job, stage: StagePlan, broken: GateError) -> int:
    """Return the last step at which the limits held, a checkpoint is kept, and the rate is still to fall."""
    within = steps_within(job.run, stage.folder)
    if not within:
        raise _not_possible(broken, "the limits held at none of its validations")
    saved = set(saved_steps(job.folder(stage).checkpoints))
    kept = [step for step in within if step in saved]
    if not kept:
        raise _not_possible(
            broken,
            f"they held at {steps_text(within)}, and none of these has a checkpoint. Set checkpoints.every to "
            'evaluation.every, and checkpoints.keep = "all" or checkpoints.keep_every, and train it anew under '
            "another name",
        )
    falling = [step for step in kept if stage.schedule(step) > default_min_lr(stage, step)]
    if not falling:
        raise _not_possible(
            broken, f"the rate had fallen to a tenth of its highest at {steps_text(kept)} already"
        )
    return max(falling)


def _not_possible(broken: GateError, reason: str) -> GateError:
    return GateError(f"{broken}\nNothing is annealed instead: {reason}.")
