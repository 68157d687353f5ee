"""What each arm of a run achieved and what it cost: the numbers of the paper's tables.

Forgetting and adaptation compare the end of an arm's update with its start. An arm trained from scratch has
no start to compare with; it is measured from where the first updated arm started, and is marked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rewarm.report.lineage import Span, is_from_scratch, is_union, line, new_datasets, update_part
from rewarm.report.loading import Run, StageRun


@dataclass(frozen=True, kw_only=True)
class ArmRow:
    """One finished arm."""

    arm: str
    """Its name."""
    is_reference: bool
    """Whether it was trained from scratch."""
    is_union: bool
    """Whether it was trained on all datasets together, from the base: the retraining to be saved."""
    replay_share: float
    """Share of the update's sequences that were to be replayed."""
    before: dict[str, float]
    """Validation loss of each dataset where the update started; for a reference arm, see `arm_rows`."""
    final: dict[str, float]
    """Final validation loss of each dataset, nats per token."""
    average: float | None
    """Plain mean of the final losses; None if a dataset has none."""
    forgetting: dict[str, float]
    """F = L(after) - L(before) of each old dataset, nats per token; > 0 is worse."""
    newest: str | None
    """The dataset on which adaptation is measured."""
    adaptation: float | None
    """A = L(before) - L(after) on the newest dataset, nats per token; > 0 is better."""
    update_tokens: int
    """Training tokens, given that what the update starts from exists."""
    total_tokens: int
    """Training tokens, given nothing: the whole line of stages."""
    update_flops: float
    """FLOPs of the update."""
    total_flops: float
    """FLOPs of the whole line of stages."""
    compute_ratio: float | None
    """FLOPs of the update over those of the dearest arm's update; None if FLOPs are not known."""
    union_gap: float | None
    """The average less that of the union arm, nats per token; None without such an arm."""

    @property
    def mean_forgetting(self) -> float | None:
        """Plain mean of F over the old datasets; None if nothing is old."""
        values = self.forgetting.values()
        return sum(values) / len(values) if values else None


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where an update starts, and what is old and new to it."""

    losses: dict[str, float]
    """Validation loss of each dataset."""
    old: tuple[str, ...]
    """The datasets whose forgetting counts."""
    newest: str | None
    """The dataset whose adaptation counts."""


def arm_rows(run: Run) -> list[ArmRow]:
    """Return one row for each arm whose last stage is finished, in the order of the campaign.

    With L(after) the final loss of an arm's last stage and L(before) the loss at step 0 of its update:

    - average = mean of L(after) over the datasets;
    - forgetting of an old dataset F = L(after) - L(before);
    - adaptation on the newest dataset A = L(before) - L(after);
    - compute ratio = FLOPs(update) / max over arms of FLOPs(update), where the update of an arm trained
      from scratch is all of its training. So the base that updated arms start from is taken as given;
    - union gap = average - average of the union arm.

    The update is the arm's last stage (see `update_part` for branches). New is what it is the first to
    read, or reads at all if it has read everything before; old is what was met before that, or is only
    validated on. A reference arm takes L(before), old and new from the first arm with an update.

    Source: paper section 5 and Tables 2 to 4. There, forgetting is measured from the final loss of the
    pre-trained model; here from the validation at step 0, which is the same model.
    """
    finished = [
        arm
        for arm, folders in run.record.arms.items()
        if run.stages[folders[-1]].result is not None
    ]
    rows = [_row(run, arm) for arm in finished]
    dearest_flops = max((row.update_flops for row in rows), default=0.0)
    is_known = all(row.update_flops > 0 for row in rows)
    union = next((row.average for row in rows if row.is_union), None)
    return [
        replace(
            row,
            compute_ratio=row.update_flops / dearest_flops if is_known else None,
            union_gap=None if union is None or row.average is None else row.average - union,
        )
        for row in rows
    ]


def unfinished_arms(run: Run) -> dict[str, list[StageRun]]:
    """Return for each arm whose last stage is not finished the stages that are still to be done."""
    return {
        arm: [run.stages[folder] for folder in folders if run.stages[folder].result is None]
        for arm, folders in run.record.arms.items()
        if run.stages[folders[-1]].result is None
    }


def _row(run: Run, arm: str) -> ArmRow:
    """Build the row of an arm, all but what depends on the other arms."""
    spans = line(run, run.record.arms[arm][-1])
    result = spans[-1].stage.result
    assert result is not None, arm
    update = update_part(run, arm)
    scratch = is_from_scratch(run, arm)
    start = _reference_start(run) if scratch else _start(run, arm)
    names = run.record.datasets
    final = {name: result.final[name] for name in names if name in result.final}
    change = {n: final[n] - start.losses[n] for n in names if n in final and n in start.losses}
    newest = start.newest
    sequences = sum(s.steps * s.stage.record.batch_sequences for s in update)
    replayed = sum(
        s.steps * s.stage.record.batch_sequences * s.stage.record.replay_share for s in update
    )
    return ArmRow(
        arm=arm,
        is_reference=scratch,
        is_union=is_union(run, arm),
        replay_share=replayed / sequences if sequences else 0.0,
        before=start.losses,
        final=final,
        average=sum(final.values()) / len(names) if len(final) == len(names) else None,
        forgetting={name: change[name] for name in start.old if name in change},
        newest=newest,
        adaptation=-change[newest] if newest in change else None,
        update_tokens=sum(span.tokens for span in update),
        total_tokens=sum(span.tokens for span in spans),
        update_flops=sum(span.flops for span in update),
        total_flops=sum(span.flops for span in spans),
        compute_ratio=None,
        union_gap=None,
    )


def _start(run: Run, arm: str) -> Start:
    """Return where an arm's update starts; a dataset that no stage reads is there to watch forgetting."""
    update = update_part(run, arm)
    spans = line(run, run.record.arms[arm][-1])
    earlier = spans[: len(spans) - len(update)]
    met = set(run.record.history).union(*(new_datasets(run, span) for span in earlier))
    read = set().union(*(new_datasets(run, span) for span in update))
    new = [name for name in run.record.datasets if name in (read - met or read)]
    newest = new[-1] if new else None
    until = run.record.datasets.index(newest) if newest is not None else 0
    spans_of_all = (Span(stage=stage, steps=0) for stage in run.stages.values())
    met |= set(run.record.datasets).difference(*(new_datasets(run, span) for span in spans_of_all))
    old = [
        name
        for place, name in enumerate(run.record.datasets)
        if name not in new and (name in met or place < until)
    ]
    return Start(losses=_losses_at_start(update[0]), old=tuple(old), newest=newest)


def _reference_start(run: Run) -> Start:
    """Return where the first updated arm of the run starts; nothing if there is none."""
    for arm in run.record.arms:
        if not is_from_scratch(run, arm):
            start = _start(run, arm)
            if start.losses:
                return start
    return Start(losses={}, old=(), newest=None)


def _losses_at_start(span: Span) -> dict[str, float]:
    """Return the validation losses at step 0 of a stage, finished or not."""
    if span.stage.result is not None:
        return span.stage.result.before
    return {record.dataset: record.loss for record in span.stage.evals if record.step == 0}


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that no other beats, by rising forgetting.

    A point beats another if it forgets no more and adapts no less, and differs.

    Args:
        points: forgetting and adaptation of each arm, nats per token.

    >>> pareto_front([(0.4, 2.0), (0.1, 1.9), (0.5, 1.9)])
    [1, 0]
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front
