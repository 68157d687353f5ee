"""From a suite to runs: one campaign file for each setting and seed, and one command for each of its arms.

The commands are ordinary ones and independent of each other, so a loop, Slurm or Ray can carry them out. The
pre-training that settings have in common is a run of its own, which comes first; the others take its stage over
(`--reuse`), as they do with every stage that another run has finished.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from rewarm.runs.files import write_bytes
from rewarm.suites.stages import base
from rewarm.suites.suite import Suite
from rewarm.suites.tier import Tier


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the runs of a tier are, and what they are made from."""

    runs: Path
    """Folder of the run folders, with the campaign files in `campaigns`."""
    prepared: Path
    """Folder of the tokens, which all of them share."""
    root: Path
    """Folder that the paths of the tier's file start from."""


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """One run of a suite."""

    name: str
    """Names the campaign and the run folder."""
    suite: str | None
    """The suite; None for the pre-training that all have in common."""
    setting: str
    """The setting."""
    seed: int
    """The seed."""
    campaign: dict[str, Any]
    """The campaign, as its file has it."""

    def folder(self, place: Place) -> Path:
        """Return the run folder."""
        return place.runs / self.name

    def file(self, place: Place) -> Path:
        """Return the campaign file."""
        return place.runs / "campaigns" / f"{self.name}.toml"

    def write(self, place: Place) -> None:
        """Write the campaign file.

        Raises:
            StorageError: the disk is full or refuses to write.
        """
        file = self.file(place)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, tomli_w.dumps(self.campaign).encode())

    def arguments(self, place: Place, arm: str | None = None) -> list[str]:
        """Return the arguments of the `rewarm` command that carries it out, or one of its arms alone."""
        options = {
            "--root": place.root,
            "--runs": place.runs,
            "--prepared": place.prepared,
            "--reuse": place.runs,
        }
        return [
            "train",
            str(self.file(place)),
            *(() if arm is None else ("--arm", arm)),
            *(str(part) for option in options.items() for part in option),
        ]

    def commands(self, place: Place) -> list[str]:
        """Return whole commands for a shell, one for each arm."""
        arms = self.campaign.get("arms", (None,))
        return [shlex.join(["rewarm", *self.arguments(place, arm)]) for arm in arms]


def base_runs(tier: Tier, seeds: Iterable[int]) -> list[SuiteRun]:
    """Return the pre-training on D0, for each seed, measured on all datasets of the tier."""
    return [
        SuiteRun(
            name=f"base-{seed}",
            suite=None,
            setting="base",
            seed=seed,
            campaign=tier.campaign(
                f"base-{seed}", seed, tier.frame["data"], {"stage": [base(tier)]}
            ),
        )
        for seed in seeds
    ]


def suite_runs(suite: Suite, tier: Tier, seeds: Sequence[int]) -> list[SuiteRun]:
    """Return the runs of a suite, seed by seed, so that the first seed is whole before the next one begins."""
    runs: list[SuiteRun] = []
    for seed in seeds:
        for name, setting in suite.settings(tier).items():
            run_name = f"{suite.name}-{name}-{seed}"
            rest = {**setting.changes, "stage": list(setting.stages), "arms": dict(setting.arms)}
            runs.append(
                SuiteRun(
                    name=run_name,
                    suite=suite.name,
                    setting=name,
                    seed=seed,
                    campaign=tier.campaign(run_name, seed, setting.datasets, rest),
                )
            )
    return runs
