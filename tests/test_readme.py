"""The README is true: its console blocks are run, its stated output is compared."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def console_commands() -> list[tuple[str, list[str]]]:
    """Return each command of the README's console blocks with the lines of output beneath it."""
    commands: list[tuple[str, list[str]]] = []
    for block in BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                commands.append((line[2:], []))
            elif line.strip():
                commands[-1][1].append(line)
    return commands


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_every_console_command_does_what_the_readme_says(tmp_path):
    commands = console_commands()
    assert len(commands) >= 4
    for command, expected in commands:
        program, *arguments = shlex.split(command)
        if program == "make":
            assert arguments[0] in make_targets()
            continue
        assert program == "rewarm"
        done = subprocess.run(
            [sys.executable, "-m", "rewarm", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={"COLUMNS": "200", "PATH": ""},
        )
        assert done.returncode == 0, done.stderr
        for line in expected:
            assert line in done.stdout


def test_the_comparison_can_fail():
    """A line that is not printed is noticed."""
    _, expected = console_commands()[1]
    with pytest.raises(AssertionError):
        assert all(line in "nothing of the kind" for line in expected)


def test_ci_runs_the_test_command_of_the_readme():
    assert "$ make test" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\nmake test\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
