"""From run folders to the result of a suite: outcomes by seed, claims judged, everything in one record."""

from collections.abc import Sequence

from rewarm.report.arms import arm_rows
from rewarm.report.curves import drawn, kept_points
from rewarm.report.lineage import tokens_before
from rewarm.report.loading import Run, read_run
from rewarm.runs.folder import RunFolder
from rewarm.suites.judging import judge
from rewarm.suites.outcome import Outcome
from rewarm.suites.results import ArmResult, ClaimResult, Points, StageCurve, SuiteResult
from rewarm.suites.runs import Place, suite_runs
from rewarm.suites.suite import Claim, Outcomes, Suite
from rewarm.suites.tier import Tier

_LR_POINTS = 40
"""Points of a learning rate that are kept; a schedule has few bends."""


def suite_result(
    suite: Suite, tier: Tier, seeds: Sequence[int], place: Place
) -> SuiteResult | None:
    """Collect what a suite's runs have come to so far.

    A seed counts for a claim once every arm that the claim speaks of is finished in it.

    Args:
        suite: the suite.
        tier: its size.
        seeds: the seeds to look for.
        place: where the runs are.

    Returns:
        None if no arm is finished.

    Raises:
        CheckpointError: a record of a run is damaged.
    """
    by_seed: dict[int, dict[str, Outcome]] = {seed: {} for seed in seeds}
    arms: list[ArmResult] = []
    curves: dict[str, StageCurve] = {}
    runs: list[Run] = []
    for planned in suite_runs(suite, tier, seeds):
        if not RunFolder(planned.folder(place)).plan.exists():
            continue
        run = read_run(planned.folder(place))
        runs.append(run)
        for outcome in outcomes(run):
            by_seed[planned.seed][f"{planned.setting}/{outcome.row.arm}"] = outcome
            arms.append(_arm_result(planned.setting, planned.seed, outcome))
            curves |= {folder: _curve(run, folder) for folder in arms[-1].stages}
    if not arms:
        return None
    claims: list[ClaimResult] = []
    waiting: list[str] = []
    for claim in suite.claims:
        if complete := _complete(claim, by_seed):
            claims.append(judge(claim, complete))
        else:
            waiting.append(claim.text)
    resolved = next(run.resolved for run in runs if run.resolved is not None)
    return SuiteResult(
        suite=suite.name,
        tier=tier.name,
        seeds=[seed for seed, found in by_seed.items() if found],
        arms=arms,
        curves=curves,
        claims=claims,
        open=waiting,
        parameters=runs[0].record.parameters,
        versions=resolved.versions,
        machine=resolved.machine,
    )


def outcomes(run: Run) -> list[Outcome]:
    """Return the outcome of every finished arm of a run."""
    found: list[Outcome] = []
    for row in arm_rows(run):
        stages = [run.stages[folder] for folder in run.record.arms[row.arm]]
        found.append(Outcome(row=row, stages={s.record.name: s for s in stages}))
    return found


def _complete(claim: Claim, by_seed: dict[int, dict[str, Outcome]]) -> dict[int, Outcomes]:
    """Return the seeds that have every arm that a claim asks for."""
    return {seed: found for seed, found in by_seed.items() if _has_all(claim, found)}


def _has_all(claim: Claim, found: Outcomes) -> bool:
    try:
        for difference in claim.differences:
            difference.value(found)
    except KeyError:
        return False
    return True


def _arm_result(setting: str, seed: int, outcome: Outcome) -> ArmResult:
    result = outcome.last.result
    assert result is not None, "the arms of an outcome are finished"
    return ArmResult(
        setting=setting,
        arm=outcome.row.arm,
        seed=seed,
        final=outcome.row.final,
        before=dict(result.before),
        update_tokens=outcome.row.update_tokens,
        update_flops=outcome.row.update_flops,
        weights_sha256=result.weights_sha256,
        forgetting=outcome.row.mean_forgetting,
        adaptation=outcome.row.adaptation,
        is_reference=outcome.row.is_reference,
        is_union=outcome.row.is_union,
        stages=[stage.record.folder for stage in outcome.stages.values()],
    )


def _curve(run: Run, folder: str) -> StageCurve:
    """Return what was measured along a stage."""
    stage = run.stages[folder]
    start_tokens = tokens_before(run, folder)
    losses: dict[str, Points] = {}
    for each in stage.evals:
        losses.setdefault(each.dataset, []).append((start_tokens + each.tokens, each.loss))
    steps = stage.steps
    kept = kept_points(steps.lr, _LR_POINTS)
    return StageCurve(
        name=stage.record.name,
        losses=losses,
        lr=list(zip(drawn(start_tokens + steps.tokens[kept]), drawn(steps.lr[kept]), strict=True)),
    )
