"""`[gate]` in the campaign file: what it may say, and that it is no part of what a stage is."""

import pytest

from rewarm.campaign.gate import Gate, TaskLimit
from rewarm.errors import CampaignError
from rewarm.plan import make_plan
from rewarm.plan.record import gate_record
from rewarm.plan.text import annealing_notes

GATE = """
[gate]
policy = "stop"
max_forgetting = { english = 0.05 }
max_loss = { german = 3 }
max_overlap = "1%"

[[gate.task]]
name = "news"
domain = "sport"
max_worse = 0.02
against = "pretrain"
"""
SHORT = ("[model]", "[evaluation]\nfinal_steps = 0\n[model]")
ARMS = "\n[arms]\na = {}\nb = { seed = 2 }\n"


def test_what_is_written_is_what_is_read(files):
    gate = files.load(more=GATE).campaign.gate
    assert gate == Gate(
        policy="stop",
        max_forgetting={"english": 0.05},
        max_loss={"german": 3.0},
        max_overlap="1%",
        task=[TaskLimit(name="news", domain="sport", max_worse=0.02, against="pretrain")],
    )
    assert files.load().campaign.gate is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{ english = 0.05 }", "{ englsh = 0.05 }", "there is no dataset 'englsh'"),
        ("{ german = 3 }", "{ greman = 3 }", "did you mean 'german'?"),
        ("english = 0.05", "english = -0.05", "gate.max_forgetting.english"),
        ("english = 0.05", "english = nan", "not a finite number"),
        ('against = "pretrain"', 'against = "pretrian"', "did you mean 'pretrain'?"),
        ('policy = "stop"', 'policy = "anneal"', "gate.policy"),
        ('policy = "stop"', 'policy = "anneal-earlier"\nanneal = "2"', "gate.anneal"),
        (
            'policy = "stop"',
            'policy = "stop"\narms = ["c"]',
            "there is no arm 'c'; there are: main",
        ),
        ("max_worse = 0.02\n", "", "gate.task.0: states no limit"),
        ("max_worse", "at_worst", "against says what max_worse is compared with"),
        ("max_forgetting", "max_forgeting", "did you mean 'max_forgetting'?"),
    ],
)
def test_mistakes_are_named_with_their_line(files, old, new, said):
    assert old in GATE
    mistakes = files.mistakes(more=GATE.replace(old, new))
    assert any(said in line and line.startswith("campaign.toml:") for line in mistakes), mistakes


def test_a_gate_without_a_limit_would_let_everything_pass(files):
    (line,) = files.mistakes(more='[gate]\npolicy = "stop"\n')
    assert "gate: states no limit, so everything would pass" in line


def test_an_arm_cannot_have_limits_of_its_own(files):
    (line,) = files.mistakes(more=GATE + '\n[arms]\na = { "gate.policy" = "report" }\n')
    assert "gate.policy is the same for the whole run" in line


def test_no_key_of_a_stage_knows_of_the_gate(files):
    without = make_plan(files.load(SHORT))
    for gate in (GATE, GATE.replace("0.05", "0.5").replace('"stop"', '"report"')):
        assert [s.key for s in make_plan(files.load(SHORT, more=gate)).stages] == [
            s.key for s in without.stages
        ]
    assert gate_record(without) is None


def test_random_weights_can_forget_nothing_and_a_trained_base_can(files):
    plan = make_plan(files.load(SHORT, more=GATE))
    record = gate_record(plan)
    assert record is not None
    assert (record.from_scratch, record.base) == ([plan.stages[0].folder], None)
    seen = '\n[history.english]\ntokens = "1M tokens"\n'
    record = gate_record(make_plan(files.load(SHORT, more=GATE + seen)))
    assert record is not None
    assert record.from_scratch == []


EARLIER = GATE.replace('"stop"', '"anneal-earlier"')


def test_an_annealing_must_be_as_long_as_what_its_final_loss_is_over(files):
    make_plan(files.load(SHORT, more=EARLIER))
    long = ("[model]", "[evaluation]\nfinal_steps = 40\n[model]")
    with pytest.raises(CampaignError, match=r"gate.anneal = '10%' is \d+ steps of stage"):
        make_plan(files.load(long, more=EARLIER))
    make_plan(files.load(long, more=GATE))


def test_the_plan_says_where_no_checkpoint_could_be_annealed(files):
    every = '[evaluation]\nfinal_steps = 0\nevery = "25%"\n[checkpoints]\nevery = "{}"\nkeep = {}\n[model]'
    for cadence, keep, is_said in (("25%", 2, False), ("25%", 1, True), ("40%", '"all"', True)):
        plan = make_plan(files.load(("[model]", every.format(cadence, keep)), more=EARLIER))
        assert bool(annealing_notes(plan)) is is_said
        assert annealing_notes(make_plan(files.load(SHORT, more=GATE))) == []


def test_it_is_for_the_arms_named_and_all_if_none_is(files):
    named = GATE.replace('policy = "stop"', 'policy = "stop"\narms = ["b"]')
    for gate, arms in ((GATE, ["a", "b"]), (named, ["b"])):
        record = gate_record(make_plan(files.load(SHORT, more=gate + ARMS)))
        assert record is not None
        assert record.arms == arms
