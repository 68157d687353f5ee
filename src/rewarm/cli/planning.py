"""Verbs before a run: init, plan, doctor."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.common import (
    CampaignFile,
    Pipeline,
    Prepared,
    Root,
    Settings,
    Shard,
    Tensor,
    app,
    load,
    new_console,
    note,
    prepared_folder,
    with_sides,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewarm.campaign import LoadedCampaign
    from rewarm.data.manifest import Manifest
    from rewarm.plan import Plan


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = Path(
        "campaign.toml"
    ),
    starter: Annotated[
        str, typer.Option(help="scratch, hugging-face or quickstart.", show_default=True)
    ] = "scratch",
) -> None:
    """Write a commented campaign file to start from."""
    from rewarm.campaign.starters import starter_text
    from rewarm.errors import CampaignError
    from rewarm.runs.files import write_bytes

    text = starter_text(starter)
    if file.exists():
        raise CampaignError(f"{file} exists already and was not touched; give another name")
    write_bytes(file, text.encode())
    typer.echo(f"wrote {file}; next: rewarm plan {file}")


@app.command()
def plan(
    file: CampaignFile,
    settings: Settings = None,
    root: Root = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the learning rate as SVG.")] = None,
    throughput: Annotated[float | None, typer.Option(min=1e-9, help="Tokens per second.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Price of an hour.")] = None,
    prepared: Prepared = None,
    ranks: Annotated[int | None, typer.Option(min=1, help="Spread it over so many ranks.")] = None,
    tp: Tensor = None,
    pp: Pipeline = None,
    shard: Shard = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    to: Annotated[
        str | None, typer.Option(help="Print one stage for another trainer: megatron or gpt-neox.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="With --to: the stage.")] = None,
    arm: Annotated[str | None, typer.Option(help="With --to: its arm, if arms differ.")] = None,
) -> None:
    """Say what a campaign will do and cost, before it runs; with --ranks, what each rank holds."""
    from rewarm.data.campaign_text import pattern_problems
    from rewarm.data.prepared import bytes_per_token, measured_overlap, train_manifests
    from rewarm.errors import CampaignError
    from rewarm.plan import make_plan
    from rewarm.plan.choice import choose_layouts
    from rewarm.plan.coding import coding_line, coding_warnings
    from rewarm.plan.cost import cost
    from rewarm.plan.drawing import write_picture
    from rewarm.plan.epochs import check_epochs, in_tokens
    from rewarm.plan.layout_text import print_layouts, record_json
    from rewarm.plan.text import memory_warnings, print_plan
    from rewarm.runs.overlap import overlap_note

    if price is not None and throughput is None:
        raise CampaignError("--price is of an hour, so --throughput is needed to know the hours")
    settings = with_sides(settings, tp, pp, shard, several=ranks is not None)
    loaded = load(file, settings, root)
    made = make_plan(loaded)
    manifests = train_manifests(loaded.campaign, loaded.root, prepared_folder(loaded, prepared))
    sizes, notes = _known_sizes(loaded, manifests)
    check_epochs(made, in_tokens(sizes))
    layouts = None if ranks is None else choose_layouts(made, ranks)
    if to is not None or stage is not None or arm is not None:
        _print_for_trainer(made, to, stage, arm, prepared)
        return
    if picture is not None:
        write_picture(made, picture)
    if as_json:
        typer.echo(record_json(made, layouts))
        return
    costs = cost(made, throughput, price)
    notes += pattern_problems(loaded.campaign, loaded.root)
    if layouts is None:
        notes += memory_warnings(made, costs)
    coding = bytes_per_token(manifests)
    notes += coding_warnings(made.datasets, coding)
    measured = measured_overlap(loaded.campaign, loaded.root, prepared_folder(loaded, prepared))
    notes.append(overlap_note(measured, loaded.campaign.evaluation.max_overlap))
    console = new_console(error=False)
    print_plan(console, made, costs, sizes, notes)
    if coding:
        console.print(coding_line(coding))
    if layouts is not None:
        print_layouts(console, layouts)


@app.command()
def doctor() -> None:
    """Say what this machine has for training and what is missing."""
    from rewarm.engine.doctor import machine_facts, missing_packages
    from rewarm.errors import CampaignError

    for name, value in machine_facts(Path()).items():
        typer.echo(f"{name:18}{value}")
    if missing := missing_packages():
        raise CampaignError("missing: " + "; ".join(missing) + ". Install them with pip.")
    typer.echo("every package that rewarm needs is here")


def _known_sizes(
    loaded: "LoadedCampaign", manifests: "Mapping[str, Manifest]"
) -> tuple[dict[str, int], list[str]]:
    """Return the tokens of each source, prepared or declared, and what is not there yet."""
    from rewarm.plan.epochs import declared_tokens

    sizes = declared_tokens(loaded.campaign)
    notes: list[str] = []
    length = loaded.campaign.sequence_length
    for source, (text, _) in loaded.campaign.leaves().items():
        if text.index_maps is not None:
            sizes[source] = int(text.index_maps.consumed.amount) * length + 1
        elif source in manifests:
            sizes[source] = manifests[source].tokens
        elif source not in sizes:
            notes.append(
                f"{source} is not prepared and declares no tokens, so its epochs are not known"
            )
    return sizes, notes


def _print_for_trainer(
    plan: "Plan", trainer: str | None, stage: str | None, arm: str | None, prepared: Path | None
) -> None:
    """Print one stage's arguments for another trainer; the notes go to standard error."""
    from rewarm.data.given_tokens import pair_prefix
    from rewarm.data.prepared import (
        tokenizer_path,
        train_manifests,
        train_places,
        validation_places,
    )
    from rewarm.errors import CampaignError
    from rewarm.plan.foreign import TokenFiles, find_stage
    from rewarm.plan.megatron import megatron_arguments, megatron_text
    from rewarm.plan.neox import neox_arguments, neox_text

    if trainer not in ("megatron", "gpt-neox") or stage is None:
        raise CampaignError(
            "a stage is printed for another trainer with --to megatron or --to gpt-neox, and --stage NAME"
        )
    loaded = plan.loaded
    folder = prepared_folder(loaded, prepared)
    train = train_places(loaded.campaign, loaded.root, folder)
    validation = validation_places(loaded.campaign, loaded.root, folder)
    files = TokenFiles(
        train={source: str(pair_prefix(place)) for source, place in train.items()},
        validation={name: str(pair_prefix(place)) for name, place in validation.items()},
        tokenizer=str(tokenizer_path(loaded.campaign, loaded.root, folder)),
        tokens=_known_sizes(loaded, train_manifests(loaded.campaign, loaded.root, folder))[0],
    )
    chosen = find_stage(plan, arm, stage)
    if trainer == "megatron":
        exported = megatron_arguments(plan, chosen, files)
        text = megatron_text(exported)
    else:
        exported = neox_arguments(plan, chosen, files)
        text = neox_text(exported)
    typer.echo(text)
    for each in exported.notes:
        note(each)
