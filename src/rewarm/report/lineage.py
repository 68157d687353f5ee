"""Which stages made an arm's model, and which of them are the update.

The stages listed in an arm need not all be ancestors of its last one: a branch leaves its trunk before the
trunk's end, and what the trunk did afterwards is no part of the branch.
"""

from dataclasses import dataclass

from rewarm.report.loading import Run, StageRun


@dataclass(frozen=True, kw_only=True)
class Span:
    """The part of a stage that lies on the way to an arm's model."""

    stage: StageRun
    """The stage."""
    steps: int
    """Its first steps, up to where the next stage of the line starts."""

    @property
    def tokens(self) -> int:
        """Training tokens of this part; those of steps left out are none."""
        return self.stage.trained_steps(self.steps) * self.stage.tokens_per_step

    @property
    def flops(self) -> float:
        """Training FLOPs of this part, in proportion to its tokens."""
        record = self.stage.record
        trained_steps = self.stage.trained_steps(self.steps)
        return record.train_flops * trained_steps / record.steps if record.steps else 0.0


def line(run: Run, folder: str) -> list[Span]:
    """Return the stages that led to the end of a stage, itself included, the first one first.

    Args:
        run: the run.
        folder: the stage whose line is wanted.
    """
    stage = run.stages[folder]
    spans = [Span(stage=stage, steps=stage.record.steps)]
    while (parent := stage.record.parent) is not None:
        start_steps = stage.record.start_step
        stage = run.stages[parent]
        spans.append(Span(stage=stage, steps=start_steps))
    return spans[::-1]


def tokens_before(run: Run, folder: str) -> int:
    """Return the training tokens that a stage's model had seen when the stage started."""
    return sum(span.tokens for span in line(run, folder)[:-1])


def update_part(run: Run, arm: str) -> list[Span]:
    """Return the part of an arm's line that is its update, the first stage first.

    This is the arm's last stage, together with the stages just before it that read the same new data: an
    annealed branch belongs to the same update as its trunk. If that takes in the whole line (more
    training on the data of the base), the update is the last stage and the trunks that it branches from.
    """
    spans = line(run, run.record.arms[arm][-1])
    wanted = new_datasets(run, spans[-1])
    same = len(spans) - 1
    while same > 0 and new_datasets(run, spans[same - 1]) == wanted:
        same -= 1
    if same > 0:
        return spans[same:]
    branch = len(spans) - 1
    while branch > 0 and spans[branch - 1].steps < spans[branch - 1].stage.record.steps:
        branch -= 1
    return spans[branch:]


def is_from_scratch(run: Run, arm: str) -> bool:
    """Say whether an arm's model learnt all it knows in this run, with no base to compare it with."""
    return update_part(run, arm)[0].stage.record.parent is None and not has_trained_base(run)


def has_trained_base(run: Run) -> bool:
    """Say whether the stages without a parent start from a model that had learnt something before.

    It has if the campaign takes the model from a folder, or declares what the model has seen.
    """
    model = run.resolved.campaign.get("model") if run.resolved is not None else None
    return bool(run.record.history) or (isinstance(model, dict) and bool(model.get("from")))


def is_union(run: Run, arm: str) -> bool:
    """Say whether an arm is the retraining on everything: by its name in the campaign, or by what it reads.

    Without a record of how the arms were made, it is an arm from scratch that reads every dataset as new
    data.
    """
    if run.resolved is not None and run.resolved.arms.get(arm, {}).get("baseline") == "union":
        return True
    read = set().union(*(new_datasets(run, span) for span in update_part(run, arm)))
    return is_from_scratch(run, arm) and set(run.record.datasets) <= read


def new_datasets(run: Run, span: Span) -> set[str]:
    """Return the datasets that a stage reads as new data."""
    shares = span.stage.record.shares.items()
    return {dataset_of(source, run.record.datasets) for source, share in shares if share > 0}


def dataset_of(source: str, datasets: list[str]) -> str:
    """Return the dataset that a source belongs to: itself, or the one of which it is a domain.

    >>> dataset_of("web/news", ["web", "code"])
    'web'
    >>> dataset_of("code", ["web", "code"])
    'code'
    """
    if source in datasets:
        return source
    owners = [name for name in datasets if source.startswith(f"{name}/")]
    return max(owners, key=len) if owners else source


def arms_of(run: Run, folder: str) -> list[str]:
    """Return the arms whose line passes through a stage, in the order of the campaign."""
    return [
        arm
        for arm, folders in run.record.arms.items()
        if folder in {span.stage.record.folder for span in line(run, folders[-1])}
        or folder in folders
    ]
