"""What `rewarm eval` found of a run's models: tables like the paper's Tables 3 and 5, by domain, and samples.

An evaluation in `RUN/evaluations` is of a stage's model by the hash of its weights, whatever its folder is
called. One of other weights, such as a base model's or one in the middle of a stage, keeps its own name.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rewarm.evaluation.items import PromptItem
from rewarm.evaluation.metrics import MACRO, average, averaged, measure
from rewarm.evaluation.results import MetricRecord, Results, TaskRecord, metric_record
from rewarm.report.frame import owner
from rewarm.report.loading import Run
from rewarm.report.panel_tables import Table
from rewarm.report.wording import printable


@dataclass(frozen=True, order=True)
class _Asked:
    """What makes a task the same for two models: its name and its items."""

    name: str
    data_sha256: str
    items: int


def score_tables(run: Run) -> dict[str, Table]:
    """Return tables by title: the headlines of all tasks with their averages, and the domains of each task.

    Args:
        run: a run whose models were evaluated into its own folder.
    """
    models = _models(run)
    tasks = _tasks(results for _, results in models)
    if not tasks:
        return {}
    means = _averaged(models, tasks)
    headlines = Table(
        columns=[
            "model",
            *_titles(tasks),
            *(f"average of {len(names)}, {metric}" for metric, names in means.items()),
        ],
        rows=[
            [
                label,
                *(_headline(_find(results, asked)) for asked in tasks),
                *(_average(results, names, metric) for metric, names in means.items()),
            ]
            for label, results in models
        ],
    )
    by_domain = {
        f"{printable(asked.name)} by domain, {task.metrics[0].metric}": _domains(models, asked)
        for asked, task in tasks.items()
        if any(metric.domain is not None for metric in task.metrics)
    }
    return {"Tasks": headlines, **by_domain}


def _averaged(
    models: Sequence[tuple[str, Results]], tasks: dict[_Asked, TaskRecord]
) -> dict[str, list[str]]:
    """Return the tasks to average by what is averaged: those that every model was measured on alike."""
    return averaged(
        {
            asked.name: task.metrics[0].metric
            for asked, task in tasks.items()
            if all(_find(results, asked) is not None for _, results in models)
        }
    )


def _average(results: Results, names: Sequence[str], metric: str) -> str:
    """Write the plain mean of the headlines of some tasks."""
    headlines = [measure(results.of(name))[0] for name in names]
    return score_text(metric_record(average(headlines, metric)))


def continuations(run: Run) -> list[tuple[str, str, str]]:
    """Return the prompts that the models were given: model, prompt, and what it added."""
    return [
        (label, item.prompt, item.continuation)
        for label, results in _models(run)
        for item in results.items
        if isinstance(item, PromptItem)
    ]


def _models(run: Run) -> list[tuple[str, Results]]:
    """Return the evaluations with the names of their models: others first, then in the order of the stages."""
    places = {
        stage.result.weights_sha256: (place, folder)
        for place, (folder, stage) in enumerate(run.stages.items())
        if stage.result is not None
    }
    found: list[tuple[int, str, Results]] = []
    for results in run.evaluations:
        model = results.record.model
        place, folder = places.get(results.weights_sha256, (-1, None))
        found.append((place, model.name if folder is None else model_label(run, folder), results))
    return [
        (printable(label), results) for _, label, results in sorted(found, key=lambda each: each[0])
    ]


def model_label(run: Run, folder: str) -> str:
    """Name the model at the end of a stage: the arm that ends there, or the stage."""
    arm = owner(run, folder)
    return f"{run.stages[folder].record.name} (before)" if arm is None else arm


def _tasks(evaluations: Iterable[Results]) -> dict[_Asked, TaskRecord]:
    """Return every task that something was measured on, in the order in which they come."""
    return {
        _asked(task): task
        for results in evaluations
        for task in results.record.tasks
        if task.metrics
    }


def _asked(task: TaskRecord) -> _Asked:
    return _Asked(task.name, task.data_sha256, task.items)


def _titles(tasks: dict[_Asked, TaskRecord]) -> list[str]:
    """Name the columns; a task that was also measured on other items says on how many."""
    names = [asked.name for asked in tasks]
    return [
        f"{printable(asked.name)}, {task.metrics[0].metric}"
        + (f", {asked.items:,} items" if names.count(asked.name) > 1 else "")
        for asked, task in tasks.items()
    ]


def _find(results: Results, asked: _Asked) -> TaskRecord | None:
    return next((task for task in results.record.tasks if _asked(task) == asked), None)


def _headline(task: TaskRecord | None) -> str:
    return "-" if task is None else score_text(task.metrics[0])


def _domains(models: Sequence[tuple[str, Results]], asked: _Asked) -> Table:
    """Return a task by domain."""
    found = [(label, task) for label, results in models if (task := _find(results, asked))]
    domains = list(
        dict.fromkeys(m.domain for _, task in found for m in task.metrics if m.domain is not None)
    )
    return Table(
        columns=["model", "all", *map(printable, domains), "mean of the domains"],
        rows=[
            [
                label,
                _headline(task),
                *(_first(task, lambda m, domain=domain: m.domain == domain) for domain in domains),
                _first(task, lambda m: m.metric == MACRO),
            ]
            for label, task in found
        ],
    )


def _first(task: TaskRecord, is_wanted: Callable[[MetricRecord], bool]) -> str:
    return next((score_text(metric) for metric in task.metrics if is_wanted(metric)), "-")


def score_text(metric: MetricRecord) -> str:
    """Write a value with its standard error, if one item is not all there is."""
    error = "" if metric.standard_error is None else f" ± {metric.standard_error:.4f}"
    return f"{metric.value:.4f}{error}"
