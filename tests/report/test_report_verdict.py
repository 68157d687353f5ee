"""The verdict in situations as expected and not."""

import pytest

from rewarm.report.tables import read_run, verdict
from rewarm.runs.records import ResolvedRecord


def _write(build, path, arms, *, union=None, seed=1234, resolved=None, union_steps=20):
    """Arms as name: (replay share, final losses[, peak]); None for an unfinished arm's losses."""
    base = build.record("pretrain", key="b0")
    stages = [build.finished(base, (9.0, 9.5), (2.0, 4.0))]
    lists = {}
    for place, (name, (share, final, *peak)) in enumerate(arms.items()):
        record = build.record(
            "update",
            key=f"k{place}",
            parent=base.folder,
            start_step=10,
            shares={"python": 1.0},
            replay_share=share,
            max_lr=peak[0] if peak else 3e-4,
        )
        finished = final is not None
        stages.append(
            build.finished(record, (2.0, 4.0), final) if finished else build.begun(record)
        )
        lists[name] = [base.folder, record.folder]
    if union is not None:
        record = build.record(
            "union", key="u0", steps=union_steps, shares={"english": 0.5, "python": 0.5}
        )
        stages.append(build.finished(record, (9.0, 9.5), union))
        lists["union"] = [record.folder]
    return verdict(read_run(build.write(path, stages, lists, seed=seed, resolved=resolved)))


def test_the_papers_case(build, tmp_path):
    text = _write(
        build,
        tmp_path,
        {"plain": (0.0, (3.0, 1.5)), "replay": (0.25, (2.25, 1.75))},
        union=(2.1, 1.8),
    )
    assert text == (
        "The best average loss is that of union, 1.950. "
        "The best update, replay, ends 0.050 above union, which is retraining on everything, "
        "with 50% fewer tokens, given the checkpoint it starts from. "
        "Replay of 25% (replay, against plain) removed 75% of the forgetting on english: "
        "+1.000 became +0.250; adaptation changed by -0.250. "
        "One seed (1234): small differences may be chance."
    )


def test_one_arm_is_described_alone(build, tmp_path):
    text = _write(build, tmp_path, {"plain": (0.0, (3.0, 1.5))}, seed=7)
    assert text == (
        "The average loss of plain is 2.250; forgetting +1.000 on english; adaptation +2.500 on "
        "python. One seed (7): small differences may be chance."
    )


def test_without_a_union_the_second_best_is_named(build, tmp_path):
    text = _write(build, tmp_path, {"plain": (0.0, (3.0, 1.5)), "replay": (0.25, (2.25, 1.75))})
    assert text.startswith(
        "The best average loss is that of replay, 2.000; plain follows, 0.250 above."
    )
    assert "union" not in text


def test_replay_that_does_not_help_is_said_to_be_unexpected(build, tmp_path):
    text = _write(build, tmp_path, {"plain": (0.0, (2.5, 1.5)), "replay": (0.25, (2.6, 1.6))})
    assert "Contrary to expectation, replay of 25% (replay, against plain) did not reduce" in text
    assert "+0.600 with it, +0.500 without" in text
    assert "against expectation, the average is 0.100 worse with replay" in text
    assert "removed" not in text


def test_replay_that_costs_more_than_it_saves_is_said_so(build, tmp_path):
    text = _write(build, tmp_path, {"plain": (0.0, (2.5, 1.5)), "replay": (0.5, (2.4, 2.0))})
    assert "removed 20% of the forgetting" in text
    assert "against expectation, the average is 0.200 worse with replay" in text


def test_nothing_forgotten_leaves_nothing_to_remove(build, tmp_path):
    text = _write(build, tmp_path, {"plain": (0.0, (1.9, 1.5)), "replay": (0.25, (1.8, 1.5))})
    assert "There was no forgetting to remove on english: -0.100 without replay, -0.200" in text


def test_replay_that_undoes_more_than_was_forgotten_removes_all_of_it(build, tmp_path):
    text = _write(build, tmp_path, {"plain": (0.0, (2.5, 1.5)), "replay": (0.5, (1.9, 1.6))})
    assert "removed all of the forgetting on english: +0.500 became -0.100" in text


@pytest.mark.parametrize(
    ("union", "expected"),
    [
        ((2.0, 1.75), "ends 0.125 above union"),
        ((2.5, 1.5), "matches union"),
        ((2.5, 2.0), "Better than expected, the update plain ends 0.250 below union"),
    ],
)
def test_distance_to_the_union_in_all_three_ways(build, tmp_path, union, expected):
    assert expected in _write(build, tmp_path, {"plain": (0.0, (2.5, 1.5))}, union=union)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (20, "with 50% fewer tokens, given the checkpoint"),
        (10, "with as many tokens, so that nothing is saved"),
        (8, "with 25% more tokens, so that nothing is saved"),
    ],
)
def test_the_cost_against_the_union_in_all_three_ways(build, tmp_path, steps, expected):
    text = _write(
        build, tmp_path, {"plain": (0.0, (2.5, 1.5))}, union=(2.0, 1.5), union_steps=steps
    )
    assert expected in text


def test_equal_averages_are_shared(build, tmp_path):
    text = _write(build, tmp_path, {"a": (0.0, (2.5, 1.5)), "b": (0.0, (2.0, 2.0))})
    assert "The best average loss, 2.000, is shared by a and b." in text


def test_a_difference_in_the_schedule_is_not_put_down_to_replay_alone(build, tmp_path):
    same = {"plain": (0.0, (3.0, 1.5)), "replay": (0.25, (2.25, 1.75))}
    other = same | {"replay": (0.25, (2.25, 1.75), 1e-4)}
    assert "schedules differ" not in _write(build, tmp_path / "a", same)
    assert "Their schedules differ too." in _write(build, tmp_path / "b", other)


def test_an_annealed_branch_is_not_compared_as_if_it_had_replay_alone(build, tmp_path):
    base = build.record("pretrain", key="b0")
    shares = {"python": 1.0}
    plain, trunk = (
        build.record(
            "update", key=key, parent=base.folder, start_step=10, shares=shares, replay_share=share
        )
        for key, share in (("p0", 0.0), ("r0", 0.25))
    )
    branch = build.record(
        "annealed",
        key="a0",
        parent=trunk.folder,
        start_step=8,
        steps=2,
        shares=shares,
        replay_share=0.25,
    )
    stages = [
        build.finished(base, (9.0, 9.5), (2.0, 4.0)),
        build.finished(plain, (2.0, 4.0), (3.0, 1.5)),
        build.finished(trunk, (2.0, 4.0), (2.6, 1.7)),
        build.finished(branch, (2.5, 2.0), (2.2, 1.6)),
    ]
    arms = {
        "plain": [base.folder, plain.folder],
        "replay/annealed": [base.folder, trunk.folder, branch.folder],
    }
    text = verdict(read_run(build.write(tmp_path, stages, arms)))
    assert "Their schedules differ too." in text


def test_the_arm_that_differs_in_replay_alone_is_the_one_compared_with(build, tmp_path):
    arms = {
        "low-peak": (0.0, (2.4, 1.9), 1e-4),
        "plain": (0.0, (3.0, 1.5)),
        "replay": (0.25, (2.25, 1.75)),
    }
    assert "(replay, against plain)" in _write(build, tmp_path, arms)


def test_unfinished_arms_are_named(build, tmp_path):
    text = _write(build, tmp_path, {"plain": (0.0, (3.0, 1.5)), "replay": (0.25, None)})
    assert text.endswith("Not finished: replay.")


def test_nothing_finished(build, tmp_path):
    text = _write(build, tmp_path, {"plain": (0.0, None)})
    assert text == "No arm is finished yet: 1 of 2 stages are done."


def test_no_average_is_said(build, tmp_path):
    base = build.record("pretrain", key="b0")
    result = build.result(base, before={"english": 9.0}, final={"english": 2.0})
    stage = type(build.begun(base))(record=base, result=result)
    text = verdict(read_run(build.write(tmp_path, [stage], {"only": [base.folder]})))
    assert text.startswith("No finished arm has a final loss on every dataset")


def test_arms_that_are_seeds_are_one_seed_each(build, tmp_path):
    resolved = ResolvedRecord(
        campaign={},
        origins={},
        arms={"a": {"seed": "1"}, "b": {"seed": "2"}},
        settings=[],
        root=".",
        versions={},
        commit=None,
        data={},
        tokenizer="",
        machine={},
    )
    text = _write(
        build,
        tmp_path,
        {"a": (0.0, (2.5, 1.5)), "b": (0.0, (2.0, 1.5))},
        resolved=resolved,
    )
    assert "One seed for each arm: small differences may be chance." in text
