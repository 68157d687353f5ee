"""What needs no torch loads none: the pure packages, `rewarm --help` and `rewarm plan`, in new processes.

numpy takes longer to load than a plan to make, so `rewarm plan` does without it too.
"""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from rewarm.campaign.starters import starter_text

ROOT = Path(__file__).parent.parent
PURE = ("schedules", "replay", "campaign", "plan", "runs", "report", "tensors.blocks", "cli")
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
HUB = "huggingface_hub"
PLAN = (
    """
import os, sys
os.environ |= {"HF_HUB_CACHE": sys.argv[1], "HF_ENDPOINT": "http://127.0.0.1:9"}
sys.argv[1] = "plan"
"""
    + COMMAND
)


def loaded(script: str, *arguments: str, of: tuple[str, ...] = HEAVY) -> set[str]:
    """Return which of some packages a script has loaded at its end; it prints all modules last."""
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
    return set(of) & set(modules)


@pytest.mark.parametrize("package", PURE)
def test_a_pure_package_loads_nothing_heavy(package):
    assert loaded(IMPORT, f"rewarm.{package}") == set()


def test_help_loads_nothing_heavy():
    assert loaded(COMMAND, "--help", of=(*HEAVY, "numpy")) == set()


@pytest.mark.parametrize("spread", [(), ("--ranks", "1656", "--tp", "6", "--pp", "4")])
def test_the_plan_of_the_largest_model_loads_nothing_heavy(spread):
    command = ("plan", "campaigns/paper-pile-slimpajama-9.6b.toml", *spread)
    assert loaded(COMMAND, *command, of=(*HEAVY, "numpy")) == set()


def test_what_the_plan_asks_of_prepared_tokens_loads_nothing_heavy():
    assert loaded(IMPORT, "rewarm.data.prepared", of=(*HEAVY, "numpy")) == set()


@pytest.mark.parametrize(("name", "expected"), [("base", set()), ("maker/tiny", {HUB})])
def test_the_client_of_the_hub_is_loaded_for_a_model_of_the_hub_alone(tmp_path, name, expected):
    """The address leads nowhere: a plan that asked the hub would fail or warn."""
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9}
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(size))
    (tmp_path / "base" / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    changes = ("--root", str(tmp_path), "--set", f"model.from={name}")
    file = tmp_path / "campaign.toml"
    file.write_text(starter_text("hugging-face"))
    of = (HUB, "torch", "transformers")
    assert loaded(PLAN, str(tmp_path / "cache"), str(file), *changes, of=of) == expected


def test_the_check_notices_a_heavy_import():
    assert loaded(IMPORT, "tokenizers") == {"tokenizers"}
