"""The command itself: signals, errors, exit codes."""

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

import typer

from rewarm.cli.common import app
from rewarm.errors import InterruptedRunError, RankLostError, RewarmError

if TYPE_CHECKING:
    pass


def main() -> None:
    """Run the command; end with the exit code that the error has."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopped)
    try:
        app()
    except RewarmError as error:
        # A stop that was asked for is no error.
        said = error if isinstance(error, InterruptedRunError) else f"error: {error}"
        typer.echo(said, err=True)
        if isinstance(error, RankLostError) or os.environ.get("WORLD_SIZE", "1") != "1":
            # Threads may be waiting for another rank, and would be waited for.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(error.exit_code)
        sys.exit(error.exit_code)


def _stopped(number: int, _frame: FrameType | None) -> None:
    """Stop where no state has to be saved first; training handles the signals itself."""
    name = signal.Signals(number).name
    code = 130 if number == signal.SIGINT else 75
    raise InterruptedRunError(f"stopped by {name}; the same command goes on from there", code)
