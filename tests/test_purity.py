"""What needs no torch loads none: the pure packages, `rewarm --help` and `rewarm plan`, in new processes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = ("schedules", "replay", "campaign", "plan", "runs", "report", "cli")
HEAVY = ("torch", "transformers", "tokenizers", "safetensors")

# Every module below a package, so that nothing hides behind a light `__init__`.
IMPORT = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(package, "__path__", ()), sys.argv[1] + "."):
    importlib.import_module(module.name)
print(*sys.modules)
"""
COMMAND = """
import sys
from rewarm.cli import main
code = 0
try:
    main()
except SystemExit as ended:
    code = ended.code
print("\\n", *sys.modules)
sys.exit(code)
"""


def loaded(script: str, *arguments: str) -> set[str]:
    """Return the heavy packages that a script has loaded at its end; it prints all modules last."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    modules = done.stdout.splitlines()[-1].split()
    assert "sys" in modules
    return set(HEAVY) & set(modules)


@pytest.mark.parametrize("package", PURE)
def test_a_pure_package_loads_nothing_heavy(package):
    assert loaded(IMPORT, f"rewarm.{package}") == set()


def test_help_loads_nothing_heavy():
    assert loaded(COMMAND, "--help") == set()


@pytest.mark.parametrize("spread", [(), ("--ranks", "1656", "--tp", "6", "--pp", "4")])
def test_the_plan_of_the_largest_model_loads_no_torch(spread):
    assert not loaded(COMMAND, "plan", "campaigns/paper-pile-slimpajama-9.6b.toml", *spread) & {
        "torch",
        "transformers",
    }


def test_the_check_notices_a_heavy_import():
    assert loaded(IMPORT, "tokenizers") == {"tokenizers"}
