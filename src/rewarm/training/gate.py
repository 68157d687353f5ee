"""The release gate in training: looked at when a stage ends, or is found finished."""

from collections.abc import Collection

from rewarm.campaign.annealing import is_of
from rewarm.errors import GateError
from rewarm.evaluation.gate import judge
from rewarm.plan import Plan, StagePlan
from rewarm.plan.record import gate_record
from rewarm.runs.files import write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import records_locked
from rewarm.training.job import Job


def record_gate(plan: Plan, run: RunFolder) -> None:
    """Write down what the campaign's gate allows now; the caller holds the records of the run."""
    record = gate_record(plan)
    if record is None:
        run.gate.unlink(missing_ok=True)
    else:
        write_record(run.gate, record)


def renew_gate(plan: Plan, run: RunFolder) -> None:
    """Write down the gate of a run of which nothing is left to do; its stages stay as they are."""
    if plan.campaign.gate is not None or run.gate.exists():  # what never had one is only read
        with records_locked(run):
            record_gate(plan, run)


def check_gate(
    run: RunFolder, stage: str | None = None, arms: Collection[str] | None = None
) -> None:
    """Refuse to go on behind a finished stage that breaks a limit, if that is the campaign's policy.

    What is not measured does not stop training, which could never be measured then; `rewarm gate` fails on it.

    Args:
        run: the run.
        stage: folder of the stage; the whole run if None.
        arms: look at what is of these arms alone; at all if None.

    Raises:
        GateError: a limit is broken, and the policy is not `report`.
    """
    judgement = judge(run)
    if judgement is None or judgement.gate.policy == "report":
        return
    broken = [
        finding
        for finding in judgement.broken(stage)
        if arms is None or finding.stage is None or any(is_of(arm, arms) for arm in finding.arms)
    ]
    if broken:
        lines = "\n".join(f"  {finding.message}" for finding in broken)
        raise GateError(
            f'{run.path}: the gate is broken, and gate.policy is "{judgement.gate.policy}", so no stage behind '
            f"it is begun:\n"
            f"{lines}\nWhat is finished is kept. After a change of [gate] the same command goes on."
        )


def pass_gate(job: Job, stage: StagePlan, *, has_just_ended: bool) -> None:
    """Look at a finished stage; of several ranks all call this, and all stop if the first does.

    Args:
        job: what training needs.
        stage: the stage.
        has_just_ended: whether to say what is found, which was said before otherwise.

    Raises:
        GateError: see `check_gate`.
    """

    def look() -> None:
        if has_just_ended:
            _say(job, stage)
        check_gate(job.run, stage.folder)

    job.ranks.first_alone(look)


def _say(job: Job, stage: StagePlan) -> None:
    """Say what the gate finds of a stage; what is broken is an event too."""
    judgement = judge(job.run)
    assert judgement is not None, "it was written down before training began"
    for finding in judgement.findings:
        if finding.stage != stage.folder:
            continue
        job.reporter.say(f"gate: {finding.state}: {finding.message}")
        if finding.state == "broken":
            job.journal(stage).event(stage.steps, "gate", f"broken: {finding.message}")
