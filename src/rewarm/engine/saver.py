"""Saving while training goes on: a copy is taken at once, and a thread writes it down.

At most one checkpoint is on its way. Its outcome is known when the next one begins, or when the stage ends or
stops: then an error of the thread is raised, on every rank alike.
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rewarm.engine.checkpoint import Groups, save
from rewarm.engine.ranks import Ranks
from rewarm.tensors.held import TensorPart


class Saver:
    """Writes the checkpoints of one stage."""

    def __init__(self, ranks: Ranks, *, in_background: bool) -> None:
        """Make a saver.

        Args:
            ranks: all of them save at the same steps.
            in_background: whether to go on while the files are written.
        """
        self._ranks = ranks
        self._in_background = in_background
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(
        self, folder: Path, groups: Groups, state: Mapping[str, Any], after: Callable[[], None]
    ) -> None:
        """Save a checkpoint, or begin to.

        Args:
            folder: where it goes.
            groups: the parts that this rank writes.
            state: everything else.
            after: called on the first rank when the checkpoint is committed.

        Raises:
            StorageError: this one could not be written, or the one before.
            MismatchError: a valid checkpoint with other content has this name.
        """
        self.finish()

        def work(groups: Groups) -> None:
            save(folder, groups, state, self._ranks)
            self._ranks.first_alone(after, self._ranks.saving)

        if not self._in_background:
            work(groups)
            return
        # There may be no memory for them on one rank, and the others would wait for it.
        copies = self._ranks.together(
            lambda: {group: _copied(parts) for group, parts in groups.items()}, self._ranks.words
        )

        def caught() -> None:
            try:
                work(copies)
            except BaseException as error:  # raised again by `finish`
                self._error = error

        self._thread = threading.Thread(target=caught, name="saver", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until the last checkpoint is committed.

        Raises:
            StorageError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error


def _copied(parts: Mapping[str, TensorPart]) -> dict[str, TensorPart]:
    """Copy tensors to the CPU, so that training may change its own."""
    return {
        name: TensorPart(
            tensor=part.tensor.to("cpu", copy=True), offset=part.offset, whole=part.whole
        )
        for name, part in parts.items()
    }
