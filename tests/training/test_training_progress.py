"""What training says while it goes on: the same numbers on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from rewarm.campaign import load_campaign
from rewarm.plan import make_plan
from rewarm.runs.records import EvalRecord
from rewarm.training import progress
from rewarm.training.progress import Reporter
from rewarm.training.status import Status, phase_text, status_lines


@pytest.fixture
def stage(tiny):
    return make_plan(load_campaign(tiny.file)).stages[0]


def validated(step, dataset, loss):
    return EvalRecord(step=step, tokens=step, dataset=dataset, loss=loss, sequences=1)


def shown(stage, *, terminal: bool) -> str:
    """Return what is written of two steps, the second one after a validation."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, color_system=None)
    reporter = Reporter(console, stage.tokens)
    before = [validated(0, "old", 5.0), validated(0, "new", 6.0), validated(1, "old", 4.9)]
    with reporter.stage(stage, done=0, flops_per_token=1e6, evals=before):
        reporter.step(1, 4.5, stage.schedule(1), 0.5, 0.1)
        reporter.evaluated(validated(2, "old", 5.5))
        reporter.evaluated(validated(2, "new", 6.0))
        reporter.saved()
        reporter.step(2, 4.25, stage.schedule(2), 0.5, 0.2)
    return out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_all_that_matters_is_shown(stage, terminal, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    text = shown(stage, terminal=terminal)
    speed = stage.batch_tokens / 0.5
    for part in (
        f"loss 4.250  lr {stage.schedule(2):.2e} linear ↑  {speed:,.0f} tokens/s",
        f"{speed / 1e3:.3g} GFLOP/s" if speed >= 1e3 else f"{speed:.3g} MFLOP/s",
        "validation old 5.500 ↑0.500, new 6.000 =",
        "data wait 30%",
        "saved 0:00 ago",
        "all done in",
    ):
        assert part in text, part


def test_a_log_has_whole_lines_and_no_more_than_one_now_and_then(stage, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    lines = shown(stage, terminal=False).splitlines()
    assert len(lines) == 2
    assert "old 4.900 ↓0.100, new 6.000 =" in lines[0]
    assert lines[1].startswith(f"{stage.folder}  step 2/24  loss 4.250")
    monkeypatch.setattr(progress, "LINE_SECONDS", 3600.0)
    assert shown(stage, terminal=False) == ""


def test_every_step_of_a_schedule_has_a_phase(stage):
    phases = [phase_text(stage.schedule, step) for step in range(1, stage.steps + 2)]
    assert phases == ["linear ↑"] * 2 + ["cosine ↓"] * 8 + ["constant"] * 15


def test_what_is_not_known_is_not_shown():
    now = Status(
        loss=1.0,
        lr=1.0,
        phase="constant",
        tokens_per_second=10.0,
        flops_per_token=0.0,
        wait_share=0.0,
        seconds_left=1.0,
        seconds_since_saved=1.0,
        validation={},
    )
    fast, slow = status_lines(now)
    assert "FLOP/s" not in fast
    assert slow == "data wait 0%  saved 0:01 ago"
