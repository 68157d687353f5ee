"""One process at a time in a run folder."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager

from rewarm.errors import LockedError
from rewarm.runs.folder import RunFolder


@contextmanager
def locked(run: RunFolder) -> Generator[None]:
    """Hold the run folder; the operating system lets go when the process ends, however it ends.

    Raises:
        LockedError: another process holds it.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    with run.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LockedError(
                f"{run.path}: {holder} is at work here, and two at once would mix their records. "
                "Wait for it, end it, or give this campaign another name."
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
