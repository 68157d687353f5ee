"""Annealed branches after the fact: one more stage, one more arm, the training itself untouched."""

from fractions import Fraction

import pytest

from rewarm.campaign import Quantity
from rewarm.campaign.annealing import Annealing, annealed, with_annealings
from rewarm.campaign.schedule import Anneal
from rewarm.errors import CampaignError
from rewarm.plan import make_plan

SHORT = (
    "[model]",
    '[evaluation]\nevery = "7 steps"\nfinal_steps = 0\n[checkpoints]\nevery = "7 steps"\n[model]',
)
TRUNK = (
    'schedule = { kind = "cosine", max_lr = 1e-3 }',
    'schedule = { kind = "infinite", max_lr = 1e-3, annealing = "0%" }',
)


def annealing(**changes: object) -> Annealing:
    values = {"arm": "main", "stage": "update", "step": 50, "budget": "14 steps", "min_lr": 2e-5}
    return Annealing.model_validate(values | changes)


def test_the_branch_goes_on_with_the_stage_under_a_decay(files):
    campaign = files.load().campaign
    found = annealed(campaign, annealing(shape="linear"))
    *before, branch = found.stages
    assert before == campaign.stages
    assert branch.name == "update-annealed-50-14"
    assert (branch.after, branch.at) == ("update", Quantity(Fraction(50), "steps"))
    assert (branch.data, branch.budget) == (None, Quantity(Fraction(14), "steps"))
    assert branch.schedule == Anneal(kind="anneal", min_lr=2e-5, shape="linear")
    assert branch.optimizer == "keep"


def test_stages_that_do_not_lead_to_the_branch_are_left_out(files):
    found = annealed(files.load().campaign, annealing(stage="pretrain"))
    assert [stage.name for stage in found.stages] == ["pretrain", "pretrain-annealed-50-14"]


def test_the_branch_is_an_arm_and_shares_the_training_before_it(files):
    loaded = files.load(SHORT, TRUNK)
    plan = make_plan(with_annealings(loaded, [annealing(stage="pretrain", step=180)]))
    trunk, branch = plan.arms["main/pretrain-annealed-180-14"]
    assert trunk == plan.arms["main"][0]
    assert plan.arms["main"] == make_plan(loaded).arms["main"]
    assert branch.start_step == 180
    for position in range(14 * 10):
        assert branch.stream.at(position) == trunk.stream.at(180 * 10 + position)
    assert branch.schedule(0) == trunk.schedule(180)
    assert branch.schedule(14) == 2e-5


def test_the_paper_has_an_exponential(files):
    branch = annealed(files.load().campaign, annealing()).stages[-1]
    assert branch.schedule == Anneal(kind="anneal", min_lr=2e-5, shape="exponential")


def test_several_branches_are_several_arms(files):
    loaded = files.load()
    others = [annealing(step=60), annealing(budget="20 steps"), annealing(stage="pretrain")]
    found = with_annealings(loaded, [annealing(), *others])
    assert list(found.arms) == [
        "main",
        "main/update-annealed-50-14",
        "main/update-annealed-60-14",
        "main/update-annealed-50-20",
        "main/pretrain-annealed-50-14",
    ]
    assert with_annealings(loaded, []).arms == loaded.arms


def test_it_is_read_back_as_it_was_written():
    written = annealing(shape="cosine")
    assert Annealing.model_validate_json(written.model_dump_json()) == written


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arm": "mian"}, "there is no arm 'mian'; there are main"),
        ({"stage": "updat"}, "arm 'main' has no stage 'updat'; it has pretrain, update"),
    ],
)
def test_an_arm_or_stage_that_is_not_there_is_refused(files, changes, says):
    with pytest.raises(CampaignError, match=says):
        with_annealings(files.load(), [annealing(**changes)])


def test_two_branches_of_one_name_are_refused(files):
    """They would be one arm, and the first would be lost."""
    with pytest.raises(
        CampaignError, match="there is a branch of this length at this step already"
    ):
        with_annealings(files.load(), [annealing(), annealing(min_lr=1e-5)])
