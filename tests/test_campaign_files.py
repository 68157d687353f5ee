"""Every campaign file that ships loads and plans, and the paper's settings come out exactly as printed.

Numbers are those of arXiv 2403.08763 (v3) unless a test names another source.
"""

import difflib
import io
import json
import re
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from rewarm.campaign import load_campaign
from rewarm.campaign.starters import STARTERS, starter_text
from rewarm.errors import CampaignError
from rewarm.plan import Plan, StagePlan, make_plan
from rewarm.plan.cost import cost, saving
from rewarm.plan.drawing import distinct_lines, draw_learning_rate, write_picture
from rewarm.plan.epochs import declared_tokens, epochs_of, in_tokens
from rewarm.plan.text import print_plan
from rewarm.replay import composition, reservoir_shares

ROOT = Path(__file__).parent.parent
CAMPAIGNS = sorted((ROOT / "campaigns").glob("*.toml"))
PAPER = [file for file in CAMPAIGNS if file.stem.startswith("paper-")]
STARTER_FILES = sorted((ROOT / "src/rewarm/campaign/starters").glob("*.toml"))

BATCH_TOKENS = 1104 * 2048
PILE = SLIMPAJAMA = 132_366
GERMAN = 86_000
SPLIT = 44_229
TWO_THIRDS = 88_457
"""Steps (section 5.2, and the authors' configuration files)."""

# Table 1, percent of every batch.
DOMAINS = {
    "wikipedia": "4.00",
    "book": "4.20",
    "c4": "26.69",
    "stack-exchange": "3.37",
    "github": "5.22",
    "common-crawl": "52.09",
    "arxiv": "4.43",
}
# A.1, from the largest to the smallest.
DOMAIN_STEPS = {
    "common-crawl": 68_946,
    "c4": 35_326,
    "github": 6_914,
    "arxiv": 5_861,
    "book": 5_563,
    "wikipedia": 5_291,
    "stack-exchange": 4_462,
}
PARAMETERS = {"405m": 405_334_016, "9.6b": 9_642_249_216}


def ids(files: list[Path]) -> list[str]:
    return [file.stem for file in files]


@pytest.fixture(scope="session")
def base_model(tmp_path_factory):
    """A folder that holds `base-model`: a config.json and the header of its weights."""
    folder = tmp_path_factory.mktemp("root")
    model = folder / "base-model"
    model.mkdir()
    config = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 16,
    }
    (model / "config.json").write_text(json.dumps(config))
    embedding = {"dtype": "F32", "shape": [16, 8], "data_offsets": [0, 0]}
    header = json.dumps({"embed": embedding}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


@pytest.fixture(scope="session")
def plans(base_model):
    """The plan of each shipped file, by its stem; made when first asked for."""
    made: dict[str, Plan] = {}

    def plan(stem: str) -> Plan:
        if stem not in made:
            (file,) = [f for f in [*CAMPAIGNS, *STARTER_FILES] if f.stem == stem]
            made[stem] = make_plan(load_campaign(file, root=base_model))
        return made[stem]

    return plan


def last(plan: Plan, arm: str) -> StagePlan:
    return plan.arms[arm][-1]


def rates(stage: StagePlan, *steps: int) -> list[float]:
    return [stage.schedule(step) for step in steps]


def replayed(stage: StagePlan) -> int:
    return sum(count.replayed for count in stage.counts().values())


@pytest.mark.parametrize(
    "file", [*CAMPAIGNS, *STARTER_FILES], ids=ids([*CAMPAIGNS, *STARTER_FILES])
)
def test_it_can_be_planned_printed_and_drawn(file, plans, tmp_path):
    plan = plans(file.stem)
    console = Console(file=io.StringIO(), width=140)
    print_plan(console, plan, cost(plan, 1e5, 2.0), {}, [])
    text = console.file.getvalue()
    assert all(stage.folder in text for stage in plan.stages)
    for arms, line in distinct_lines(plan).items():
        drawn = draw_learning_rate(arms, line, 100).plain
        # Braille, which plotext draws curves with.
        assert re.search(r"[\u2801-\u28ff]", drawn)
    write_picture(plan, tmp_path / "plan.svg")
    assert (tmp_path / "plan.svg").read_text().count("<path") >= len(distinct_lines(plan))


def test_the_starters_are_those_that_init_offers():
    assert {file.stem for file in STARTER_FILES} == set(STARTERS)
    for name in STARTERS:
        assert starter_text(name).endswith("\n")
    with pytest.raises(CampaignError, match="there is no starter 'x'; there are: scratch: "):
        starter_text("x")


def test_the_table_of_the_campaigns_has_every_file():
    table = (ROOT / "campaigns/README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(.*\.toml)`", table, re.MULTILINE)) == {f.name for f in PAPER}


@pytest.mark.parametrize("file", PAPER, ids=ids(PAPER))
def test_it_is_named_for_its_file_and_says_what_the_paper_found(file):
    text = file.read_text(encoding="utf-8")
    head = text.split("\nname = ")[0]
    assert re.search(r"(Figs?\. \d|A\.[13])", head)
    assert "arXiv 2403.08763" in head
    assert load_campaign(file).campaign.name == file.stem
    assert all(len(line) <= 112 for line in text.splitlines())


@pytest.mark.parametrize("file", PAPER, ids=ids(PAPER))
def test_it_has_the_papers_model_batch_and_optimizer(file, plans):
    """Table 13 and the authors' configuration files."""
    plan = plans(file.stem)
    campaign, size = plan.campaign, file.stem.rsplit("-", 1)[1]
    assert plan.size.parameters == PARAMETERS[size]
    assert campaign.batch_tokens == BATCH_TOKENS == 2_260_992
    assert campaign.sequence_length == 2048
    optimizer = campaign.optimizer
    assert (optimizer.betas, optimizer.eps) == ((0.9, 0.95), 1e-8)
    assert (optimizer.weight_decay, optimizer.clip_norm) == (0.1, 1.0)
    assert str(campaign.evaluation.every) == "100 steps"
    assert (campaign.evaluation.final_steps, campaign.evaluation.final_every) == (100, 10)
    assert str(campaign.checkpoints.every) == {"405m": "400 steps", "9.6b": "100 steps"}[size]
    if size == "405m":
        assert round(plan.size.flops_per_token(2048) / 1e9, 2) == 2.73


@pytest.mark.parametrize("file", PAPER, ids=ids(PAPER))
def test_no_dataset_is_read_twice_but_the_same_one(file, plans):
    """The declared tokens are enough for one pass; Pile → Pile reads 599B of 330B."""
    plan = plans(file.stem)
    sizes = in_tokens(declared_tokens(plan.campaign))
    for stage in plan.stages:
        for source, epochs in epochs_of(stage, sizes).items():
            if (file.stem, source) != ("paper-same-data-405m", "pile"):
                assert epochs.times <= 1
    if file.stem == "paper-same-data-405m":
        assert max(epochs_of(stage, sizes)["pile"].times for stage in plan.stages) > 1


WITH_DOMAINS = [
    file for file in PAPER if "[data.slimpajama.domains." in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("file", WITH_DOMAINS, ids=ids(WITH_DOMAINS))
def test_every_slimpajama_domain_has_its_share(file, plans):
    plan = plans(file.stem)
    leaves = plan.campaign.data["slimpajama"].leaves("slimpajama")
    shares = {f"slimpajama/{name}": Fraction(percent) / 100 for name, percent in DOMAINS.items()}
    assert {name: share for name, (_, share) in leaves.items()} == shares
    assert sum(shares.values()) == 1


def test_the_papers_token_counts():
    """299.28B, 194.45B, 100.0B and 200.0B tokens (sections 5.1 and 5.2, A.3)."""
    for steps, billions in ((PILE, 299.28), (GERMAN, 194.45), (SPLIT, 100.0), (TWO_THIRDS, 200.0)):
        assert steps * BATCH_TOKENS / 1e9 == pytest.approx(billions, abs=0.005)


REPLAY = {
    "paper-pile-slimpajama-405m": (SLIMPAJAMA, ["0", "0.5", "1", "5", "10", "50"], 3e-4, 3e-5),
    "paper-pile-slimpajama-9.6b": (SLIMPAJAMA, ["0", "5"], 1.2e-4, 1.2e-5),
    "paper-pile-german-405m": (GERMAN, ["0", "1", "5", "10", "25", "50"], 3e-4, 3e-5),
}


@pytest.mark.parametrize("stem", REPLAY)
def test_replay_has_the_shares_of_figure_4(stem, plans):
    """Compute-equivalent: as many steps, and the share to half a sequence of the whole stage."""
    steps, percents, max_lr, min_lr = REPLAY[stem]
    plan = plans(stem)
    assert list(plan.arms) == [*(f"replay-{percent}" for percent in percents), "scratch", "union"]
    for percent in percents:
        pretrain, update = plan.arms[f"replay-{percent}"]
        assert (pretrain.steps, update.steps) == (PILE, steps)
        exact = Fraction(percent) / 100 * steps * 1104
        assert abs(replayed(update) - exact) <= Fraction(1, 2)
        assert sum(count.total for count in update.counts().values()) == steps * 1104
        for stage in (pretrain, update):
            warmup = stage.steps // 100
            assert rates(stage, warmup, stage.steps) == [max_lr, min_lr]
    assert len({plan.arms[arm][0].key for arm in plan.arms if arm.startswith("replay")}) == 1


@pytest.mark.parametrize(
    ("stem", "union_steps", "saved"),
    [
        ("paper-pile-slimpajama-405m", 264_732, 0.50),
        ("paper-pile-slimpajama-9.6b", 264_732, 0.50),
        ("paper-pile-german-405m", PILE + GERMAN, 0.60),
    ],
)
def test_the_baselines_and_what_is_saved_against_them(stem, union_steps, saved, plans):
    """Fig. 1: 50 % with the weak shift, 60 % with the strong one (of round budgets)."""
    steps = REPLAY[stem][0]
    plan = plans(stem)
    (union,), (scratch,) = plan.arms["union"], plan.arms["scratch"]
    assert union.steps == union_steps
    assert union.shares["pile"] == Fraction(PILE, union_steps)
    assert (scratch.steps, replayed(scratch), list(scratch.shares)) == (
        steps,
        0,
        [name for name in plan.campaign.data if name != "pile"],
    )
    share = saving(last(plan, "replay-5").lineage).share
    assert share == pytest.approx(saved, abs=0.007)


def test_domains_of_the_union_and_of_the_update_keep_their_shares(plans):
    """To two sequences of 146 million (the mixture's bound)."""
    plan = plans("paper-pile-slimpajama-405m")
    for arm, sequences in (("replay-0", PILE * 1104), ("union", PILE * 1104)):
        counts = last(plan, arm).counts()
        for name, percent in DOMAINS.items():
            read = counts[f"slimpajama/{name}"].new
            assert abs(read - Fraction(percent) / 100 * sequences) <= 2


@pytest.mark.parametrize(
    ("stem", "steps"), [("paper-warmup-405m", SLIMPAJAMA), ("paper-warmup-german-405m", GERMAN)]
)
def test_warmups_of_figure_2(stem, steps, plans):
    plan = plans(stem)
    assert list(plan.arms) == ["warmup-0", "warmup-0.5", "warmup-1", "warmup-2"]
    for arm in plan.arms:
        percent = Fraction(arm.removeprefix("warmup-"))
        update = last(plan, arm)
        warmup = int(percent * steps / 100)
        assert (update.steps, replayed(update)) == (steps, 0)
        assert update.schedule(max(warmup, 1)) == pytest.approx(3e-4, rel=1e-6)
        assert update.schedule(steps) == 3e-5
        if warmup:
            assert update.schedule(warmup // 2) == pytest.approx(3e-4 * (warmup // 2) / warmup)


@pytest.mark.parametrize(
    ("stem", "steps"),
    [
        ("paper-rewarming-405m", SLIMPAJAMA),
        ("paper-rewarming-german-405m", GERMAN),
        ("paper-same-data-405m", PILE),
    ],
)
def test_peaks_of_figures_3_and_7(stem, steps, plans):
    """Half, once and twice 3e-4, each down to a tenth; constant at 3e-5, and at 3e-4 after a warmup."""
    plan = plans(stem)
    warmup = steps // 100
    peaks = {"rewarm-half": 1.5e-4, "rewarm-same": 3e-4, "rewarm-twice": 6e-4}
    for arm, peak in peaks.items():
        update = last(plan, arm)
        assert (update.steps, replayed(update)) == (steps, 0)
        assert update.schedule(warmup) == peak
        assert update.schedule(steps) == pytest.approx(peak / 10)
    assert rates(last(plan, "constant-min-lr"), 1, warmup, steps) == [3e-5] * 3
    others = set(plan.arms) - set(peaks) - {"constant-min-lr"}
    if stem == "paper-same-data-405m":
        assert not others
        assert set(last(plan, "rewarm-same").counts()) == {"pile"}
        return
    assert others == {"constant-max-lr", "union"}
    constant = last(plan, "constant-max-lr")
    assert rates(constant, warmup, steps) == [3e-4, 3e-4]
    assert constant.schedule(1) == pytest.approx(3e-4 / warmup)
    assert last(plan, "union").steps == PILE + steps


def test_the_infinite_schedules_of_figure_8(plans):
    """Table 14: 1, 60 and 25 %, the rest annealing; 3e-4, 1.65e-4, 3e-5; alpha 10."""
    plan = plans("paper-infinite-405m")
    assert list(plan.arms) == ["cosine", "infinite-cosine", "infinite-inverse-sqrt"]
    for arm in plan.arms:
        (stage,) = plan.arms[arm]
        assert (stage.parent, stage.steps, list(stage.shares)) == (None, SLIMPAJAMA, ["slimpajama"])
        assert rates(stage, 1_323, SLIMPAJAMA) == [3e-4, 3e-5]
    for arm, shape in (("infinite-cosine", "cosine"), ("infinite-inverse-sqrt", "inverse-sqrt")):
        stage = last(plan, arm)
        phases = [(phase.name, phase.last_step) for phase in stage.schedule.phases()]
        constant = 1_323 + 79_419
        assert phases == [
            ("linear", 1_323),
            (shape, constant),
            ("constant", constant + 33_091),
            ("exponential", SLIMPAJAMA),
        ]
        assert rates(stage, constant, constant + 33_091) == [1.65e-4, 1.65e-4]
        # The fall starts at about 258B of 300B tokens (Fig. 8b, read by eye).
        start = (constant + 33_091) * BATCH_TOKENS / 1e9
        assert start == pytest.approx(258, abs=2)


def test_trunk_and_branches_of_figure_9(plans):
    """The trunk stays at 1.65e-4 over all splits; each branch anneals the last 14 % of its split."""
    plan = plans("paper-three-splits-405m")
    assert list(plan.arms) == ["infinite-cosine", "infinite-inverse-sqrt"]
    for stages in plan.arms.values():
        named = {stage.name: stage for stage in stages}
        first = named["split-1"]
        assert first.schedule(442) == 3e-4
        assert rates(first, 442 + 26_537, SPLIT) == [1.65e-4, 1.65e-4]
        for number in (1, 2, 3):
            split, release = named[f"split-{number}"], named[f"release-{number}"]
            assert split.steps == SPLIT
            assert split.parent == (named[f"split-{number - 1}"] if number > 1 else None)
            assert (release.parent, release.start_step) == (split, 38_036)
            assert release.start_step + release.steps == SPLIT
            assert release.steps / SPLIT == pytest.approx(0.14, abs=1e-4)
            assert (split.stage.optimizer, release.stage.optimizer) == ("reset", "keep")
            assert rates(release, 0, release.steps) == [1.65e-4, 3e-5]
            for position in (0, 1, 10**6, 6_193 * 1104 - 1):
                same = split.stream.at(38_036 * 1104 + position)
                assert release.stream.at(position) == same
        for number in (2, 3):
            assert rates(named[f"split-{number}"], 1, SPLIT) == [1.65e-4, 1.65e-4]


def test_the_three_splits_have_nothing_in_common(plans):
    """Each goes on in every domain where the split before it stopped."""
    for stem in ("paper-three-splits-405m", "paper-three-splits-cosine-405m"):
        plan = plans(stem)
        splits = [s for s in next(iter(plan.arms.values())) if s.name.startswith("split")]
        for before, after in pairwise(splits):
            read = {source: count.new for source, count in before.ledger().items()}
            assert dict(after.stream.new.starts) == read


def test_the_repeated_cosine_of_figure_9(plans):
    plan = plans("paper-three-splits-cosine-405m")
    assert [stage.steps for stage in plan.stages] == [SPLIT] * 3
    for stage in plan.stages:
        assert rates(stage, 442, SPLIT) == [3e-4, 3e-5]
        assert stage.stage.optimizer == "reset"


def test_the_first_splits_of_figure_9_are_one_pass_of_a_third(plans):
    """86B of 100B tokens is where the fall starts (Fig. 9b, read by eye)."""
    release = plans("paper-three-splits-405m").stages[1]
    assert release.start_step * BATCH_TOKENS / 1e9 == pytest.approx(86, abs=0.1)


def test_domains_one_after_the_other(plans):
    """A.1: the replay of each stage has the composition of Eq. 5, and takes 5 % of it."""
    plan = plans("paper-domains-405m")
    named = {stage.name: stage for stage in plan.stages}
    line = named["stack-exchange"].lineage
    assert {stage.name: stage.steps for stage in line} == {"pretrain": PILE} | DOMAIN_STEPS
    for number, stage in enumerate(line[1:], start=1):
        exact = Fraction(5, 100) * stage.steps * 1104
        assert abs(replayed(stage) - exact) <= Fraction(1, 2)
        assert stage.schedule(stage.steps // 100) == 3e-4
        assert stage.schedule(stage.steps) == 3e-5
        sizes = [before.steps for before in line[:number]]
        found = stage.stream.replay.mixture.shares
        for before, share in zip(line, reservoir_shares(sizes, Fraction(1, 20)), strict=False):
            assert float(found[before.name]) == pytest.approx(float(share), abs=1e-6)
    seen = composition(line[-1].ledger())
    assert float(sum(seen.values())) == 1.0
    datasets = ["pile", *DOMAIN_STEPS]
    final = reservoir_shares([stage.steps for stage in line], Fraction(1, 20))
    for dataset, share in zip(datasets, final, strict=True):
        assert float(seen[dataset]) == pytest.approx(float(share), abs=1e-6)


def test_domains_mixed_are_those_of_slimpajama(plans):
    plan = plans("paper-domains-405m")
    (mixed,) = [stage for stage in plan.stages if stage.name == "mixed"]
    assert mixed.parent == plan.stages[0]
    assert mixed.shares == {name: Fraction(percent) / 100 for name, percent in DOMAINS.items()}
    assert mixed.steps == SLIMPAJAMA
    assert sum(DOMAIN_STEPS.values()) == pytest.approx(SLIMPAJAMA, abs=3)


def test_lengths_of_appendix_a3(plans):
    plan = plans("paper-length-405m")
    lengths = {"100b": SPLIT, "200b": TWO_THIRDS, "300b": SLIMPAJAMA}
    assert list(plan.arms) == [f"{n}{r}" for n in lengths for r in ("", "-replay-5")]
    for name, steps in lengths.items():
        without, with_replay = last(plan, name), last(plan, f"{name}-replay-5")
        assert without.steps == with_replay.steps == steps
        assert replayed(without) == 0
        assert abs(replayed(with_replay) - Fraction(steps * 1104, 20)) <= Fraction(1, 2)
        assert rates(without, steps // 100, steps) == [3e-4, 3e-5]


def test_files_differ_only_where_the_experiment_does():
    """Weak and strong shift: the same files but for the data, the steps and what was found."""
    one, other = (
        (ROOT / f"campaigns/paper-warmup-{part}405m.toml").read_text(encoding="utf-8").splitlines()
        for part in ("", "german-")
    )
    changed = [
        line[2:]
        for line in difflib.ndiff(one, other)
        if line[:2] in ("- ", "+ ") and line[2:].strip() and not line[2:].startswith("#")
    ]
    allowed = (
        "name =",
        "[data.",
        "train =",
        "validation =",
        "weight =",
        "tokens =",
        "data =",
        "budget =",
    )
    prompts = ("prompts", "    ", "]")
    assert [line for line in changed if not line.startswith((*allowed, *prompts))] == []
