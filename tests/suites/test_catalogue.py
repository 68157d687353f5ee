"""Every suite is a set of campaigns that can be planned at every tier, and its claims ask for their arms."""

import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from rewarm.campaign import load_campaign
from rewarm.errors import CampaignError
from rewarm.plan import make_plan
from rewarm.suites import catalogue
from rewarm.suites.catalogue import find_suite, suite_names
from rewarm.suites.costs import run_costs
from rewarm.suites.runs import Place, base_runs, suite_runs
from rewarm.suites.tier import TIERS, read_tier


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suites")
    return Place(runs=folder / "runs", prepared=folder / "prepared", root=folder)


def planned(run, place):
    run.write(place)
    return make_plan(load_campaign(run.file(place), root=place.root))


def test_the_suites_of_the_specification_are_there():
    assert set(suite_names()) >= {
        "domains",
        "final",
        "infinite",
        "infinite-under-shift",
        "length",
        "replay",
        "rewarming",
        "same-data",
        "scale",
        "updates",
        "warmup",
    }


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", suite_names())
def test_every_campaign_can_be_planned(name, tier, place):
    suite = find_suite(name)
    assert suite.name == name
    for run in suite_runs(suite, read_tier(tier), [1]):
        plan = planned(run, place)
        assert list(plan.arms) == list(run.campaign["arms"])


def stand_in(number):
    """Return what a claim may ask of an outcome; every answer is a number."""
    return SimpleNamespace(
        stages=dict.fromkeys(("pretrain", "weak", "strong")),
        read=lambda _: Counter(d0=3 + number),
        replayed=lambda _: Counter(d0=2, weak=1),
        final=lambda *_, **__: 3.0 + number,
        average=lambda *_: 3.0 + number,
        forgetting=lambda *_: 0.1 + number,
        rise=lambda *_, **__: 0.1 + number,
    )


@pytest.mark.parametrize("name", suite_names())
def test_claims_speak_of_arms_that_there_are(name):
    suite = find_suite(name)
    arms = {
        f"{setting}/{arm}": stand_in(number)
        for setting, made in suite.settings(read_tier("micro")).items()
        for number, arm in enumerate(made.arms)
    }
    labels = []
    for claim in suite.claims:
        for difference in claim.differences:
            assert isinstance(difference.value(arms), float)
            assert difference.at_least > float("-inf") or difference.at_most < float("inf")
            labels.append((claim.text, difference.label))
    assert labels
    assert len(set(labels)) == len(labels)


def test_a_suite_is_one_file(tmp_path, monkeypatch, place):
    (tmp_path / "batch_size.py").write_text(
        "from rewarm.suites.stages import base\n"
        "from rewarm.suites.suite import Setting, Suite\n"
        "def settings(tier):\n"
        '    arms = {n: {"batch": f"{n} sequences"} for n in ("8", "16")}\n'
        '    return {"d0": Setting(datasets=["d0"], stages=[base(tier)], arms=arms)}\n'
        'SUITE = Suite(name="batch-size", question="?", source="", settings=settings, claims=[])\n'
    )
    monkeypatch.setattr(catalogue, "__path__", [*catalogue.__path__, str(tmp_path)])
    assert "batch-size" in suite_names()
    (run,) = suite_runs(find_suite("batch-size"), read_tier("micro"), [1])
    assert list(planned(run, place).arms) == ["8", "16"]
    del sys.modules[f"{catalogue.__name__}.batch_size"]


def test_the_pre_training_is_the_same_stage_in_every_suite(place):
    tier = read_tier("micro")
    (base,) = base_runs(tier, [1])
    key = planned(base, place).stages[0].key
    for name in ("replay", "rewarming", "warmup", "final", "same-data", "length"):
        for run in suite_runs(find_suite(name), tier, [1]):
            assert planned(run, place).stages[0].key == key, run.name


def test_seeds_are_different_stages(place):
    first, second = base_runs(read_tier("micro"), [1, 2])
    assert planned(first, place).stages[0].key != planned(second, place).stages[0].key


def test_an_update_has_the_budget_of_its_dataset(place):
    """The paper's German has 194.45B tokens (Table 1), all else 299.28B."""
    tier = read_tier("paper")
    of_suite = {
        run.setting: planned(run, place) for run in suite_runs(find_suite("replay"), tier, [1])
    }
    tokens = {shift: plan.stages[-1].tokens for shift, plan in of_suite.items()}
    batch = of_suite["weak"].stages[0].batch_tokens
    wanted = {"weak": 299_280_000_000, "strong": 194_450_000_000}
    assert tokens == {shift: amount // batch * batch for shift, amount in wanted.items()}
    assert tier.update_tokens("weak", "strong") == wanted["strong"]


def test_a_dataset_without_a_budget_is_named(tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[tier]\nbase = "1K tokens"\nupdate = { weak = "1K tokens" }\nmax_lr = 1e-3\nmin_lr = 1e-4\n'
        'larger_preset = "neox-0.3m"\n[data.d0]\n'
    )
    with pytest.raises(CampaignError, match=r"no budget for 'd0', .* it has weak"):
        suite_runs(find_suite("same-data"), read_tier(str(tmp_path / "mine.toml")), [1])


def test_what_runs_share_is_counted_once_in_all(place):
    tier = read_tier("micro")
    runs = [*base_runs(tier, [1]), *suite_runs(find_suite("same-data"), tier, [1])]
    for run in runs:
        run.write(place)
    base, same_data, together = run_costs(runs, place)
    assert (base.stages, same_data.stages, together.stages) == (1, 5, 5)
    assert (
        together.tokens
        == same_data.tokens
        == base.tokens + 4 * (tier.update_tokens("d0") // 4096 * 4096)
    )
    assert together.flops == same_data.flops > base.flops > 0


def test_a_tier_of_ones_own_is_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text(
        '[tier]\nbase = "1K tokens"\nupdate = "1K tokens"\nmax_lr = 1e-3\nmin_lr = 1e-4\n'
        'larger_preset = "neox-0.3m"\n[data.d0]\n'
    )
    tier = read_tier(str(tmp_path / "mine.toml"))
    assert (tier.name, tier.update_tokens("d0")) == ("mine", 1000)
    with pytest.raises(CampaignError, match="no dataset weak, strong"):
        suite_runs(find_suite("domains"), tier, [1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"\[tier\] is missing or wrong"),
        ("x = ", "not valid TOML"),
        ('[tier]\nbase = "much"\n', "base"),
    ],
)
def test_a_mistake_in_a_tier_is_said(tmp_path, text, message):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(CampaignError, match=message):
        read_tier(str(tmp_path / "mine.toml"))


def test_unknown_names_are_said_with_those_there_are():
    with pytest.raises(CampaignError, match="there are domains, final"):
        find_suite("replays")
    with pytest.raises(CampaignError, match="there are micro, mini, paper"):
        read_tier("huge")
