"""One process at a time in a run folder."""

from collections.abc import Generator
from contextlib import contextmanager

from rewarm.runs.folder import RunFolder
from rewarm.storage import held, storage_errors


@contextmanager
def locked(run: RunFolder) -> Generator[None]:
    """Hold the run folder; made if it does not exist.

    Raises:
        LockedError: another process holds it.
        StorageError: the file system has no locks, or refuses to write.
    """
    with storage_errors(run.path, 0):
        run.path.mkdir(parents=True, exist_ok=True)
    with held(
        run.lock,
        "is at work here, and two at once would mix their records. Wait for it, end it, or give this "
        "campaign another name.",
    ):
        yield
