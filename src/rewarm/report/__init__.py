"""What a run did, for people: tables, figures and one page that opens without a network.

Everything here reads run folders alone (`rewarm.runs`); nothing imports torch or needs the model.
"""

from rewarm.report.page import write_report
from rewarm.report.tables import (
    arm_rows,
    markdown,
    read_run,
    replay_audit,
    terminal_table,
    verdict,
)

__all__ = [
    "arm_rows",
    "markdown",
    "read_run",
    "replay_audit",
    "terminal_table",
    "verdict",
    "write_report",
]
