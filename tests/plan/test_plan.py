"""The plan of all arms: what they share, what changes a key, when is evaluated and saved, what it costs."""

import pytest

from rewarm.plan.cost import cost, saving
from rewarm.plan.record import run_record, stage_record
from rewarm.runs.records import RunRecord, SourceCount
from rewarm.schedules import Piecewise

TRAINED = (
    'from = "tokenizer.json"',
    'train = { on = ["english"], vocabulary = 300 }',
)


def optimizer(key: str) -> tuple[str, str]:
    return "[evaluation]", f"[optimizer]\n{key}\n[evaluation]"


def in_update(old: str, new: str) -> tuple[str, str]:
    """A change of the second stage: the text from its name on is replaced."""
    update = (
        'name = "update"\ndata = { german = 1.0 }\nreplay = "10%"\nbudget = "40 steps"\n'
        'schedule = { kind = "cosine", max_lr = 1e-3 }'
    )
    assert old in update
    return update, update.replace(old, new)


WEIGHTS_DEPEND_ON_IT = {
    "seed": ("seed = 1", "seed = 2"),
    "sequence length": ("sequence_length = 8", "sequence_length = 16"),
    "batch": ('"10 sequences"', '"20 sequences"'),
    "preset": ("neox-0.1m", "neox-0.3m"),
    "vocabulary": ("vocabulary = 300", "vocabulary = 301"),
    "tokenizer": ('"tokenizer.json"', '"other.json"'),
    "trained tokenizer": TRAINED,
    "end of text": ('"tokenizer.json"', '"tokenizer.json"\nend_of_text = "<end>"'),
    "new text": ('"german.jsonl"', '"other.jsonl"'),
    "key of the text": ('train = ["german.jsonl"]', 'train = ["german.jsonl"]\ntext = "body"'),
    "built-in text": ('train = ["german.jsonl"]', 'source = "python-code"'),
    "replayed text": ('"english.jsonl"', '"other.jsonl"'),
    "betas": optimizer("betas = [0.9, 0.99]"),
    "eps": optimizer("eps = 1e-6"),
    "weight decay": optimizer("weight_decay = 0.0"),
    "clipping": optimizer("clip_norm = 0.5"),
    "precision": ("[evaluation]", '[training]\nprecision = "bf16"\n[evaluation]'),
    "isolated documents": (
        "[evaluation]",
        '[training]\ndocuments = "isolated"\n[evaluation]',
    ),
    "packing": ("[evaluation]", '[training]\npacking = "best-fit"\n[evaluation]'),
    "stage before": ("max_lr = 1e-3", "max_lr = 2e-3"),
    "name": in_update('"update"', '"later"'),
    "data": in_update("german = 1.0", "german = 0.9, english = 0.1"),
    "replay share": in_update('"10%"', '"11%"'),
    "replay mode": in_update('"10%"', '{ share = "10%", mode = "additive" }'),
    "replay order": in_update('"10%"', '{ share = "10%", order = "shuffled" }'),
    "replay weights": in_update('"10%"', '{ share = "10%", weights = { english = 1 } }'),
    "budget": in_update("40 steps", "41 steps"),
    "schedule": in_update("cosine", "linear"),
    "rate": in_update("1e-3", "2e-3"),
    "warmup": in_update("1e-3", '1e-3, warmup = "5%"'),
    "branch point": in_update('"10%"', '"10%"\nat = "39 steps"'),
    "base": in_update('replay = "10%"', 'after = "base"'),
    "optimizer state": in_update('"10%"', '"10%"\noptimizer = "keep"'),
    "order": ('["german.jsonl"]', '["german.jsonl"]\norder = "blocks"'),
    "range": ('["german.jsonl"]', '["german.jsonl"]\nrange = "0 to 1M tokens"'),
    "split": ('["german.jsonl"]', '["german.jsonl"]\nsplit = "1/3"'),
    "use": ('["german.jsonl"]', '["german.jsonl"]\nuse = "1M tokens"'),
    "order of what is replayed": ('["english.jsonl"]', '["english.jsonl"]\norder = "sequential"'),
    "history": ("[evaluation]", '[history.german]\ntokens = "800 tokens"\n[evaluation]'),
}

WEIGHTS_DO_NOT_DEPEND_ON_IT = {
    "campaign's name": ('name = "small"', 'name = "other"'),
    "evaluation": ("final_steps = 0", 'final_steps = 5\nsequences = 7\nprompts = ["a"]'),
    "evaluation cadence": ('[evaluation]\nevery = "10 steps"', '[evaluation]\nevery = "7 steps"'),
    "checkpoints": (
        '[checkpoints]\nevery = "10 steps"',
        '[checkpoints]\nevery = "7 steps"\nkeep = 9',
    ),
    "micro-batch": ("[evaluation]", "[training]\nmicro_batch = 5\n[evaluation]"),
    "validation text": ('"german.valid.jsonl"', '"other.jsonl"'),
    "declared tokens": (
        'train = ["german.jsonl"]',
        'train = ["german.jsonl"]\ntokens = "1M tokens"',
    ),
    "limit of epochs": ('["german.jsonl"]', '["german.jsonl"]\nmax_epochs = 9'),
    "the whole, written out": (
        '["german.jsonl"]',
        '["german.jsonl"]\nsplit = "1/1"\norder = "shuffled"',
    ),
    "text nobody reads": ('"web.jsonl"', '"other.jsonl"'),
    "batch in tokens": ('"10 sequences"', '"80 tokens"'),
    "defaults written out": in_update("1e-3", '1e-3, min_lr = 1e-4, warmup = "1%"'),
    "lengths in other units": in_update('"40 steps"', '"3,200 tokens"'),
    "rest of a step": in_update('"40 steps"', '"3,279 tokens"'),
    "parent by name": in_update('"10%"', '"10%"\nafter = "pretrain"\nat = "100%"'),
    "the first replay's start": in_update('"10%"', '{ share = "10%", start = "beginning" }'),
    "proportions": in_update("german = 1.0", "german = 7"),
    "a seed for an order as seen": in_update('"10%"', '{ share = "10%", order = "as-seen" }'),
}


@pytest.mark.parametrize("change", WEIGHTS_DEPEND_ON_IT)
def test_whatever_decides_the_weights_changes_the_key(planned, pieces, change):
    stages = pieces["both"]
    before = planned(stages).stages[-1]
    after = planned(stages, WEIGHTS_DEPEND_ON_IT[change]).stages[-1]
    assert after.key != before.key


@pytest.mark.parametrize("change", WEIGHTS_DO_NOT_DEPEND_ON_IT)
def test_nothing_else_changes_the_key(planned, pieces, change):
    stages = pieces["both"]
    before = planned(stages).stages[-1]
    after = planned(stages, WEIGHTS_DO_NOT_DEPEND_ON_IT[change]).stages[-1]
    assert after.key == before.key


def test_the_start_of_a_later_replay_changes_the_key(planned, pieces):
    stages = pieces["pretrain"] + pieces["update"]
    beginning = pieces["third"].replace('"10%"', '{ share = "10%", start = "beginning" }')
    assert planned.stage(stages + pieces["third"]).key != planned.stage(stages + beginning).key


def test_the_weights_of_domains_change_the_key(planned, pieces):
    change = ("weight = 3", "weight = 4")
    french = pieces["pretrain"].replace("english", "french")
    assert planned.stage(french).key != planned.stage(french, change).key
    assert planned.stage(french).key == planned.stage(french, ("weight = 3", "weight = 3.0")).key


def test_text_that_the_tokenizer_is_trained_on_changes_the_key_of_every_stage(planned, pieces):
    """German alone is read, but the tokenizer is made from English."""
    german = pieces["pretrain"].replace("english", "german")
    other = ('"english.jsonl"', '"other.jsonl"')
    assert planned.stage(german, TRAINED).key != planned.stage(german, TRAINED, other).key
    assert planned.stage(german).key == planned.stage(german, other).key


ARMS = """
[arms]
none = { baseline = "no-replay" }
five = { "stages.update.replay" = "5%" }
ten = {}
again = { "stages.update.replay" = 0.1 }
slow = { "stages.pretrain.schedule.max_lr" = 5e-4 }
seeded = { seed = 2 }
scratch = { baseline = "scratch" }
union = { baseline = "union" }
"""


def test_arms_share_the_stages_that_come_out_the_same(planned):
    plan = planned(more=ARMS)
    first = {arm: stages[0] for arm, stages in plan.arms.items()}
    shared = plan.arms_of(first["ten"])
    assert shared == ["none", "five", "ten", "again"]
    assert plan.arms_of(plan.arms["ten"][1]) == ["ten", "again"]
    assert plan.arms_of(plan.arms["five"][1]) == ["five"]
    for arm in ("slow", "seeded", "scratch", "union"):
        assert plan.arms_of(first[arm]) == [arm]
    assert len({stage.key for stage in plan.stages}) == len(plan.stages) == 10


def test_an_update_of_another_base_is_another_update(planned):
    plan = planned(more=ARMS)
    assert plan.arms["slow"][1].schedule == plan.arms["ten"][1].schedule
    assert plan.arms["slow"][1].key != plan.arms["ten"][1].key


def test_a_parent_comes_before_its_children(planned, pieces):
    plan = planned(pieces["pretrain"] + pieces["update"] + pieces["third"], more=ARMS)
    for number, stage in enumerate(plan.stages):
        assert stage.parent is None or stage.parent in plan.stages[:number]


def test_a_stage_has_the_campaign_of_its_arm(planned):
    plan = planned(more=ARMS)
    assert plan.arms["seeded"][1].campaign.seed == 2
    assert plan.arms["ten"][1].campaign.seed == 1


def test_datasets_come_in_the_order_in_which_the_model_meets_them(planned, pieces):
    french_first = pieces["pretrain"].replace("english", "french")
    assert planned(french_first + pieces["update"]).datasets == ("french", "german", "english")
    history = ("[evaluation]", '[history.english]\ntokens = "800 tokens"\n[evaluation]')
    assert planned(pieces["update"], history).datasets == ("english", "german", "french")


@pytest.mark.parametrize(
    ("every", "final", "expected"),
    [
        ("10 steps", "final_steps = 0", [0, 10, 20, 30, 40]),
        ("25%", "final_steps = 0", [0, 10, 20, 30, 40]),
        ("800 tokens", "final_steps = 0", [0, 10, 20, 30, 40]),
        ("15 steps", "final_steps = 0", [0, 15, 30, 40]),
        ("20 steps", "final_steps = 6\nfinal_every = 2", [0, 20, 36, 38, 40]),
        ("20 steps", "final_steps = 5\nfinal_every = 2", [0, 20, 36, 38, 40]),
        ("20 steps", "final_steps = 40\nfinal_every = 10", [0, 10, 20, 30, 40]),
        ("100 steps", "final_steps = 1", [0, 40]),
    ],
)
def test_evaluation_is_at_step_0_every_so_often_and_at_the_end(
    planned, pieces, every, final, expected
):
    """Both stages have 40 steps."""
    table = ('every = "10 steps"\nfinal_steps = 0', f'every = "{every}"\n{final}')
    plan = planned(pieces["both"], table)
    assert [plan.evaluation_steps(stage) for stage in plan.stages] == [expected, expected]


@pytest.mark.parametrize(
    ("every", "expected"),
    [("10 steps", [10, 20, 30, 40]), ("40%", [16, 32, 40]), ("9999 steps", [40])],
)
def test_checkpoints_are_every_so_often_and_at_the_end(planned, pieces, every, expected):
    table = ('[checkpoints]\nevery = "10 steps"', f'[checkpoints]\nevery = "{every}"')
    plan = planned(pieces["both"], table)
    assert [plan.checkpoint_steps(stage) for stage in plan.stages] == [expected, expected]


@pytest.mark.parametrize("steps", [33, 40, 41, 999])
def test_a_cadence_in_percent_does_not_drift(planned, pieces, steps):
    """The k-th is at k·10 %, where a branch `at` that percentage leaves."""
    plan = planned(
        pieces["pretrain"].replace("40 steps", f"{steps} steps"),
        ('[checkpoints]\nevery = "10 steps"', '[checkpoints]\nevery = "10%"'),
    )
    expected = [steps * percent // 100 for percent in range(10, 101, 10)]
    assert plan.checkpoint_steps(plan.stages[0]) == expected


def test_there_is_a_checkpoint_wherever_a_stage_branches_off(planned, pieces):
    """In any arm: the arms share the trunk."""
    arms = '[arms]\na = {}\nb = { "stages.branch.at" = "23 steps" }\n'
    branch = '[[stage]]\nname = "branch"\nat = "17 steps"\nbudget = "10 steps"\n'
    plan = planned(pieces["pretrain"] + branch, more=arms)
    assert plan.branch_steps(plan.stages[0]) == {17, 23}
    assert plan.checkpoint_steps(plan.stages[0]) == [10, 17, 20, 23, 30, 40]


def test_a_final_window_longer_than_a_stage_is_refused(planned, pieces):
    window = ("final_steps = 0", "final_steps = 41")
    refused = planned.refusal(pieces["both"], window)
    assert (
        "evaluation.final_steps = 41 is longer than stage 'pretrain', which has 40 steps" in refused
    )
    assert planned(pieces["both"], ("final_steps = 0", "final_steps = 40"))


@pytest.mark.parametrize("table", ["evaluation", "checkpoints"])
@pytest.mark.parametrize("every", ["2%", "0 steps", "79 tokens"])
def test_a_cadence_below_a_step_is_refused_with_its_line(planned, pieces, table, every):
    change = (f'[{table}]\nevery = "10 steps"', f'[{table}]\nevery = "{every}"')
    refused = planned.refusal(pieces["both"], change)
    lines = (planned.folder / "campaign.toml").read_text().splitlines()
    number = lines.index(f'every = "{every}"') + 1
    assert refused.startswith(
        f"campaign.toml:{number}: {table}.every = '{every}' is less than a step of stage 'pretrain'"
    )


def test_what_an_arm_cannot_do_names_the_arm_and_the_stage(planned, pieces):
    arms = '[arms]\nfine = {}\nwrong = { "stages.update.budget" = "79 tokens" }\n'
    refused = planned.refusal(pieces["both"] + arms)
    assert refused.startswith("campaign.toml: arm 'wrong', stages.update: ")


def test_one_update_of_equal_size_saves_half(planned, pieces):
    """Paper Fig. 1, weak shift: 1.0 against 2.0."""
    saved = saving(planned.stage(pieces["both"]).lineage)
    assert (saved.update_tokens, saved.retrain_tokens, saved.share) == (3200, 6400, 0.5)


def test_a_series_of_updates_saves_more(planned, pieces):
    """Two updates of 1: they cost 2; retraining each time costs 2 + 3."""
    saved = saving(planned.stage(pieces["both"] + pieces["third"]).lineage)
    assert (saved.update_tokens, saved.retrain_tokens) == (2 * 3200, 5 * 3200)
    assert saved.share == pytest.approx(0.6)


def test_without_an_update_there_is_nothing_to_save(planned, pieces):
    assert saving(planned.stage(pieces["pretrain"]).lineage) is None


def test_an_annealed_branch_is_part_of_its_update(planned, pieces):
    """Half of the update, then 10 steps of annealing: 30 steps, against retraining on 40 + 30."""
    branch = '[[stage]]\nname = "release"\nat = "50%"\nbudget = "10 steps"\n'
    saved = saving(planned.stage(pieces["both"] + branch).lineage)
    assert (saved.update_tokens, saved.retrain_tokens) == (30 * 80, 70 * 80)
    alone = planned.stage(pieces["pretrain"] + branch)
    assert saving(alone.lineage) is None


def test_the_cost_counts_shared_stages_once(planned):
    plan = planned(more=ARMS)
    assert cost(plan).tokens == sum(stage.tokens for stage in plan.stages)
    assert cost(plan).tokens < sum(s.tokens for stages in plan.arms.values() for s in stages)
    assert cost(plan).flops == pytest.approx(plan.size.flops_per_token(8) * cost(plan).tokens)


def test_hours_and_price_follow_from_a_throughput(planned):
    plan = planned()
    assert (cost(plan).hours, cost(plan, price_per_hour=2.0).price) == (None, None)
    found = cost(plan, 2.0, 3.0)
    assert found.hours == pytest.approx(6400 / 2 / 3600)
    assert found.price == pytest.approx(3 * found.hours)


@pytest.mark.parametrize(("keep", "kept"), [("1", 2), ("2", 4), ('"all"', 8)])
def test_disk_space_is_for_the_checkpoints_that_stay(planned, pieces, keep, kept):
    """Four in each stage; 12 bytes for each parameter: fp32 weights and two moments."""
    plan = planned(pieces["both"], ("[checkpoints]", f"[checkpoints]\nkeep = {keep}"))
    assert cost(plan).checkpoint_bytes == kept * 12 * plan.size.parameters


def test_checkpoints_that_stay_for_good_are_counted(planned, pieces):
    """Of 10, 20, 30, 40 the last stays, and 15 and 30, which are saved for it."""
    keep = ("[checkpoints]", '[checkpoints]\nkeep = 1\nkeep_every = "15 steps"')
    plan = planned(pieces["pretrain"], keep)
    (stage,) = plan.stages
    assert plan.lasting_steps(stage) == {15, 30, 40}
    assert plan.checkpoint_steps(stage) == [10, 15, 20, 30, 40]
    assert cost(plan).checkpoint_bytes == 3 * 12 * plan.size.parameters


def test_branch_points_stay(planned, pieces):
    branch = '[[stage]]\nname = "branch"\nat = "17 steps"\nbudget = "10 steps"\n'
    plan = planned(pieces["pretrain"] + branch, ("[checkpoints]", "[checkpoints]\nkeep = 1"))
    assert cost(plan).checkpoint_bytes == (2 + 1) * 12 * plan.size.parameters


@pytest.mark.parametrize(("batches", "share"), [(1, 0.1), (10, 1.0)])
def test_validation_takes_a_third_of_what_training_on_as_many_tokens_takes(
    planned, pieces, batches, share
):
    """Some batches of each of three datasets every ten steps; the one at step 0 hardly counts."""
    sequences = ("[evaluation]", f"[evaluation]\nsequences = {batches * 10}")
    plan = planned(pieces["pretrain"], ('"40 steps"', '"40000 steps"'), sequences)
    (stage,) = plan.stages
    found = cost(plan)
    assert found.evaluation_share == pytest.approx(share, rel=1e-3)
    assert plan.evaluation_tokens(stage) == found.evaluation_tokens
    assert found.evaluation_tokens == 4001 * 3 * batches * 10 * 8
    assert stage_record(plan, stage).evaluation_tokens == found.evaluation_tokens


def test_declared_tokens_take_two_bytes_each(planned, pieces):
    tokens = ('train = ["german.jsonl"]', 'train = ["german.jsonl"]\ntokens = "1,600 tokens"')
    assert cost(planned(pieces["both"], tokens)).token_bytes == 3200


def test_a_model_that_an_arm_changes_is_counted_as_it_is(planned):
    plan = planned(more='[arms]\na = {}\nb = { "model.preset" = "neox-0.3m" }\n')
    small, large = plan.arms["a"][0], plan.arms["b"][0]
    assert plan.size_of(large).parameters > plan.size_of(small).parameters
    assert plan.train_flops(large) > plan.train_flops(small)


def test_without_a_tokenizer_the_size_is_not_known_yet(planned, pieces):
    plan = planned(pieces["both"], ("vocabulary = 300", ""))
    assert plan.size is None
    found = cost(plan)
    assert (found.memory_bytes, found.checkpoint_bytes, found.flops) == (None, None, 0)


def test_the_record_of_a_plan_says_what_it_does(planned, pieces):
    history = ("[evaluation]", '[history.french]\ntokens = "1M tokens"\nproxy = true\n[evaluation]')
    plan = planned(pieces["both"], history)
    record = run_record(plan)
    assert RunRecord.model_validate_json(record.model_dump_json()) == record
    assert record.arms == {"main": [stage.folder for stage in plan.stages]}
    assert "proxy" in record.history["french"]
    update, planned_stage = record.stages[1], plan.stages[1]
    assert (update.parent, update.start_step, update.steps) == (record.stages[0].folder, 40, 40)
    assert (update.replay_share, update.shares) == (0.1, {"german": 1.0})
    assert update.planned["german"] == SourceCount(new=360, replayed=0)
    assert sum(count.replayed for count in update.planned.values()) == 40
    assert Piecewise.from_json(update.schedule) == planned_stage.schedule
    assert update.folder == f"update-{update.key[:8]}"
