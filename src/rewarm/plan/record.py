"""The plan as the run folder keeps it."""

from pathlib import PurePath

from rewarm.campaign.annealing import is_of
from rewarm.plan.model import FLOPS_RULE
from rewarm.plan.plan import Plan
from rewarm.plan.stage import StagePlan
from rewarm.replay import Count
from rewarm.runs.records import (
    GateRecord,
    RunRecord,
    SourceCount,
    StageRecord,
    TaskLimitRecord,
)
from rewarm.schedules import Piecewise


def run_record(plan: Plan) -> RunRecord:
    """Return what a run folder says of the plan."""
    campaign = plan.campaign
    evaluation = campaign.evaluation
    per_token = plan.size.flops_per_token(campaign.sequence_length) if plan.size else None
    return RunRecord(
        name=campaign.name,
        datasets=list(plan.datasets),
        arms={arm: [stage.folder for stage in stages] for arm, stages in plan.arms.items()},
        stages=[stage_record(plan, stage) for stage in plan.stages],
        seed=campaign.seed,
        parameters=plan.size.parameters if plan.size else None,
        flops_per_token=per_token,
        flops_rule=FLOPS_RULE,
        final_steps=evaluation.final_steps,
        final_every=evaluation.final_every,
        history={
            name: f"{history.tokens}"
            + (" (a proxy for data that is not available)" if history.proxy else "")
            for name, history in campaign.history.items()
        },
    )


def gate_record(plan: Plan) -> GateRecord | None:
    """Return what the campaign's gate allows; None if it has none."""
    gate, model = plan.campaign.gate, plan.campaign.model
    if gate is None:
        return None
    return GateRecord(
        policy=gate.policy,
        arms=[arm for arm in plan.arms if not gate.arms or is_of(arm, gate.arms)],
        from_scratch=[stage.folder for stage in plan.stages if _is_from_scratch(stage)],
        base=PurePath(model.from_.partition("@")[0]).name if model.from_ is not None else None,
        max_forgetting=dict(gate.max_forgetting),
        max_loss=dict(gate.max_loss),
        max_overlap=None if gate.max_overlap is None else float(gate.max_overlap),
        tasks=[TaskLimitRecord(**dict(task)) for task in gate.tasks],
    )


def _is_from_scratch(stage: StagePlan) -> bool:
    """Return whether a stage starts from weights that have learnt nothing."""
    has_learnt = stage.campaign.model.from_ is not None or bool(stage.campaign.history)
    return stage.parent is None and not has_learnt


def stage_record(plan: Plan, stage: StagePlan) -> StageRecord:
    """Return what a stage's folder says of it."""
    replay = stage.stream.replay
    return StageRecord(
        folder=stage.folder,
        name=stage.name,
        key=stage.key,
        parent=stage.parent.folder if stage.parent else None,
        start_step=stage.start_step,
        steps=stage.steps,
        batch_sequences=stage.batch_sequences,
        sequence_length=stage.sequence_length,
        shares={source: float(share) for source, share in stage.stream.new.mixture.shares.items()},
        replay_share=float(replay.share) if replay else 0.0,
        replay_mode=stage.stage.replay.mode,
        replay_from={name: float(s) for name, s in replay.mixture.shares.items()} if replay else {},
        planned=source_counts(stage.counts()),
        schedule=stage.schedule.to_json(),
        schedule_text=in_words(stage.schedule),
        optimizer=stage.stage.optimizer,
        train_flops=plan.train_flops(stage),
        evaluation_tokens=plan.evaluation_tokens(stage),
    )


def source_counts(counts: dict[str, Count]) -> dict[str, SourceCount]:
    """Return counts as records."""
    return {name: SourceCount(new=c.new, replayed=c.replayed) for name, c in counts.items()}


def in_words(schedule: Piecewise) -> str:
    """Write a schedule as one line.

    >>> from rewarm.schedules import warmup_cosine
    >>> in_words(warmup_cosine(max_lr=3e-4, min_lr=3e-5, warmup_steps=10, steps=1000))
    'linear 0 → 0.0003 (10 steps), cosine 0.0003 → 3e-05 (990 steps)'
    """
    parts = [
        f"{p.name} {p.start_lr:g} → {p.end_lr:g} ({p.last_step - p.first_step + 1:,} steps)"
        if p.start_lr != p.end_lr
        else f"{p.name} {p.end_lr:g} ({p.last_step - p.first_step + 1:,} steps)"
        for p in schedule.phases()
        if p.last_step >= p.first_step
    ]
    return ", ".join(parts) or f"constant {schedule(1):g}"
