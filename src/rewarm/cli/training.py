"""Verbs that train: train, quickstart, anneal."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.common import (
    AllowChanges,
    CampaignFile,
    Device,
    NumRanks,
    Pipeline,
    Prepared,
    Restarts,
    Root,
    Runs,
    Settings,
    Shard,
    Tensor,
    Threads,
    Workers,
    app,
    load,
    new_console,
    prepared_folder,
    with_sides,
)
from rewarm.cli.data import prepare_tokens

if TYPE_CHECKING:
    from rewarm.campaign import LoadedCampaign
    from rewarm.engine.ranks import Ranks
    from rewarm.runs.folder import RunFolder
    from rewarm.training.job import ExistingWork


@app.command()
def train(
    file: CampaignFile,
    settings: Settings = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Carry out this arm alone; other processes may have others."
        ),
    ] = None,
    root: Root = None,
    runs: Runs = Path("runs"),
    prepared: Prepared = None,
    device: Device = None,
    threads: Threads = None,
    workers: Workers = 2,
    ranks: NumRanks = None,
    restarts: Restarts = 3,
    tp: Tensor = None,
    pp: Pipeline = None,
    shard: Shard = None,
    allow_changes: AllowChanges = False,
    require_bitwise: Annotated[
        bool,
        typer.Option("--require-bitwise", help="Refuse to go on where the last bits would differ."),
    ] = False,
    reuse: Annotated[
        Path | None,
        typer.Option(
            metavar="RUNS", help="Folder of runs; stages they have finished are not trained again."
        ),
    ] = None,
) -> None:
    """Carry a campaign out or go on with it, and write the report."""
    from rewarm.runs.folder import RunFolder
    from rewarm.training.anneal import with_recorded_annealings
    from rewarm.training.hub_commits import with_recorded_commits
    from rewarm.training.job import ExistingWork

    several = ranks is not None or "WORLD_SIZE" in os.environ
    loaded = load(file, with_sides(settings, tp, pp, shard, several=several), root)
    run = RunFolder(runs / loaded.campaign.name)
    loaded = with_recorded_annealings(with_recorded_commits(loaded, run), run)
    if ranks is not None and not _is_watched():
        _supervise(loaded, run, ranks, restarts)
    _carry_out(
        loaded,
        run,
        prepared,
        device,
        threads,
        workers,
        ExistingWork(allow_changes=allow_changes, require_bitwise=require_bitwise, reuse=reuse),
        list(dict.fromkeys(arm)) if arm else None,
    )


@app.command()
def quickstart(
    runs: Runs = Path("runs"), prepared: Prepared = None, threads: Threads = None
) -> None:
    """See the whole method in a few minutes on a CPU, no download."""
    from importlib.resources import as_file, files

    with as_file(files("rewarm.campaign.starters") / "quickstart.toml") as file:
        train(file, runs=runs, prepared=prepared, device="cpu", threads=threads)


@app.command()
def anneal(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    stage: Annotated[str, typer.Option(help="Stage to branch off from.")],
    at: Annotated[str, typer.Option(help="Where in it: a percentage, steps or tokens.")],
    budget: Annotated[str, typer.Option(help="Length; a percentage is of the stage.")] = "14%",
    min_lr: Annotated[
        float | None, typer.Option(help="End value.  [default: a tenth of the peak]")
    ] = None,
    shape: Annotated[
        str, typer.Option(help="exponential, linear, cosine or 1-sqrt.")
    ] = "exponential",
    arm: Annotated[str | None, typer.Option(help="Arm, if the stage differs between arms.")] = None,
    prepared: Prepared = None,
    device: Device = None,
    threads: Threads = None,
    ranks: NumRanks = None,
    restarts: Restarts = 3,
) -> None:
    """Branch an annealed copy off a checkpoint of a run."""
    from rewarm.runs.folder import RunFolder
    from rewarm.training.anneal import find_annealing, record_annealing
    from rewarm.training.job import ExistingWork

    folder = RunFolder(run)
    annealing = find_annealing(
        folder, arm=arm, stage=stage, at=at, budget=budget, min_lr=min_lr, shape=shape
    )
    loaded = record_annealing(folder, annealing)  # which the ranks then find recorded
    if ranks is not None and not _is_watched():
        _supervise(loaded, folder, ranks, restarts)
    _carry_out(loaded, folder, prepared, device, threads, 1, ExistingWork())


def _carry_out(
    loaded: "LoadedCampaign",
    run: "RunFolder",
    prepared: Path | None,
    device: str | None,
    threads: int | None,
    workers: int,
    existing: "ExistingWork",
    arms: list[str] | None = None,
) -> None:
    """Prepare, train what is left, report, and print the table; of several ranks all do it together."""
    from rewarm.data.datasets import open_campaign
    from rewarm.engine.world import current_world
    from rewarm.errors import GateError, NumericsError
    from rewarm.plan import make_plan
    from rewarm.plan.choice import choose_layouts
    from rewarm.report import read_run, terminal_table, verdict
    from rewarm.runs.overlap import overlap_text
    from rewarm.training.campaign import finished_text, is_finished, train_campaign
    from rewarm.training.gate import check_gate, renew_gate
    from rewarm.training.supervisor import end_with_supervisor

    messages, results = new_console(), new_console(error=False)
    made = make_plan(loaded)
    end_with_supervisor()
    world = current_world(device, threads, timeout_seconds=loaded.campaign.parallel.timeout)
    ranks = world.ranks
    if ranks.gather(is_finished(made, run, arms))[0]:
        done = finished_text(made, run, arms)
        messages.print(f"{run.path} is {done}; nothing is left to do", markup=False, soft_wrap=True)
        ranks.first_alone(lambda: renew_gate(made, run))
    else:
        choose_layouts(made, ranks.size)  # a mistake in it is found before any work
        here, folder = _download_once(loaded, ranks), prepared_folder(loaded, prepared)
        made = make_plan(here)  # anew: the size of a model is known once it is here
        choose_layouts(made, ranks.size)
        ranks.first_alone(lambda: prepare_tokens(here, folder, workers))
        data = open_campaign(here.campaign, here.root, folder, here.commits)
        messages.print(f"note: {overlap_text(data.overlap)}", markup=False, soft_wrap=True)
        try:
            train_campaign(
                made,
                run,
                data,
                world=world,
                console=messages,
                existing=existing,
                arms=arms,
            )
        except (GateError, NumericsError):  # of some arms; the report shows the others too
            ranks.first_alone(lambda: _write_report(run))
            raise
        ranks.first_alone(lambda: _write_report(run))
    ranks.leave()
    finished = read_run(run.path)
    results.print(terminal_table(finished))
    results.print(verdict(finished), markup=False, soft_wrap=True)
    results.print(f"report: {run.report}")
    check_gate(run, arms=arms)


def _download_once(loaded: "LoadedCampaign", ranks: "Ranks") -> "LoadedCampaign":
    """Download what is on the hub on the first rank; all of them go on with its commits."""
    from rewarm.models.hub import check_here, download

    downloaded = ranks.first_alone(lambda: dict(download(loaded).commits))
    here = replace(loaded, commits=ranks.gather(downloaded)[0] or {})
    ranks.together(lambda: check_here(here), ranks.words)
    return here


def _is_watched() -> bool:
    """Return whether this process is a rank that a supervisor has started.

    Raises:
        CampaignError: it is a rank that something else has started, which would not be watched.
    """
    from rewarm.errors import CampaignError

    if "REWARM_STORE" in os.environ:
        return True
    if "WORLD_SIZE" in os.environ or "RANK" in os.environ:
        raise CampaignError(
            "--ranks starts ranks itself, but RANK or WORLD_SIZE is set, so this is a rank of torchrun or a "
            "scheduler already. Leave --ranks out, or unset both."
        )
    return False


def _supervise(loaded: "LoadedCampaign", run: "RunFolder", ranks: int, restarts: int) -> None:
    """Start this very command once for each rank, and end as they end."""
    from rewarm.plan import make_plan
    from rewarm.plan.choice import choose_layouts
    from rewarm.training.supervisor import Supervised, supervise

    choose_layouts(make_plan(loaded), ranks)  # a mistake in it is said once, and not by every rank
    code = supervise(
        Supervised(
            command=[sys.executable, "-m", "rewarm", *sys.argv[1:]],
            ranks=ranks,
            restarts=restarts,
            run=run,
            say=lambda message: typer.echo(message, err=True),
        )
    )
    sys.exit(code)


def _write_report(run: "RunFolder") -> None:
    from rewarm.report import write_report
    from rewarm.runs.lock import records_locked

    with records_locked(run):
        write_report([run.path], run.report)
