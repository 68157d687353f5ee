"""The `rewarm` command: one short function for each verb.

Results go to standard output, messages and progress to standard error. Each verb imports what it needs
inside, so that help and mistakes are answered at once.
"""

# The verbs stand in the help in this order.
from rewarm.cli import planning, data, training, models, folders, suites  # noqa: F401, I001
from rewarm.cli.command import main
from rewarm.cli.common import app

__all__ = ["app", "main"]
