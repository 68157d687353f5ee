"""Arms: overrides first, then a baseline; what a baseline is, and where it is not defined."""

from fractions import Fraction

import pytest

from rewarm.campaign import Quantity
from rewarm.campaign.arms import BASELINES, no_replay, no_rewarming, scratch, union
from rewarm.campaign.campaign import BASE
from rewarm.campaign.schedule import Constant, Cosine

BRANCH = """
[[stage]]
name = "release"
at = "50%"
budget = "20 steps"
schedule = { kind = "anneal", min_lr = 1e-5 }
"""


def tokens(count: int) -> Quantity:
    return Quantity(Fraction(count), "tokens")


def test_an_arm_is_the_campaign_with_its_changes(files):
    loaded = files.load(more='[arms]\nas-is = {}\nmore = { "stages.update.replay" = "25%" }\n')
    assert list(loaded.arms) == ["as-is", "more"]
    assert loaded.arms["as-is"] == loaded.campaign
    assert loaded.arms["more"].stages[1].replay.share == Fraction(1, 4)
    assert loaded.arms["more"].stages[0] == loaded.campaign.stages[0]
    assert loaded.campaign.stages[1].replay.share == Fraction(1, 10)


def test_changes_come_before_the_baseline(files):
    loaded = files.load(
        more='[arms]\nwider = { baseline = "union", "stages.update.budget" = "300 steps" }\n'
    )
    (stage,) = loaded.arms["wider"].stages
    assert stage.budget == tokens((200 + 300) * 80)


def test_the_union_reads_what_the_stages_would_without_replay(files):
    """200 and 100 steps of 80 tokens: two thirds and one third of 24,000 tokens; the first schedule."""
    campaign = files.load().campaign
    (stage,) = union(campaign).stages
    assert stage.data == {"english": Fraction(2, 3), "german": Fraction(1, 3)}
    assert stage.budget == tokens(24_000)
    assert stage.schedule == campaign.stages[0].schedule
    assert (stage.after, stage.replay.share) == (BASE, 0)


def test_the_union_counts_mixtures_and_stages_that_go_on(files):
    more = '[[stage]]\nname = "third"\nbudget = "100 steps"\n'
    campaign = files.load(
        ("{ german = 1.0 }", "{ german = 0.5, english = 0.5 }"), more=more
    ).campaign
    (stage,) = union(campaign).stages
    assert stage.data == {"english": Fraction(3, 4), "german": Fraction(1, 4)}
    assert stage.budget == tokens(32_000)


def test_the_union_follows_the_line_of_the_last_stage_alone(files):
    more = (
        '[[stage]]\nname = "other"\nafter = "pretrain"\ndata = { english = 1.0 }\n'
        'budget = "50 steps"\nschedule = { kind = "constant", lr = 1e-4 }\n'
    )
    (stage,) = union(files.load(more=more).campaign).stages
    assert stage.budget == tokens(250 * 80)
    assert stage.data == {"english": 1}


def test_scratch_is_the_last_stage_from_the_base_without_replay(files):
    campaign = files.load(('replay = "10%"', 'replay = "10%"\noptimizer = "keep"')).campaign
    (stage,) = scratch(campaign).stages
    last = campaign.stages[-1]
    assert (stage.after, stage.at, stage.optimizer) == (BASE, None, "reset")
    assert (stage.data, stage.budget) == ({"german": 1}, last.budget)
    assert stage.schedule == last.schedule
    assert stage.replay.share == 0


def test_scratch_takes_data_and_schedule_from_the_stages_before_if_it_has_none(files):
    more = '[[stage]]\nname = "third"\nbudget = "50 steps"\n'
    campaign = files.load(more=more).campaign
    (stage,) = scratch(campaign).stages
    assert (stage.data, stage.schedule) == ({"german": 1}, campaign.stages[1].schedule)


def test_no_replay_changes_nothing_else(files):
    campaign = files.load().campaign
    found = no_replay(campaign)
    assert [stage.replay.share for stage in found.stages] == [0, 0]
    assert found.stages[1].model_copy(update={"replay": None}) == campaign.stages[1].model_copy(
        update={"replay": None}
    )


def test_no_rewarming_holds_the_floor(files):
    """The floor is min_lr, or a tenth of the peak where none is written."""
    campaign = files.load().campaign
    assert no_rewarming(campaign).stages[-1].schedule == Constant(kind="constant", lr=1e-5)
    assert no_rewarming(campaign).stages[0] == campaign.stages[0]
    default = files.load((", min_lr = 1e-5", "")).campaign
    schedule = no_rewarming(default).stages[-1].schedule
    assert isinstance(schedule, Constant)
    assert schedule.lr == pytest.approx(1e-4)
    assert isinstance(default.stages[-1].schedule, Cosine)


@pytest.mark.parametrize(
    "schedule",
    [
        '{ kind = "wsd", max_lr = 1e-3 }',
        '{ kind = "linear", max_lr = 1e-3 }',
        '{ kind = "constant", lr = 1e-3 }',
    ],
)
def test_no_rewarming_needs_a_floor(files, schedule):
    change = ('{ kind = "cosine", max_lr = 1e-3, min_lr = 1e-5 }', schedule)
    (problem,) = files.mistakes(change, more='[arms]\nwrong = { baseline = "no-rewarming" }\n')
    line = files.line_of("wrong = ")
    assert problem.startswith(
        f"campaign.toml:{line}: arms.wrong: stage 'update': the baseline no-rewarm"
    )


@pytest.mark.parametrize(
    ("baseline", "says"),
    [
        ("union", "stage 'release' branches off inside another; its union is not defined"),
        ("scratch", "stage 'release' anneals from the rate of the stage before"),
    ],
)
def test_a_branch_has_no_such_baseline(files, baseline, says):
    (problem,) = files.mistakes(more=f'{BRANCH}[arms]\nwrong = {{ baseline = "{baseline}" }}\n')
    assert problem.startswith(f"campaign.toml:{files.line_of('wrong = {')}: arms.wrong: {says}")


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        (
            'wrong = { baseline = "unoin" }',
            "arms.wrong: there is no baseline 'unoin'; there are union,",
        ),
        ("wrong = 3", "arms.wrong: must be a table of changes, such as { seed = 2 }"),
        ('wrong = { baselin = "union" }', "arms.wrong: baselin: unknown key"),
        (
            'wrong = { "stages.update.repaly" = 0 }',
            "arms.wrong: stages.update.repaly: unknown key; did you mean",
        ),
        (
            'wrong = { "stages.updat.replay" = 0 }',
            "there is no stage 'updat'; did you mean 'update'?",
        ),
        (
            'wrong = { "stages.update.replay" = "5 steps" }',
            "arms.wrong: stages.update.replay: '5 steps' is in steps",
        ),
        (
            'wrong = { "stages.update.after" = "x" }',
            "arms.wrong: stages.update.after: there is no earlier stage 'x'",
        ),
    ],
)
def test_a_mistake_in_an_arm_names_the_arm_and_its_line(files, arms, says):
    (problem,) = files.mistakes(more=f"[arms]\nfine = {{}}\n{arms}\n")
    assert problem.startswith(f"campaign.toml:{files.line_of('wrong = ')}: ")
    assert says in problem


def test_arms_must_be_a_table(files):
    (problem,) = files.mistakes(("seed = 1", "seed = 1\narms = 3"))
    assert problem == "campaign.toml:3: arms: must be a table of arms, each a table of changes"


def test_every_baseline_can_be_written(files):
    arms = "".join(f'{name} = {{ baseline = "{name}" }}\n' for name in BASELINES)
    loaded = files.load(more=f"[arms]\n{arms}")
    assert {name: BASELINES[name](loaded.campaign) for name in BASELINES} == loaded.arms
