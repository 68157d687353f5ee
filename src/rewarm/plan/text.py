"""The plan for people: tables, a drawing of the learning rate, and warnings, for the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from rewarm.campaign.hub import hub_name, local_path, model_folder, model_names, tokenizer_file
from rewarm.campaign.quantities import percent
from rewarm.plan.cost import Cost, saving
from rewarm.plan.drawing import distinct_lines, draw_learning_rate
from rewarm.plan.epochs import epoch_warnings, epochs_of, in_tokens
from rewarm.plan.model import FLOPS_RULE
from rewarm.plan.plan import Plan
from rewarm.plan.record import in_words
from rewarm.plan.schedules import length_in_steps
from rewarm.plan.stage import StagePlan
from rewarm.replay import Count


def print_plan(
    console: Console, plan: Plan, cost: Cost, sizes: Mapping[str, int], notes: list[str]
) -> None:
    """Print a plan.

    Args:
        console: where to.
        plan: the plan.
        cost: what it takes.
        sizes: tokens of each source, as far as prepared or declared, and of datasets with domains.
        notes: what else there is to say, such as what is not there yet; one line each.
    """
    campaign = plan.campaign
    console.print(f"[bold]{campaign.name}[/bold]  ({plan.loaded.path})")
    console.print(_model_line(plan))
    console.print(
        f"batch {campaign.batch_sequences:,} × {campaign.sequence_length:,} = "
        f"{campaign.batch_tokens:,} tokens, micro-batch {campaign.micro_batch_sequences}, "
        f"{campaign.training.precision}, seed {campaign.seed}"
    )
    console.print(_stage_table(plan))
    for stage in plan.stages:
        console.print(f"  {stage.folder}: {in_words(stage.schedule)}")
    console.print(_data_table(plan, sizes))
    for arms, line in distinct_lines(plan).items():
        console.print(draw_learning_rate(arms, line, width=min(console.width, 100)), markup=False)
    _print_cost(console, plan, cost)
    found = [
        *warmup_warnings(plan),
        *epoch_warnings(plan, in_tokens(sizes)),
        *annealing_notes(plan),
        *download_notes(plan),
    ]
    for warning in [*found, *notes]:
        console.print(f"[yellow]note:[/yellow] {warning}")


def warmup_warnings(plan: Plan) -> list[str]:
    """Return the warmups that are asked for and come to less than one step."""
    found: list[str] = []
    for stage in plan.stages:
        warmup = getattr(stage.stage.schedule, "warmup", None)
        if warmup is not None and warmup.amount:
            steps = length_in_steps(warmup, of_steps=stage.steps, batch_tokens=stage.batch_tokens)
            if steps == 0:
                found.append(
                    f"{stage.folder} has {stage.steps:,} steps, so its warmup of {warmup} is none"
                )
    return found


def annealing_notes(plan: Plan) -> list[str]:
    """Return the stages that the gate's policy `anneal-earlier` would find no checkpoint of to anneal."""
    return [
        f"{stage.folder} keeps no checkpoint at which it is validated but its last, so gate.policy = "
        '"anneal-earlier" has nothing to anneal; set checkpoints.every to evaluation.every, and '
        'checkpoints.keep = "all" or checkpoints.keep_every'
        for stage in plan.annealable()
        if not plan.kept_steps(stage) & {*plan.evaluation_steps(stage)} - {stage.steps}
    ]


def memory_warnings(plan: Plan, cost: Cost) -> list[str]:
    """Return that the estimate for one rank is more than a device has, if it is."""
    device_gb = plan.campaign.parallel.device_memory
    if cost.memory_bytes is None or cost.memory_bytes <= device_gb * 1e9:
        return []
    return [
        f"one rank would need {cost.memory_bytes / 1e9:.3g} GB, more than the {device_gb:g} GB of a device "
        "(parallel.device_memory); --ranks N shows it spread over several"
    ]


def download_notes(plan: Plan) -> list[str]:
    """Return what the campaign names and only the hub may have, as far as it is not in the cache."""
    loaded, found = plan.loaded, list[str]()
    place = (loaded.root, loaded.commits)
    for name in model_names(loaded):
        if model_folder(name, *place) is None:
            found.append(
                f"model {hub_name(name, *place)} is not downloaded yet, so its size is not known; "
                f"rewarm prepare downloads it ({local_path(name, loaded.root)} is no folder here)"
            )
    tokenizer = loaded.campaign.tokenizer.from_
    if tokenizer is not None and tokenizer_file(tokenizer, *place) is None:
        found.append(
            f"the tokenizer of {hub_name(tokenizer, *place)} is not downloaded yet; "
            f"rewarm prepare downloads it ({local_path(tokenizer, loaded.root)} is not here)"
        )
    return found


def _model_line(plan: Plan) -> str:
    model = plan.campaign.model
    what = f"preset {model.preset}" if model.preset else f"from {model.from_}"
    if plan.size is None:
        needed = "the tokenizer is there" if model.preset else "it is downloaded"
        return f"model: {what}; its parameters are known once {needed}"
    per_token = plan.size.flops_per_token(plan.campaign.sequence_length)
    return (
        f"model: {what}, {plan.size.parameters:,} parameters (vocabulary {plan.size.vocabulary:,}), "
        f"{per_token / 1e9:.3g} GFLOP per training token\n  counted as {FLOPS_RULE}"
    )


def _stage_table(plan: Plan) -> Table:
    table = Table(title="stages (each is trained once)", title_justify="left")
    for column in ("stage", "starts from", "data", "replay"):
        table.add_column(column, overflow="fold")
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("arms", overflow="fold")
    for stage in plan.stages:
        start = "base model" if stage.parent is None else stage.parent.folder
        if stage.parent is not None and stage.start_step != stage.parent.steps:
            start += f" at step {stage.start_step:,}"
        table.add_row(
            stage.folder,
            start,
            ", ".join(f"{name} {percent(share)}" for name, share in stage.shares.items()),
            _replay(stage),
            f"{stage.steps:,}",
            f"{stage.tokens:,}",
            ", ".join(plan.arms_of(stage)),
        )
    return table


def _replay(stage: StagePlan) -> str:
    """Return the share that is replayed, and whether it comes on top of the budget."""
    replay = stage.stream.replay
    if replay is None:
        return "-"
    is_additive = stage.stage.data is not None and stage.stage.replay.mode == "additive"
    return f"{percent(replay.share)} additive" if is_additive else percent(replay.share)


def _data_table(plan: Plan, sizes: Mapping[str, int]) -> Table:
    table = Table(title="tokens read by the end of each stage", title_justify="left")
    for column in ("stage", "source", "new", "replayed", "share of the stage", "epochs so far"):
        left = column in ("stage", "source")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for stage in plan.stages:
        epochs = epochs_of(stage, in_tokens(sizes))
        total, counts = stage.steps * stage.batch_sequences, stage.counts()
        for source, count in (counts | _by_dataset(counts)).items():
            table.add_row(
                stage.folder,
                source if source in counts else f"{source}, all domains",
                f"{count.new * stage.sequence_length:,}",
                f"{count.replayed * stage.sequence_length:,}",
                f"{count.total / total:.2%}",
                f"{float(epochs[source].times):.2f}" if source in epochs else "?",
            )
    return table


def _by_dataset(counts: Mapping[str, Count]) -> dict[str, Count]:
    """Return the counts of the datasets that have domains, over all of these."""
    datasets: dict[str, Count] = {}
    for source, count in counts.items():
        dataset, slash, _ = source.partition("/")
        if slash:
            datasets[dataset] = datasets.get(dataset, Count()) + count
    return datasets


def _print_cost(console: Console, plan: Plan, cost: Cost) -> None:
    if plan.size is not None and cost.memory_bytes and cost.checkpoint_bytes:
        console.print(
            f"in all: {cost.tokens:,} tokens, {cost.flops:.3g} FLOPs; estimates: memory "
            f"{cost.memory_bytes / 1e9:.3g} GB, checkpoints {cost.checkpoint_bytes / 1e9:.3g} GB, "
            f"tokens {cost.token_bytes / 1e9:.3g} GB on disk"
        )
    console.print(
        f"validation: {cost.evaluation_tokens:,} tokens in all; it takes {cost.evaluation_share:.2%} of the "
        "FLOPs of training"
    )
    if cost.hours is not None:
        price = "" if cost.price is None else f", price {cost.price:,.2f}"
        console.print(f"at the given throughput: {cost.hours:,.2f} hours{price}")
    said: dict[str, list[str]] = {}
    for arm, stages in plan.arms.items():
        saved = saving(stages[-1].lineage)
        if saved is not None:
            text = (
                f"updating takes {saved.update_tokens:,} tokens, retraining on everything each time "
                f"{saved.retrain_tokens:,}: {saved.share:.0%} saved"
            )
            said.setdefault(text, []).append(arm)
    for text, arms in said.items():
        console.print(f"{', '.join(arms)}: {text}")
