"""The errors that rewarm raises on purpose, and the exit code of each.

A message says what is wrong (with the value, the file and the line), why it matters and what to do.
Anything else that escapes is a bug and ends with exit code 1 and a traceback.
"""


class RewarmError(ValueError):
    """Base of every error that a user can cause and mend."""

    exit_code = 1


class ScheduleError(RewarmError):
    """A learning-rate schedule that makes no sense, such as a negative length."""

    exit_code = 2


class CampaignError(RewarmError):
    """A mistake in a campaign file, in an override or in the usage of a command."""

    exit_code = 2


class DataError(RewarmError):
    """Text or tokens that cannot be used: broken rows, a damaged or missing token file."""

    exit_code = 3


class CheckpointError(RewarmError):
    """A checkpoint or a model folder that is damaged, missing or not trustworthy."""

    exit_code = 4


class MismatchError(RewarmError):
    """Work that exists was made by something else: other data, tokenizer or campaign."""

    exit_code = 5


class NumericsError(RewarmError):
    """A loss or a gradient that is not finite; the weights were not touched."""

    exit_code = 6


class StorageError(RewarmError):
    """The disk is full or refuses to write; what was committed before is intact."""

    exit_code = 7


class LockedError(RewarmError):
    """Another process holds the run folder."""

    exit_code = 8


class RankLostError(RewarmError):
    """Another rank did not answer; the last checkpoint is good."""

    exit_code = 9


class GateError(RewarmError):
    """A model that loses more than the campaign's gate allows, or of which that is not measured."""

    exit_code = 10


class InterruptedRunError(RewarmError):
    """A signal asked to stop; the work was committed first.

    The exit code depends on the signal: 130 after SIGINT, 75 ("try again later") after SIGTERM.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
