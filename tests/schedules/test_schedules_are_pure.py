"""`rewarm.schedules` loads neither torch nor numpy, in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import rewarm

CHECK = (
    "import sys; heavy = {{'torch', 'numpy'}}; import {module}; assert not heavy & set(sys.modules)"
)


def run(module: str) -> subprocess.CompletedProcess[str]:
    source = Path(rewarm.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK.format(module=module)],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_schedules_import_nothing_heavy():
    result = run("rewarm.schedules")
    assert (result.returncode, result.stderr) == (0, "")


def test_the_check_notices_a_heavy_import():
    assert "AssertionError" in run("numpy").stderr
