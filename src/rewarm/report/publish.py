"""Handing the records of a run on to a program that draws curves, at once or while the run is at work.

Training knows nothing of it: what is handed on is read from the run folder. So nothing that fails there can
stop training, and what was missed is handed on later.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import chain

from rewarm.errors import CampaignError
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import RunRecord
from rewarm.runs.series import Point, points_of

Log = Callable[[int, Mapping[str, float]], None]
"""Takes the numbers of a step."""
OpenLog = Callable[[str], AbstractContextManager[Log]]
"""Opens the log of a stage, by the name of its folder."""


def publish(run: RunFolder, open_log: OpenLog, *, every_seconds: float | None = None) -> int:
    """Hand on every step of every stage, in the order of the plan, each step once and whole.

    Args:
        run: the run; it is only read.
        open_log: opens a log; a stage without records has none.
        every_seconds: how often to look for more, until training has ended; None hands on what is there.

    Returns:
        How many steps were handed on.

    Raises:
        CampaignError: the folder is not a run.
        CheckpointError: a record is damaged.
    """
    if not run.plan.exists():
        raise CampaignError(f"{run.path}: is not a run folder ({run.plan.name} is missing)")
    steps = 0
    for stage in read_record(run.plan, RunRecord).stages:
        points = _points(run, stage.folder, every_seconds)
        first = next(points, None)
        if first is None:
            continue
        with open_log(stage.folder) as log:
            for step, values in chain([first], points):
                log(step, values)
                steps += 1
    return steps


def _points(run: RunFolder, stage: str, every_seconds: float | None) -> Iterator[Point]:
    """Yield the points of a stage as they come, until no more will come."""
    folder, last = run.stage(stage), -1
    while True:
        # Looked at before the records are read, so that none is written in between.
        is_over = every_seconds is None or folder.result.exists() or run.exit.exists()
        found = points_of(folder, after=last)
        # The last step may lack a validation that is being made.
        complete = found if is_over else found[:-1]
        yield from complete
        last = complete[-1][0] if complete else last
        if is_over or every_seconds is None:
            return
        time.sleep(every_seconds)
