"""Steps left out: what was not trained on is not counted, and everything that shows the run says so."""

import pytest

from rewarm.report import plots
from rewarm.report.page import write_report
from rewarm.report.styles import arm_styles
from rewarm.report.tables import (
    arm_rows,
    markdown,
    read_run,
    replay_audit,
    trained_tokens,
    verdict,
)
from rewarm.runs.records import (
    EvalRecord,
    EventRecord,
    SourceCount,
    StageResult,
    StepRecord,
    ThroughputRecord,
)

STEPS, BATCH_TOKENS = 10, 128
LEFT_OUT = (3, 4, 7)
LOSSES = {"english": 2.0, "python": 3.0}


def _steps(left_out, steps=STEPS, new=None, replayed=None):
    """Six new sequences and two replayed in every step but those left out."""
    trained = [step for step in range(1, steps + 1) if step not in left_out]
    return [
        StepRecord(
            step=step,
            tokens=BATCH_TOKENS * place,
            lr=1e-3,
            loss=3.0,
            gradient_norm=1.0,
            new={"python": 6} if new is None else new,
            replayed={"english": 2} if replayed is None else replayed,
        )
        for place, step in enumerate(trained, start=1)
    ]


def _counts(batches):
    return {
        "python": SourceCount(new=6 * batches, replayed=0),
        "english": SourceCount(new=0, replayed=2 * batches),
    }


def _result(left_out, read=None):
    return StageResult(
        before=LOSSES,
        final=LOSSES,
        read=_counts(STEPS - len(left_out)) if read is None else read,
        ledger=_counts(STEPS - len(left_out)),
        left_out=list(left_out),
        unread=_counts(len(left_out)) if left_out else {},
        train_seconds=1.0,
        weights_sha256="ab" * 32,
    )


def _run(build, path, left_out, *, finished=True, read=None, metrics=None):
    """A base, the update that leaves steps out, and a branch from its step 5."""
    base = build.record("pretrain", key="b0")
    update = build.record(
        "update",
        parent=base.folder,
        start_step=STEPS,
        steps=STEPS,
        shares={"python": 1.0},
        replay_share=0.25,
    )
    branch = build.record(
        "annealed",
        key="a0",
        parent=update.folder,
        start_step=5,
        steps=2,
        shares={"python": 1.0},
        replay_share=0.25,
    )
    done = range(0, STEPS + 1, 2)
    events = [
        EventRecord(at=f"2026-03-01T00:0{step}:00Z", step=step, kind="left out", message="loss nan")
        for step in left_out
    ]
    stages = [
        build.finished(
            base, (9.0, 9.5), (2.0, 4.0), metrics=_steps((), new={"english": 8}, replayed={})
        ),
        type(build.begun(update))(
            record=update,
            result=_result(left_out, read) if finished else None,
            metrics=_steps(left_out) if metrics is None else metrics,
            evals=[
                EvalRecord(
                    step=step,
                    tokens=(step - sum(s <= step for s in left_out)) * BATCH_TOKENS,
                    dataset="python",
                    loss=3.0,
                    sequences=8,
                )
                for step in done
            ],
            throughput=[
                ThroughputRecord(
                    step=step, seconds=1.0, tokens_per_second=100.0, data_wait_seconds=0.0
                )
                for step in (5, 10)
            ],
            events=events,
        ),
    ]
    arms = {"replay": [base.folder, update.folder]}
    if finished:
        stages.append(build.finished(branch, (2.0, 4.0), (2.0, 3.0), metrics=_steps((), 2)))
        arms["early"] = [base.folder, update.folder, branch.folder]
    return build.write(path / "run", stages, arms)


@pytest.fixture
def run(build, tmp_path):
    return read_run(_run(build, tmp_path, LEFT_OUT))


def test_the_result_says_which_steps_were_left_out(run):
    stage = run.stages["update-0a"]
    assert stage.left_out == LEFT_OUT
    assert [stage.trained_steps(steps) for steps in (0, 2, 3, 4, 6, 10)] == [0, 2, 2, 2, 4, 7]


def test_of_an_unfinished_stage_the_gaps_in_its_metrics_do(build, tmp_path):
    run = read_run(_run(build, tmp_path, LEFT_OUT, finished=False))
    assert run.stages["update-0a"].left_out == LEFT_OUT
    assert "3 of 10 in update (replay)" in verdict(run)


def test_an_event_without_a_gap_is_a_step_that_came_out_well_when_done_again(build, tmp_path):
    path = _run(build, tmp_path, (3,), finished=False, metrics=_steps(()))
    run = read_run(path)
    assert [event.step for event in run.stages["update-0a"].events] == [3]
    assert run.stages["update-0a"].left_out == ()


def test_tokens_and_flops_are_of_steps_that_were_trained_on(build, run, tmp_path):
    whole = read_run(_run(build, tmp_path / "whole", ()))
    assert trained_tokens(whole) - trained_tokens(run) == 3 * BATCH_TOKENS
    (update, early), (update_whole, early_whole) = arm_rows(run), arm_rows(whole)
    assert (update_whole.update_tokens, update.update_tokens) == (10 * 128, 7 * 128)
    assert update.update_flops == pytest.approx(0.7 * update_whole.update_flops)
    # The branch leaves at step 5: two of the three steps lie before it.
    assert (early_whole.update_tokens, early.update_tokens) == (7 * 128, 5 * 128)
    assert update_whole.total_tokens - update.total_tokens == 3 * BATCH_TOKENS


def test_the_audit_says_what_was_left_out_and_calls_it_no_fault(run):
    audit = replay_audit(run)[1]
    assert audit.problems == ()
    assert audit.left_out == (
        "steps 3 to 4 and 7 left out, since a loss or gradient was not finite, so that 24 sequences of "
        "the plan were not read"
    )
    python, english = audit.sources
    assert (python.planned_new, python.read_new, python.left_out) == (60, 42, 18)
    assert (english.planned_replayed, english.read_replayed, english.left_out) == (20, 14, 6)
    assert not python.differs
    assert not english.differs
    assert audit.read_replay_share == 0.25


def test_what_is_missing_beyond_the_steps_left_out_is_a_fault(build, tmp_path):
    read = _counts(7) | {"python": SourceCount(new=41, replayed=0)}
    audit = replay_audit(read_run(_run(build, tmp_path, LEFT_OUT, read=read)))[1]
    assert [source.differs for source in audit.sources] == [True, False]
    assert audit.problems[0] == (
        "python: planned 60 new and 0 replayed sequences, read 41 and 0, with 18 in batches left out"
    )


def test_metrics_that_lack_a_step_that_was_not_left_out_are_a_fault(build, tmp_path):
    path = _run(build, tmp_path, LEFT_OUT, metrics=_steps((*LEFT_OUT, 9)))
    assert replay_audit(read_run(path))[1].problems == (
        "the metrics do not add up to the counts in the result",
    )


def test_metrics_of_a_step_that_was_left_out_are_a_fault(build, tmp_path):
    path = _run(build, tmp_path, LEFT_OUT, metrics=_steps((2, 4, 7)))
    assert replay_audit(read_run(path))[1].problems == (
        "1 steps are in the metrics and among those left out",
    )


def test_the_verdict_says_so_only_if_something_was_left_out(build, run, tmp_path):
    sentence = "Steps were left out because a loss or gradient was not finite: 3 of 10 in update"
    assert sentence in verdict(run)
    assert sentence in markdown(run)
    assert "left out" not in verdict(read_run(_run(build, tmp_path / "whole", ())))


def test_curves_go_on_at_the_tokens_trained_on_and_crosses_mark_the_gaps(run):
    figure = plots.losses(run, arm_styles(list(run.record.arms)))
    crosses = [trace for trace in figure.data if trace.name == "steps left out"]
    start = STEPS * BATCH_TOKENS
    assert [list(trace.x) for trace in crosses] == [[start + 2 * 128, start + 4 * 128]]
    assert list(crosses[0].customdata) == ["steps 3 to 4", "step 7"]
    _, update, branch = [trace for trace in figure.data if trace.name == "training loss"]
    assert list(update.x) == [start + 128 * n for n in range(1, 8)]
    assert list(branch.x) == [start + 3 * 128 + 128 * n for n in (1, 2)]
    speed = plots.throughput(run, arm_styles(list(run.record.arms))).data[0]
    assert list(speed.x) == [start + 3 * 128, start + 7 * 128]


def test_no_cross_is_drawn_where_nothing_was_left_out(build, tmp_path):
    run = read_run(_run(build, tmp_path, ()))
    figure = plots.losses(run, arm_styles(list(run.record.arms)))
    assert "steps left out" not in {trace.name for trace in figure.data}


def test_the_page_lists_them_with_the_events_and_in_the_audit(build, tmp_path):
    path = _run(build, tmp_path, LEFT_OUT)
    page = write_report([path], tmp_path / "r.html").read_text(encoding="utf-8")
    events = page[page.index("<h2>Events</h2>") :]
    assert "update (replay): steps 3 to 4 and 7 left out (30% of the stage, 384 tokens)." in events
    assert events.count('<td class="warn">left out</td>') == 3
    audit = page[page.index("<h2>Replay audit</h2>") :]
    assert "Nothing differs from the plan but the batches left out." in audit
    assert "<td>18 left out</td>" in audit
    assert "finished, 3 left out" in page
    whole = write_report([_run(build, tmp_path / "whole", ())], tmp_path / "w.html")
    assert (
        "left out"
        not in whole.read_text(encoding="utf-8")
        .split("</style>")[1]
        .split('<script type="application/json"')[0]
    )
