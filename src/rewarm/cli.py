"""The `rewarm` command: one short function for each verb.

Results go to standard output, messages and progress to standard error. Each verb imports what it needs
inside, so that help and mistakes are answered at once.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.errors import InterruptedRunError, RankLostError, RewarmError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

    from rich.console import Console

    from rewarm.campaign import LoadedCampaign
    from rewarm.data.manifest import Manifest
    from rewarm.data.store import TokenStore
    from rewarm.engine.ranks import Ranks
    from rewarm.evaluation.evaluate import FileKind
    from rewarm.plan import Plan
    from rewarm.runs.folder import RunFolder

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
Workers = Annotated[int, typer.Option(min=1, help="Processes that encode text.")]
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
    from rewarm.data.datasets import bytes_per_token, measured_overlap, train_manifests
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
    settings = _with_sides(settings, tp, pp, shard, several=ranks is not None)
    loaded = _load(file, settings, root)
    made = make_plan(loaded)
    manifests = train_manifests(loaded.campaign, loaded.root, _prepared(loaded, prepared))
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
    measured = measured_overlap(loaded.campaign, loaded.root, _prepared(loaded, prepared))
    notes.append(overlap_note(measured, loaded.campaign.evaluation.max_overlap))
    console = _console(error=False)
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
    from rewarm.data.datasets import bytes_per_token, merge_campaign, open_campaign
    from rewarm.errors import CampaignError
    from rewarm.models.hub import download
    from rewarm.plan.coding import coding_warnings
    from rewarm.plan.plan import datasets_as_met

    loaded = download(_load(file, settings, root))
    folder = _prepared(loaded, prepared)
    if merge is not None and shard is not None:
        raise CampaignError("--shard prepares one part and --merge puts all together; give one")
    if merge is not None:
        merge_campaign(loaded.campaign, loaded.root, folder, of=merge, commits=loaded.commits)
    _prepare_tokens(loaded, folder, workers, encoder, shard)
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
        _note(warning)


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

    limit = None if fail_above is None else _share("--fail-above", fail_above)
    similarity, share = _share("--jaccard", jaccard), _share("--ngrams", ngrams)
    loaded = _load(file, settings, root)
    folder = _prepared(loaded, prepared)
    data = open_campaign(loaded.campaign, loaded.root, folder, loaded.commits)
    with show_preparation(_console(), "comparing") as on_progress:
        measured = measure_overlap(
            data, jaccard=similarity, ngram_limit=share, workers=workers, on_progress=on_progress
        )
    path = overlap_file(folder)
    write_record(path, measured)
    if as_json:
        typer.echo(measured.model_dump_json(indent=2))
    else:
        console = _console(error=False)
        console.print(overlap_table(measured))
        console.print(overlap_caption(measured), markup=False)
        console.print(f"{overlap_text(measured)}; record: {path}", markup=False, soft_wrap=True)
    if limit is not None:
        check_share(measured, limit, f"--fail-above allows {fail_above}")


@app.command()
def train(
    file: CampaignFile,
    settings: Settings = None,
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
) -> None:
    """Carry a campaign out or go on with it, and write the report."""
    from rewarm.runs.folder import RunFolder
    from rewarm.training.anneal import with_recorded_annealings
    from rewarm.training.hub_commits import with_recorded_commits

    several = ranks is not None or "WORLD_SIZE" in os.environ
    loaded = _load(file, _with_sides(settings, tp, pp, shard, several=several), root)
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
        allow_changes=allow_changes,
        require_bitwise=require_bitwise,
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

    folder = RunFolder(run)
    annealing = find_annealing(
        folder, arm=arm, stage=stage, at=at, budget=budget, min_lr=min_lr, shape=shape
    )
    loaded = record_annealing(folder, annealing)  # which the ranks then find recorded
    if ranks is not None and not _is_watched():
        _supervise(loaded, folder, ranks, restarts)
    _carry_out(loaded, folder, prepared, device, threads, 1, allow_changes=False)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    stage: Annotated[str, typer.Option(help="Stage whose weights are wanted.")],
    arm: Annotated[str | None, typer.Option(help="Arm, if the stage differs between arms.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Where in it: a percentage, steps or tokens.  [default: last checkpoint]"
        ),
    ] = None,
    dtype: Annotated[str, typer.Option(help="Type of the weights: fp32 or bf16.")] = "fp32",
    out: Annotated[
        Path | None, typer.Option(help="The folder.  [default: RUN/export/STAGE-KEY]")
    ] = None,
    prepared: Prepared = None,
) -> None:
    """Write a stage as a Hugging Face model folder, with a model card."""
    from rewarm.runs.folder import RunFolder
    from rewarm.training.export import export_stage

    folder = export_stage(
        RunFolder(run), stage, arm=arm, at=at, out=out, dtype=dtype, prepared=prepared
    )
    typer.echo(f'wrote {folder}; load it with AutoModelForCausalLM.from_pretrained("{folder}")')


@app.command("eval")
def evaluate(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="Hugging Face folders; or runs, with --stage."),
    ],
    documents: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Texts, for bits per byte: JSON lines."),
    ] = None,
    questions: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="Multiple choice: JSON lines.")
    ] = None,
    generate: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Questions answered freely: JSON lines."),
    ] = None,
    german_prompts: Annotated[
        bool, typer.Option("--german-prompts", help="Continue the paper's five German prompts.")
    ] = False,
    stage: Annotated[str | None, typer.Option(help="Of a run: the stage.")] = None,
    arm: Annotated[str | None, typer.Option(help="Its arm, if the stage differs.")] = None,
    at: Annotated[str | None, typer.Option(help="Where in it.  [default: last checkpoint]")] = None,
    prepared: Prepared = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the results, one inside for each model.")
    ] = Path("evaluations"),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take the first N rows of each file.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Texts read at once.")] = 8,
    context: Annotated[
        int | None, typer.Option(min=2, help="Tokens read at once.  [default: all it can]")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    end_of_text: Annotated[
        str | None,
        typer.Option(help="Of a folder: its end-of-text token.  [default: eos_token_id]"),
    ] = None,
    device: Device = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure models: bits per byte, multiple choice, free answers; nothing is downloaded."""
    from rewarm.engine.world import current_world
    from rewarm.errors import CampaignError
    from rewarm.evaluation.evaluate import Settings as EvaluationSettings
    from rewarm.evaluation.evaluate import evaluate as evaluate_model
    from rewarm.evaluation.evaluate import read_tasks
    from rewarm.evaluation.model import open_model
    from rewarm.evaluation.results import refuse_existing
    from rewarm.evaluation.tables import print_results, results_json
    from rewarm.runs.folder import RunFolder
    from rewarm.training.evaluated import open_checkpoint
    from rewarm.training.progress import show_evaluation

    if precision not in ("fp32", "bf16"):
        raise CampaignError(f"--precision {precision}: models are evaluated in fp32 or bf16")
    settings = EvaluationSettings(batch=batch, precision=precision)
    files: dict[FileKind, Mapping[str, str]] = {
        "documents": _named_files("--documents", documents),
        "questions": _named_files("--questions", questions),
        "generate": _named_files("--generate", generate),
    }
    _check_models(models, out, stage=stage, of_stage=(arm, at, prepared))
    tasks = read_tasks(files, german_prompts=german_prompts, limit=limit)
    world = current_world(device, threads)
    done = []
    for place in models:
        if stage is not None and _is_run(place):
            model = open_checkpoint(
                RunFolder(place), stage, arm=arm, at=at, prepared=prepared, context_length=context
            )
        else:
            model = open_model(place, end_of_text=end_of_text, context_length=context)
        folder = out / model.name
        refuse_existing(folder)
        with show_evaluation(_console(), model.name) as on_progress:
            done.append(
                evaluate_model(
                    model, tasks, folder, world=world, settings=settings, on_progress=on_progress
                )
            )
        _console().print(f"wrote {folder}", markup=False, soft_wrap=True)
    if as_json:
        typer.echo(results_json(done))
    else:
        print_results(_console(error=False), done)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Results of `rewarm eval`.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same of another model.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare two models item by item: differences with intervals, and what could not be seen."""
    from rewarm.evaluation.comparison import compare_results
    from rewarm.evaluation.results import read_results
    from rewarm.evaluation.tables import print_comparison

    compared = compare_results(read_results(first), read_results(second))
    if as_json:
        typer.echo(compared.model_dump_json(indent=2))
    else:
        print_comparison(_console(error=False), compared)


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
    with show_preparation(_console(), "adopting") as on_progress:
        adopted = adopt_files(
            paths,
            loaded,
            dtype=dtype,
            out=out,
            on_progress=lambda progress: on_progress("tokens", progress),
        )
    for line in [adopted_json(adopted)] if as_json else adopted_lines(adopted):
        typer.echo(line)


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


def main() -> None:
    """Run the command; end with the exit code that the error has."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopped)
    try:
        app()
    except RewarmError as error:
        # A stop that was asked for is no error.
        said = error if isinstance(error, InterruptedRunError) else f"error: {error}"
        typer.echo(said, err=True)
        if isinstance(error, RankLostError) or os.environ.get("WORLD_SIZE", "1") != "1":
            # Threads may be waiting for another rank, and would be waited for.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(error.exit_code)
        sys.exit(error.exit_code)


def _stopped(number: int, _frame: FrameType | None) -> None:
    """Stop where no state has to be saved first; training handles the signals itself."""
    name = signal.Signals(number).name
    code = 130 if number == signal.SIGINT else 75
    raise InterruptedRunError(f"stopped by {name}; the same command goes on from there", code)


def _console(*, error: bool = True) -> "Console":
    from rich.console import Console

    console = Console(stderr=error, highlight=False)
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    console.quiet = several and os.environ.get("RANK", "0") != "0"  # of several ranks, one speaks
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 140  # a file has no width; what is piped should not be cut to 80
    return console


def _load(file: Path, settings: list[str] | None, root: Path | None) -> "LoadedCampaign":
    from rewarm.campaign import load_campaign

    return load_campaign(file, settings or (), root=root)


def _share(option: str, text: str) -> "Fraction":
    """Return the share that an option gives."""
    from rewarm.campaign.quantities import parse_share
    from rewarm.errors import CampaignError

    try:
        return parse_share(text)
    except ValueError as error:
        raise CampaignError(f"{option}: {error}") from error


def _with_sides(
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


def _is_run(folder: Path) -> bool:
    from rewarm.runs.folder import RunFolder

    return RunFolder(folder).resolved.exists()


def _check_models(
    models: list[Path], out: Path, *, stage: str | None, of_stage: tuple[object, ...]
) -> None:
    """Refuse models whose evaluation would end with a mistake after hours, as far as can be known before."""
    from rewarm.errors import CampaignError, CheckpointError
    from rewarm.evaluation.results import refuse_existing

    for place in models:
        if not place.is_dir():
            raise CheckpointError(f"{place}: no such folder. Give a Hugging Face folder, or a run.")
    runs = [place for place in models if _is_run(place)]
    if runs and stage is None:
        raise CampaignError(f"{runs[0]} is a run; say with --stage which of its stages")
    if not runs and (stage, *of_stage) != (None,) * 4:
        raise CampaignError("--stage, --arm, --at and --prepared are of a run, and no model is one")
    names = [place.resolve().name for place in models if place not in runs]
    for name in names:
        refuse_existing(out / name)
        if names.count(name) > 1:
            raise CampaignError(
                f"two models are called {name!r}, and results go by names; give one of them another --out"
            )


def _named_files(option: str, given: list[str] | None) -> "Mapping[str, str]":
    """Return the files that an option names, by name."""
    from rewarm.errors import CampaignError

    found: dict[str, str] = {}
    for text in given or ():
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise CampaignError(
                f"{option} {text}: give a name and a file, such as {option} old=old.jsonl"
            )
        if name in found:
            raise CampaignError(f"{option} gives the name {name!r} twice; results go by names")
        found[name] = file
    return found


def _note(text: str) -> None:
    typer.echo(f"note: {text}", err=True)


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


def _prepared(loaded: "LoadedCampaign", prepared: Path | None) -> Path:
    return Path("prepared") / loaded.campaign.name if prepared is None else prepared


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
    from rewarm.data.datasets import (
        tokenizer_path,
        train_manifests,
        train_places,
        validation_places,
    )
    from rewarm.data.given_tokens import pair_prefix
    from rewarm.errors import CampaignError
    from rewarm.plan.foreign import TokenFiles, find_stage
    from rewarm.plan.megatron import megatron_arguments, megatron_text
    from rewarm.plan.neox import neox_arguments, neox_text

    if trainer not in ("megatron", "gpt-neox") or stage is None:
        raise CampaignError(
            "a stage is printed for another trainer with --to megatron or --to gpt-neox, and --stage NAME"
        )
    loaded = plan.loaded
    folder = _prepared(loaded, prepared)
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
    for note in exported.notes:
        _note(note)


def _carry_out(
    loaded: "LoadedCampaign",
    run: "RunFolder",
    prepared: Path | None,
    device: str | None,
    threads: int | None,
    workers: int,
    *,
    allow_changes: bool,
    require_bitwise: bool = False,
) -> None:
    """Prepare, train what is left, report, and print the table; of several ranks all do it together."""
    from rewarm.data.datasets import open_campaign
    from rewarm.engine.world import current_world
    from rewarm.plan import make_plan
    from rewarm.plan.choice import choose_layouts
    from rewarm.report import read_run, terminal_table, verdict
    from rewarm.runs.overlap import overlap_text
    from rewarm.training.campaign import is_finished, train_campaign
    from rewarm.training.supervisor import end_with_supervisor

    messages, results = _console(), _console(error=False)
    made = make_plan(loaded)
    end_with_supervisor()
    world = current_world(device, threads, timeout_seconds=loaded.campaign.parallel.timeout)
    ranks = world.ranks
    if ranks.gather(is_finished(made, run))[0]:
        messages.print(f"{run.path} is finished; nothing is left to do")
    else:
        choose_layouts(made, ranks.size)  # a mistake in it is found before any work
        here, folder = _download_once(loaded, ranks), _prepared(loaded, prepared)
        made = make_plan(here)  # anew: the size of a model is known once it is here
        choose_layouts(made, ranks.size)
        ranks.first_alone(lambda: _prepare_tokens(here, folder, workers))
        data = open_campaign(here.campaign, here.root, folder, here.commits)
        messages.print(f"note: {overlap_text(data.overlap)}", markup=False, soft_wrap=True)
        train_campaign(
            made,
            run,
            data,
            world=world,
            console=messages,
            allow_changes=allow_changes,
            require_bitwise=require_bitwise,
        )
        ranks.first_alone(lambda: _write_report(run))
    ranks.leave()
    finished = read_run(run.path)
    results.print(terminal_table(finished))
    results.print(verdict(finished), markup=False, soft_wrap=True)
    results.print(f"report: {run.report}")


def _download_once(loaded: "LoadedCampaign", ranks: "Ranks") -> "LoadedCampaign":
    """Download what is on the hub on the first rank; all of them go on with its commits."""
    from rewarm.models.hub import check_here, download

    downloaded = ranks.first_alone(lambda: dict(download(loaded).commits))
    here = replace(loaded, commits=ranks.gather(downloaded)[0] or {})
    ranks.together(lambda: check_here(here), ranks.words)
    return here


def _prepare_tokens(
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

    with show_preparation(_console()) as on_progress:
        prepare_campaign(
            loaded.campaign,
            loaded.root,
            folder,
            workers=workers,
            encoder=as_wanted(encoder),
            shard=None if shard is None else ShardNumber.parse(shard),
            on_progress=on_progress,
            on_note=_note,
            commits=loaded.commits,
        )


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

    write_report([run.path], run.report)
