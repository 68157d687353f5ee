"""A branch instead of a stage that lost too much: where it could leave the stage, and whether there is one."""

from collections.abc import Sequence

from rewarm.campaign.annealing import is_of
from rewarm.evaluation.finding import Finding
from rewarm.evaluation.gated import Gated, gated_stages
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EvalRecord, GateRecord, RunRecord

_OF_LOSSES = ("max_forgetting.", "max_loss.")


def breaks_losses(findings: Sequence[Finding]) -> bool:
    """Return whether a limit on losses is broken, which an earlier model may hold."""
    return any(f.state == "broken" and f.limit.startswith(_OF_LOSSES) for f in findings)


def has_branch_instead(
    plan: RunRecord, gate: GateRecord, stage: Gated, findings: Sequence[Finding]
) -> bool:
    """Return whether an annealed branch is judged instead of a stage.

    So it is if the policy is `anneal-earlier`, the stage breaks a limit on losses, and every arm that ends with
    it has a branch that leaves it before its end.

    Args:
        plan: of the run.
        gate: of the run.
        stage: the stage.
        findings: what is found of it.
    """
    if gate.policy != "anneal-earlier" or not breaks_losses(findings):
        return False
    by_folder = {record.folder: record for record in plan.stages}
    last = {arm: by_folder[plan.arms[arm][-1]] for arm in stage.arms}
    leaving = [
        arm
        for arm, end in last.items()
        if end.parent == stage.folder and end.start_step < stage.record.steps
    ]
    return all(
        end.folder == stage.folder and any(is_of(branch, [arm]) for branch in leaving)
        for arm, end in last.items()
        if arm not in leaving
    )


def steps_within(run: RunFolder, folder: str) -> list[int]:
    """Return the steps inside a stage at which it was validated and every limit on losses held.

    A branch that leaves the stage there is the last of its arm, so limits on final losses count as well.

    Args:
        run: the run, with a gate.
        folder: of a stage that is finished and gated.
    """
    gate, plan = read_record(run.gate, GateRecord), read_record(run.plan, RunRecord)
    arms = [arm for arm in gate.arms if arm in plan.arms]
    stage = next(s for s in gated_stages(run, plan, gate, arms) if s.folder == folder)
    most = [(dataset, allowed) for dataset, allowed in gate.max_loss.items()]
    if not stage.is_from_scratch:
        most += [
            (dataset, stage.best_before(dataset) + allowed)
            for dataset, allowed in gate.max_forgetting.items()
        ]
    losses: dict[int, dict[str, float]] = {}
    for record in read_records(run.stage(folder).evals, EvalRecord):
        losses.setdefault(record.step, {})[record.dataset] = record.loss
    return [
        step
        for step, found in losses.items()
        if 0 < step < stage.record.steps
        and all(found.get(dataset, float("inf")) <= allowed for dataset, allowed in most)
    ]
