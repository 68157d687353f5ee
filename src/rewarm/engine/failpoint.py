"""Named places at which a test can kill the process, as a power cut would.

Nothing happens unless the environment variable REWARM_FAILPOINT holds the name of the place.
"""

import os
from typing import Literal

Place = Literal["in_step", "between_files", "after_tensors", "after_manifest", "after_rename"]
"""The beginning of a training step; and steps of saving a checkpoint: one file of tensors written, all of
them, the manifest written, the folder renamed."""

_VARIABLE = "REWARM_FAILPOINT"
_KILLED = 137


def failpoint(place: Place) -> None:
    """End the process here, without any clean-up, if the environment asks for it.

    Args:
        place: the name of the calling place.
    """
    if os.environ.get(_VARIABLE) == place:
        os._exit(_KILLED)
