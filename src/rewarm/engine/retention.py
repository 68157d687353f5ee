"""Which checkpoints of a stage there are, which to start from, and which to remove.

The newest is found by verifying, from the highest step down; there is no pointer file that could be wrong.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from rewarm.engine.checkpoint import TEMPORARY, Checkpoint, load
from rewarm.engine.manifest import verify
from rewarm.engine.ranks import ALONE, Ranks
from rewarm.errors import CheckpointError

_NAME = re.compile(r"step-([0-9]{8,18})")


def step_folder_name(step: int) -> str:
    """Return the name of a step's checkpoint.

    >>> step_folder_name(1200)
    'step-00001200'
    """
    return f"step-{step:08d}"


def saved_steps(checkpoints: Path) -> list[int]:
    """Return the steps that have a folder, rising; nothing is verified.

    Args:
        checkpoints: the folder of the checkpoints; it need not exist.
    """
    if not checkpoints.is_dir():
        return []
    matches = (_NAME.fullmatch(path.name) for path in checkpoints.iterdir() if path.is_dir())
    steps = {
        int(match[1]) for match in matches if match and match[0] == step_folder_name(int(match[1]))
    }
    return sorted(steps)


def newest_valid(
    checkpoints: Path, on_damaged: Callable[[Path, str], None], ranks: Ranks = ALONE
) -> Checkpoint | None:
    """Open the checkpoint with the highest step that verifies.

    Args:
        checkpoints: the folder of the checkpoints; it need not exist.
        on_damaged: called with the folder and the reason for each newer one that does not verify.
        ranks: all of them call this at once; by default one alone.

    Returns:
        None if there is none.
    """
    # What the first rank sees: on a network disk another may see less for a while, and would go another way.
    for step in reversed(ranks.gather(saved_steps(checkpoints))[0]):
        folder = checkpoints / step_folder_name(step)
        try:
            return load(folder, ranks)
        except CheckpointError as error:
            on_damaged(folder, str(error))
    return None


def sweep(checkpoints: Path) -> list[Path]:
    """Remove what an interrupted save or removal has left; call it once at start.

    Args:
        checkpoints: the folder of the checkpoints; it need not exist. No other process may be saving
            there.

    Returns:
        What was removed.
    """
    if not checkpoints.is_dir():
        return []
    leftovers = sorted(checkpoints.glob(f"{TEMPORARY}*"))
    for path in leftovers:
        shutil.rmtree(path)
    return leftovers


def prune(
    checkpoints: Path, keep: int, protected: Collection[int], *, intact: Collection[int] = ()
) -> list[Path]:
    """Remove old checkpoints: those below the `keep` newest that verify, but for the protected steps.

    Damaged ones do not count among the `keep`. Where fewer than `keep` verify, none is removed.

    Args:
        checkpoints: the folder of the checkpoints.
        keep: how many of the newest stay, at least 1.
        protected: steps that stay whatever their age, such as those that branches start from.
        intact: steps that this process has written itself, which need not be read again.

    Returns:
        What was removed.
    """
    assert keep >= 1
    steps = saved_steps(checkpoints)
    candidates = set(steps[:-keep]) - set(protected)
    valid = 0
    for step in reversed(steps):
        if valid == keep or not candidates:
            break
        candidates.discard(step)
        valid += step in intact or _verifies(checkpoints / step_folder_name(step))
    if valid < keep:
        return []
    removed = [checkpoints / step_folder_name(step) for step in sorted(candidates)]
    for folder in removed:
        # One rename takes it out of sight: half removed, it could still look like a checkpoint.
        aside = folder.with_name(f"{TEMPORARY}pruned-{folder.name}-{os.getpid()}")
        folder.rename(aside)
        shutil.rmtree(aside)
    return removed


def _verifies(folder: Path) -> bool:
    try:
        verify(folder)
    except CheckpointError:
        return False
    return True
