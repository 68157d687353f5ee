"""Who works in a run folder: one process with all of it, or several with different arms.

Those with different arms share the folder's lock. Each stage is held by one of them, and the others wait for
it; so is the writing of the records of the whole run, which takes a moment.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rewarm.runs.folder import RunFolder
from rewarm.storage import held, held_in_turn, storage_errors

_MOMENT_SECONDS = 0.05


@contextmanager
def locked(run: RunFolder, *, shared: bool = False) -> Generator[None]:
    """Hold the run folder; made if it does not exist.

    Args:
        run: the folder.
        shared: hold it together with other processes that share it, each for arms of its own.

    Raises:
        LockedError: another process holds it.
        StorageError: the file system has no locks, or refuses to write.
    """
    with storage_errors(run.path, 0):
        run.path.mkdir(parents=True, exist_ok=True)
    with held(
        run.lock,
        "is at work here, and two at once would mix their records. Wait for it, end it, or give this "
        "campaign another name. (Several may work here if each is given arms with --arm.)",
        shared=shared,
    ):
        yield


@contextmanager
def records_locked(run: RunFolder) -> Generator[None]:
    """Hold the records of the whole run (plan, resolved, exit, …) while they are written.

    Raises:
        StorageError: the file system has no locks, or refuses to write.
    """
    with _in_turn(run, "records", lambda _: time.sleep(_MOMENT_SECONDS)):
        yield


@contextmanager
def stage_locked(run: RunFolder, stage: str, wait: Callable[[str], None]) -> Generator[None]:
    """Hold a stage of a run.

    Args:
        run: the run.
        stage: folder of the stage.
        wait: called with who holds it, as long as another process does; it takes some time, or raises.

    Raises:
        StorageError: the file system has no locks, or refuses to write.
    """
    with _in_turn(run, stage, wait):
        yield


@contextmanager
def _in_turn(run: RunFolder, what: str, wait: Callable[[str], None]) -> Generator[None]:
    path = run.locks / f"{what}.lock"
    with storage_errors(path.parent, 0):
        path.parent.mkdir(parents=True, exist_ok=True)
    with held_in_turn(path, wait):
        yield
