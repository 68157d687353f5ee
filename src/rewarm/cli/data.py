"""Verbs for text and tokens: prepare, adopt, overlap."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.common import (
    CampaignFile,
    Prepared,
    Root,
    Settings,
    Workers,
    app,
    load,
    new_console,
    note,
    prepared_folder,
    share_of,
)

if TYPE_CHECKING:
    from rewarm.campaign import LoadedCampaign
    from rewarm.data.store import TokenStore


@app.command()
def prepare(
    file: CampaignFile,
    settings: Settings = None,
    root: Root = None,
    prepared: Prepared = None,
    workers: Workers = 2,
    encoder: Annotated[
        str, typer.Option(help="auto, reference or tiktoken; the tokens are the same.")
    ] = "auto",
    shard: Annotated[
        str | None, typer.Option(help="Prepare one part alone, such as 2/8; then --merge 8.")
    ] = None,
    merge: Annotated[
        int | None, typer.Option(min=1, help="Put so many shards together; nothing is copied.")
    ] = None,
) -> None:
    """Turn a campaign's text into tokens; goes on where it stopped."""
    from rewarm.data.datasets import merge_campaign, open_campaign
    from rewarm.data.prepared import bytes_per_token
    from rewarm.errors import CampaignError
    from rewarm.models.hub import download
    from rewarm.plan.coding import coding_warnings
    from rewarm.plan.plan import datasets_as_met

    loaded = download(load(file, settings, root))
    folder = prepared_folder(loaded, prepared)
    if merge is not None and shard is not None:
        raise CampaignError("--shard prepares one part and --merge puts all together; give one")
    if merge is not None:
        merge_campaign(loaded.campaign, loaded.root, folder, of=merge, commits=loaded.commits)
    prepare_tokens(loaded, folder, workers, encoder, shard)
    if shard is not None:
        typer.echo(f"shard {shard} is prepared; when all are, put them together with --merge")
        return
    data = open_campaign(loaded.campaign, loaded.root, folder, loaded.commits)
    for name, commit in loaded.commits.items():
        typer.echo(f"{name}: commit {commit}")
    for name, store in data.train.items():
        _print_split(name, store)
    for name, store in data.validation.items():
        _print_split(f"{name}, validation", store)
    coding = bytes_per_token({name: store.manifest for name, store in data.train.items()})
    for warning in coding_warnings(datasets_as_met(loaded.campaign), coding):
        note(warning)


@app.command()
def overlap(
    file: CampaignFile,
    settings: Settings = None,
    root: Root = None,
    prepared: Prepared = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that compare text.")] = 2,
    jaccard: Annotated[str, typer.Option(help="Least similarity of near-duplicates.")] = "80%",
    ngrams: Annotated[
        str, typer.Option(help="Share of 13-grams above which a document counts.")
    ] = "20%",
    fail_above: Annotated[
        str | None, typer.Option(help="Exit with 3 if more of a set's documents are concerned.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Measure how much of the validation text is training text, on the prepared tokens."""
    from rewarm.data.datasets import open_campaign
    from rewarm.data.overlap.kept import overlap_file
    from rewarm.data.overlap.measure import measure_overlap
    from rewarm.report.overlap import overlap_caption, overlap_table
    from rewarm.runs.files import write_record
    from rewarm.runs.overlap import check_share, overlap_text
    from rewarm.training.progress import show_preparation

    limit = None if fail_above is None else share_of("--fail-above", fail_above)
    similarity, share = share_of("--jaccard", jaccard), share_of("--ngrams", ngrams)
    loaded = load(file, settings, root)
    folder = prepared_folder(loaded, prepared)
    data = open_campaign(loaded.campaign, loaded.root, folder, loaded.commits)
    with show_preparation(new_console(), "comparing") as on_progress:
        measured = measure_overlap(
            data, jaccard=similarity, ngram_limit=share, workers=workers, on_progress=on_progress
        )
    path = overlap_file(folder)
    write_record(path, measured)
    if as_json:
        typer.echo(measured.model_dump_json(indent=2))
    else:
        console = new_console(error=False)
        console.print(overlap_table(measured))
        console.print(overlap_caption(measured), markup=False)
        console.print(f"{overlap_text(measured)}; record: {path}", markup=False, soft_wrap=True)
    if limit is not None:
        check_share(measured, limit, f"--fail-above allows {fail_above}")


@app.command()
def adopt(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Token files or folders, in reading order."),
    ],
    tokenizer: Annotated[
        Path, typer.Option(help="tokenizer.json that made the ids, or its folder.")
    ],
    end_of_text: Annotated[
        str, typer.Option(help="The token that ends documents.")
    ] = "<|endoftext|>",
    dtype: Annotated[
        str | None, typer.Option(help="Type of the ids in flat files, e.g. uint16.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The manifest.  [default: beside the files]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Use token files of other tools where they lie: Megatron, NumPy, flat, datatrove."""
    from rewarm.data.adopt import adopt as adopt_files
    from rewarm.data.tokenizer import load_tokenizer
    from rewarm.training.inspection import adopted_json, adopted_lines
    from rewarm.training.progress import show_preparation

    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    loaded = load_tokenizer(file, end_of_text)
    with show_preparation(new_console(), "adopting") as on_progress:
        adopted = adopt_files(
            paths,
            loaded,
            dtype=dtype,
            out=out,
            on_progress=lambda progress: on_progress("tokens", progress),
        )
    for line in [adopted_json(adopted)] if as_json else adopted_lines(adopted):
        typer.echo(line)


def _print_split(name: str, store: "TokenStore") -> None:
    """Print what a split came to, and what of it was left out."""
    from rewarm.data.split_report import read_report

    coded = ""
    if store.manifest.text_bytes is not None:
        coded = f", {store.manifest.text_bytes / store.tokens:.2f} bytes per token"
    typer.echo(f"{name}: {store.tokens:,} tokens, {store.documents:,} documents{coded}")
    report = read_report(store.place)
    for line in report.left_out_lines() if report else ():
        typer.echo(f"  {line}")


def prepare_tokens(
    loaded: "LoadedCampaign",
    folder: Path,
    workers: int,
    encoder: str = "auto",
    shard: str | None = None,
) -> None:
    """Turn the text, or one shard of it, into tokens, and show how far it is."""
    from rewarm.data.datasets import prepare_campaign
    from rewarm.data.encoders import as_wanted
    from rewarm.data.shards import ShardNumber
    from rewarm.training.progress import show_preparation

    with show_preparation(new_console()) as on_progress:
        prepare_campaign(
            loaded.campaign,
            loaded.root,
            folder,
            workers=workers,
            encoder=as_wanted(encoder),
            shard=None if shard is None else ShardNumber.parse(shard),
            on_progress=on_progress,
            on_note=note,
            commits=loaded.commits,
        )
