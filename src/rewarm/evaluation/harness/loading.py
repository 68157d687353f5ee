"""Tasks of lm-evaluation-harness by name: its own, and the paper's lists beside this module."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import datasets
from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]  # an extra
from lm_eval.tasks._index import Entry, Kind  # pyright: ignore[reportMissingImports]

from rewarm.errors import CampaignError, DataError, RewarmError
from rewarm.evaluation.harness.task import STOCK, HarnessTask
from rewarm.evaluation.results import Kind as TaskKind

OWN = Path(__file__).parent / "tasks"
"""The groups `paper_en` and `paper_de`, and what they vary."""
_FOLDERS = (
    *("arc", "hellaswag", "mathqa", "mmlu/default", "nq_open", "okapi", "openbookqa", "piqa"),
    *("super_glue/boolq", "triviaqa", "truthfulqa", "winogrande"),
)
"""Where the stock tasks of the paper are: to read all 14,000 tasks takes ten seconds."""
_ASKED = "what rewarm asks"


@dataclass(frozen=True, kw_only=True)
class AskedTask:
    """A task as it is reported."""

    name: str
    """Its name, or that of a group whose members are averaged by their sizes."""
    kind: TaskKind
    """What is asked."""
    members: Sequence[HarnessTask]
    """One task of the harness, or several that are asked alike."""


def load_tasks(names: Sequence[str], data: Path | None) -> list[AskedTask]:
    """Load tasks with their data.

    Args:
        names: of tasks, groups or tags of the harness, or of those in `OWN`.
        data: folder of local data, see `HarnessTask`; if None the library `datasets` gets them.

    Raises:
        CampaignError: there is no such task, it is no list of questions, or it is asked for twice.
        DataError: its data are missing or not what it needs.
    """
    manager = _manager(names)
    others = [name for name in names if manager.task_index[name].kind is Kind.PY_TASK]
    for name in others:
        if manager.task_index[name].yaml_path.parent != OWN:
            raise CampaignError(
                f"{name}: is a program of the harness, not a list of questions, so it cannot be put to a model "
                "here. Leave it out."
            )
    # A group hands the keys that are not of groups down to all tasks below it.
    keys = {"class": HarnessTask} | ({} if data is None else {"data": data})
    asked = {"group": _ASKED, "task": [*names], **keys}
    manager.task_index[_ASKED] = Entry(name=_ASKED, kind=Kind.GROUP, yaml_path=None, cfg=asked)
    with quiet():
        try:
            loaded = manager.load(_ASKED)
        except RewarmError:
            raise
        except Exception as error:
            # What the harness and the library `datasets` raise for data that are missing or not as expected
            # is of no common kind.
            raise DataError(
                f"{', '.join(names)}: the harness cannot load this ({type(error).__name__}: {error}). "
                "Without --data the tasks' data come from the hub of Hugging Face; with it from files there, "
                "whose keys must be those of the hub."
            ) from error
    return _reported(loaded["tasks"], loaded["groups"])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the harness's notes and progress bars from the terminal; its errors are shown."""
    logger = logging.getLogger("lm_eval")
    level, had_bars = logger.level, datasets.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if not had_bars:
            datasets.enable_progress_bars()


def _manager(names: Sequence[str]) -> TaskManager:
    """Return the tasks: those of the paper, or all where that is not enough."""
    for name in names:
        if names.count(name) > 1:
            raise CampaignError(f"--harness {name} is given twice; results go by names")
    with quiet():
        manager = TaskManager(
            include_path=[OWN, *(STOCK / folder for folder in _FOLDERS)], include_defaults=False
        )
        if set(names) <= set(manager.task_index):
            return manager
        manager = TaskManager(include_path=OWN)
    for name in names:
        if name not in manager.task_index:
            near = get_close_matches(name, manager.task_index)
            hint = f"; near it are {', '.join(near)}" if near else ""
            raise CampaignError(
                f"--harness {name}: lm-evaluation-harness has no task, group or tag of that name, and rewarm "
                f"has none{hint}. `lm-eval ls tasks` lists the harness's; rewarm's groups are paper_en and "
                "paper_de."
            )
    return manager


def _reported(tasks: dict[str, HarnessTask], groups: dict[str, Any]) -> list[AskedTask]:
    """Return the tasks as they are reported, in the order of their members."""
    owner: dict[str, str] = {}
    for group in sorted(groups.values(), key=lambda each: -len(each.get_all_tasks())):
        members = [each.task_name for each in group.get_all_tasks()]
        alike = {(_kind(tasks[each]), tasks[each].shots) for each in members}
        by_size = [each.weight_by_size for each in group.aggregate_metric_list or ()]
        if by_size and all(by_size) and len(alike) == 1:
            for each in members:
                owner.setdefault(each, group.name)
    by_name: dict[str, list[HarnessTask]] = {}
    for name, task in tasks.items():
        by_name.setdefault(owner.get(name, name), []).append(task)
    return [
        AskedTask(name=name, kind=_kind(members[0]), members=members)
        for name, members in by_name.items()
    ]


def _kind(task: HarnessTask) -> TaskKind:
    """Return what a task asks, in our words."""
    if len(task._filters) > 1:
        raise CampaignError(
            f"{task.task_name}: reads each answer in {len(task._filters)} ways, and here an item has one "
            "result. Leave it out, or use the harness's own command."
        )
    is_plain = task.config.process_results is None and not task.multiple_target
    match task.OUTPUT_TYPE:
        case "multiple_choice" if is_plain:
            return "questions"
        case "generate_until" if task.config.process_results is None:
            return "generate"
        case "loglikelihood_rolling":
            return "documents"
        case _:
            return "shares"
