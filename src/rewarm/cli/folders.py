"""Verbs for what is there: report, inspect, verify."""

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
) -> None:
    """Write the report: one HTML page that needs no network."""
    from rewarm.report import markdown as as_markdown
    from rewarm.report import read_run, write_report
    from rewarm.runs.files import write_bytes

    page = write_report(runs, out or runs[0] / "report.html")
    typer.echo(f"wrote {page}")
    if markdown is not None:
        tables = [as_markdown(read_run(run)) for run in runs]
        write_bytes(markdown, "\n".join(["# Results\n", *tables]).encode())
        typer.echo(f"wrote {markdown}")


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
