"""What happened in a run, in a few plain sentences with the numbers.

The paper leads one to expect that replay forgets less, and that an update comes near to retraining at a part
of the cost. Where a run says otherwise, so does the verdict.
"""

from rewarm.report.arms import ArmRow, arm_rows, unfinished_arms
from rewarm.report.frame import stage_label
from rewarm.report.lineage import update_part
from rewarm.report.loading import Run
from rewarm.report.wording import change_text, is_zero, list_text, loss_text, printable, share_text


def verdict(run: Run) -> str:
    """Say which arm did best, what replay did, what the update cost against retraining.

    Args:
        run: the run, finished or not.

    Returns:
        Plain text on one line; names in it are not escaped for any output.
    """
    rows = arm_rows(run)
    if not rows:
        done = sum(stage.state == "finished" for stage in run.stages.values())
        text = f"No arm is finished yet: {done} of {len(run.stages)} stages are done."
        return " ".join(filter(None, [text, _gate(run), _left_out(run)]))
    against_union = _against_union(rows)
    sentences = [_best(rows, not against_union), against_union, _replay(run, rows)]
    sentences += [_gate(run), _left_out(run), _seed(run)]
    if waiting := unfinished_arms(run):
        sentences.append(f"Not finished: {list_text([_name(arm) for arm in waiting], most=6)}.")
    return " ".join(sentence for sentence in sentences if sentence)


def _name(arm: str) -> str:
    """Write the name of an arm inside a sentence."""
    return printable(arm)


def _ranked(rows: list[ArmRow]) -> list[tuple[float, ArmRow]]:
    """Return the arms that have an average, the best first, equal ones in the order given."""
    have = [(row.average, row) for row in rows if row.average is not None]
    return sorted(have, key=lambda pair: pair[0])


def _best(rows: list[ArmRow], with_second: bool) -> str:
    """Say which arm has the best average loss, and by how much if nothing else will say it."""
    ranked = _ranked(rows)
    if not ranked:
        return (
            "No finished arm has a final loss on every dataset, so there is no average to compare."
        )
    average, best = ranked[0]
    if len(ranked) == 1:
        return f"The average loss of {_name(best.arm)} is {loss_text(average)}{_changes(best)}."
    runner_up, second = ranked[1]
    if is_zero(runner_up - average):
        tied = [_name(row.arm) for value, row in ranked if is_zero(value - average)]
        return (
            f"The best average loss, {loss_text(average)}, is shared by {list_text(tied, most=4)}."
        )
    follows = f"; {_name(second.arm)} follows, {loss_text(runner_up - average)} above"
    return (
        f"The best average loss is that of {_name(best.arm)}, {loss_text(average)}"
        f"{follows if with_second else ''}."
    )


def _changes(row: ArmRow) -> str:
    """Say what one arm forgot and learnt, as the end of a sentence."""
    parts = [f"{change_text(f)} on {printable(name)}" for name, f in row.forgetting.items()]
    text = f"; forgetting {list_text(parts)}" if parts else ""
    if row.adaptation is not None and row.newest is not None:
        text += f"; adaptation {change_text(row.adaptation)} on {printable(row.newest)}"
    return text


def _against_union(rows: list[ArmRow]) -> str:
    """Compare the best updated arm with retraining on everything."""
    union = next((row for row in rows if row.is_union), None)
    updates = _ranked([r for r in rows if not r.is_reference and not r.is_union])
    if union is None or not updates or updates[0][1].union_gap is None:
        return ""
    row = updates[0][1]
    gap = updates[0][1].union_gap
    cost = _cost(row.update_tokens, union.update_tokens)
    retraining = f"{_name(union.arm)}, which is retraining on everything"
    name = _name(row.arm)
    if is_zero(gap):
        return f"The best update, {name}, matches {retraining}, {cost}."
    if gap > 0:
        return f"The best update, {name}, ends {loss_text(gap)} above {retraining}, {cost}."
    return f"Better than expected, the update {name} ends {loss_text(-gap)} below {retraining}, {cost}."


def _cost(tokens: int, union_tokens: int) -> str:
    """Say how many tokens an update took against the union."""
    saved = 1 - tokens / union_tokens
    if abs(saved) < 0.0005:
        return "with as many tokens, so that nothing is saved"
    if saved < 0:
        return f"with {share_text(round(-saved, 3))} more tokens, so that nothing is saved"
    return f"with {share_text(round(saved, 3))} fewer tokens, given the checkpoint it starts from"


def _replay(run: Run, rows: list[ArmRow]) -> str:
    """Say what replay did to forgetting and to the average, against the same update without it."""
    with_replay = _ranked([r for r in rows if r.replay_share > 0 and r.mean_forgetting is not None])
    for _, row in with_replay:
        found = _same_without_replay(run, row, rows)
        if found is not None:
            base, is_same_schedule = found
            text = _replay_effect(row, base)
            return text if is_same_schedule else f"{text} Their schedules differ too."
    return ""


def _same_without_replay(run: Run, row: ArmRow, rows: list[ArmRow]) -> tuple[ArmRow, bool] | None:
    """Find the arm that differs in replay alone, or else one whose schedule differs too."""
    start = update_part(run, row.arm)[0].stage.record
    found: list[tuple[ArmRow, bool]] = []
    for other in rows:
        record = update_part(run, other.arm)[0].stage.record
        same_start = (record.parent, record.start_step) == (start.parent, start.start_step)
        same_data = other.is_reference == row.is_reference and record.shares == start.shares
        if other.replay_share == 0 and same_start and same_data and other.forgetting:
            found.append((other, _rates(run, other) == _rates(run, row)))
    return next((pair for pair in found if pair[1]), found[0] if found else None)


def _rates(run: Run, row: ArmRow) -> list[tuple[object, ...]]:
    """Return what decides the learning rates of an arm's update, an annealed branch included."""
    return [
        (span.steps, span.stage.record.schedule, span.stage.record.optimizer)
        for span in update_part(run, row.arm)
    ]


def _replay_effect(row: ArmRow, base: ArmRow) -> str:
    """Put the difference that replay made into words."""
    with_replay, without = row.mean_forgetting, base.mean_forgetting
    assert with_replay is not None
    assert without is not None
    where = list_text([printable(name) for name in base.forgetting])
    who = f"replay of {share_text(row.replay_share)} ({_name(row.arm)}, against {_name(base.arm)})"
    removed = without - with_replay
    if is_zero(removed) or removed < 0:
        text = (
            f"Contrary to expectation, {who} did not reduce forgetting on {where}: "
            f"{change_text(with_replay)} with it, {change_text(without)} without"
        )
    elif without <= 0 or is_zero(without):
        text = (
            f"There was no forgetting to remove on {where}: {change_text(without)} without replay, "
            f"{change_text(with_replay)} with {who}"
        )
    else:
        part = share_text(round(removed / without, 2)) if removed < without else "all"
        text = (
            f"{who[0].upper()}{who[1:]} removed {part} of the forgetting on {where}: "
            f"{change_text(without)} became {change_text(with_replay)}"
        )
    return f"{text}{_replay_price(row, base)}."


def _replay_price(row: ArmRow, base: ArmRow) -> str:
    """Say what replay cost in adaptation, and whether the average is worse for it."""
    text = ""
    if row.adaptation is not None and base.adaptation is not None:
        text = f"; adaptation changed by {change_text(row.adaptation - base.adaptation)}"
    if row.average is None or base.average is None:
        return text
    change = row.average - base.average
    if change > 0 and not is_zero(change):
        text += f"; against expectation, the average is {loss_text(change)} worse with replay"
    return text


def _gate(run: Run) -> str:
    """Say whether the run keeps to what its campaign allows it to lose."""
    if run.gate is None:
        return ""
    if run.gate.is_held:
        return "The gate is held."
    return f"The gate is not held ({run.gate.summary()})."


def _left_out(run: Run) -> str:
    """Say which stages have not been trained on all that was planned."""
    parts = [
        f"{len(stage.left_out):,} of {stage.record.steps:,} in {stage_label(run, folder)}"
        for folder, stage in run.stages.items()
        if stage.left_out
    ]
    if not parts:
        return ""
    return (
        f"Steps were left out because a loss or gradient was not finite: {list_text(parts, most=6)}; "
        "nothing was learnt from their batches, and their tokens are not counted."
    )


def _seed(run: Run) -> str:
    """Say how little one seed proves."""
    overrides = run.resolved.arms.values() if run.resolved is not None else ()
    if any("seed" in changed for changed in overrides):
        return "One seed for each arm: small differences may be chance."
    return f"One seed ({run.record.seed}): small differences may be chance."
