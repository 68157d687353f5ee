"""The release gate: what a campaign allows its models to lose, against what a run has measured.

A function of the run folder alone, so training, `rewarm gate` and the report find the same. What is not
measured is never held.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import orjson

from rewarm.campaign.annealing import is_of
from rewarm.errors import CampaignError
from rewarm.evaluation.earlier import has_branch_instead
from rewarm.evaluation.finding import Finding, Limit
from rewarm.evaluation.gate_tasks import task_findings, task_key
from rewarm.evaluation.gated import Gated, gated_stages
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.overlap import concerned_share, worst
from rewarm.runs.records import EvalRecord, GateRecord, OverlapRecord, RunRecord

_LESS_FORGETTING = "More replay, a lower max_lr or an earlier annealing forgets less"
_LOWER_LOSS = "More tokens, less replay or a higher max_lr learns more of new data"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What is found of a run."""

    gate: GateRecord
    """What is allowed."""
    findings: tuple[Finding, ...]
    """Every limit for every stage that it is for: at least one of each limit."""

    @property
    def is_held(self) -> bool:
        """Whether every limit is measured and held."""
        return all(finding.state == "held" for finding in self.findings)

    def broken(self, stage: str | None = None) -> list[Finding]:
        """Return what is broken, of one stage if one is given."""
        return [f for f in self.findings if f.state == "broken" and stage in (None, f.stage)]

    def summary(self) -> str:
        """Say in a few words how many limits are held."""
        states = [finding.state for finding in self.findings]
        counts = [
            f"{states.count(s)} {s}" for s in ("broken", "not measured", "held") if s in states
        ]
        return ", ".join(counts)


def judge(run: RunFolder, arms: Collection[str] | None = None) -> Judgement | None:
    """Hold a run against its gate.

    For each dataset d that has a limit, with L₀ the validation loss at step 0 of a stage:

    - forgetting of a stage F = L(final) - min L₀, over the stage and those on the way to it. Random weights
      are no model that something could be lost from, so a stage that starts from them has no F, and its L₀ does
      not count. For one update it is the forgetting of the paper; over several, losses do not add up unseen.
    - the final loss of the last stage of each arm;
    - tasks of the last stage of each arm, from `RUN/evaluations` (see `gate_tasks`);
    - the overlap of validation and training text, if it is limited.

    Under the policy `anneal-earlier` a stage that breaks a limit on losses and has an annealed branch that
    leaves it earlier is not what is released: the branch is judged instead of it.

    Args:
        run: the run, finished or at work; it is only read.
        arms: the arms to look at; all that the gate is for if None.

    Returns:
        What is found; None if the run has no gate.

    Raises:
        CampaignError: the gate is not for such an arm.
        CheckpointError: a record is damaged.

    Source: forgetting against the best that came before, Chaudhry et al. (arXiv 1801.10112), section 3.2;
    there with accuracies, and the end of every task.
    """
    if not run.gate.exists():
        return None
    gate, plan = read_record(run.gate, GateRecord), read_record(run.plan, RunRecord)
    for arm in arms or ():
        if arm not in gate.arms:
            raise CampaignError(
                f"{run.path}: the gate is not for an arm {arm!r}; it is for: {', '.join(gate.arms)}"
            )
    chosen = [arm for arm in gate.arms if arm in plan.arms and _is_asked(arm, arms, gate)]
    findings: list[Finding] = []
    for stage in gated_stages(run, plan, gate, chosen):
        found = list(_of_stage(run, gate, stage))
        if not has_branch_instead(plan, gate, stage, found):
            findings += found
    findings += _overlap(run, gate)
    return Judgement(gate=gate, findings=(*findings, *_never_applied(gate, findings)))


def findings_json(judgement: Judgement) -> str:
    """Return what is found as a JSON text."""
    found = {
        "is_held": judgement.is_held,
        "policy": judgement.gate.policy,
        "findings": [finding.model_dump(mode="json") for finding in judgement.findings],
    }
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()


def _is_asked(arm: str, arms: Collection[str] | None, gate: GateRecord) -> bool:
    """Return whether an arm is to be looked at; a branch too, where it may be judged instead of its arm."""
    if arms is None or arm in arms:
        return True
    return gate.policy == "anneal-earlier" and is_of(arm, arms)


def _of_stage(run: RunFolder, gate: GateRecord, stage: Gated) -> Iterator[Finding]:
    if not stage.is_from_scratch:
        for dataset, allowed in gate.max_forgetting.items():
            yield _forgetting(run, stage, dataset, allowed)
    if stage.ends_arms:
        for dataset, allowed in gate.max_loss.items():
            yield _final_loss(run, stage, dataset, allowed)
        for task in gate.tasks:
            yield from task_findings(run, gate, stage, task)


def _forgetting(run: RunFolder, stage: Gated, dataset: str, allowed: float) -> Finding:
    limit = Limit(
        key=f"max_forgetting.{dataset}",
        allowed=allowed,
        what=f"forgetting on {dataset} at the end of {stage.label}",
        unit=" nats per token",
        stage=stage.folder,
        arms=stage.arms,
    )
    for each in stage.starts:
        if each.result is None:
            return limit.not_measured(_unfinished(each))
        if dataset not in each.result.before or dataset not in each.result.final:
            return limit.not_measured(_not_validated(each, dataset))
    assert stage.result is not None, "checked above"
    best = stage.best_before(dataset)
    final = stage.result.final[dataset]
    held = _last_held(run, stage, dataset, best + allowed)
    return limit.judged(
        final - best, f"{_LESS_FORGETTING}; {held} (loss {best:.4f} before, {final:.4f} after)."
    )


def _final_loss(run: RunFolder, stage: Gated, dataset: str, allowed: float) -> Finding:
    limit = Limit(
        key=f"max_loss.{dataset}",
        allowed=allowed,
        what=f"final loss on {dataset} of {stage.label}",
        unit=" nats per token",
        stage=stage.folder,
        arms=stage.arms,
    )
    if stage.result is None:
        return limit.not_measured(_unfinished(stage))
    if dataset not in stage.result.final:
        return limit.not_measured(_not_validated(stage, dataset))
    held = _last_held(run, stage, dataset, allowed)
    return limit.judged(
        stage.result.final[dataset],
        f"{_LOWER_LOSS}; for old data: {_LESS_FORGETTING.lower()}; {held}.",
    )


def _last_held(run: RunFolder, stage: Gated, dataset: str, most: float) -> str:
    """Say where in a stage a loss was last within its limit, and how to branch off there."""
    evals = read_records(run.stage(stage.folder).evals, EvalRecord)
    within = [r.step for r in evals if r.dataset == dataset and r.step and r.loss <= most]
    if not within:
        return "it held at no evaluation in the stage"
    step, arm = max(within), stage.arms[0]
    return (
        f"it last held at step {step:,} of {stage.record.steps:,}, and if that has a checkpoint, `rewarm "
        f'anneal {run.path} --stage {stage.record.name} --arm {arm} --at "{step} steps"` branches off there'
    )


def _unfinished(stage: Gated) -> str:
    return f"{stage.folder} has no result yet; `rewarm train` goes on with it."


def _not_validated(stage: Gated, dataset: str) -> str:
    return (
        f"{stage.folder} was trained without validation on {dataset}, and a finished stage is not done again. "
        "Limit its bits per byte instead, with a [[gate.task]] and `rewarm eval --documents`."
    )


def _overlap(run: RunFolder, gate: GateRecord) -> list[Finding]:
    if gate.max_overlap is None:
        return []
    limit = Limit(
        key="max_overlap",
        allowed=gate.max_overlap,
        what="share of a validation set's documents that are training text",
        unit="",
        stage=None,
        arms=(),
    )
    if not run.overlap.exists():
        return [
            limit.not_measured(
                "`rewarm overlap FILE` measures it, and the run gets it when training begins or goes on. Into "
                "a finished run copy overlap.json from beside the tokens that it was trained on."
            )
        ]
    count = worst(read_record(run.overlap, OverlapRecord))
    remedy = (
        f"That is {count.validation}. Take the documents that overlap.json lists out of its text and prepare "
        "it anew, or raise the limit."
    )
    return [limit.judged(concerned_share(count), remedy)]


def _never_applied(gate: GateRecord, findings: list[Finding]) -> Iterator[Finding]:
    """Yield the limits that no stage was held against: they would pass without a measurement."""
    seen = {finding.limit for finding in findings}
    limits = {f"max_forgetting.{name}": allowed for name, allowed in gate.max_forgetting.items()}
    limits |= {f"max_loss.{name}": allowed for name, allowed in gate.max_loss.items()}
    for task in gate.tasks:
        for kind, allowed in (("max_worse", task.max_worse), ("at_worst", task.at_worst)):
            if allowed is not None:
                limits[task_key(task, kind)] = allowed
    for key, allowed in limits.items():
        if key not in seen:
            limit = Limit(key=key, allowed=allowed, what=key, unit="", stage=None, arms=())
            yield limit.not_measured(
                "It is for no stage of the run: those of the gated arms start from random weights, before "
                "which there is nothing to lose. Gate another arm, or leave the limit out."
            )
