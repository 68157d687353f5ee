"""Verbs for models: export, eval, compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarm.cli.common import Device, Prepared, Threads, app, new_console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewarm.evaluation.evaluate import Battery, FileKind


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
    harness: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK", help="Of lm-evaluation-harness; also paper_en, paper_de, triviaqa_de."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the harness's data.  [default: the hub of Hugging Face]"),
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Of a run: the stage.")] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="Its arm, if the stage differs; may be repeated.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Where in it.  [default: last checkpoint]")] = None,
    prepared: Prepared = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the results, one inside for each model.")
    ] = Path("evaluations"),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take the first N items of each task.")
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
    """Measure models: bits per byte, multiple choice, free answers, lm-evaluation-harness's tasks."""
    from rewarm.cli.asked import OfRun, asked_models
    from rewarm.engine.world import current_world
    from rewarm.errors import CampaignError
    from rewarm.evaluation.evaluate import Settings as EvaluationSettings
    from rewarm.evaluation.evaluate import evaluate as evaluate_model
    from rewarm.evaluation.evaluate import read_tasks
    from rewarm.evaluation.tables import print_results, results_json
    from rewarm.training.progress import show_evaluation

    if precision not in ("fp32", "bf16"):
        raise CampaignError(f"--precision {precision}: models are evaluated in fp32 or bf16")
    settings = EvaluationSettings(batch=batch, precision=precision)
    files: dict[FileKind, Mapping[str, str]] = {
        "documents": _named_files("--documents", documents),
        "questions": _named_files("--questions", questions),
        "generate": _named_files("--generate", generate),
    }
    of_run = OfRun(stage=stage, arms=tuple(arm or ()), at=at, prepared=prepared)
    asked = asked_models(models, out, of_run=of_run, context=context, end_of_text=end_of_text)
    battery = _harness(harness or [], data, limit)
    others = battery.names if battery else ()
    tasks = read_tasks(files, german_prompts=german_prompts, limit=limit, others=others)
    world = current_world(device, threads)
    done = []
    for each in asked:
        folder = out / each.name
        with show_evaluation(new_console(), each.name) as on_progress:
            done.append(
                evaluate_model(
                    each.open(),
                    tasks,
                    folder,
                    world=world,
                    settings=settings,
                    on_progress=on_progress,
                    battery=battery,
                )
            )
        new_console().print(f"wrote {folder}", markup=False, soft_wrap=True)
    if as_json:
        typer.echo(results_json(done))
    else:
        print_results(new_console(error=False), done)


@app.command()
def compare(
    evaluations: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Folders of results of `rewarm eval`; each other one is compared with the first. Those of "
            "several seeds of one recipe are joined by commas: A1,A2,A3 B1,B2,B3. Or run folders: their arms.",
        ),
    ],
    power: Annotated[
        bool,
        typer.Option(
            "--power",
            help="Say how small a difference a comparison with A could see; no B is needed.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare models, or recipes over seeds, or the arms of runs: differences with intervals, and power."""
    from rewarm.cli.asked import is_run
    from rewarm.errors import CampaignError
    from rewarm.evaluation.comparison import compare_sides
    from rewarm.evaluation.comparison_tables import power_json, print_comparison, print_power
    from rewarm.evaluation.power import expected_power
    from rewarm.evaluation.sides import read_side

    runs = [Path(text) for text in evaluations if is_run(Path(text))]
    if len(runs) == len(evaluations) and not power:
        from rewarm.report.comparing import print_runs, runs_json

        if as_json:
            typer.echo(runs_json(runs))
        else:
            print_runs(new_console(error=False), runs)
        return
    if runs:
        raise CampaignError(
            f"{runs[0]} is a run. Runs are compared with runs, by their losses and without --power; results of "
            "`rewarm eval` with such results. Give one kind alone."
        )
    if len(evaluations) < 2 and not power:
        raise CampaignError(
            f"{evaluations[0]}: there is nothing to compare it with. Give the folder of other results too, or "
            "--power for what a comparison could see."
        )
    sides = [read_side(text) for text in evaluations]
    console = new_console(error=False)
    if power:
        expected = [expected_power(side) for side in sides]
        if as_json:
            typer.echo(power_json(expected))
        else:
            print_power(console, expected)
        return
    compared = compare_sides(sides[0], sides[1:])
    if as_json:
        typer.echo(compared.model_dump_json(indent=2))
    else:
        print_comparison(console, compared)


def _harness(names: list[str], data: Path | None, limit: int | None) -> "Battery | None":
    """Return the tasks of lm-evaluation-harness, if there are any."""
    from importlib.util import find_spec

    from rewarm.errors import CampaignError

    if not names:
        if data is not None:
            raise CampaignError(f"--data {data}: is of --harness, which is not given")
        return None
    if find_spec("lm_eval") is None:
        raise CampaignError(
            "--harness: lm-evaluation-harness is not installed. Install it with: pip install 'rewarm[eval]'"
        )
    from rewarm.evaluation.harness.measuring import battery

    return battery(names, data, limit)


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
