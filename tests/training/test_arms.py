"""An arm trains with its own values, whatever it changes."""

import pytest
from tests.tiny import CAMPAIGN
from tests.training.running import run

from rewarm.errors import CampaignError
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import StageResult, StepRecord

ARMS = """
[arms]
base = {}
seed = { seed = 8 }
decay = { "optimizer.weight_decay" = 50.0 }
preset = { "model.preset" = "neox-0.3m" }
batch = { batch = "4 sequences" }
"""


@pytest.fixture(scope="module")
def varied(tiny):
    """Return a campaign file whose arms change what is not in a stage."""
    file = tiny.folder / "varied.toml"
    text = CAMPAIGN[: CAMPAIGN.index("[arms]")].replace('"24 steps"', '"6 steps"')
    file.write_text(
        text.replace('cooldown = "8 steps"', 'cooldown = "2 steps"') + ARMS, encoding="utf-8"
    )
    return file


def test_every_arm_trains_with_its_own_values(varied, tiny, tmp_path):
    plan = run(varied, tiny.prepared, tmp_path / "run")
    results = {}
    for arm, (pretrain, _) in plan.arms.items():
        folder = RunFolder(tmp_path / "run").stage(pretrain.folder)
        first = next(iter(read_records(folder.metrics, StepRecord)))
        results[arm] = (first.loss, read_record(folder.result, StageResult).weights_sha256)
    assert len({weights for _, weights in results.values()}) == len(plan.arms)
    first_losses = {arm: loss for arm, (loss, _) in results.items()}
    assert first_losses["seed"] != first_losses["base"]
    assert first_losses["preset"] != first_losses["base"]
    # The same weights and the same batch; what differs is the step that follows.
    assert first_losses["decay"] == first_losses["base"]


@pytest.mark.parametrize("change", ['"tokenizer.end_of_text" = "x"', '"evaluation.sequences" = 3'])
def test_what_the_whole_run_shares_cannot_be_changed_by_an_arm(tiny, tmp_path, change):
    file = tmp_path / "campaign.toml"
    file.write_text(CAMPAIGN + f"odd = {{ {change} }}\n", encoding="utf-8")
    with pytest.raises(CampaignError, match="same for the whole run"):
        run(file, tiny.prepared, tmp_path / "run")
