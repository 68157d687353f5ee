"""What was read against what was planned."""

import pytest

from rewarm.report.tables import read_run, replay_audit
from rewarm.runs.records import SourceCount, StepRecord


def _steps(batches):
    return [
        StepRecord(
            step=place,
            tokens=128 * place,
            lr=1e-3,
            loss=3.0,
            gradient_norm=1.0,
            new={"python": new},
            replayed={"english": replayed},
        )
        for place, (new, replayed) in enumerate(batches, start=1)
    ]


def _audit(build, path, batches, *, read=None, finished=True):
    """Four batches of eight, a quarter replayed: 24 new sequences of python, 8 replayed of english."""
    record = build.record("update", steps=4, shares={"python": 1.0}, replay_share=0.25)
    losses = {"english": 2.0, "python": 3.0}
    result = build.result(record, before=losses, final=losses, read=read) if finished else None
    stage = type(build.begun(record))(record=record, result=result, metrics=_steps(batches))
    return replay_audit(read_run(build.write(path, [stage], {"only": [record.folder]})))[0]


def test_as_planned(build, tmp_path):
    audit = _audit(build, tmp_path, [(6, 2)] * 4)
    assert audit.problems == ()
    assert audit.worst_batch_sequences == 0.0
    assert (audit.planned_replay_share, audit.read_replay_share) == (0.25, 0.25)
    python, english = audit.sources
    assert (python.source, python.planned_new, python.read_new) == ("python", 24, 24)
    assert (english.planned_replayed, english.read_replayed) == (8, 8)
    assert (python.read_share, english.read_share) == (0.75, 0.25)
    assert not python.differs


def test_what_was_not_read_is_flagged(build, tmp_path):
    read = {
        "python": SourceCount(new=25, replayed=0),
        "english": SourceCount(new=0, replayed=7),
    }
    audit = _audit(build, tmp_path, [(6, 2), (6, 2), (6, 2), (7, 1)], read=read)
    assert [source.differs for source in audit.sources] == [True, True]
    assert audit.problems == (
        "python: planned 24 new and 0 replayed sequences, read 25 and 0",
        "english: planned 0 new and 8 replayed sequences, read 0 and 7",
    )
    assert audit.worst_batch_sequences == 1.0
    assert audit.read_replay_share == pytest.approx(7 / 32)


def test_metrics_that_contradict_the_result_are_flagged(build, tmp_path):
    audit = _audit(build, tmp_path, [(6, 2)] * 3)
    assert audit.problems == ("the metrics do not add up to the counts in the result",)


def test_a_batch_far_from_its_share_is_flagged(build, tmp_path):
    audit = _audit(build, tmp_path, [(8, 0), (4, 4), (6, 2), (6, 2)])
    assert audit.worst_batch_sequences == 2.0
    assert audit.problems == ("a batch is 2.00 sequences off its replay share, more than one",)


def test_a_batch_of_another_size_is_flagged(build, tmp_path):
    read = {
        "python": SourceCount(new=24, replayed=0),
        "english": SourceCount(new=0, replayed=8),
    }
    audit = _audit(build, tmp_path, [(7, 2), (5, 2), (6, 2), (6, 2)], read=read)
    assert audit.problems == ("2 batches do not hold 8 sequences",)


def test_an_unfinished_stage_has_read_less_which_is_no_fault(build, tmp_path):
    audit = _audit(build, tmp_path, [(6, 2)] * 2, finished=False)
    assert not audit.is_finished
    assert audit.problems == ()
    assert audit.sources[0].read_new == 12
    assert audit.read_replay_share == 0.25


def test_an_unplanned_source_is_flagged_even_before_the_end(build, tmp_path):
    record = build.record("update", steps=4, shares={"python": 1.0})
    stage = build.begun(record, metrics=_steps([(6, 2)]))
    audit = replay_audit(read_run(build.write(tmp_path, [stage], {"only": [record.folder]})))[0]
    assert [source.source for source in audit.sources] == ["python", "english"]
    assert audit.problems[0].startswith("english: planned 0 new and 0 replayed")


def test_a_stage_that_has_read_nothing_is_left_out(build, tmp_path):
    record = build.record("update")
    run = read_run(build.write(tmp_path, [build.begun(record)], {"only": [record.folder]}))
    assert replay_audit(run) == []


def test_the_realistic_run_is_clean(realistic):
    audits = replay_audit(read_run(realistic))
    assert [audit.problems for audit in audits] == [()] * 5
    assert max(audit.worst_batch_sequences or 0.0 for audit in audits) <= 1.0
