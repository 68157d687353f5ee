"""What the verbs share: the application, options, consoles, loading."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fractions import Fraction

    from rich.console import Console

    from rewarm.campaign import LoadedCampaign

app = typer.Typer(
    help="Continual pre-training: update a language model on new data, and know what it learnt, "
    "what it forgot and what it saved.",
    epilog="Begin with: rewarm quickstart, or rewarm init and rewarm plan campaign.toml",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help costs 0.1 s less, and reads as well
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CampaignFile = Annotated[Path, typer.Argument(metavar="FILE", help="A campaign file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change one value, e.g. stages.update.replay=25%."
    ),
]
Root = Annotated[
    Path | None, typer.Option(help="Folder that paths in FILE start from.  [default: FILE's own]")
]
Runs = Annotated[Path, typer.Option(help="Folder of the run folders.")]
Prepared = Annotated[
    Path | None, typer.Option(help="Folder of the tokens.  [default: prepared/<campaign>]")
]
Workers = Annotated[int, typer.Option(min=1, help="Threads or processes that encode.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda.  [default: cuda if there is one]")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.  [default: all cores]")]
NumRanks = Annotated[
    int | None, typer.Option(min=2, help="Processes on this machine, watched and restarted.")
]
Restarts = Annotated[int, typer.Option(min=0, help="With --ranks: fresh starts after a crash.")]
Tensor = Annotated[int | None, typer.Option(min=1, help="Same as --set parallel.tensor=N.")]
Pipeline = Annotated[int | None, typer.Option(min=1, help="Same as --set parallel.pipeline=N.")]
Shard = Annotated[int | None, typer.Option(min=1, help="Same as --set parallel.shard=N.")]
AllowChanges = Annotated[
    bool,
    typer.Option("--allow-changes", help="Begin changed stages anew; older ones stay on disk."),
]


def new_console(*, error: bool = True) -> "Console":
    """Return a console for messages, or for results; of several ranks the first alone has a voice."""
    from rich.console import Console

    console = Console(stderr=error, highlight=False)
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    console.quiet = several and os.environ.get("RANK", "0") != "0"  # of several ranks, one speaks
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 140  # a file has no width; what is piped should not be cut to 80
    return console


def load(file: Path, settings: list[str] | None, root: Path | None) -> "LoadedCampaign":
    """Load a campaign file with its settings."""
    from rewarm.campaign import load_campaign

    return load_campaign(file, settings or (), root=root)


def share_of(option: str, text: str) -> "Fraction":
    """Return the share that an option gives."""
    from rewarm.campaign.quantities import parse_share
    from rewarm.errors import CampaignError

    try:
        return parse_share(text)
    except ValueError as error:
        raise CampaignError(f"{option}: {error}") from error


def with_sides(
    settings: list[str] | None,
    tp: int | None,
    pp: int | None,
    shard: int | None,
    *,
    several: bool,
) -> list[str]:
    """Return the settings with the sides of a layout that options of their own give."""
    from rewarm.errors import CampaignError

    found = list(settings or ())
    sides = {"tensor": ("--tp", tp), "pipeline": ("--pp", pp), "shard": ("--shard", shard)}
    for side, (option, count) in sides.items():
        path = f"parallel.{side}"
        if count is None:
            continue
        if not several:
            raise CampaignError(f"{option} divides ranks; say with --ranks how many there are")
        if any(setting.partition("=")[0].strip() == path for setting in settings or ()):
            raise CampaignError(f"{option} and --set {path} set the same value; give one of them")
        found.append(f"{path}={count}")
    return found


def note(text: str) -> None:
    """Say what a user should look at."""
    typer.echo(f"note: {text}", err=True)


def prepared_folder(loaded: "LoadedCampaign", prepared: Path | None) -> Path:
    """Return the folder of a campaign's tokens."""
    return Path("prepared") / loaded.campaign.name if prepared is None else prepared
