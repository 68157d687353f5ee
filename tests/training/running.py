"""Running a campaign in a test, and comparing what two runs left behind."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from rewarm.campaign import LoadedCampaign, load_campaign
from rewarm.data.datasets import open_campaign
from rewarm.engine.ranks import ALONE, Ranks
from rewarm.engine.world import current_world
from rewarm.plan import Plan, make_plan
from rewarm.runs.folder import RunFolder
from rewarm.training.campaign import train_campaign
from rewarm.training.job import ExistingWork


def run(
    file: Path,
    prepared: Path,
    folder: Path,
    *settings: str,
    allow_changes: bool = False,
    ranks: Ranks = ALONE,
    reuse: Path | None = None,
    quiet: bool = True,
    arms: list[str] | None = None,
) -> Plan:
    """Carry a campaign out in this process, on the CPU, and return its plan."""
    return carry_out(
        load_campaign(file, settings),
        prepared,
        folder,
        existing=ExistingWork(allow_changes=allow_changes, reuse=reuse),
        ranks=ranks,
        quiet=quiet,
        arms=arms,
    )


def carry_out(
    loaded: LoadedCampaign,
    prepared: Path,
    folder: Path,
    *,
    existing: ExistingWork = ExistingWork(),  # noqa: B008  (it is frozen)
    ranks: Ranks = ALONE,
    quiet: bool = True,
    arms: list[str] | None = None,
) -> Plan:
    """Do the same with a campaign that is loaded."""
    plan = make_plan(loaded)
    data = open_campaign(loaded.campaign, loaded.root, prepared)
    train_campaign(
        plan,
        RunFolder(folder),
        data,
        world=replace(current_world("cpu", 1), ranks=ranks),
        console=Console(stderr=True, quiet=quiet),
        existing=existing,
        arms=arms,
    )
    return plan


def traces(folder: Path) -> dict[str, bytes]:
    """Return what must be equal between two runs: metrics, evaluations, samples, weights."""
    found: dict[str, bytes] = {}
    for name in ("metrics.jsonl", "evals.jsonl", "samples.jsonl"):
        for path in sorted(folder.glob(f"stages/*/{name}")):
            found[str(path.relative_to(folder))] = path.read_bytes()
    for path in sorted(folder.glob("stages/*/checkpoints/*/*.safetensors")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    assert found
    return found
