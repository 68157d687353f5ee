"""`rewarm suite` from the list to the verdict, on a tier of the tests' own."""

import json

import pytest
from tests.cli.command import rewarm
from tests.tiny import write_tiny

TIER = """
sequence_length = 16
batch = "4 sequences"

[tier]
base = "1536 tokens"
update = "1536 tokens"
max_lr = 3e-3
min_lr = 3e-4
larger_preset = "neox-0.3m"

[model]
preset = "neox-0.1m"

[tokenizer]
train = { on = ["d0"], vocabulary = 300 }

[data.d0]
train = ["old.jsonl"]
validation = ["old.valid.jsonl"]

[data.weak]
train = ["new.jsonl"]
validation = ["new.valid.jsonl"]

[data.strong]
train = ["new.jsonl"]
validation = ["new.valid.jsonl"]

[evaluation]
every = "50%"
sequences = 4
final_steps = 2
final_every = 1
prompts = []

[checkpoints]
every = "50%"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suites")
    write_tiny(folder)
    (folder / "small.toml").write_text(TIER, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def one_thread_in_processes(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def options(place, root=None):
    return (
        *("--tier", place / "small.toml", "--seeds", "1"),
        *("--root", root or place, "--runs", place / "runs", "--prepared", place / "tokens"),
    )


def test_the_list_says_what_each_asks():
    done = rewarm("suite", "list")
    assert done.code == 0
    assert "replay " in done.out
    assert "How much of the old data must an update re-read?" in done.out


def test_with_list_it_prints_commands_that_work(place):
    done = rewarm("suite", "run", "replay", *options(place), "--list")
    assert done.code == 0, done.err
    commands = [line.split() for line in done.out.splitlines() if not line.startswith("#")]
    files = [command[2].rpartition("/")[2] for command in commands]
    assert list(dict.fromkeys(files)) == [
        "base-1.toml",
        "replay-weak-1.toml",
        "replay-strong-1.toml",
    ]
    for file in dict.fromkeys(command[2] for command in commands):
        planned = rewarm("plan", file, "--root", place, "--json")
        assert planned.code == 0
        arms = [command[4] for command in commands if command[2] == file and command[3] == "--arm"]
        assert arms in ([], list(json.loads(planned.out)["arms"]))
        assert bool(arms) == ("base-" not in file)
    assert all(command[:2] == ["rewarm", "train"] for command in commands)
    base, arm = next(c for c in commands if "base" in c[2]), commands[-1]
    for command in (base, arm):
        done = rewarm(*command[1:], "--device", "cpu", "--threads", 1)
        assert done.code == 0, done.err
    found = rewarm("suite", "report", "replay", *options(place)[:4], "--runs", place / "runs")
    assert found.code == 0, found.err
    assert arm[4] in found.out


def test_a_tier_to_be_planned_trains_nothing(tmp_path):
    where = ("--tier", "paper", "--seeds", "1", "--runs", tmp_path, "--root", tmp_path)
    done = rewarm("suite", "run", "same-data", *where)
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[0] for line in lines] == ["run", "base-1", "same-data-no-shift-1", "in"]
    assert "nothing was trained" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["campaigns"]


def test_a_suite_is_run_judged_and_found_finished(place, tmp_path):
    done = rewarm("suite", "run", "same-data", *options(place))
    assert done.code == 0, done.err
    assert "| Re-warming on the same data raises the loss before it falls. |" in done.out
    events = (place / "runs" / "same-data-no-shift-1").glob("stages/pretrain-*/events.jsonl")
    assert "taken over" in next(events).read_text()
    where = ("--tier", place / "small.toml", "--seeds", "1", "--runs", place / "runs")
    again = rewarm("suite", "report", "same-data", *where, "--out", tmp_path)
    assert again.code == 0, again.err
    assert again.out == done.out
    result = json.loads((tmp_path / "same-data.json").read_bytes())
    assert [arm["arm"] for arm in result["arms"]] == ["constant-min", "half", "same", "twice"]
    assert {claim["verdict"] for claim in result["claims"]} == {"undecided"}  # it was one seed
    page = (tmp_path / "same-data.md").read_text()
    assert "(same-data.svg)" in page
    assert page.count("| **undecided** |") == done.out.count("| **undecided** |") == 2
    assert (tmp_path / "same-data.svg").read_text().startswith("<svg")
    overview = (tmp_path / "overview.md").read_text(encoding="utf-8")
    assert " | 2 undecided | same-data |" in overview
    html = (tmp_path / "suites.html").read_bytes()
    assert html == (place / "runs" / "suites.html").read_bytes()
    assert b"Of 2 claims in 1 suite 2 are undecided, over 1 seed at tier small." in html
    alone = rewarm("suite", "page", tmp_path / "same-data.json", "--out", tmp_path / "alone.html")
    assert alone.code == 0, alone.err
    assert (tmp_path / "alone.html").read_bytes() == html


def test_a_run_that_fails_does_not_end_the_others(place, tmp_path):
    done = rewarm("suite", "run", "same-data", *options(place, tmp_path)[:-4], "--runs", tmp_path)
    assert done.code == 1
    assert "failed: base-1, same-data-no-shift-1; the same command goes on" in done.err
    assert not (tmp_path / "suites.html").exists()


def test_without_runs_there_is_nothing_to_report(place, tmp_path):
    done = rewarm("suite", "report", "replay", "--tier", place / "small.toml", "--runs", tmp_path)
    assert "replay: no arm is finished" in done.err


def test_seeds_are_numbers(place):
    done = rewarm("suite", "run", "replay", "--tier", place / "small.toml", "--seeds", "one")
    assert done.code == 2
    assert "--seeds one: give whole numbers" in done.err


def test_a_grid_prints_one_command_for_each_combination(place):
    axes = ("--over", "stages.update.replay=0%,5%", "--over", "seed=1,2")
    done = rewarm("suite", "grid", place / "campaign.toml", *axes, "--list")
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 4
    assert "--set name=tiny-replay-5-seed-2 --set stages.update.replay=5% --set seed=2" in done.out
    wrong = rewarm("suite", "grid", place / "campaign.toml", "--over", "stages.x.replay=1%")
    assert wrong.code == 2
    assert "there is no stage 'x'" in wrong.err
