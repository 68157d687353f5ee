"""The model card says what it is given, and nothing in it can be taken for markup."""

from dataclasses import replace
from fractions import Fraction

import yaml

from rewarm.replay import Count
from rewarm.training.model_card import Facts, LossChange, StageStory, model_card

HOSTILE = "a|b](http://x) <script>\n# `c` **d** $e$"
STAGE = StageStory(
    name="update",
    steps=8,
    of_steps=10,
    left_out=0,
    tokens=1024,
    schedule="constant 0.1",
    replay_share=Fraction(1, 4),
    optimizer="keep",
    losses=[
        LossChange(dataset="new", before=3.0, after=2.5, is_new=True, was_seen=False),
        LossChange(dataset="old", before=2.0, after=2.25, is_new=False, was_seen=True),
        LossChange(dataset="other", before=4.0, after=4.5, is_new=False, was_seen=False),
    ],
    measured="measured at step 8",
)
FACTS = Facts(
    campaign="c",
    arm="main",
    family="llama",
    base="a model in a local folder",
    base_model=None,
    stages=[STAGE],
    sequence_length=16,
    ledger={"new": Count(new=48), "old": Count(replayed=16)},
    history={"old": "4000 tokens (a proxy for data that is not available)"},
    seed=7,
    versions={"torch": "2.13.0"},
    commit=None,
    weights={"model.safetensors": "0" * 64},
    stage_key="f" * 64,
    dtype="bf16",
    load_from="out",
)


def test_signs_say_what_got_better_and_what_got_worse():
    card = model_card(FACTS)
    assert "| new | 3.0000 | 2.5000 | adaptation +0.5000 |" in card
    assert "| old | 2.0000 | 2.2500 | forgetting +0.2500 |" in card
    assert "| other | 4.0000 | 4.5000 | not trained on, +0.5000 |" in card


def test_tokens_replay_progress_and_history_are_there():
    card = model_card(FACTS)
    assert "| new | 768 | 0 |" in card
    assert "| together | 768 | 256 |" in card
    assert "25% of the tokens were read again" in card
    assert "update, 8 of 10 steps: 1,024 tokens, replay 25%, optimizer state kept" in card
    assert "a proxy for data that is not available" in card
    assert "not under git" in card


def test_steps_that_were_left_out_are_said():
    card = model_card(replace(FACTS, stages=[replace(STAGE, left_out=2, tokens=768)]))
    assert (
        "8 of 10 steps, 2 of them left out because a loss or gradient was not finite: 768" in card
    )
    assert "left out" not in model_card(FACTS)


def test_the_head_is_yaml_with_the_base_if_the_hub_has_one():
    def head(facts):
        return yaml.safe_load(model_card(facts).split("---\n")[1])

    assert head(FACTS)["library_name"] == "transformers"
    assert "llama" in head(FACTS)["tags"]
    assert "base_model" not in head(FACTS)
    assert head(replace(FACTS, base_model="maker/tiny"))["base_model"] == "maker/tiny"


def test_names_are_text_wherever_they_stand():
    stage = replace(
        STAGE,
        name=HOSTILE,
        schedule=HOSTILE,
        losses=[LossChange(dataset=HOSTILE, before=1, after=1, is_new=True, was_seen=False)],
    )
    hostile = replace(
        FACTS,
        campaign=HOSTILE,
        arm=HOSTILE,
        stages=[stage],
        ledger={HOSTILE: Count(new=1)},
        history={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        commit=HOSTILE,
        weights={HOSTILE: HOSTILE},
    )
    plain, card = model_card(FACTS), model_card(hostile)
    in_code = "`a|b](http://x) <script># c **d** $e$`"
    assert card.count(in_code) == 3
    card = card.replace(in_code, "`code`")
    assert "<script>" not in card
    assert "](http://x)" not in card.replace("\\](http://x)", "")
    assert card.count("\n") - plain.count("\n") == -1 - 2  # a source less, two datasets less
    assert [line for line in card.splitlines() if line.startswith("#")][1:] == [
        line for line in plain.splitlines() if line.startswith("#")
    ][1:]


def test_a_stage_without_a_measurement_says_so():
    card = model_card(replace(FACTS, stages=[replace(STAGE, losses=[], measured="")]))
    assert "update: none was measured up to this step." in card
