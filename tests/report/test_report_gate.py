"""The gate on the page: what is not held comes first, and names are text."""

from tests.report.conftest import NASTY, write_realistic
from tests.report.test_report_page import Page, faults

from rewarm.report import read_run, verdict
from rewarm.report.page import page
from rewarm.report.sections import gate_lines
from rewarm.runs.files import write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import GateRecord, TaskLimitRecord


def gated(path, allowed, *, task=None):
    write_realistic(path)
    tasks = [
        TaskLimitRecord(
            name=name, metric=None, domain=None, max_worse=0.1, against=None, at_worst=None
        )
        for name in [task]
        if name is not None
    ]
    record = GateRecord(
        policy="report",
        arms=["no-replay", "replay-5", "replay-25"],
        from_scratch=["pretrain-1a2b3c4d"],
        base=None,
        max_forgetting={"english": allowed},
        max_loss={},
        max_overlap=None,
        tasks=tasks,
    )
    write_record(RunFolder(path).gate, record)
    return read_run(path)


def test_what_is_not_held_comes_first(tmp_path):
    run = gated(tmp_path / "run", 0.3)
    assert [(line.state, line.limit) for line in gate_lines(run)] == [
        ("broken", "max_forgetting.english"),
        ("held", "max_forgetting.english"),
        ("held", "max_forgetting.english"),
    ]
    assert "The gate is not held (1 broken, 2 held)." in verdict(run)
    html = page([run])
    assert "<h2>Gate</h2>" in html
    assert '<td class="warn">broken</td><td>0.8200</td><td>0.3</td>' in html


def test_a_held_gate_says_so_and_none_says_nothing(tmp_path):
    run = gated(tmp_path / "run", 0.9)
    assert "The gate is held." in verdict(run)
    RunFolder(tmp_path / "run").gate.unlink()
    run = read_run(tmp_path / "run")
    assert "gate" not in verdict(run)
    assert "<h2>Gate</h2>" not in page([run])


def test_names_of_others_are_shown_as_text(tmp_path):
    html = page([gated(tmp_path / "run", 0.3, task=NASTY)])
    assert faults(html) == []
    assert NASTY in " ".join(Page(html).text)
