"""Loading a campaign file: every mistake with its line, its key path and what was probably meant."""

from fractions import Fraction

import pytest

from rewarm.campaign import Campaign, Quantity, Replay, load_campaign
from rewarm.campaign.load import MAIN
from rewarm.campaign.schedule import Infinite
from rewarm.errors import CampaignError

FIRST_STAGE = "[[stage]]  # first"
SECOND_STAGE = "[[stage]]  # second"

# What is replaced, by what, the key path, and what is said.
MISTAKES = {
    "unknown key": ("seed = 1", "sed = 1", "sed", "unknown key; did you mean 'seed'?"),
    "unknown key in a table": (
        'train = ["german.jsonl"]',
        'trane = ["german.jsonl"]',
        "data.german.trane",
        "unknown key; did you mean 'train'?",
    ),
    "unknown key in a stage": (
        'replay = "10%"',
        'reply = "10%"',
        "stages.update.reply",
        "unknown key; did you mean 'replay'?",
    ),
    "unknown key of a schedule": (
        "min_lr = 1e-5",
        "min_rl = 1e-5",
        "stages.update.schedule.min_rl",
        "unknown key; did you mean 'min_lr'?",
    ),
    "unknown key like no other": (
        "vocabulary = 300",
        "xyz = 300",
        "model.xyz",
        "unknown key; the keys here are preset, from, vocabulary",
    ),
    "wrong unit": (
        '"100 steps"',
        '"50%"',
        "stages.update.budget",
        "'50%' is in %; here the unit must be steps or tokens",
    ),
    "unknown unit": (
        '"100 steps"',
        '"2 epochs"',
        "stages.update.budget",
        "the unit 'epochs' is not known; use %, steps, tokens or sequences",
    ),
    "no unit": (
        '"100 steps"',
        "100",
        "stages.update.budget",
        '100 has no unit; write it in quotes, for example "100 tokens"',
    ),
    "no unit in quotes": (
        '"100 steps"',
        '"100"',
        "stages.update.budget",
        'has no unit; write for example "100 steps" or "100 tokens"',
    ),
    "a share above 1": (
        'replay = "10%"',
        "replay = 5",
        "stages.update.replay",
        'a share lies between 0 and 1 (below 1), not 5; 5% is written "5%" or 0.05',
    ),
    "shares that do not add up": (
        "{ german = 1.0 }",
        "{ german = 0.9, english = 0.2 }",
        "stages.update.data",
        "the shares (german = 0.9, english = 0.2) add up to 1.1, must be 1; correct one of them",
    ),
    "a dataset that is not there": (
        "{ german = 1.0 }",
        "{ germn = 1.0 }",
        "stages.update.data.germn",
        "there is no dataset 'germn'; did you mean 'german'?",
    ),
    "a replayed dataset that is not there": (
        'replay = "10%"',
        'replay = { share = "10%", weights = { french = 1 } }',
        "stages.update.replay.weights.french",
        "there is no dataset 'french'; there are: english, german",
    ),
    "after a stage that is not there": (
        'replay = "10%"',
        'replay = "10%"\nafter = "pretrian"',
        "stages.update.after",
        "there is no earlier stage 'pretrian'; did you mean 'pretrain'?",
    ),
    "after itself": (
        'replay = "10%"',
        'replay = "10%"\nafter = "update"',
        "stages.update.after",
        "there is no earlier stage 'update'; there are: pretrain, base",
    ),
    "two stages of one name": (
        'name = "update"',
        'name = "pretrain"  # again',
        "stages.pretrain.name",
        "there is another stage 'pretrain'; names must differ",
    ),
    "a stage named for the base": (
        'name = "update"',
        'name = "base"',
        "stages.base.name",
        "'base' means the base model; choose another name",
    ),
    "unknown preset": (
        '"neox-0.1m"',
        '"neox-1m"',
        "model.preset",
        "'neox-1m' is not a preset; there are neox-0.1m, neox-0.3m",
    ),
    "unknown schedule": (
        '"cosine", max_lr = 1e-3, min',
        '"cosin", max_lr = 1e-3, min',
        "stages.update.schedule",
        "there is no kind 'cosin' of schedule; did you mean 'cosine'?",
    ),
    "a schedule like no other": (
        '"cosine", max_lr = 1e-3, min',
        '"xyz", max_lr = 1e-3, min',
        "stages.update.schedule",
        "there is no kind 'xyz' of schedule; there are cosine, infinite,",
    ),
    "a schedule without kind": (
        'kind = "cosine", max_lr = 1e-3, min',
        "max_lr = 1e-3, min",
        "stages.update.schedule",
        "kind is missing; there are cosine, infinite,",
    ),
    "a schedule that is no table": (
        'schedule = { kind = "cosine", max_lr = 1e-3, min_lr = 1e-5 }',
        'schedule = "cosine"',
        "stages.update.schedule",
        "must be a table, not 'cosine'",
    ),
    "a rate in quotes": (
        "min_lr = 1e-5",
        'min_lr = "1e-5"',
        "stages.update.schedule.min_lr",
        "'1e-5' is not a number",
    ),
    "a batch of part of a sequence": (
        '"10 sequences"',
        '"100 tokens"',
        "batch",
        'is not a whole number of sequences of 8 tokens; write "12 sequences" or "13 sequences"',
    ),
    "a batch of less than a sequence": (
        '"10 sequences"',
        '"4 tokens"',
        "batch",
        'is not a whole number of sequences of 8 tokens; write "1 sequence"',
    ),
    "an empty batch": ('"10 sequences"', '"0 sequences"', "batch", "is nothing"),
    "a micro-batch that does not fit": (
        "[model]",
        "[training]\nmicro_batch = 4\n[model]",
        "training",
        "micro_batch = 4 does not divide the batch of 10 sequences",
    ),
    "no validation text": (
        'validation = ["german.valid.jsonl"]',
        "",
        "data.german",
        "validation is missing",
    ),
    "text in two ways": (
        'train = ["german.jsonl"]',
        'train = ["german.jsonl"]\nsource = "python-code"',
        "data.german",
        "give one of train (files), source (a built-in one), hugging_face, train_tokens and domains",
    ),
    "a group without a name": (
        'validation = ["german.valid.jsonl"]',
        'validation = { fraction = "1%", by = "group" }',
        "data.german.validation",
        'by = "group" and group = "COLUMN" go together',
    ),
    "nothing held out": (
        'validation = ["german.valid.jsonl"]',
        'validation = { fraction = "0%" }',
        "data.german.validation.fraction",
        "a share of 0 holds nothing out",
    ),
    "a mistyped key of what is held out": (
        'validation = ["german.valid.jsonl"]',
        'validation = { fraction = "1%", grup = "page" }',
        "data.german.validation.grup",
        "did you mean 'group'?",
    ),
    "rows without a column": (
        'train = ["german.jsonl"]',
        'domains = { a = { weight = 1, rows = "A" } }',
        "data.german",
        "a domain with rows needs domain_column",
    ),
    "a column without rows": (
        'train = ["german.jsonl"]',
        'train = ["g"]\ndomain_column = "set"\ndomains = { a = { weight = 1, train = ["a"] } }',
        "data.german",
        "with domain_column, domain 'a' names its rows",
    ),
    "rows of two domains": (
        'train = ["german.jsonl"]',
        'train = ["g"]\ndomain_column = "set"\n'
        'domains = { a = { weight = 1, rows = "A" }, b = { weight = 1, rows = ["B", "A"] } }',
        "data.german",
        "'A' stands in rows of a domain more than once",
    ),
    "a column without domains": (
        'train = ["german.jsonl"]',
        'train = ["g"]\ndomain_column = "set"',
        "data.german",
        "domain_column needs train or hugging_face, and domains with rows",
    ),
    "two validation texts": (
        'train = ["german.jsonl"]',
        'hugging_face = { from = "a/b", validation_split = "test" }',
        "data.german",
        "give either validation or hugging_face.validation_split",
    ),
    "a dataset of no name": (
        'train = ["german.jsonl"]',
        'hugging_face = { config = "de" }',
        "data.german.hugging_face.from",
        "is missing",
    ),
    "fewer bad rows than none": (
        'train = ["german.jsonl"]',
        'max_bad_rows = -1\ntrain = ["german.jsonl"]',
        "data.german.max_bad_rows",
        "-1 is less than none",
    ),
    "bad rows in another unit": (
        'train = ["german.jsonl"]',
        'max_bad_rows = "5 steps"\ntrain = ["german.jsonl"]',
        "data.german.max_bad_rows",
        "a share is written",
    ),
    "two models": (
        'preset = "neox-0.1m"',
        'preset = "neox-0.1m"\nfrom = "folder"',
        "model",
        "give either preset (random weights) or from (a model folder or a model of the hub), not both",
    ),
    "two tokenizers": (
        'from = "tokenizer.json"',
        'from = "tokenizer.json"\ntrain = { on = ["english"], vocabulary = 300 }',
        "tokenizer",
        "give either from (a tokenizer.json) or train, not both",
    ),
    "a tokenizer for nothing": (
        'from = "tokenizer.json"',
        'train = { on = ["englsh"], vocabulary = 300 }',
        "tokenizer.train.on.0",
        "there is no dataset 'englsh'; did you mean 'english'?",
    ),
    "replay without data": (
        "data = { german = 1.0 }\n",
        "",
        "stages.update.replay",
        "a stage without data goes on with the data and the replay of the stage before",
    ),
    "replay of nothing": (
        'budget = "200 steps"',
        'budget = "200 steps"\nreplay = "5%"',
        "stages.pretrain.replay",
        "nothing has been seen yet that could be replayed",
    ),
    "a first stage without data": (
        "data = { english = 1.0 }\n",
        "",
        "stages.pretrain",
        "the first stage needs data",
    ),
    "a first stage without schedule": (
        'schedule = { kind = "cosine", max_lr = 1e-3 }\n',
        "",
        "stages.pretrain",
        "the first stage needs a schedule",
    ),
    "a first stage that anneals": (
        '{ kind = "cosine", max_lr = 1e-3 }',
        '{ kind = "anneal", min_lr = 1e-5 }',
        "stages.pretrain.schedule",
        "there is no earlier rate to anneal from",
    ),
    "a first stage that branches off": (
        'budget = "200 steps"',
        'budget = "200 steps"\nat = "50%"',
        "stages.pretrain.at",
        "the stage starts from the base model, which has no steps to branch off at",
    ),
    "a first stage that keeps the optimizer": (
        'budget = "200 steps"',
        'budget = "200 steps"\noptimizer = "keep"',
        "stages.pretrain.optimizer",
        "the base model has no optimizer state to keep",
    ),
    "a history of nothing": (
        "[model]",
        '[history.englsh]\ntokens = "1M tokens"\n[model]',
        "history.englsh",
        "there is no dataset 'englsh'; did you mean 'english'?",
    ),
    "betas out of range": (
        "[model]",
        "[optimizer]\nbetas = [0.9, 1.5]\n[model]",
        "optimizer.betas.1",
        "less than 1",
    ),
    "an endless norm": (
        "[model]",
        "[optimizer]\nclip_norm = inf\n[model]",
        "optimizer.clip_norm",
        "inf is not a finite number",
    ),
    "a missing key": ('budget = "100 steps"\n', "", "stages.update.budget", "is missing"),
    "a seed in quotes": ("seed = 1", 'seed = "1"', "seed", "should be a valid integer"),
}


# What the line named holds, where that is not the text put in.
ANCHORS = {
    "after a stage that is not there": "after =",
    "after itself": "after =",
    "a micro-batch that does not fit": "[training]",
    "no validation text": "[data.german]",
    "text in two ways": "[data.german]",
    "fewer bad rows than none": "max_bad_rows =",
    "bad rows in another unit": "max_bad_rows =",
    "rows without a column": "[data.german]",
    "a column without rows": "[data.german]",
    "rows of two domains": "[data.german]",
    "a column without domains": "[data.german]",
    "two validation texts": "[data.german]",
    "two models": "[model]",
    "two tokenizers": "[tokenizer]",
    "replay without data": "replay =",
    "replay of nothing": 'replay = "5%"',
    "a first stage without data": FIRST_STAGE,
    "a first stage without schedule": FIRST_STAGE,
    "a first stage that branches off": "at =",
    "a first stage that keeps the optimizer": "optimizer =",
    "a history of nothing": "[history.englsh]",
    "betas out of range": "betas =",
    "an endless norm": "clip_norm =",
    "a missing key": SECOND_STAGE,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_names_file_line_key_and_remedy(files, mistake):
    old, new, key, says = MISTAKES[mistake]
    problem = files.mistakes((old, new))[0]
    place, _, text = problem.partition(f": {key}: ")
    assert says in text
    assert place == f"campaign.toml:{files.line_of(ANCHORS.get(mistake, new))}"


def test_the_campaign_of_these_tests_has_no_mistakes(files):
    assert files.load().campaign.name == "small"


def test_several_mistakes_come_at_once_in_the_order_of_the_file(files):
    problems = files.mistakes(
        ("seed = 1", "sed = 1"),
        ('preset = "neox-0.1m"', 'preset = "neox-1m"'),
        ("{ english = 1.0 }", "{ englsh = 1.0 }"),
        ('"200 steps"', '"200"'),
        ('replay = "10%"', 'replay = 2\nafter = "pretrian"'),
        more='[arms]\nunion = { baseline = "unoin" }\n',
    )
    keys = [problem.split(": ")[1] for problem in problems]
    assert keys == [
        "sed",
        "model.preset",
        "stages.pretrain.data.englsh",
        "stages.pretrain.budget",
        "stages.update.replay",
        "stages.update.after",
        "arms.union",
    ]
    lines = [int(problem.split(":")[1]) for problem in problems]
    assert lines == sorted(lines)
    assert lines[0] == files.line_of("sed = 1")
    assert lines[-1] == files.line_of("unoin")


def test_a_file_that_is_missing_suggests_one_of_a_near_name(files):
    files.write()
    with pytest.raises(
        CampaignError, match=r"no such campaign file; did you mean .*campaign\.toml\?"
    ):
        load_campaign(files.folder / "campain.toml")


@pytest.mark.parametrize("name", ["xyz.toml", "folder/campaign.toml"])
def test_a_file_that_is_like_no_other_suggests_init(files, name, monkeypatch):
    monkeypatch.chdir(files.folder)
    with pytest.raises(CampaignError, match="`rewarm init` writes one"):
        load_campaign(files.folder / name)


def test_bad_toml_says_where(files):
    (problem,) = files.mistakes(("seed = 1", "seed = "))
    assert problem.startswith("campaign.toml: not valid TOML: ")
    assert f"line {files.line_of('seed = ')}" in problem


def test_a_file_that_is_no_text_or_no_file(files):
    path = files.write()
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(CampaignError, match="cannot be read as UTF-8 text"):
        load_campaign(path)
    with pytest.raises(CampaignError, match="cannot be read"):
        load_campaign(files.folder)


@pytest.mark.parametrize(
    "text", ["", 'stage = "a"\n', "[stage]\nname = 1\n", "data = 1\narms = 2\n", 'stage = ["a"]\n']
)
@pytest.mark.parametrize("settings", [[], ["stages.a.replay=1%"], ["data.a.train.0=x"]])
def test_nonsense_is_refused_whatever_its_form(files, text, settings):
    path = files.folder / "campaign.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CampaignError):
        load_campaign(path, settings)


@pytest.mark.parametrize(
    ("setting", "old", "new"),
    [
        ("stages.update.replay=25%", '"10%"', '"25%"'),
        ("stages.update.replay=0.25", '"10%"', "0.25"),
        ("stage.update.replay=25%", '"10%"', '"25%"'),
        ("seed=7", "seed = 1", "seed = 7"),
        ("batch=160 tokens", '"10 sequences"', '"160 tokens"'),
        ("optimizer.eps=1e-6", "[model]", "[optimizer]\neps = 1e-6\n[model]"),
        ("stages.update.schedule.min_lr=1e-4", "min_lr = 1e-5", "min_lr = 1e-4"),
        (
            "stages.update.data={german = 3, english = 1}",
            "{ german = 1.0 }",
            "{ german = 0.75, english = 0.25 }",
        ),
        ('data.german.train=["a", "b"]', '["german.jsonl"]', '["a", "b"]'),
        ("stages.update.name=later", 'name = "update"', 'name = "later"'),
    ],
)
def test_set_equals_writing_it_in_the_file(files, setting, old, new):
    changed = files.load(settings=[setting]).campaign
    written = files.load((old, new)).campaign
    assert changed.model_copy(update={"stages": None}) == written.model_copy(
        update={"stages": None}
    )
    assert [stage.name for stage in changed.stages] == [stage.name for stage in written.stages]
    for a, b in zip(changed.stages, written.stages, strict=True):
        assert changed.shares(a) == written.shares(b)
        same = {"data": None}
        assert a.model_copy(update=same) == b.model_copy(update=same)
    assert changed != files.load().campaign


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("seed", "--set seed: write it as path=value"),
        ("=3", "--set =3: write it as path=value"),
        ("stages.updat.replay=1%", "there is no stage 'updat'; did you mean 'update'?"),
        ("stages.xyz.replay=1%", "there is no stage 'xyz'; the stages are pretrain, update"),
        ("stages=3", "there is no stage ''"),
        ("model.preset.x=1", "'preset' is 'neox-0.1m', not a table; replace it as a whole"),
        (
            "data.german.train.0=x",
            "'train' is ['german.jsonl'], not a table; replace it as a whole",
        ),
        ("stages.update.replay.share=1%", "'replay' is '10%', not a table; replace it as a whole"),
        (
            "stages.update.repaly=1%",
            "--set: stages.update.repaly: unknown key; did you mean 'replay'?",
        ),
        ("stages.update.budget=100", "--set: stages.update.budget: 100 has no unit"),
    ],
)
def test_a_mistake_of_set_is_said_to_be_one(files, setting, says):
    (problem,) = files.mistakes(settings=[setting])
    assert says in problem


def test_settings_reach_the_arms_too(files):
    loaded = files.load(
        settings=["seed=9"], more='[arms]\na = {}\nb = { "stages.update.replay" = "0%" }\n'
    )
    assert [campaign.seed for campaign in loaded.arms.values()] == [9, 9]
    assert loaded.settings == ("seed=9",)


def test_every_written_value_has_its_origin_and_a_default_has_none(files):
    loaded = files.load(settings=["stages.update.replay=5%", "optimizer.eps=1e-6"])
    origins = loaded.origins
    assert origins["seed"] == f"{loaded.path}:{files.line_of('seed = 1')}"
    german = files.line_of('train = ["german')
    assert origins["data.german.train"] == f"{loaded.path}:{german}"
    assert origins["stages.update.schedule.min_lr"] == f"{loaded.path}:{files.line_of('min_lr')}"
    assert origins["stages.update.replay"] == origins["optimizer.eps"] == "--set"
    assert "optimizer.clip_norm" not in origins


def test_the_defaults_are_the_papers(files):
    campaign = files.load().campaign
    optimizer = campaign.optimizer
    assert (optimizer.betas, optimizer.eps) == ((0.9, 0.95), 1e-8)
    assert (optimizer.weight_decay, optimizer.clip_norm) == (0.1, 1.0)
    assert (campaign.evaluation.final_steps, campaign.evaluation.final_every) == (100, 10)
    for stage in campaign.stages:
        assert stage.optimizer == "reset"
        assert str(stage.schedule.warmup) == "1%"
    assert campaign.stages[0].replay == Replay(share=Fraction(0))
    infinite = Infinite(kind="infinite", max_lr=1.0)
    assert (str(infinite.warmup), str(infinite.cooldown), infinite.alpha) == ("1%", "60%", 10)


def test_replay_has_the_papers_order_and_budget(files):
    replay = files.load().campaign.stages[1].replay
    assert replay == Replay(share=Fraction(1, 10))
    assert (replay.mode, replay.order, replay.start) == (
        "compute-equivalent",
        "as-seen",
        "continue",
    )


@pytest.mark.parametrize("zero", ['"0%"', '"0.0 %"', "0", "0.0", '{ share = "0%" }'])
def test_a_first_stage_may_say_that_it_replays_nothing(files, zero):
    written = files.load(('budget = "200 steps"', f'budget = "200 steps"\nreplay = {zero}'))
    assert written.campaign == files.load().campaign


def test_a_share_alone_is_short_for_a_table(files):
    short = files.load().campaign
    long = files.load(('replay = "10%"', 'replay = { share = "10%" }')).campaign
    assert short == long


def test_the_micro_batch_divides_the_batch_and_has_at_most_16384_tokens(files):
    campaign = files.load(("sequence_length = 8", "sequence_length = 4096")).campaign
    assert campaign.micro_batch_sequences == 2
    assert files.load().campaign.micro_batch_sequences == 10
    written = files.load(("[model]", "[training]\nmicro_batch = 5\n[model]")).campaign
    assert written.micro_batch_sequences == 5


def test_a_batch_in_tokens_is_the_same_batch(files):
    in_tokens = files.load(('"10 sequences"', '"80 tokens"')).campaign
    assert (in_tokens.batch_sequences, in_tokens.batch_tokens) == (10, 80)
    assert in_tokens.batch == Quantity(Fraction(80), "tokens")


def test_without_arms_the_campaign_itself_is_the_only_one(files):
    loaded = files.load()
    assert loaded.arms == {MAIN: loaded.campaign}
    assert loaded.root == files.folder


def test_domains_share_their_dataset_by_weight(files):
    domains = (
        "[data.german]\nvalidation = ['v']\n[data.german.domains.web]\ntrain = ['w']\nweight = 3\n"
        "[data.german.domains.law]\ntrain = ['l']\nweight = 1\n"
    )
    campaign = files.load(
        ('[data.german]\ntrain = ["german.jsonl"]\nvalidation = ["german.valid.jsonl"]\n', domains)
    ).campaign
    shares = {name: share for name, (_, share) in campaign.leaves().items()}
    assert shares == {"english": 1, "german/web": Fraction(3, 4), "german/law": Fraction(1, 4)}


def test_domains_can_be_rows_of_the_dataset(files):
    domains = (
        'domain_column = "meta.set"\ntrain = ["german.jsonl"]\nmax_bad_rows = "0.1%"\n'
        'domains = { web = { weight = 3, rows = "CC" }, law = { weight = 1, rows = ["L", "EU"] } }'
    )
    german = files.load(('train = ["german.jsonl"]', domains)).campaign.data["german"]
    assert {name: domain.rows for name, domain in german.domains.items()} == {
        "web": ["CC"],
        "law": ["L", "EU"],
    }
    assert german.max_bad_rows == Fraction(1, 1000)
    assert [share for _, share in german.leaves("german").values()] == [
        Fraction(3, 4),
        Fraction(1, 4),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        [('replay = "10%"', 'replay = "12.5%"\nat = "50%"')],
        [('validation = ["german.valid.jsonl"]', 'validation = { fraction = "0.5%" }')],
        [('train = ["german.jsonl"]', 'hugging_face = { from = "maker/corpus@main" }')],
        [('train = ["german.jsonl"]', 'train = ["g"]\nmax_bad_rows = "0.1%"')],
        [('train = ["german.jsonl"]', 'train = ["g"]\nmax_bad_rows = 10')],
    ],
)
def test_a_campaign_written_as_json_is_the_same_campaign(files, changes):
    campaign = files.load(*changes).campaign
    dumped = campaign.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert Campaign.model_validate(dumped) == campaign
