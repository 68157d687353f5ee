"""Verbs for what is there: report, gate, publish, inspect, verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.common import app
from rewarm.errors import RewarmError

if TYPE_CHECKING:
    pass


@app.command()
def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="One run folder or several.")
    ],
    out: Annotated[Path | None, typer.Option(help="The page.  [default: RUN/report.html]")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the table of arms as Markdown too.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show it on this machine while the runs are at work.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --serve; 0 for any.")] = 8765,
) -> None:
    """Write the report: one HTML page that needs no network; or show it live."""
    if serve:
        _serve(runs, port)
        return
    from rewarm.report import markdown as as_markdown
    from rewarm.report import read_run, write_report
    from rewarm.runs.files import write_bytes

    page = write_report(runs, out or runs[0] / "report.html")
    typer.echo(f"wrote {page}")
    if markdown is not None:
        tables = [as_markdown(read_run(run)) for run in runs]
        write_bytes(markdown, "\n".join(["# Results\n", *tables]).encode())
        typer.echo(f"wrote {markdown}")


def _serve(runs: list[Path], port: int) -> None:
    """Show the report until the user has seen enough."""
    from rewarm.report.serving import ReportServer

    with ReportServer(runs, port, refresh_seconds=15) as server:
        typer.echo(
            f"http://127.0.0.1:{server.server_port}/ shows the report; Ctrl-C ends it", err=True
        )
        server.serve_forever()


@app.command()
def gate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, finished or at work.")],
    arms: Annotated[
        list[str] | None, typer.Option("--arm", help="An arm to look at.  [default: all gated]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say whether a run holds the limits of its campaign's [gate]; exit code 10 if not."""
    from rewarm.errors import CampaignError, GateError
    from rewarm.evaluation.gate import findings_json, judge
    from rewarm.runs.folder import RunFolder

    folder = RunFolder(run)
    if not folder.plan.exists():
        raise CampaignError(f"{run}: is not a run folder ({folder.plan.name} is missing)")
    judgement = judge(folder, arms)
    if judgement is None:
        raise CampaignError(
            f"{run}: its campaign has no gate, so there is nothing to hold it against. Write a [gate] into the "
            "campaign file and start `rewarm train` with it again: what is finished is kept."
        )
    if as_json:
        typer.echo(findings_json(judgement))
    else:
        for finding in judgement.findings:
            typer.echo(f"{finding.state:14}{finding.message}")
    if not judgement.is_held:
        raise GateError(f"{run}: the gate is not held: {judgement.summary()}")


@app.command()
def publish(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, finished or at work.")],
    to: Annotated[str, typer.Option(help="tensorboard, wandb or trackio; to be installed by you.")],
    out: Annotated[
        Path | None, typer.Option(help="Of tensorboard: its folder.  [default: RUN/tensorboard]")
    ] = None,
    project: Annotated[
        str, typer.Option(help="Of wandb and trackio: the project.", show_default=True)
    ] = "rewarm",
    follow: Annotated[
        int | None, typer.Option(min=1, help="Look for more every N seconds, until training ends.")
    ] = None,
) -> None:
    """Hand the metrics of a run on to another program's curves; wandb sends them to its server."""
    from rewarm.errors import CampaignError
    from rewarm.integrations import trackers
    from rewarm.report.publish import publish as publish_run
    from rewarm.runs.folder import RunFolder

    name = run.resolve().name
    match to:
        case "tensorboard":
            open_log = trackers.tensorboard(out or run / "tensorboard")
        case "wandb":
            open_log = trackers.wandb(project, name)
        case "trackio":
            open_log = trackers.trackio(project, name)
        case _:
            raise CampaignError(f"--to {to}: there are tensorboard, wandb and trackio")
    steps = publish_run(RunFolder(run), open_log, every_seconds=follow)
    typer.echo(f"handed {steps:,} steps on to {to}")


@app.command()
def inspect(
    folder: Annotated[
        Path, typer.Argument(help="A run, a checkpoint, prepared or adopted tokens.")
    ],
) -> None:
    """Say what a folder holds."""
    from rewarm.training.inspection import describe

    for line in describe(folder):
        typer.echo(line)


@app.command()
def verify(
    folders: Annotated[
        list[Path], typer.Argument(help="Runs, checkpoints, prepared or adopted tokens.")
    ],
) -> None:
    """Check prepared tokens and checkpoints against their hashes."""
    from rewarm.training.inspection import verify_all

    intact, damages = 0, list[RewarmError]()
    for checked in verify_all(folders):
        if checked.damage is None:
            intact += 1
            typer.echo(f"intact   {checked.path}  ({checked.what})")
        else:
            damages.append(checked.damage)
            typer.echo(f"damaged  {checked.path}")
            typer.echo(f"error: {checked.damage}", err=True)
    if damages:
        typer.echo(f"{len(damages):,} damaged, {intact:,} intact", err=True)
        raise typer.Exit(damages[0].exit_code)
