"""Verbs of suites: suite list, run, report, page, grid."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.common import (
    CampaignFile,
    Prepared,
    Root,
    Runs,
    Settings,
    app,
    new_console,
    note,
)

if TYPE_CHECKING:
    from rewarm.suites.results import SuiteResult
    from rewarm.suites.runs import Place, SuiteRun
    from rewarm.suites.suite import Suite
    from rewarm.suites.tier import Tier

suite_app = typer.Typer(
    help="The paper's comparisons, with claims, seeds and verdicts; sweeps of your own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(suite_app, name="suite")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Suites, or all.")]
TierName = Annotated[str, typer.Option(help="micro, mini, paper, or a TOML file of your own.")]
Seeds = Annotated[str, typer.Option(help="Seeds, such as 1,2,3.")]
SuiteRuns = Annotated[
    Path | None, typer.Option(help="Folder of the run folders.  [default: runs/suites-<tier>]")
]
SuitePrepared = Annotated[
    Path | None, typer.Option(help="Folder of the tokens.  [default: prepared/suites-<tier>]")
]
AsCommands = Annotated[
    bool, typer.Option("--list", help="Write the campaign files and print one command for each.")
]

PAGE = "suites.html"
"""Name of the page where none is asked for."""
_STOPPED = (130, 75, -2, -15)
"""Exit codes of a training that a signal has stopped."""


@suite_app.command("list")
def list_suites() -> None:
    """Say which suites there are and what each asks."""
    from rewarm.suites.catalogue import find_suite, suite_names

    for name in suite_names():
        suite = find_suite(name)
        typer.echo(f"{name:<12} {suite.question}  ({suite.source})")


@suite_app.command("run")
def run_suites(
    names: Names,
    tier: TierName = "micro",
    seeds: Seeds = "1,2,3",
    root: Root = None,
    runs: SuiteRuns = None,
    prepared: SuitePrepared = None,
    as_commands: AsCommands = False,
) -> None:
    """Run suites, or go on with them; with --list print the commands. The tier paper is only planned."""
    from rewarm.suites.runs import base_runs, suite_runs
    from rewarm.suites.tier import read_tier

    sized = read_tier(tier)
    place = _place(sized, runs, prepared, root)
    numbers = _seeds(seeds)
    first = base_runs(sized, numbers)
    rest = [run for suite in _suites(names) for run in suite_runs(suite, sized, numbers)]
    for run in (*first, *rest):
        run.write(place)
    if as_commands:
        _print_commands(first, rest, place)
        return
    if sized.sizes.plan_only:
        _print_costs([*first, *rest], place, tier)
        return
    failed = [run.name for run in (*first, *rest) if not _carry_out(run.arguments(place))]
    found = [(suite, _report(suite, sized, numbers, place, None)) for suite in _suites(names)]
    _write_page(found, place.runs / PAGE)
    _exit_if(failed)


@suite_app.command("report")
def report_suites(
    names: Names,
    tier: TierName = "micro",
    seeds: Seeds = "1,2,3",
    runs: SuiteRuns = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for suites.html, overview.md, NAME.md, NAME.json and NAME.svg."),
    ] = None,
) -> None:
    """Say what the finished runs of suites show, whatever is finished."""
    from rewarm.runs.files import write_bytes
    from rewarm.suites.text import overview_text
    from rewarm.suites.tier import read_tier

    sized = read_tier(tier)
    place = _place(sized, runs, None, None)
    found = [(suite, _report(suite, sized, _seeds(seeds), place, out)) for suite in _suites(names)]
    if out is not None and any(result is not None for _, result in found):
        write_bytes(out / "overview.md", overview_text(found).encode())
        _write_page(found, out / PAGE)


@suite_app.command("page")
def page(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results: NAME.json.")],
    out: Annotated[Path, typer.Option(help="The page.")] = Path(PAGE),
) -> None:
    """Write the page of suites from their results alone, wherever they were run."""
    from rewarm.runs.files import read_record
    from rewarm.suites.catalogue import find_suite
    from rewarm.suites.results import SuiteResult

    results = [read_record(file, SuiteResult) for file in files]
    _write_page([(find_suite(result.suite), result) for result in results], out)


@suite_app.command("grid")
def grid(
    file: CampaignFile,
    over: Annotated[
        list[str],
        typer.Option(metavar="PATH=A,B,C", help="Values to try, e.g. stages.update.replay=0%,5%."),
    ],
    settings: Settings = None,
    root: Root = None,
    runs: Runs = Path("runs"),
    prepared: Prepared = None,
    as_commands: AsCommands = False,
) -> None:
    """Run a campaign once for every combination of values; stages they share are trained once."""
    from rewarm.campaign import load_campaign
    from rewarm.suites.grid import parse_axis, points

    fixed = settings or []
    loaded = load_campaign(file, fixed, root=root)
    found = points(loaded.campaign.name, [parse_axis(axis) for axis in over])
    tokens = prepared or Path("prepared") / loaded.campaign.name
    commands: dict[str, list[str]] = {}
    for point in found:
        load_campaign(file, [*fixed, *point.settings], root=root)  # all mistakes before any work
        sets = [part for setting in (*fixed, *point.settings) for part in ("--set", setting)]
        folders = ["--runs", str(runs), "--prepared", str(tokens), "--reuse", str(runs)]
        where = [] if root is None else ["--root", str(root)]
        commands[point.name] = ["train", str(file), *sets, *where, *folders]
    if as_commands:
        for command in commands.values():
            typer.echo(shlex.join(["rewarm", *command]))
        return
    failed = [name for name, command in commands.items() if not _carry_out(command)]
    typer.echo(shlex.join(["rewarm", "report", *(str(runs / name) for name in commands)]))
    _exit_if(failed)


def _suites(names: list[str]) -> "list[Suite]":
    from rewarm.suites.catalogue import find_suite, suite_names

    return [find_suite(name) for name in (suite_names() if names == ["all"] else names)]


def _seeds(text: str) -> list[int]:
    from rewarm.errors import CampaignError

    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise CampaignError(f"--seeds {text}: give whole numbers, such as 1,2,3") from error


def _place(tier: "Tier", runs: Path | None, prepared: Path | None, root: Path | None) -> "Place":
    from rewarm.suites.runs import Place

    name = f"suites-{tier.name}"
    return Place(
        runs=runs or Path("runs") / name,
        prepared=prepared or Path("prepared") / name,
        root=root or Path(),
    )


def _print_commands(first: "list[SuiteRun]", rest: "list[SuiteRun]", place: "Place") -> None:
    typer.echo("# First these, in any order or at once:")
    for run in first:
        _echo_all(run.commands(place))
    typer.echo("# Then these, in any order or at once:")
    for run in rest:
        _echo_all(run.commands(place))


def _print_costs(runs: "list[SuiteRun]", place: "Place", tier: str) -> None:
    from rewarm.suites.costs import cost_lines, run_costs

    _echo_all(cost_lines(run_costs(runs, place)))
    note(
        f"tier {tier} is to be planned (plan_only in its file), so nothing was trained. This is what it would "
        "cost, stages that runs share once in all; --list prints the commands, for a cluster"
    )


def _echo_all(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


def _carry_out(arguments: list[str]) -> bool:
    """Run one campaign in a process of its own, so that one that fails does not end the others."""
    typer.echo(f"== {shlex.join(['rewarm', *arguments])}", err=True)
    command = [sys.executable, "-m", "rewarm", *arguments]
    code = subprocess.run(command, stdout=2, check=False).returncode  # results are ours alone
    if code in _STOPPED:
        raise typer.Exit(code)  # a person or a scheduler has asked to stop, which means all of it
    return code == 0


def _exit_if(failed: list[str]) -> None:
    if failed:
        typer.echo(f"failed: {', '.join(failed)}; the same command goes on with them", err=True)
        raise typer.Exit(1)


def _report(
    suite: "Suite", tier: "Tier", seeds: list[int], place: "Place", out: Path | None
) -> "SuiteResult | None":
    """Print what a suite came to and write it down; None if nothing is finished."""
    from rewarm.runs.files import write_bytes, write_record
    from rewarm.suites.collecting import suite_result
    from rewarm.suites.figure import suite_figure
    from rewarm.suites.text import result_text

    result = suite_result(suite, tier, seeds, place)
    if result is None:
        typer.echo(f"{suite.name}: no arm is finished under {place.runs}", err=True)
        return None
    text = result_text(suite, result)
    new_console(error=False).print(text, markup=False, soft_wrap=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        with_figure = result_text(suite, result, f"{suite.name}.svg")
        write_bytes(out / f"{suite.name}.md", with_figure.encode())
        write_record(out / f"{suite.name}.json", result)
        write_bytes(out / f"{suite.name}.svg", suite_figure(result).encode())
    return result


def _write_page(found: "list[tuple[Suite, SuiteResult | None]]", out: Path) -> None:
    """Write the page of suites, unless there is nothing on it."""
    from rewarm.suites.page import write_page

    if all(result is None for _, result in found):
        return
    typer.echo(f"wrote {write_page(found, out)}", err=True)
