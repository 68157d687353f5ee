"""A sweep is every combination of values, each a run with a name of its own."""

import pytest

from rewarm.errors import CampaignError
from rewarm.suites.grid import parse_axis, points


def test_every_combination_once():
    axes = [parse_axis("seed=1,2"), parse_axis("stages.update.replay=0%,5%,25%")]
    found = points("news", axes)
    assert len({point.name for point in found}) == len(found) == 6
    assert found[-1].settings == (
        "name=news-seed-2-replay-25",
        "seed=2",
        "stages.update.replay=25%",
    )


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (["seed"], "write it as path=value"),
        (["=1,2"], "write it as path=value"),
        (["seed=1,,2"], "write it as path=value"),
        (["seed=1,1"], "stands twice"),
        (["seed=1", "seed=2"], "names seed twice"),
        (["a=+1,-1"], "would both be called"),
        (["stages.update.schedule.warmup=" + "1" * 60], "characters"),
    ],
)
def test_what_cannot_be_swept_is_said(axes, message):
    with pytest.raises(CampaignError, match=message):
        points("news", [parse_axis(axis) for axis in axes])
