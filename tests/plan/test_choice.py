"""What "auto" comes to, in which order, and which spreads are refused with which reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.campaign import PRESETS
from rewarm.campaign.campaign import Campaign
from rewarm.errors import CampaignError
from rewarm.plan.choice import USABLE, choose_layout, choose_layouts, plan_layout
from rewarm.plan.model import preset_size

VOCABULARY = 300
BYTES = 1e9


def campaign(*, batch=64, length=128, preset="neox-0.8m", training=None, **parallel) -> Campaign:
    return Campaign.model_validate(
        {
            "name": "small",
            "sequence_length": length,
            "batch": f"{batch} sequences",
            "model": {"preset": preset, "vocabulary": VOCABULARY},
            "tokenizer": {"from": "tokenizer.json"},
            "data": {"english": {"train": ["a.jsonl"], "validation": ["b.jsonl"]}},
            "training": training or {},
            "parallel": parallel,
            "stage": [
                {
                    "name": "pretrain",
                    "data": {"english": 1},
                    "budget": "10 steps",
                    "schedule": {"kind": "constant", "lr": 1e-3},
                }
            ],
        }
    )


def chosen(ranks, *, preset="neox-0.8m", **settings):
    return choose_layout(
        campaign(preset=preset, **settings), preset_size(preset, VOCABULARY), ranks
    )


def refusal(ranks, **settings) -> str:
    with pytest.raises(CampaignError) as refused:
        chosen(ranks, **settings)
    return str(refused.value)


@given(st.sampled_from(sorted(PRESETS)), st.sampled_from([1, 2, 4, 8, 16, 64]))
@settings(max_examples=30)
def test_every_choice_uses_all_ranks_and_fits_or_says_that_it_does_not(preset, ranks):
    choice = chosen(ranks, preset=preset)
    layout = choice.layout
    assert layout.ranks == ranks
    assert layout.data * layout.micro_batch * layout.micro_batches(64) == 64
    assert (choice.most_bytes <= USABLE * 80 * BYTES) == (choice.note is None)
    assert plan_layout(campaign(preset=preset), preset_size(preset, VOCABULARY), ranks) == layout


@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_what_fits_is_only_sharded(ranks):
    layout = chosen(ranks).layout
    assert (layout.shard, layout.replicate, layout.tensor, layout.pipeline) == (ranks, 1, 1, 1)
    assert (layout.reshard, layout.activation_checkpointing) == (False, "none")


def least(ranks, **asked) -> float:
    """What a layout needs that is asked for in full, in GB."""
    return chosen(ranks, device_memory=1e6, **asked).most_bytes / BYTES


LADDER = [
    {"reshard": False, "activation_checkpointing": "none"},
    {"reshard": True, "activation_checkpointing": "none"},
    {"reshard": True, "activation_checkpointing": "selective"},
    {"reshard": True, "activation_checkpointing": "full"},
]


@pytest.mark.parametrize("step", range(4))
def test_auto_takes_the_first_that_fits(step):
    """A device that just holds one of the ladder gets that one, and the reason names what does not fit."""
    memory = least(4, **LADDER[step]) / USABLE * 1.0001
    choice = chosen(4, device_memory=memory)
    layout = choice.layout
    assert choice.note is None
    assert (layout.tensor, layout.pipeline) == (1, 1)
    assert {
        "reshard": layout.reshard,
        "activation_checkpointing": layout.activation_checkpointing,
    } == LADDER[step]
    said = " ".join(choice.reasons)
    assert ("reshard: " in said) == (step >= 1)
    assert (f"{LADDER[step]['activation_checkpointing']} activation" in said) == (step >= 2)
    assert said.startswith("shard 4: weights, gradients and optimizer state of ")


def test_then_auto_splits_matrices_and_then_the_blocks():
    """Each on a device too small for all that comes before it."""
    asked = {"training": {"micro_batch": 1}, "batch": 8, "preset": "neox-49m"}
    full = {"reshard": True, "activation_checkpointing": "full", "pipeline": 1}
    less_than_whole = least(4, tensor=1, **full, **asked) * 0.9999 / USABLE
    by_tensor = chosen(4, device_memory=less_than_whole, **asked)
    assert (by_tensor.layout.tensor, by_tensor.layout.pipeline) == (2, 1)
    assert any(reason.startswith("tensor 2: ") for reason in by_tensor.reasons)
    by_pipeline = chosen(4, device_memory=less_than_whole, tensor=1, **asked)
    assert (by_pipeline.layout.tensor, by_pipeline.layout.pipeline) == (1, 2)
    assert any(reason.startswith("pipeline 2: ") for reason in by_pipeline.reasons)


def test_what_is_asked_for_is_never_changed():
    """However small the device, and whatever else is left to auto."""
    asked = {"tensor": 2, "pipeline": 2, "shard": 1, "reshard": False}
    layout = chosen(8, device_memory=1e-9, activation_checkpointing="selective", **asked).layout
    assert (layout.tensor, layout.pipeline, layout.shard, layout.reshard) == (2, 2, 1, False)
    assert layout.activation_checkpointing == "selective"
    assert layout.replicate == 2


def test_the_smallest_is_taken_with_a_note_where_nothing_fits():
    choice = chosen(4, device_memory=1e-6)
    assert "by the estimate this does not fit: a rank needs" in choice.note
    assert choice.most_bytes <= chosen(4, device_memory=80).most_bytes
    assert chosen(4, device_memory=80).note is None


def test_one_rank_keeps_its_weights_whole_and_recomputes_only_if_it_must():
    assert chosen(1).layout.activation_checkpointing == "none"
    need = least(1, activation_checkpointing="none")
    tight = chosen(1, device_memory=need * 0.99 / USABLE).layout
    assert (tight.activation_checkpointing, tight.reshard) == ("selective", False)


def test_world_invariant_runs_hold_whole_copies():
    training = {"deterministic": "world-invariant", "micro_batch": 4}
    layout = chosen(4, training=training, device_memory=1e-6).layout
    assert (layout.replicate, layout.reshard, layout.tensor, layout.pipeline) == (4, False, 1, 1)


def test_a_model_of_unknown_size_is_only_sharded():
    choice = choose_layout(campaign(), None, 4)
    assert (choice.layout.shard, choice.memory, choice.most_bytes) == (4, (), 0)
    assert choice.reasons == ("the model's size is not known yet, so nothing was chosen by memory",)


INVARIANT = {"deterministic": "world-invariant", "micro_batch": 4}


@pytest.mark.parametrize(
    ("ranks", "asked", "message"),
    [
        (6, {"tensor": 4}, "does not divide the number of ranks, 6"),
        (8, {"shard": 3}, "does not divide the number of ranks that have data of their own, 8"),
        (3, {}, "the batch of 64 sequences cannot be divided among 3 ranks"),
        (64, {"pipeline": 4, "batch": 16}, "needs 4 micro-batches or a multiple of them"),
        (8, {"training": {"micro_batch": 16}}, "micro_batch = 16 does not divide the 8 sequences"),
        (
            4,
            {"pipeline": 4, "training": {"micro_batch": 32}},
            "micro_batch = 32 makes 2 micro-batches on each rank; a pipeline of 4",
        ),
        (8, {"pipeline": 8}, "a pipeline of 8 stages cannot be made of 4 blocks"),
        (
            2,
            {"pipeline": 2, "training": {"documents": "isolated"}},
            'documents = "isolated": documents are found by their token ids',
        ),
        (8, {"tensor": 8}, "parallel.tensor = 8 does not divide the model's 4 attention heads"),
        (2, {"tensor": 2, "training": INVARIANT}, "every rank must hold the whole model"),
        (
            2,
            {"training": {"deterministic": "world-invariant"}},
            "training.micro_batch must be written down",
        ),
        (2, {"training": INVARIANT | {"precision": "bf16"}}, "precision must be fp32"),
        (3, {"training": INVARIANT, "batch": 12}, "3 ranks are not a power of two"),
        (2, {"training": INVARIANT, "compile": True}, "parallel.compile must be off"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(ranks, asked, message):
    assert message in refusal(ranks, **asked)


@pytest.mark.parametrize(
    ("ranks", "asked"),
    [
        (8, {"tensor": 4}),
        (8, {"shard": 4}),
        (4, {}),
        (16, {"pipeline": 4, "batch": 16}),
        (8, {"training": {"micro_batch": 8}}),
        (4, {"pipeline": 4, "training": {"micro_batch": 16}}),
        (2, {"pipeline": 2, "training": {"documents": "joined"}}),
        (2, {"tensor": 2, "training": {"documents": "isolated"}}),
        (2, {"training": INVARIANT}),
    ],
)
def test_what_can_be_is_done(ranks, asked):
    assert chosen(ranks, **asked).layout.ranks == ranks


def test_stages_that_come_to_the_same_are_together(planned):
    arms = '[arms]\na = {}\nb = { "batch" = "20 sequences" }\n'
    (everything,) = choose_layouts(planned(), 2)
    assert everything[0] == list(planned().stages) or len(everything[0]) == len(planned().stages)
    found = choose_layouts(planned(more=arms), 2)
    assert sorted(stages[0].batch_sequences for stages, _ in found) == [10, 20]
    assert [choice.layout.micro_batches(s[0].batch_sequences) for s, choice in found] == [1, 1]
