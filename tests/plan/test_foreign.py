"""A stage in another trainer's words has the same learning rates and the same shares, or is refused."""

import math
import shutil
import subprocess
from dataclasses import replace

import pytest
import yaml
from tests.plan.foreign_trainers import flags_of, megatron_rates, neox_rates, words_of

from rewarm.errors import CampaignError
from rewarm.plan.foreign import TokenFiles, blend, find_stage
from rewarm.plan.megatron import megatron_arguments, megatron_text
from rewarm.plan.neox import neox_arguments, neox_text
from rewarm.schedules import (
    annealing,
    constant,
    continued_cosine,
    infinite,
    inverse_sqrt_raffel,
    inverse_sqrt_zhai,
    repeated_cosine,
    warmup_cosine,
    warmup_linear,
    wsd,
)

T, TOP, LOW = 40, 1e-3, 1e-4
SOURCES = ["english", "german", "french/web", "french/law"]
FILES = TokenFiles(
    train={source: f"prepared/{source}/train/tokens" for source in SOURCES},
    validation={d: f"prepared/{d}/validation/tokens" for d in ("english", "german", "french")},
    tokenizer="tokenizer.json",
    tokens={"english": 3201},  # 400 sequences of 8: what 40 steps of 10 read, once
)
SHUFFLED = ('replay = "10%"', 'replay = { share = "10%", order = "shuffled" }')


@pytest.fixture
def stage(planned, pieces):
    """A first stage of 40 steps; its schedule is replaced."""
    return planned(pieces["pretrain"])


def with_schedule(plan, schedule):
    stage = plan.stages[0]
    assert schedule.steps == stage.steps == T
    return replace(stage, schedule=schedule)


def rates(schedule):
    return [schedule(step) for step in range(1, T + 1)]


def megatron(plan, schedule):
    return megatron_arguments(plan, with_schedule(plan, schedule), FILES)


def neox(plan, schedule):
    return neox_arguments(plan, with_schedule(plan, schedule), FILES)


WARMUPS = [0, 1, 2, 7, 39]
BOTH = {"max_lr": TOP, "min_lr": LOW, "steps": T}
TO_ZERO = {"max_lr": TOP, "min_lr": 0.0, "steps": T}
IN_MEGATRON = [
    *(warmup_cosine(**BOTH, warmup_steps=w) for w in WARMUPS),
    *(warmup_linear(**BOTH, warmup_steps=w) for w in WARMUPS),
    *(warmup_linear(**TO_ZERO, warmup_steps=w) for w in WARMUPS),
    *(constant(lr=TOP, steps=T, warmup_steps=w) for w in [*WARMUPS, T]),
    *(
        wsd(**BOTH, warmup_steps=w, decay_steps=d, decay=shape)
        for w, d in [(0, 10), (1, 39), (5, 10), (5, 35), (0, 40), (5, 1)]
        for shape in ("1-sqrt", "linear", "cosine")
    ),
    *(
        annealing(start_lr=TOP, min_lr=LOW, steps=T, shape=s)
        for s in ("1-sqrt", "linear", "cosine")
    ),
    continued_cosine(base_min_lr=LOW, steps=T),
    warmup_cosine(max_lr=TOP, min_lr=LOW, warmup_steps=5, steps=T // 2)
    .until(5)
    .then(constant(lr=TOP, steps=T - 5)),  # as a stage that carries on a constant rate has
]


@pytest.mark.parametrize("schedule", IN_MEGATRON)
def test_megatron_has_the_learning_rate_of_every_step(stage, schedule):
    """By the formula of its scheduler, its count of steps from 0 made up for."""
    words = megatron(stage, schedule).arguments
    assert megatron_rates(words) == pytest.approx(rates(schedule), rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("shape", ["1-sqrt", "linear", "cosine"])
def test_megatron_has_short_and_long_warmups_and_decays(stage, shape):
    for warmup in range(0, T, 4):
        for decay in {*range(1, T - warmup, 5), T - warmup}:
            schedule = wsd(**BOTH, warmup_steps=warmup, decay_steps=decay, decay=shape)
            words = megatron(stage, schedule).arguments
            assert megatron_rates(words) == pytest.approx(rates(schedule), rel=1e-12)


def test_without_the_shift_megatron_would_be_a_step_late(stage):
    """The comparison can fail: the schedule's own numbers as they stand are not the same rates."""
    schedule = warmup_cosine(**BOTH, warmup_steps=7)
    words = " ".join(megatron(stage, schedule).arguments)
    for shifted, plain in [
        ("--lr-warmup-iters 6", "--lr-warmup-iters 7"),
        ("--lr-decay-iters 39", "--lr-decay-iters 40"),
        (f"--lr-warmup-init {TOP / 7}", "--lr-warmup-init 0.0"),
    ]:
        assert shifted in words
        words = words.replace(shifted, plain)
    found = megatron_rates(words.split())
    assert found == pytest.approx([0.0, *rates(schedule)[:-1]], rel=1e-12)


NEOX_ON_TIME = [
    warmup_cosine(**BOTH, warmup_steps=1),
    warmup_linear(**TO_ZERO, warmup_steps=1),
    constant(lr=TOP, steps=T),
    constant(lr=TOP, steps=T, warmup_steps=1),
]
NEOX_LATE = [
    *(warmup_cosine(**BOTH, warmup_steps=w) for w in (2, 7, 39)),
    *(warmup_linear(**TO_ZERO, warmup_steps=w) for w in (2, 7, 39)),
    *(constant(lr=TOP, steps=T, warmup_steps=w) for w in (2, 7, 39, 40)),
]
NEOX_LATE_FROM_THE_START = [
    warmup_cosine(**BOTH, warmup_steps=0),
    warmup_linear(**TO_ZERO, warmup_steps=0),
    continued_cosine(base_min_lr=LOW, steps=T),
    annealing(start_lr=TOP, min_lr=LOW, steps=T, shape="cosine"),
]


def is_called_late(exported):
    return any("one step late" in note for note in exported.notes)


@pytest.mark.parametrize("schedule", NEOX_ON_TIME)
def test_gpt_neox_is_on_time_where_it_can_be(stage, schedule):
    exported = neox(stage, schedule)
    assert neox_rates(exported.arguments) == pytest.approx(rates(schedule), rel=1e-12, abs=1e-18)
    assert not is_called_late(exported)


@pytest.mark.parametrize("schedule", NEOX_LATE)
def test_gpt_neox_is_exactly_one_step_late_and_the_notes_say_so(stage, schedule):
    """Its step k has our rate of step k - 1, and its first that of our first."""
    exported = neox(stage, schedule)
    late = [schedule(max(1, step - 1)) for step in range(1, T + 1)]
    assert neox_rates(exported.arguments) == pytest.approx(late, rel=1e-12)
    assert late != rates(schedule)
    assert "k - 1, and the first that of step 1" in exported.notes[0]


@pytest.mark.parametrize("schedule", NEOX_LATE_FROM_THE_START)
def test_without_a_warmup_gpt_neox_begins_at_the_rate_before_the_first_step(stage, schedule):
    exported = neox(stage, schedule)
    late = [schedule(step - 1) for step in range(1, T + 1)]
    assert neox_rates(exported.arguments) == pytest.approx(late, rel=1e-12)
    assert exported.notes[0].endswith("of step k - 1")


NOT_IN_MEGATRON = {
    "Megatron-LM has a warmup from 0": infinite(
        **BOTH, constant_lr=5e-4, warmup_steps=2, cooldown_steps=20, constant_steps=8
    ),
    "exponential, and Megatron-LM has": wsd(
        **BOTH, warmup_steps=2, decay_steps=10, decay="exponential"
    ),
    "reciprocal-sqrt, and Megatron-LM has": inverse_sqrt_raffel(
        max_lr=TOP, constant_steps=5, steps=T
    ),
    "one decay to the end": inverse_sqrt_zhai(
        max_lr=TOP, warmup_steps=5, timescale=5, cooldown_steps=5, steps=T
    ),
    "a constant rate, and one decay": repeated_cosine(
        max_lr=TOP, min_lr=LOW, warmup_steps=2, steps=T // 2, repeats=2
    ),
    "half-way": warmup_cosine(max_lr=TOP, min_lr=LOW, warmup_steps=5, steps=2 * T).since(T),
}


@pytest.mark.parametrize("why", NOT_IN_MEGATRON)
def test_a_curve_that_megatron_does_not_have_is_refused(stage, why):
    with pytest.raises(CampaignError, match=why) as refused:
        megatron(stage, NOT_IN_MEGATRON[why])
    assert str(refused.value).startswith("stages.pretrain: schedule cannot be said")


NOT_IN_NEOX = {
    "holds max_lr": wsd(**BOTH, warmup_steps=2, decay_steps=10, decay="cosine"),
    "cut off at min_lr": warmup_linear(**BOTH, warmup_steps=2),
    "exponential": annealing(start_lr=TOP, min_lr=LOW, steps=T),
    "1-sqrt": annealing(start_lr=TOP, min_lr=LOW, steps=T, shape="1-sqrt"),
    "GPT-NeoX has a warmup from 0": NOT_IN_MEGATRON["Megatron-LM has a warmup from 0"],
    "half-way": NOT_IN_MEGATRON["half-way"],
}


@pytest.mark.parametrize("why", NOT_IN_NEOX)
def test_a_curve_that_gpt_neox_does_not_have_is_refused(stage, why):
    with pytest.raises(CampaignError, match=why):
        neox(stage, NOT_IN_NEOX[why])


def test_an_infinite_schedule_without_its_cooldown_is_a_constant_one(stage):
    """What is refused is the curve, not the name that it has in the file."""
    trunk = infinite(**BOTH, constant_lr=TOP, warmup_steps=2, cooldown_steps=0, constant_steps=38)
    assert flags_of(megatron(stage, trunk).arguments)["--lr-decay-style"] == ["constant"]


def test_the_optimizer_batch_steps_and_seed_are_the_campaigns(stage):
    flags = flags_of(megatron(stage, constant(lr=TOP, steps=T)).arguments)
    config = neox(stage, constant(lr=TOP, steps=T)).arguments
    for flag, key, value in [
        ("train-iters", "train_iters", 40),
        ("global-batch-size", "train_batch_size", 10),
        ("seq-length", "seq_length", 8),
        ("seed", "seed", 1),
        ("weight-decay", "weight_decay", 0.1),
        ("clip-grad", "gradient_clipping", 1.0),
    ]:
        assert flags[f"--{flag}"] == [str(value)]
        assert config[key] == value
    assert [flags[f"--adam-{x}"] for x in ("beta1", "beta2", "eps")] == [
        ["0.9"],
        ["0.95"],
        ["1e-08"],
    ]
    assert config["optimizer"]["params"] == {"lr": TOP, "betas": [0.9, 0.95], "eps": 1e-8}
    assert "--bf16" not in flags
    assert config["precision"] == "fp32"


def test_the_shape_of_a_preset_goes_to_gpt_neox_and_not_to_megatron(stage):
    """neox-0.1m: 2 layers, 64 wide, 2 heads, rotary on a quarter, parallel residual, untied head."""
    config = neox(stage, constant(lr=TOP, steps=T)).arguments
    keys = ["num_layers", "hidden_size", "num_attention_heads", "rotary_pct", "gpt_j_residual"]
    assert [config[key] for key in keys] == [2, 64, 2, 0.25, True]
    assert config["no_weight_tying"]
    assert config["make_vocab_size_divisible_by"] == 300
    exported = megatron(stage, constant(lr=TOP, steps=T))
    assert "--num-layers" not in exported.arguments
    assert any("no parallel residual" in note for note in exported.notes)


def test_a_first_stage_loads_nothing_but_its_own_checkpoints(stage):
    words = megatron(stage, constant(lr=TOP, steps=T)).arguments
    config = neox(stage, constant(lr=TOP, steps=T)).arguments
    own = f"checkpoints/{stage.stages[0].folder}"
    assert flags_of(words)["--load"] == flags_of(words)["--save"] == [own]
    assert (config["load"], config["save"]) == (own, own)
    assert "finetune" not in config
    assert "--pretrained-checkpoint" not in words


def test_an_update_takes_the_parents_weights_and_nothing_else(planned, pieces):
    plan = planned(pieces["both"], SHUFFLED)
    parent, update = plan.stages
    flags = flags_of(megatron_arguments(plan, update, FILES).arguments)
    assert flags["--pretrained-checkpoint"] == [f"checkpoints/{parent.folder}"]
    assert flags["--override-opt-param-scheduler"] == []
    assert "--ckpt-step" not in flags
    config = neox_arguments(plan, update, FILES).arguments
    assert config["load"] == f"checkpoints/{parent.folder}"
    assert config["finetune"]
    assert config["override_lr_scheduler"]
    assert "no_load_optim" not in config  # with it GPT-NeoX trains a dummy optimizer at rate 0
    assert "iteration" not in config


def test_a_branch_names_the_step_that_it_leaves_its_parent_at(planned, pieces):
    plan = planned(pieces["both"], SHUFFLED, ('name = "update"', 'name = "update"\nat = "50%"'))
    exported = megatron_arguments(plan, plan.stages[-1], FILES)
    assert flags_of(exported.arguments)["--ckpt-step"] == ["20"]
    assert neox_arguments(plan, plan.stages[-1], FILES).arguments["iteration"] == 20


def test_a_kept_optimizer_is_refused(planned, pieces):
    keep = ('replay = "10%"', 'optimizer = "keep"')
    plan = planned(pieces["both"], keep)
    for export in (megatron_arguments, neox_arguments):
        with pytest.raises(CampaignError, match='optimizer = "keep"'):
            export(plan, plan.stages[-1], FILES)


def blended(planned, stages, *changes, files=FILES):
    plan = planned(stages, *changes)
    return blend(plan.stages[-1], files, "it")


def test_the_blend_has_the_shares_that_the_stage_reads(planned, pieces):
    """New sources with 1 - share, and what earlier stages read with the rest, by all their reads."""
    begin = 'replay = { share = "10%", order = "shuffled", start = "beginning" }'
    stages = pieces["both"].replace(*SHUFFLED) + pieces["third"].replace('replay = "10%"', begin)
    shares, _ = blended(planned, stages)
    counts = planned(stages).stages[-1].counts()
    total = sum(count.total for count in counts.values())
    assert sum(shares.values()) == 1
    assert set(shares) == set(counts) == set(SOURCES)
    for source, share in shares.items():
        assert float(share) == pytest.approx(counts[source].total / total, abs=2 / total)
    assert math.isclose(shares["french/web"], 0.9 * 0.75)
    assert math.isclose(shares["french/law"], 0.9 * 0.25)


def test_the_weights_of_the_datasets_in_the_replay_are_in_the_blend(planned, pieces):
    weighted = (
        'replay = { share = "10%", order = "shuffled", start = "beginning", '
        "weights = { english = 3, german = 1 } }"
    )
    stages = pieces["both"].replace(*SHUFFLED) + pieces["third"].replace('replay = "10%"', weighted)
    shares, _ = blended(planned, stages)
    assert (float(shares["english"]), float(shares["german"])) == (0.075, 0.025)


def test_megatron_and_gpt_neox_get_the_blend(planned, pieces):
    plan = planned(pieces["both"], SHUFFLED)
    german, english = FILES.train["german"], FILES.train["english"]
    flags = flags_of(megatron_arguments(plan, plan.stages[-1], FILES).arguments)
    assert flags["--train-data-path"] == ["0.9", german, "0.1", english]
    config = neox_arguments(plan, plan.stages[-1], FILES).arguments
    assert config["train_data_paths"] == [german, english]
    assert config["train_data_weights"] == [0.9, 0.1]


def test_additive_replay_is_a_longer_stage_with_the_same_shares(planned, pieces):
    additive = 'replay = { share = "20%", order = "shuffled", mode = "additive" }'
    plan = planned(pieces["both"], ('replay = "10%"', additive))
    flags = flags_of(megatron_arguments(plan, plan.stages[-1], FILES).arguments)
    assert flags["--train-iters"] == ["50"]
    assert flags["--train-data-path"][::2] == ["0.8", "0.2"]


def test_replay_in_the_order_seen_is_refused(planned, pieces):
    with pytest.raises(CampaignError, match=r'replay\.order = "as-seen".*Set order = "shuffled"'):
        blended(planned, pieces["both"])


def test_a_replay_that_goes_on_where_another_stopped_is_refused(planned, pieces):
    third = pieces["third"].replace(*SHUFFLED)
    with pytest.raises(
        CampaignError, match=r'replay\.start = "continue".*up to sequence 40 of 400'
    ):
        blended(planned, pieces["both"].replace(*SHUFFLED) + third)


def test_what_is_new_and_replayed_at_once_is_refused(planned, pieces):
    both = ("{ german = 1.0 }", "{ german = 0.5, english = 0.5 }")
    with pytest.raises(CampaignError, match="english is read as new and replayed as well"):
        blended(planned, pieces["both"], both, SHUFFLED)


def test_data_that_is_read_on_is_refused_unless_an_epoch_begins_there(planned, pieces):
    """The first stage reads 400 sequences of English."""
    again = ("{ german = 1.0 }", "{ english = 1.0 }"), ('replay = "10%"', "")
    for tokens in ({}, {"english": 3209}):
        with pytest.raises(CampaignError, match="english is read on after the 400 sequences"):
            blended(planned, pieces["both"], *again, files=replace(FILES, tokens=tokens))
    assert blended(planned, pieces["both"], *again) == ({"english": 1}, [])


def test_a_replay_that_can_meet_unseen_text_is_noted(planned, pieces):
    for tokens, said in [({"english": 6401}, "50% of it"), ({}, "a part that is not known")]:
        files = replace(FILES, tokens=tokens)
        _, notes = blended(planned, pieces["both"], SHUFFLED, files=files)
        assert len(notes) == 1
        assert said in notes[0]
    assert blended(planned, pieces["both"], SHUFFLED)[1] == []


def test_the_yaml_is_read_back_as_it_was_meant(stage):
    """1e-08 without a point would be a text in YAML 1.1, and GPT-NeoX would stop."""
    exported = neox(stage, warmup_cosine(**BOTH, warmup_steps=2))
    assert yaml.safe_load(neox_text(exported)) == exported.arguments
    assert yaml.safe_load("eps: 1e-08") == {"eps": "1e-08"}


def test_the_bash_array_has_the_words_also_where_a_path_has_spaces(stage):
    files = replace(FILES, train=FILES.train | {"english": "my tokens/it's"})
    exported = megatron_arguments(stage, stage.stages[0], files)
    text = megatron_text(exported)
    assert words_of(text) == exported.arguments
    bash = shutil.which("bash")
    assert bash is not None
    script = f'{text}\nprintf "%s\\n" "${{STAGE[@]}}"'
    printed = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines() == exported.arguments


def test_a_stage_is_found_by_arm_and_name(planned, pieces):
    arms = '\n[arms]\nnone = { "stages.update.replay" = "0%" }\nsome = {}\n'
    plan = planned(pieces["both"], more=arms)
    assert find_stage(plan, None, "pretrain") is find_stage(plan, "some", "pretrain")
    assert find_stage(plan, "none", "update").stream.replay is None
    for arm, name, said in [
        (None, "update", "choose one with --arm: none, some"),
        ("other", "update", "there are none, some"),
        ("none", "later", "there are pretrain, update"),
    ]:
        with pytest.raises(CampaignError, match=said):
            find_stage(plan, arm, name)


@pytest.mark.parametrize("key", ['split = "1/3"', 'use = "80 tokens"', 'order = "sequential"'])
def test_parts_and_the_stored_order_cannot_be_said(planned, pieces, key):
    written = ('train = ["english.jsonl"]', f'train = ["english.jsonl"]\n{key}')
    stage = planned.stage(pieces["pretrain"], written)
    with pytest.raises(CampaignError, match=r"data\.english.* cannot be said to another trainer"):
        blend(stage, FILES, "Megatron-LM")
