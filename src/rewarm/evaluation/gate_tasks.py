"""Limits of the gate on tasks, from the evaluations in `RUN/evaluations`; before and after are paired by item.

An evaluation belongs to a model by the end of its name, `<stage's folder>-step-<step>`; before it stand the run
and perhaps the arm. That of the end of a stage is believed only if it has the hash of the stage's weights.
"""

from collections.abc import Iterator, Sequence

from rewarm.evaluation.finding import Finding, Limit
from rewarm.evaluation.gated import Gated
from rewarm.evaluation.metrics import SHARES, Measured, measure, measure_difference
from rewarm.evaluation.results import Results, TaskRecord, read_results, results_file
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import GateRecord, TaskLimitRecord

_REMEDY = "More replay, a lower max_lr or an earlier annealing loses less."


def task_findings(
    run: RunFolder, gate: GateRecord, stage: Gated, task: TaskLimitRecord
) -> Iterator[Finding]:
    """Hold a stage's model against the limits on a task.

    Args:
        run: the run.
        gate: its gate.
        stage: the last stage of an arm.
        task: the limits.

    Raises:
        CheckpointError: an evaluation is damaged.
    """
    if task.at_worst is not None:
        yield _value(run, stage, task, task.at_worst)
    if task.max_worse is not None and not stage.is_from_scratch:
        yield _change(run, gate, stage, task, task.max_worse)


def task_key(task: TaskLimitRecord, kind: str) -> str:
    """Name a limit on a task; `kind` is its key in the `[[gate.task]]`.

    >>> task = TaskLimitRecord(
    ...     name="web", metric=None, domain="news", max_worse=0.02, against=None, at_worst=None
    ... )
    >>> task_key(task, "max_worse")
    'task.web.news.max_worse'
    """
    return ".".join(["task", *_named(task), kind])


def _named(task: TaskLimitRecord) -> list[str]:
    return [task.name, *filter(None, [task.metric, task.domain])]


def _value(run: RunFolder, stage: Gated, task: TaskLimitRecord, allowed: float) -> Finding:
    """Judge a metric by itself."""
    try:
        results = _results_of(run, stage, task)
        metric = _metric(task, results)
        measured = _pick(task, metric, measure(results.of(task.name)))
    except _NotMeasuredError as reason:
        return _limit(stage, task, "at_worst", allowed).not_measured(str(reason))
    limit = _limit(stage, task, "at_worst", allowed, is_most=metric not in SHARES)
    return limit.judged(measured.estimate.value, _REMEDY, measured.estimate.standard_error)


def _change(
    run: RunFolder, gate: GateRecord, stage: Gated, task: TaskLimitRecord, allowed: float
) -> Finding:
    """Judge how much worse a metric is than before, item by item."""
    limit = _limit(stage, task, "max_worse", allowed)
    try:
        after = _results_of(run, stage, task)
        before = _results_before(run, gate, stage, task)
        metric = _metric(task, after)
        _check_same(_task(task, before), _task(task, after))
        items = [before.of(task.name)], [after.of(task.name)]
        change = _pick(task, metric, measure_difference(*items)).estimate
    except _NotMeasuredError as reason:
        return limit.not_measured(str(reason))
    worse = -change.value if metric in SHARES else change.value
    return limit.judged(worse, _REMEDY, change.standard_error)


class _NotMeasuredError(Exception):
    """Why there is no value, and how to get one."""


def _limit(
    stage: Gated, task: TaskLimitRecord, kind: str, allowed: float, *, is_most: bool = True
) -> Limit:
    what = f"{', '.join(_named(task))} of {stage.label}"
    return Limit(
        key=task_key(task, kind),
        allowed=allowed,
        what=f"{what}, how much worse than before" if kind == "max_worse" else what,
        unit="",
        is_most=is_most,
        stage=stage.folder,
        arms=stage.arms,
    )


def _results_of(run: RunFolder, stage: Gated, task: TaskLimitRecord) -> Results:
    """Return the evaluation of a finished stage's model, which must be of its very weights."""
    if stage.result is None:
        raise _NotMeasuredError(
            f"{stage.folder} has no result yet; `rewarm train` goes on with it, then `rewarm eval` measures "
            "it."
        )
    evaluations = _read(run, stage, stage.record.steps, task)
    for results in evaluations:
        if results.weights_sha256 == stage.result.weights_sha256:
            return results
    raise _NotMeasuredError(
        f"{evaluations[0].folder} was measured on other weights than {stage.folder} has now; move it away and "
        "evaluate again."
    )


def _results_before(
    run: RunFolder, gate: GateRecord, stage: Gated, task: TaskLimitRecord
) -> Results:
    """Return the evaluation of the model that counts as before."""
    child = stage
    while child.before is not None and task.against not in (None, child.before.record.name):
        child = child.before
    if child.before is not None:
        at_end = child.record.start_step == child.before.record.steps
        if at_end:
            return _results_of(run, child.before, task)
        return _read(run, child.before, child.record.start_step, task)[0]
    if task.against not in (None, "base"):
        raise _NotMeasuredError(
            f"{task.against!r} is no stage before {stage.folder}; correct `against` in the [[gate.task]]."
        )
    if gate.base is None:
        raise _NotMeasuredError(
            "The base model has random weights, which nothing is measured of; name a stage with `against`."
        )
    folder = run.evaluations / gate.base
    if not results_file(folder).exists():
        raise _NotMeasuredError(
            f"{folder} has no evaluation of the base model; `rewarm eval MODEL … {task.name}=FILE --out "
            f"{run.evaluations}` makes it."
        )
    return read_results(folder)


def _read(run: RunFolder, stage: Gated, step: int, task: TaskLimitRecord) -> list[Results]:
    """Return the evaluations of a checkpoint, at least one; those with the task first."""
    name = f"{stage.folder}-step-{step}"
    folders = [
        each for each in sorted(run.evaluations.glob("*")) if f"-{each.name}".endswith(f"-{name}")
    ]
    found = [read_results(each) for each in folders if results_file(each).exists()]
    if found:
        return sorted(
            found, key=lambda each: not any(t.name == task.name for t in each.record.tasks)
        )
    arm = f" --arm {stage.arms[0]}" if stage.arms else ""
    raise _NotMeasuredError(
        f"{run.evaluations} has none of {name}; `rewarm eval {run.path} --stage {stage.record.name}{arm} --at "
        f'"{step} steps" … {task.name}=FILE --out {run.evaluations}` makes it.'
    )


def _task(task: TaskLimitRecord, results: Results) -> TaskRecord:
    """Return the task of an evaluation."""
    for record in results.record.tasks:
        if record.name == task.name and record.metrics:
            return record
    raise _NotMeasuredError(
        f"{results.folder} has no metric of a task {task.name!r}; move it away and evaluate again with it."
    )


def _metric(task: TaskLimitRecord, results: Results) -> str:
    """Return the name of the metric that is limited."""
    measured = _task(task, results).metrics
    return task.metric or measured[0].metric


def _pick(task: TaskLimitRecord, metric: str, found: Sequence[Measured]) -> Measured:
    """Return the metric, of the domain if one is limited."""
    for each in found:
        if (each.metric, each.domain) == (metric, task.domain):
            return each
    there = ", ".join(f"{m.metric} of {m.domain}" if m.domain else m.metric for m in found)
    of = f" of domain {task.domain!r}" if task.domain else ""
    raise _NotMeasuredError(f"Task {task.name!r} has no {metric}{of}; it has {there}.")


def _check_same(before: TaskRecord, after: TaskRecord) -> None:
    """Refuse a task that was measured on other items."""
    if (before.data_sha256, before.items) != (after.data_sha256, after.items):
        raise _NotMeasuredError(
            f"Before and after were measured on other items ({before.items:,} of {before.file} and "
            f"{after.items:,} of {after.file}); evaluate both on the same file with the same --limit."
        )
