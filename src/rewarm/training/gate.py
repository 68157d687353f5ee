"""The release gate in training: looked at when a stage ends, or is found finished."""

from rewarm.errors import GateError
from rewarm.evaluation.gate import judge
from rewarm.plan import Plan, StagePlan
from rewarm.plan.record import gate_record
from rewarm.runs.files import write_record
from rewarm.runs.folder import RunFolder
from rewarm.training.job import Job


def record_gate(plan: Plan, run: RunFolder) -> None:
    """Write down what the campaign's gate allows now; stages that are finished stay as they are."""
    record = gate_record(plan)
    if record is None:
        run.gate.unlink(missing_ok=True)
    else:
        write_record(run.gate, record)


def check_gate(run: RunFolder, stage: str | None = None) -> None:
    """Refuse to go on behind a finished stage that breaks a limit, if that is the campaign's policy.

    What is not measured does not stop training, which could never be measured then; `rewarm gate` fails on it.

    Args:
        run: the run.
        stage: folder of the stage; the whole run if None.

    Raises:
        GateError: the policy is `stop`, and a limit is broken.
    """
    judgement = judge(run)
    if judgement is None or judgement.gate.policy != "stop":
        return
    if broken := judgement.broken(stage):
        lines = "\n".join(f"  {finding.message}" for finding in broken)
        raise GateError(
            f'{run.path}: the gate is broken, and gate.policy is "stop", so no stage behind it is begun:\n'
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
