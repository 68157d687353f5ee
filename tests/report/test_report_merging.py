"""Arms of several runs: which are seeds of one arm, what each is called, and that differences are paired."""

from io import StringIO

import orjson
import pytest
from rich.console import Console
from tests.report.conftest import write_realistic

from rewarm.report.comparing import print_runs, runs_json
from rewarm.report.merging import comparisons, run_names
from rewarm.report.panels import paired
from rewarm.report.tables import read_run
from rewarm.runs.records import ResolvedRecord


def resolved(*settings, arms=None, optimizer=None):
    """Return how a campaign was resolved, with these `--set` values."""
    return ResolvedRecord(
        campaign={"model": {"preset": "neox-0.3m"}, "optimizer": optimizer or {}},
        origins={},
        arms=arms or {},
        settings=list(settings),
        root="/",
        versions={},
        commit=None,
        data={"train": {"english": "aa"}, "validation": {"english": "bb", "python": "cc"}},
        tokenizer="dd",
        machine={},
    )


@pytest.fixture
def write(build, tmp_path):
    """Write a run with a base and an update for each arm, given as replay share and final losses."""

    def written(name, arms, *, seed=1, how=None, steps=10):
        base = build.record("pretrain", key=f"b{seed}")
        stages = [build.finished(base, (9.0, 9.0), (3.0, 5.0))]
        lines = {}
        for arm, (replay, *losses) in arms.items():
            update = build.record(
                "update",
                key=f"{seed}{replay}{losses}",
                parent=base.folder,
                start_step=10,
                steps=steps,
                shares={"python": 1.0},
                replay_share=replay,
            )
            stages.append(build.finished(update, (3.0, 5.0), losses))
            lines[arm] = [base.folder, update.folder]
        return read_run(build.write(tmp_path / name, stages, lines, seed=seed, resolved=how))

    return written


def labels(found):
    return [(arm.label, [seed.seed for seed in arm.seeds]) for arm in found.panel.arms]


def test_arms_of_one_campaign_with_several_seeds_are_one_arm(write):
    runs = [
        write(f"news-{n}", {"0%": (0.0, 4.0 + n / 10, 2.0), "5%": (0.05, 3.2, 2.1)}, seed=n)
        for n in (1, 2, 3)
    ]
    (found,) = comparisons(runs)
    assert labels(found) == [("0%", [1, 2, 3]), ("5%", [1, 2, 3])]
    none, some = found.panel.arms
    assert found.without_replay == {"5%": "0%"}
    assert none.estimate(lambda seed: seed.forgetting).value == pytest.approx(1.2)
    assert none.estimate(lambda seed: seed.adaptation).value == pytest.approx(3.0)
    assert some.estimate(lambda seed: seed.average).value == pytest.approx(2.65)
    gap = paired(none, some, lambda seed: seed.average)
    assert (gap.value, gap.count) == (pytest.approx(0.45), 3)
    assert gap.standard_error == pytest.approx(0.05 / 3**0.5)


def test_the_runs_of_a_sweep_are_called_by_what_was_varied(write):
    sweep = [
        write(
            f"news-replay-{share:g}-seed-{seed}",
            {"main": (share / 100, 4.0 - share / 100 + seed / 10, 2.0)},
            seed=seed,
            how=resolved(f"name=x{share}", f"stages.update.replay={share}%", f"seed={seed}"),
        )
        for share in (0, 5)
        for seed in (1, 2)
    ]
    (found,) = comparisons(sweep)
    assert labels(found) == [("replay=0%", [1, 2]), ("replay=5%", [1, 2])]


def test_an_arm_that_a_sweep_does_not_change_is_there_once(write):
    sweep = [
        write(
            f"news-{share}",
            {"update": (share / 100, 4.0 - share / 100, 2.0), "plain": (0.5, 3.1, 2.5)},
            how=resolved(f"stages.update.replay={share}%", "evaluation.sequences=8"),
        )
        for share in (0, 5)
    ]
    (found,) = comparisons(sweep)
    assert [label for label, _ in labels(found)] == [
        "update, replay=0%",
        "plain",
        "update, replay=5%",
    ]


def test_paths_that_end_alike_are_written_whole(write):
    sweep = [
        write(
            f"n-{replay}-{lr}",
            {"main": (replay / 100, 4.0 + lr, 2.0 + replay)},
            how=resolved(f"a.x={replay}", f"b.x={lr}"),
            steps=10 + lr,
        )
        for replay in (0, 5)
        for lr in (1, 2)
    ]
    (found,) = comparisons(sweep)
    assert labels(found)[1][0] == "a.x=0, b.x=2"


def test_what_was_trained_otherwise_is_no_seed_and_gets_the_name_of_its_runs(write):
    arms = {"0%": (0.0, 4.0, 2.0), "5%": (0.05, 3.0, 2.0)}
    runs = [write(f"long-{n}", {"0%": (0.0, 4.0, 2.0 + n)}, seed=n, steps=20) for n in (1, 2)]
    (found,) = comparisons([*runs, write("short-1", arms, seed=1)])
    assert labels(found) == [("0%, long", [1, 2]), ("0%, short-1", [1]), ("5%", [1])]


@pytest.mark.parametrize(
    "others", [{"optimizer": {"betas": [0.9, 0.99]}}, {"arms": {"main": {"optimizer.eps": "1"}}}]
)
def test_settings_that_decide_weights_tell_arms_apart(write, others):
    runs = [
        write(f"{name}-{seed}", {"main": (0.0, 4.0 + seed, 2.0)}, seed=seed, how=how)
        for name, how in (("one", resolved()), ("two", resolved(**others)))
        for seed in (1, 2)
    ]
    (found,) = comparisons(runs)
    assert [label for label, _ in labels(found)] == ["one = two"]
    differ = [
        write(f"{name}-{seed}x", {"main": (0.0, loss + seed, 2.0)}, seed=seed, how=how)
        for name, loss, how in (("one", 4.0, resolved()), ("two", 4.5, resolved(**others)))
        for seed in (1, 2)
    ]
    assert labels(comparisons(differ)[0]) == [("one", [1, 2]), ("two", [1, 2])]


def test_two_results_of_one_seed_stand_for_themselves(write):
    """The records say that both were trained alike, and the weights say that they were not."""
    runs = [write(name, {"main": (0.0, loss, 2.0)}) for name, loss in (("a", 4.0), ("b", 4.1))]
    assert labels(comparisons(runs)[0]) == [("a", [1]), ("b", [1])]


def test_the_same_models_under_two_names_are_one_arm(write):
    runs = [
        write(name, {arm: (0.25, 3.0, 2.0), "0%": (0.0, 4.0, loss)})
        for name, arm, loss in (("replay", "25%", 2.0), ("final", "replay", 2.0))
    ]
    (found,) = comparisons(runs)
    assert labels(found) == [("25% = replay", [1]), ("0%", [1])]
    assert found.without_replay == {"25% = replay": "0%"}


def test_runs_with_other_validation_text_are_not_set_beside_each_other(write):
    other = resolved().model_copy(update={"data": {"validation": {"english": "zz"}}})
    arms = {"main": (0.0, 4.0, 2.0)}
    runs = [
        write(name, arms, seed=seed, how=how)
        for name, seed, how in (("a", 1, resolved()), ("b", 2, resolved()), ("c", 3, other))
    ]
    found = comparisons(runs)
    assert [labels(each) for each in found] == [[("main", [1, 2])], [("main", [3])]]


def test_unfinished_arms_are_left_out(tmp_path):
    runs = [
        read_run(write_realistic(tmp_path / "a-1", seed=1)),
        read_run(write_realistic(tmp_path / "a-2", seed=2, unfinished=True, shift=0.1)),
    ]
    (found,) = comparisons(runs)
    assert labels(found)[0] == ("no-replay", [1, 2])
    assert labels(found)[-1] == ("union", [1])
    none = found.panel.arms[0]
    assert [seed.union_gap for seed in none.seeds] == [pytest.approx(0.34), None]
    assert none.estimate(lambda seed: seed.union_gap) is None


def test_folders_of_one_name_are_numbered(realistic):
    run = read_run(realistic)
    assert run_names([run, run]) == ["english-to-python", "english-to-python (2)"]
    (found,) = comparisons([run, run])
    assert [seeds for _, seeds in labels(found)] == [[1234]] * 4


def test_runs_are_compared_on_the_terminal(write, tmp_path):
    for n in (1, 2, 3):
        write(f"n-{n}", {"0%": (0.0, 4.0 + n / 10, 2.0), "5%": (0.05, 3.2 + n / 10, 2.1)}, seed=n)
    console = Console(width=100, record=True, file=StringIO())
    paths = [tmp_path / f"n-{n}" for n in (1, 2, 3)]
    print_runs(console, paths)
    text = console.export_text()
    assert "Over seeds 1, 2 and 3 the best average loss is that of 5%" in text
    (row,) = (line.split() for line in text.splitlines() if line.startswith("0% "))
    assert row[:5] == ["0%", "3", "0%", "4.200", "2.000"]
    (found,) = orjson.loads(runs_json(paths))
    assert found["verdict"] in text
    assert found["means"][0]["loss english"] == "4.200 ± 0.058\n3.952 to 4.448"
    assert [seed["seed"] for seed in found["seeds"]] == ["1", "2", "3"] * 2


def test_names_of_arms_cannot_steer_the_terminal(write, tmp_path):
    write("n", {"[red]x\x1b[2J": (0.0, 4.0, 2.0), "b": (0.05, 3.2, 2.1)})
    console = Console(width=100, record=True, file=StringIO())
    print_runs(console, [tmp_path / "n"])
    text = console.export_text()
    assert "[red]x\ufffd[2J" in text
    assert "\x1b" not in text
