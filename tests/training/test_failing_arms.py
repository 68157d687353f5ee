"""An arm that fails ends alone: the others are trained to the same bytes, and how it ended names both."""

import pytest
from tests.tiny import CAMPAIGN
from tests.training.running import run, traces

from rewarm.campaign import load_campaign
from rewarm.engine.saver import Saver
from rewarm.errors import NumericsError, StorageError
from rewarm.plan import make_plan
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import ExitRecord

DIVERGES = '{ "stages.update.schedule.max_lr" = 1e30 }'
SECOND = """
[[stage]]
name = "second"
data = { old = 1.0 }
budget = "8 steps"
schedule = { kind = "constant", lr = 1e-3 }
"""


@pytest.fixture(scope="module")
def campaign(tiny):
    """Return a function from what an arm changes to a campaign of three arms, of which it is the first."""

    def write(changes):
        path = tiny.folder / "failing.toml"
        arms = f'[arms]\nlost = {changes}\nkept = {{ "stages.update.replay" = "0%" }}\n'
        text = CAMPAIGN[: CAMPAIGN.index("[arms]")] + SECOND + arms
        path.write_text(text + 'union = { baseline = "union" }\n', encoding="utf-8")
        return path

    return write


def planned(file):
    return make_plan(load_campaign(file))


def test_a_loss_that_is_not_finite_ends_its_arm_alone(campaign, tiny, tmp_path):
    run(campaign("{}"), tiny.prepared, tmp_path / "whole")
    for _ in range(2):  # it fails again, and what is finished is left as it is
        with pytest.raises(NumericsError, match="weights were not touched") as failed:
            run(campaign(DIVERGES), tiny.prepared, tmp_path / "run")
    plan = planned(campaign(DIVERGES))
    _, update, second = plan.arms["lost"]
    assert str(failed.value).startswith(f"{update.folder}, step ")
    assert f"Not begun because of it: {second.folder}." in str(failed.value)
    assert "Finished all the same: kept, union." in str(failed.value)
    ended = read_record(RunFolder(tmp_path / "run").exit, ExitRecord)
    assert (ended.code, ended.reason) == (NumericsError.exit_code, str(failed.value))
    assert not (tmp_path / "run" / "stages" / second.folder).exists()
    whole, found = traces(tmp_path / "whole"), traces(tmp_path / "run")
    for stage in {s.folder for arm in ("kept", "union") for s in plan.arms[arm]}:
        names = [name for name in whole if f"/{stage}/" in name]
        assert names
        assert all(found[name] == whole[name] for name in names)


def test_a_full_disk_ends_them_all(campaign, tiny, tmp_path, monkeypatch):
    """Not a mock of training, but of the disk: what the saver meets when it writes."""

    def refuse(*_args, **_more):
        raise StorageError("the disk is full")

    monkeypatch.setattr(Saver, "save", refuse)
    with pytest.raises(StorageError):
        run(campaign("{}"), tiny.prepared, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "stages").iterdir()] == [
        planned(campaign("{}")).stages[0].folder
    ]
