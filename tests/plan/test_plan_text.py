"""The plan as people see it: tables, drawings, and notes about what repeats."""

import re
from io import StringIO

import pytest
from rich.console import Console

from rewarm.plan.cost import cost
from rewarm.plan.drawing import curve, distinct_lines, draw_learning_rate, write_picture
from rewarm.plan.epochs import epoch_warnings, in_tokens
from rewarm.plan.record import in_words
from rewarm.plan.text import print_plan, warmup_warnings

ARMS = """
[arms]
none = { baseline = "no-replay" }
ten = {}
union = { baseline = "union" }
"""


def printed(plan, *, throughput=None, price=None, sizes=None, notes=(), width=200) -> str:
    console = Console(file=StringIO(), width=width)
    print_plan(console, plan, cost(plan, throughput, price), sizes or {}, list(notes))
    return console.file.getvalue()


def test_it_says_what_will_be_done(planned):
    plan = planned(more=ARMS)
    text = printed(plan)
    for stage in plan.stages:
        assert stage.folder in text
        assert in_words(stage.schedule).split(" (")[0] in text
    assert "preset neox-0.1m" in text
    assert f"{plan.size.parameters:,} parameters" in text
    assert "batch 10 × 8 = 80 tokens" in text
    assert re.search(r"none, ten: updating takes 3,200 tokens, .* 6,400: 50% saved", text)
    assert "the given throughput" not in text


def test_it_says_what_validation_takes(planned):
    """Two stages of 40 steps of 80 tokens, 5 validations in each, on 3 datasets of 128 sequences of 8."""
    tokens = 2 * 5 * 3 * 128 * 8
    said = f"validation: {tokens:,} tokens in all; it takes {tokens / 3 / 6400:.2%} of the FLOPs of training"
    assert said in printed(planned())


def test_it_says_what_it_takes_at_a_throughput(planned):
    plan = planned()
    assert "at the given throughput: 0.89 hours" in printed(plan, throughput=2.0)
    assert "price 8.89" in printed(plan, throughput=2.0, price=10.0)


def test_a_stage_that_goes_on_says_what_it_replays(planned, pieces):
    branch = '[[stage]]\nname = "branch"\nat = "50%"\nbudget = "10 steps"\n'
    text = printed(planned(pieces["both"] + branch))
    (row,) = [line for line in text.splitlines() if "branch-" in line and "at step 20" in line]
    assert "10%" in row


@pytest.mark.parametrize("width", [60, 100, 200])
def test_names_are_folded_and_never_cut(planned, width):
    plan = planned(more=ARMS)
    text = printed(plan, width=width)
    assert "…" not in text
    for stage in plan.stages:
        assert f"{stage.steps:,}" in text


def test_notes_come_last(planned):
    text = printed(planned(), notes=["the data is not here"])
    assert text.rstrip().endswith("note: the data is not here")


def test_epochs_above_one_are_noted(planned):
    """English: 400 sequences of 8 tokens out of 200; German: 360 out of 500."""
    plan = planned()
    pretrain = plan.stages[0].folder
    sizes = {"english": 1601, "german": 4001}
    noted = epoch_warnings(plan, in_tokens(sizes))
    assert noted == [f"{pretrain} reads english up to epoch 2.00"]
    assert epoch_warnings(plan, in_tokens({})) == []
    assert "2.00" in printed(plan, sizes=sizes)


def test_a_dataset_with_domains_has_a_row_of_its_own(planned, pieces):
    """300 sequences of web out of 400, 100 of law out of 50: 400 out of 450."""
    plan = planned(pieces["pretrain"].replace("english", "french"))
    text = printed(plan, sizes={"french/web": 3201, "french/law": 401})
    rows = [line.split("│") for line in text.splitlines() if "french" in line]
    epochs = {
        row[2].strip(): row[6].strip() for row in rows if len(row) == 8 and "french" in row[2]
    }
    assert epochs == {
        "french/web": "0.75",
        "french/law": "2.00",
        "french, all domains": f"{400 / 450:.2f}",
    }
    assert f"{400 / 500:.2f}" in printed(plan, sizes={"french": 4001})


def test_a_warmup_of_less_than_a_step_is_noted(planned, pieces):
    """One percent of 40 steps; nothing is said of one that is meant to be none."""
    plan = planned(pieces["pretrain"])
    (note,) = warmup_warnings(plan)
    assert note == f"{plan.stages[0].folder} has 40 steps, so its warmup of 1% is none"
    for warmup in ("0%", "3%", "1 step"):
        written = pieces["pretrain"].replace("1e-3", f'1e-3, warmup = "{warmup}"')
        assert warmup_warnings(planned(written)) == []


def test_replay_that_comes_round_again_is_noted(planned, pieces):
    short = pieces["pretrain"].replace("40 steps", "10 steps")
    half = pieces["update"].replace('"10%"', '"50%"')
    plan = planned(short + half)
    update = plan.stages[1].folder
    noted = epoch_warnings(plan, in_tokens({}))
    assert noted == [f"{update} replays what pretrain read 2.0 times over"]


def test_arms_of_one_learning_rate_are_one_line(planned):
    plan = planned(more=ARMS)
    assert list(distinct_lines(plan)) == ["none, ten", "union"]


def test_a_curve_follows_the_stages_one_after_the_other(planned, pieces):
    """Half of the update, then the branch, which carries on."""
    branch = '[[stage]]\nname = "branch"\nat = "50%"\nbudget = "10 steps"\n'
    line = planned.stage(pieces["both"] + branch).lineage
    steps, rates = curve(line)
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (1, 40 + 20 + 10)
    assert dict(zip(steps, rates, strict=True)) == {
        step: line[0].schedule(step) if step <= 40 else line[1].schedule(step - 40)
        for step in steps
    }


@pytest.mark.parametrize(
    "schedule",
    [
        '{ kind = "cosine", max_lr = 1e-3 }',
        '{ kind = "constant", lr = 1e-3 }',
        '{ kind = "constant", lr = 0.0 }',
        '{ kind = "linear", max_lr = 1e-3 }',
    ],
)
def test_any_schedule_can_be_drawn(planned, pieces, schedule, tmp_path):
    text = pieces["pretrain"].replace('{ kind = "cosine", max_lr = 1e-3 }', schedule)
    plan = planned(text)
    drawn = draw_learning_rate("main", plan.stages[0].lineage, 80).plain
    assert "learning rate over steps: main" in drawn
    assert max(len(line) for line in drawn.splitlines()) <= 80
    write_picture(plan, tmp_path / "plan.svg")
    assert "</svg>" in (tmp_path / "plan.svg").read_text()


def test_a_stage_of_one_step_can_be_drawn(planned, pieces, tmp_path):
    one = pieces["pretrain"].replace("40 steps", "1 step")
    plan = planned(one, *[('every = "10 steps"', 'every = "1 step"')] * 2)
    assert draw_learning_rate("main", plan.stages[0].lineage, 80).plain
    write_picture(plan, tmp_path / "plan.svg")
