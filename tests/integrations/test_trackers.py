"""The trackers get every number of every step once, in order, through the calls that their packages have."""

import sys
from types import ModuleType

import pytest

from rewarm.errors import CampaignError
from rewarm.integrations import trackers

POINTS = [(0, {"validation/old": 3.0}), (1, {"train/loss": 2.5, "train/lr": 1e-3})]


class Calls:
    """What a package was asked to do, by the name of the call."""

    def __init__(self):
        self.made = []

    def __getattr__(self, name):
        def call(*arguments, **named):
            self.made.append((name, arguments, named))
            return self

        return call


@pytest.fixture
def package(monkeypatch):
    """Put a module that notes all calls in the place of a package."""

    def stand_in(name):
        calls, module = Calls(), ModuleType(name)
        for call in ("init", "log", "finish", "SummaryWriter"):
            setattr(module, call, getattr(calls, call))
        monkeypatch.setitem(sys.modules, name, module)
        return calls

    return stand_in


def fill(open_log):
    with open_log("update-3fa94c21") as log:
        for step, values in POINTS:
            log(step, values)


def test_wandb_gets_a_run_for_each_stage_that_can_be_gone_on_with(package):
    calls = package("wandb")
    fill(trackers.wandb("project", "english"))
    began, *logged, ended = calls.made
    assert began == (
        "init",
        (),
        {
            "project": "project",
            "group": "english",
            "name": "update-3fa94c21",
            "id": "english-update-3fa94c21",
            "resume": "allow",
        },
    )
    assert logged == [("log", (values,), {"step": step}) for step, values in POINTS]
    assert ended == ("finish", (), {})


def test_trackio_gets_a_run_for_each_stage(package):
    calls = package("trackio")
    fill(trackers.trackio("project", "english"))
    began, *logged, ended = calls.made
    assert began[0] == "init"
    assert began[2] == {
        "project": "project",
        "group": "english",
        "name": "update-3fa94c21",
        "embed": False,
    }
    assert logged == [("log", (values,), {"step": step}) for step, values in POINTS]
    assert ended[0] == "finish"


def test_tensorboard_gets_a_folder_for_each_stage(package, tmp_path):
    calls = package("torch.utils.tensorboard")
    fill(trackers.tensorboard(tmp_path))
    began, *logged, ended = calls.made
    where = {"log_dir": str(tmp_path / "update-3fa94c21"), "purge_step": 0}
    assert began == ("SummaryWriter", (), where)
    assert logged == [
        ("add_scalar", (name, value), {"global_step": step})
        for step, values in POINTS
        for name, value in values.items()
    ]
    assert ended[0] == "close"


def test_a_log_is_closed_also_after_an_error(package):
    calls = package("wandb")
    with pytest.raises(KeyError), trackers.wandb("project", "english")("stage"):
        raise KeyError
    assert calls.made[-1][0] == "finish"


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fill(trackers.tensorboard(tmp_path))
    events = EventAccumulator(str(tmp_path / "update-3fa94c21"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 2.5)]


@pytest.mark.parametrize(
    ("module", "open_logs", "name"),
    [
        ("wandb", lambda: trackers.wandb("p", "g"), "wandb"),
        ("trackio", lambda: trackers.trackio("p", "g"), "trackio"),
        ("torch.utils.tensorboard", lambda: trackers.tensorboard(None), "tensorboard"),
    ],
)
def test_a_package_that_is_not_there_is_named_before_any_work(monkeypatch, module, open_logs, name):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CampaignError, match=f"pip install {name}"):
        open_logs()
