"""A stage resolved: budget, branch point, rates, data order and the ledger, along a line and a tree."""

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarm.plan import StagePlan
from rewarm.replay import Count, Draw, composition, reservoir_shares

BATCH = 10
"""Sequences in a batch of the campaigns in `conftest.py`."""


def draws(stage: StagePlan, steps: int | None = None) -> list[Draw]:
    """All sequences of a stage's first steps, in their order."""
    return [stage.stream.at(n) for n in range((steps or stage.steps) * BATCH)]


def read_as_new(stage: StagePlan, steps: int) -> set[tuple[str, int]]:
    """Every sequence that a model has read as new by a step of a stage."""
    before = read_as_new(stage.parent, stage.start_step) if stage.parent else set()
    return before | {(d.source, d.place) for d in draws(stage, steps) if not d.replayed}


def tape_shares(stage: StagePlan) -> list[Fraction]:
    """The shares of the earlier stages in a stage's replay, in the order of the stages."""
    assert stage.stream.replay is not None
    shares = stage.stream.replay.mixture.shares
    return [shares[ancestor.name] for ancestor in stage.lineage[:-1]]


def go_on(name: str, **keys: str) -> str:
    """A stage that goes on with the data of the one before."""
    return f'[[stage]]\nname = "{name}"\n' + "".join(f"{key} = {keys[key]}\n" for key in keys)


@pytest.mark.parametrize(
    ("budget", "steps"),
    [("40 steps", 40), ("3,200 tokens", 40), ("3,279 tokens", 40), ("80 tokens", 1)],
)
def test_a_budget_pays_for_whole_steps(planned, pieces, budget, steps):
    stage = planned.stage(pieces["pretrain"], ("40 steps", budget))
    assert (stage.steps, stage.tokens) == (steps, steps * 80)


def test_a_budget_below_one_batch_is_refused(planned, pieces):
    refused = planned.refusal(pieces["pretrain"], ("40 steps", "79 tokens"))
    assert refused.startswith("campaign.toml: stages.pretrain: ")
    assert "the budget of 79 tokens is less than one batch of 80 tokens" in refused


def test_compute_equivalent_replay_takes_the_place_of_new_tokens(planned, pieces):
    stage = planned.stage(pieces["pretrain"] + pieces["update"])
    assert stage.tokens == 3200
    assert stage.counts() == {"german": Count(new=360), "english": Count(replayed=40)}


@given(st.integers(1, 99), st.integers(1, 400))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_additive_replay_comes_on_top(planned, pieces, percent, steps):
    """The new sequences are those of the budget, to a step; the replay has its share of the whole."""
    additive = f'{{ share = "{percent}%", mode = "additive" }}'
    update = pieces["update"].replace('"10%"', additive).replace('"40 steps"', f'"{steps} steps"')
    changes = [('every = "10 steps"', 'every = "1 step"')] * 2
    stage = planned.stage(pieces["pretrain"] + update, *changes)
    count, total = stage.counts(), stage.steps * BATCH
    assert abs(count["english"].replayed - total * Fraction(percent, 100)) <= Fraction(1, 2)
    assert (steps - 1) * BATCH <= count["german"].new <= steps * BATCH


def test_the_sequences_of_some_steps_are_those_drawn_in_them(planned, pieces):
    stage = planned.stage(pieces["pretrain"] + pieces["update"])
    assert stage.counts_of(range(1, stage.steps + 1)) == stage.counts()
    assert stage.counts_of([]) == {}
    drawn = draws(stage)
    chosen = [draw for step in (3, 17) for draw in drawn[(step - 1) * BATCH : step * BATCH]]
    for source, count in stage.counts_of([3, 17]).items():
        mine = [draw.replayed for draw in chosen if draw.source == source]
        assert count == Count(new=mine.count(False), replayed=mine.count(True))
    assert sum(count.total for count in stage.counts_of([3, 17]).values()) == 2 * BATCH


def test_additive_replay_keeps_the_new_tokens(planned, pieces):
    """A fifth on top of 40 steps: 50 steps, of which 40 are new."""
    replay = 'replay = { share = "20%", mode = "additive" }'
    stage = planned.stage(pieces["pretrain"] + pieces["update"], ('replay = "10%"', replay))
    assert stage.steps == 50
    assert stage.counts() == {"german": Count(new=400), "english": Count(replayed=100)}


@pytest.mark.parametrize(
    ("at", "step"),
    [("50%", 20), ("86%", 34), ("7 steps", 7), ("560 tokens", 7), ("639 tokens", 7), ("100%", 40)],
)
def test_a_branch_leaves_where_it_is_told(planned, pieces, at, step):
    branch = go_on("branch", budget='"10 steps"', at=f'"{at}"')
    stage = planned.stage(pieces["pretrain"] + branch)
    assert stage.start_step == step
    assert stage.ledger(0) == {"english": Count(new=step * BATCH)}


@pytest.mark.parametrize(("at", "step"), [("0%", 0), ("1%", 0), ("41 steps", 41), ("110%", 44)])
def test_a_branch_outside_its_stage_is_refused(planned, pieces, at, step):
    branch = go_on("branch", budget='"10 steps"', at=f'"{at}"')
    refused = planned.refusal(pieces["pretrain"] + branch)
    assert f"at = '{at}' is step {step} of 'pretrain', which has steps 1 to 40" in refused


def test_a_stage_starts_from_the_end_of_the_one_before_unless_told(planned, pieces):
    other = pieces["third"].replace("data =", 'after = "pretrain"\ndata =')
    pretrain, update, third = planned(pieces["pretrain"] + pieces["update"] + other).stages
    assert (update.parent, update.start_step) == (pretrain, 40)
    assert (third.parent, third.start_step) == (pretrain, 40)
    assert third.lineage == [pretrain, third]
    base = pieces["update"].replace('"10%"', '0\nafter = "base"')
    assert planned.stage(pieces["pretrain"] + base).parent is None


@pytest.mark.parametrize("at", ["50%", "33 steps", "100%"])
def test_a_stage_without_schedule_carries_on_the_rate_exactly(planned, pieces, at):
    branch = go_on("branch", budget='"60 steps"', at=f'"{at}"')
    stage = planned.stage(pieces["pretrain"] + branch)
    trunk = stage.parent.schedule
    assert [stage.schedule(t) for t in range(61)] == [
        trunk(stage.start_step + t) for t in range(61)
    ]
    assert stage.schedule.steps == 60


@pytest.mark.parametrize("at", ["50%", "33 steps", "100%"])
def test_a_stage_without_data_goes_on_with_positions_exactly(planned, pieces, at):
    """Replay included, twice over."""
    stages = pieces["pretrain"] + pieces["update"]
    first = go_on("first", budget='"30 steps"', at=f'"{at}"')
    second = go_on("second", budget='"10 steps"', at='"7 steps"')
    *_, update, branch, twig = planned(stages + first + second).stages
    start = branch.start_step * BATCH
    assert draws(branch) == [update.stream.at(start + n) for n in range(300)]
    assert draws(twig) == [update.stream.at(start + 70 + n) for n in range(100)]
    assert any(draw.replayed for draw in draws(twig))
    total = sum(count.total for count in twig.ledger().values())
    assert total == 400 + start + 70 + 100


def test_data_goes_on_where_earlier_stages_stopped(planned, pieces):
    again = pieces["update"].replace("german", "english").replace('"10%"', "0")
    pretrain, update = planned(pieces["pretrain"] + again).stages
    assert [d.place for d in draws(pretrain)] == list(range(400))
    assert [d.place for d in draws(update)] == list(range(400, 800))


def test_the_ledger_counts_what_is_drawn(planned, pieces):
    for stage in planned(pieces["pretrain"] + pieces["update"] + pieces["third"]).stages:
        for steps in (1, 7, stage.steps):
            counted: dict[str, Count] = {}
            for draw in draws(stage, steps):
                one = Count(replayed=1) if draw.replayed else Count(new=1)
                counted[draw.source] = counted.get(draw.source, Count()) + one
            assert {n: c for n, c in stage.counts(steps).items() if c.total} == counted


def test_domains_are_read_by_weight(planned, pieces):
    stage = planned.stage(pieces["pretrain"], ("english = 1.0", "french = 0.5, german = 0.5"))
    assert stage.shares == {"french": Fraction(1, 2), "german": Fraction(1, 2)}
    counts = {source: count.new for source, count in stage.counts().items()}
    assert counts == {"french/web": 150, "french/law": 50, "german": 200}


@pytest.mark.parametrize("budget", ["80 steps", "41 steps", "1B tokens"])
def test_raising_the_budget_changes_no_draw(planned, pieces, budget):
    short = planned.stage(pieces["pretrain"] + pieces["update"])
    larger = pieces["update"].replace("40 steps", budget)
    long = planned.stage(pieces["pretrain"] + larger)
    assert long.steps > short.steps
    assert draws(long, short.steps) == draws(short)


def test_the_composition_along_a_line_is_equation_5(planned, pieces):
    """Four stages of 400 sequences at 10 %: every share of the recursion, exactly."""
    fourth = pieces["update"].replace('"update"', '"fourth"')
    plan = planned(pieces["pretrain"] + pieces["update"] + pieces["third"] + fourth)
    for number, stage in enumerate(plan.stages[1:], start=1):
        assert tape_shares(stage) == reservoir_shares([400] * number, Fraction(1, 10))
    third = composition(plan.stages[2].ledger())
    expected = reservoir_shares([400] * 3, Fraction(1, 10))
    assert [
        third["english"],
        third["german"],
        third["french/web"] + third["french/law"],
    ] == expected


def test_the_composition_in_a_tree_is_equation_5_for_the_branch(planned, pieces):
    """The branch has seen half of the update, and nothing of what the update did afterwards."""
    third = pieces["third"].replace("data =", 'after = "update"\nat = "50%"\ndata =')
    fourth = pieces["update"].replace('"update"', '"fourth"').replace("german", "english")
    branch = planned(pieces["pretrain"] + pieces["update"] + third + fourth).stages[-1]
    assert [stage.name for stage in branch.lineage] == ["pretrain", "update", "third", "fourth"]
    assert tape_shares(branch.parent) == reservoir_shares([400, 200], Fraction(1, 10))
    seen = branch.parent.ledger()
    assert sum(count.total for count in seen.values()) == 400 + 200 + 400
    for name, share in zip(
        ("english", "german"), reservoir_shares([400, 200, 400], Fraction(1, 10)), strict=False
    ):
        assert abs(composition(seen)[name] - share) * 1000 <= 1


def test_the_composition_counts_replay_as_seen(planned, pieces):
    """The twin: shares of the budgets alone are others from the third stage on."""
    third = planned.stage(pieces["pretrain"] + pieces["update"] + pieces["third"])
    assert tape_shares(third) != [Fraction(1, 2), Fraction(1, 2)]


STEPS = st.integers(2, 60)


@given(STEPS, STEPS, STEPS, st.integers(1, 60))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_replay_never_reads_what_was_not_seen(planned, pieces, first, second, third, percent):
    """Every replayed sequence was read as new on the way, whatever the lengths and the order."""
    text = pieces["pretrain"] + pieces["update"] + pieces["third"]
    for steps in (first, second, third):
        text = text.replace('"40 steps"', f'"{steps} steps "', 1)
    order = "shuffled" if percent % 2 else "as-seen"
    text = text.replace('"10%"', f'{{ share = "{percent}%", order = "{order}" }}')
    plan = planned(text, *[('every = "10 steps"', 'every = "1 step"')] * 2)
    for stage in plan.stages[1:]:
        seen = read_as_new(stage.parent, stage.start_step)
        replayed = [(d.source, d.place) for d in draws(stage) if d.replayed]
        assert set(replayed) <= seen


def test_replay_has_the_order_in_which_it_was_seen(planned, pieces):
    pretrain, update = planned(pieces["pretrain"] + pieces["update"]).stages
    replayed = [(d.source, d.place) for d in draws(update) if d.replayed]
    assert replayed == [(d.source, d.place) for d in draws(pretrain)[:40]]


def test_replay_spreads_over_the_batches(planned, pieces):
    stage = planned.stage(pieces["pretrain"] + pieces["update"])
    for step in range(40):
        batch = draws(stage)[step * BATCH : (step + 1) * BATCH]
        assert sum(draw.replayed for draw in batch) == 1


def test_shuffled_replay_reads_the_same_sequences_in_another_order(planned, pieces):
    """With 50 % of 80 steps the whole of the 400 is replayed once."""
    half = pieces["update"].replace('"40 steps"', '"80 steps"').replace('"10%"', '"50%"')
    as_seen = planned.stage(pieces["pretrain"] + half)
    other_order = half.replace('"50%"', '{ share = "50%", order = "shuffled" }')
    shuffled = planned.stage(pieces["pretrain"] + other_order)
    one = [d.place for d in draws(as_seen) if d.replayed]
    other = [d.place for d in draws(shuffled) if d.replayed]
    assert one == list(range(400))
    assert other != one
    assert sorted(other) == one
    assert [d.replayed for d in draws(as_seen)] == [d.replayed for d in draws(shuffled)]


@pytest.mark.parametrize(("start", "first"), [("continue", 40), ("beginning", 0)])
def test_replay_goes_on_or_begins_again(planned, pieces, start, first):
    """The update replays 40 sequences of the pre-training; the third stage starts after them, or not."""
    third = pieces["third"].replace('"10%"', f'{{ share = "10%", start = "{start}" }}')
    stage = planned.stage(pieces["pretrain"] + pieces["update"] + third)
    english = [d.place for d in draws(stage) if d.replayed and d.source == "english"]
    assert english == list(range(first, first + 22))


def test_written_weights_take_the_place_of_the_composition(planned, pieces):
    weighted = '{ share = "10%", weights = { english = 1, german = 3 } }'
    third = pieces["third"].replace('"10%"', weighted)
    stage = planned.stage(pieces["pretrain"] + pieces["update"] + third)
    count = stage.counts()
    assert (count["english"].replayed, count["german"].replayed) == (10, 30)
    assert {(d.source, d.place) for d in draws(stage) if d.replayed} <= read_as_new(
        stage.parent, 40
    )


def test_written_weights_of_domains_read_them_as_they_were_read(planned, pieces):
    weighted = '{ share = "10%", weights = { french = 1 } }'
    fourth = pieces["update"].replace('"update"', '"fourth"').replace('"10%"', weighted)
    stages = pieces["pretrain"] + pieces["third"].replace('"10%"', "0") + fourth
    count = planned.stage(stages).counts()
    assert (count["french/web"].replayed, count["french/law"].replayed) == (30, 10)


def test_written_weights_name_only_what_was_read(planned, pieces):
    weighted = ('"10%"', '{ share = "10%", weights = { french = 1 } }')
    refused = planned.refusal(pieces["pretrain"] + pieces["update"], weighted)
    assert "replay.weights names 'french', which no earlier stage has read" in refused


def test_a_stage_named_like_a_dataset_is_not_taken_for_it(planned, pieces):
    """Stage "german" reads English; its tape and the dataset German stay apart in later replays."""
    stages = pieces["pretrain"].replace('"pretrain"', '"german"') + pieces["update"]
    weighted = pieces["third"].replace('"10%"', '{ share = "10%", weights = { german = 1 } }')
    fourth = pieces["update"].replace('"update"', '"fourth"')
    plan = planned(stages + weighted + fourth)
    _, _, third, last = plan.stages
    assert {d.source for d in draws(third) if d.replayed} == {"german"}
    count, seen = last.counts(), composition(third.ledger())
    for source in ("english", "german"):
        assert abs(count[source].replayed - 40 * seen[source]) <= 2


HISTORY = ("[evaluation]", '[history.english]\ntokens = "803 tokens"\n[evaluation]')


def test_a_declared_history_can_be_replayed(planned, pieces):
    """803 tokens are 100 sequences; 40 of the stage's 400 come from them."""
    stage = planned.stage(pieces["update"], HISTORY)
    replayed = [d for d in draws(stage) if d.replayed]
    assert [d.place for d in replayed] == list(range(40))
    assert {d.source for d in replayed} == {"english"}
    longer = planned.stage(pieces["update"], HISTORY, ('"10%"', '"50%"'))
    assert {d.place for d in draws(longer) if d.replayed} == set(range(100))


def test_a_declared_history_counts_in_the_composition(planned, pieces):
    """100 sequences of history and 400 of the update, a tenth of which were English again."""
    third = pieces["third"]
    stage = planned.stage(pieces["update"] + third, HISTORY)
    shares = stage.stream.replay.mixture.shares
    assert shares == {"history:english": Fraction(140, 500), "update": Fraction(360, 500)}


def test_a_declared_history_is_not_read_again_as_new(planned, pieces):
    stage = planned.stage(pieces["pretrain"], HISTORY)
    assert draws(stage)[0] == Draw("english", 100, False)


def test_written_weights_may_name_the_declared_history(planned, pieces):
    weighted = ('"10%"', '{ share = "50%", weights = { english = 1 } }')
    stage = planned.stage(pieces["pretrain"] + pieces["update"], HISTORY, weighted)
    seen = {("english", place) for place in range(100)} | read_as_new(stage.parent, 40)
    assert {(d.source, d.place) for d in draws(stage) if d.replayed} <= seen


def test_a_schedule_that_makes_no_sense_names_its_stage(planned, pieces):
    wrong = pieces["update"].replace("1e-3", "1e-3, min_lr = 1")
    refused = planned.refusal(pieces["pretrain"] + wrong)
    assert refused.startswith("campaign.toml: stages.update: min_lr = 1.0 is above max_lr")


GERMAN = 'train = ["german.jsonl"]\nvalidation = ["german.valid.jsonl"]'


@pytest.mark.parametrize(
    "text",
    [
        'train = ["german.jsonl"]\nvalidation = { fraction = "1%" }',
        'train = ["german.jsonl"]\nvalidation = { fraction = "2%" }',
        'train = ["german.jsonl"]\nvalidation = { fraction = "1%", salt = "x" }',
        'train = ["german.jsonl"]\nvalidation = { fraction = "1%", by = "group", group = "page" }',
        'hugging_face = { from = "a/b" }\nvalidation = ["german.valid.jsonl"]',
        'hugging_face = { from = "a/b", config = "de" }\nvalidation = ["german.valid.jsonl"]',
    ],
)
def test_other_training_text_is_another_stage(planned, pieces, text):
    key = planned.stage(pieces["both"]).key
    assert planned.stage(pieces["both"], (GERMAN, text)).key != key


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('train = ["german.jsonl"]', 'train = ["german.jsonl"]\nmax_bad_rows = 5'),
        ('validation = ["german.valid.jsonl"]', 'validation = ["other.jsonl"]'),
    ],
)
def test_the_same_training_text_is_the_same_stage(planned, pieces, old, new):
    assert planned.stage(pieces["both"], (old, new)).key == planned.stage(pieces["both"]).key


def test_the_rows_of_a_domain_are_part_of_what_a_stage_is(planned, pieces):
    """Two domains by rows of one dataset; each change of the table of rows is another stage."""
    french = (
        '[data.french.domains.web]\ntrain = ["web.jsonl"]\nweight = 3\n'
        '[data.french.domains.law]\ntrain = ["law.jsonl"]\nweight = 1\n'
    )
    table = (
        'train = ["french.jsonl"]\ndomain_column = "set"\n'
        'domains = { web = { weight = 3, rows = "W" }, law = { weight = 1, rows = "L" } }\n'
    )
    stages = pieces["pretrain"] + pieces["third"]
    keys = {
        planned.stage(stages, (french, changed)).key
        for changed in (
            french,
            table,
            table.replace('"set"', '"other"'),
            table.replace('"L"', '["L", "M"]'),
            table.replace("french.jsonl", "french2.jsonl"),
        )
    }
    assert len(keys) == 5
