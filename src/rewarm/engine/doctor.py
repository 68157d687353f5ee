"""What this machine has for training, and what is missing."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from packaging.requirements import Requirement

from rewarm import __version__

_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "safetensors")


def versions() -> dict[str, str]:
    """Return the versions of Python, of rewarm and of the libraries that decide what is computed."""
    found = {"python": platform.python_version(), "rewarm": __version__}
    return found | {name: version(name) for name in _LIBRARIES}


def machine_facts(folder: Path) -> dict[str, str]:
    """Return what decides speed and bits: processor, memory, disk, torch, devices.

    Args:
        folder: whose disk is meant.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1e9:.1f} GB",
        "free disk": f"{shutil.disk_usage(folder).free / 1e9:.1f} GB",
        "torch": torch.__version__,
        "CPU instructions": torch.backends.cpu.get_cpu_capability(),
        "CPU threads": str(torch.get_num_threads()),
        "git": shutil.which("git") or "not found (the report will not name the commit)",
    }
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            facts[f"GPU {number}"] = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
    else:
        facts["GPU"] = "none: training runs on the CPU"
    return facts


def missing_packages() -> list[str]:
    """Return each requirement of rewarm that is not met, with what is installed instead."""
    problems: list[str] = []
    for text in requires("rewarm") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            problems.append(f"{requirement} is not installed")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            problems.append(f"{requirement} is required, {installed} is installed")
    return problems
