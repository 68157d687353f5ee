"""The numbers of the arms, against sums done by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarm.report.arms import pareto_front
from rewarm.report.lineage import line, tokens_before
from rewarm.report.tables import arm_rows, read_run, unfinished_arms
from rewarm.runs.records import EvalRecord, ResolvedRecord

STEP_TOKENS = 8 * 16
STEP_FLOPS = 6e6 * STEP_TOKENS


def paper_arms(build, *, union_final=(2.1, 1.8), replay_final=(2.25, 1.75)):
    """A base of 10 steps; updates of 10 steps without and with replay; a union of 20 steps."""
    base = build.record("pretrain", key="b0")
    plain = _update(build, base, "p0", 0.0)
    replay = _update(build, base, "r0", 0.25)
    union = build.record("union", key="u0", steps=20, shares={"english": 0.5, "python": 0.5})
    stages = [
        build.finished(base, (9.0, 9.5), (2.0, 4.0)),
        build.finished(plain, (2.0, 4.0), (3.0, 1.5)),
        build.finished(replay, (2.0, 4.0), replay_final),
        build.finished(union, (9.0, 9.5), union_final),
    ]
    arms = {
        "plain": [base.folder, plain.folder],
        "replay": [base.folder, replay.folder],
        "union": [union.folder],
    }
    return stages, arms


def _update(build, base, key, share, **changes):
    values = {"shares": {"python": 1.0}, "replay_share": share}
    return build.record(
        "update", key=key, parent=base.folder, start_step=base.steps, **(values | changes)
    )


def _rows(path):
    return {row.arm: row for row in arm_rows(read_run(path))}


def test_losses_forgetting_and_adaptation(build, tmp_path):
    rows = _rows(build.write(tmp_path, *paper_arms(build)))
    assert list(rows) == ["plain", "replay", "union"]
    assert rows["plain"].final == {"english": 3.0, "python": 1.5}
    assert [row.average for row in rows.values()] == pytest.approx([2.25, 2.0, 1.95])
    assert [row.forgetting["english"] for row in rows.values()] == pytest.approx([1.0, 0.25, 0.1])
    assert [row.adaptation for row in rows.values()] == pytest.approx([2.5, 2.25, 2.2])
    assert {row.newest for row in rows.values()} == {"python"}
    assert [row.is_reference for row in rows.values()] == [False, False, True]
    assert [row.is_union for row in rows.values()] == [False, False, True]
    assert [row.replay_share for row in rows.values()] == [0.0, 0.25, 0.0]


def test_costs_and_the_distance_to_the_union(build, tmp_path):
    rows = _rows(build.write(tmp_path, *paper_arms(build)))
    assert [row.update_tokens for row in rows.values()] == [1280, 1280, 2560]
    assert [row.total_tokens for row in rows.values()] == [2560, 2560, 2560]
    assert rows["plain"].update_flops == pytest.approx(10 * STEP_FLOPS)
    assert rows["plain"].total_flops == pytest.approx(20 * STEP_FLOPS)
    assert [row.compute_ratio for row in rows.values()] == pytest.approx([0.5, 0.5, 1.0])
    assert [row.union_gap for row in rows.values()] == pytest.approx([0.3, 0.05, 0.0])


def test_unknown_flops_give_no_ratio(build, tmp_path):
    stages, arms = paper_arms(build)
    free = [
        type(s)(record=s.record.model_copy(update={"train_flops": 0.0}), result=s.result)
        for s in stages
    ]
    rows = _rows(build.write(tmp_path, free, arms))
    assert {row.compute_ratio for row in rows.values()} == {None}


def test_a_branch_counts_its_trunk_only_up_to_where_it_leaves(build, tmp_path):
    base = build.record("pretrain", key="b0")
    trunk = _update(build, base, "t0", 0.0)
    branch = build.record(
        "release", key="a0", parent=trunk.folder, start_step=8, steps=4, shares={"python": 1.0}
    )
    stages = [
        build.finished(base, (9.0, 9.5), (2.0, 4.0)),
        build.finished(trunk, (2.0, 4.0), (2.6, 1.9)),
        build.finished(branch, (2.5, 2.0), (2.4, 1.6)),
    ]
    arms = {
        "trunk": [base.folder, trunk.folder],
        "annealed": [base.folder, trunk.folder, branch.folder],
    }
    path = build.write(tmp_path, stages, arms)
    rows = _rows(path)
    assert rows["annealed"].update_tokens == (8 + 4) * STEP_TOKENS
    assert rows["annealed"].total_tokens == (10 + 8 + 4) * STEP_TOKENS
    assert rows["annealed"].update_flops == pytest.approx(12 * STEP_FLOPS)
    assert rows["annealed"].forgetting == pytest.approx({"english": 0.4})
    assert rows["annealed"].adaptation == pytest.approx(2.4)
    assert rows["trunk"].forgetting == pytest.approx({"english": 0.6})
    run = read_run(path)
    assert [span.steps for span in line(run, branch.folder)] == [10, 8, 4]
    assert tokens_before(run, branch.folder) == 18 * STEP_TOKENS


def _three(names, *losses):
    return dict(zip(names, losses, strict=True))


def test_with_three_datasets_all_but_the_newest_are_old(build, tmp_path):
    names = ("english", "python", "german")
    first = build.record("first", key="f0")
    second = build.record(
        "second", key="s0", parent=first.folder, start_step=10, shares={"python": 1.0}
    )
    third = build.record(
        "third", key="t0", parent=second.folder, start_step=10, shares={"german": 1.0}
    )
    made = [
        (first, _three(names, 9, 9, 9), _three(names, 2, 4, 5)),
        (second, _three(names, 2, 4, 5), _three(names, 2.5, 2, 5)),
        (third, _three(names, 2.5, 2, 5), _three(names, 3, 2.25, 1.5)),
    ]
    stages = [
        type(build.begun(r))(record=r, result=build.result(r, before=b, final=f))
        for r, b, f in [(r, _floats(b), _floats(f)) for r, b, f in made]
    ]
    path = build.write(
        tmp_path, stages, {"line": [s.record.folder for s in stages]}, datasets=names
    )
    row = _rows(path)["line"]
    assert row.forgetting == pytest.approx({"english": 0.5, "python": 0.25})
    assert row.mean_forgetting == pytest.approx(0.375)
    assert (row.newest, row.adaptation) == ("german", pytest.approx(3.5))
    assert row.average == pytest.approx(6.75 / 3)
    assert row.update_tokens == 10 * STEP_TOKENS
    assert row.total_tokens == 30 * STEP_TOKENS


def _floats(losses):
    return {name: float(loss) for name, loss in losses.items()}


def test_old_data_mixed_in_as_new_is_still_old(build, tmp_path):
    base = build.record("pretrain", key="b0")
    mixed = _update(build, base, "m0", 0.0, shares={"english": 0.25, "python": 0.75})
    stages = [
        build.finished(base, (9.0, 9.5), (2.0, 4.0)),
        build.finished(mixed, (2.0, 4.0), (2.1, 1.5)),
    ]
    row = _rows(build.write(tmp_path, stages, {"mixed": [base.folder, mixed.folder]}))["mixed"]
    assert row.forgetting == pytest.approx({"english": 0.1})
    assert row.newest == "python"
    assert not row.is_union


def test_more_of_the_same_data_is_adaptation_to_it(build, tmp_path):
    base = build.record("pretrain", key="b0")
    again = _update(build, base, "g0", 0.0, shares={"english": 1.0})
    stages = [
        build.finished(base, (9.0, 9.5), (2.0, 4.0)),
        build.finished(again, (2.0, 4.0), (1.75, 3.9)),
    ]
    row = _rows(build.write(tmp_path, stages, {"again": [base.folder, again.folder]}))["again"]
    assert (row.newest, row.adaptation) == ("english", pytest.approx(0.25))
    assert row.update_tokens == 10 * STEP_TOKENS
    assert row.forgetting == pytest.approx({"python": -0.1})


def test_domains_belong_to_their_dataset(build, tmp_path):
    base = build.record("pretrain", key="b0", shares={"english/news": 0.5, "english/books": 0.5})
    update = _update(build, base, "p0", 0.0)
    stages = [
        build.finished(base, (9.0, 9.5), (2.0, 4.0)),
        build.finished(update, (2.0, 4.0), (3.0, 1.5)),
    ]
    row = _rows(build.write(tmp_path, stages, {"plain": [base.folder, update.folder]}))["plain"]
    assert row.forgetting == pytest.approx({"english": 1.0})


def test_scratch_on_new_data_is_a_reference_but_no_union(build, tmp_path):
    stages, arms = paper_arms(build)
    alone = build.record("alone", key="s0", shares={"python": 1.0})
    stages.append(build.finished(alone, (9.0, 9.5), (5.0, 1.7)))
    row = _rows(build.write(tmp_path, stages, arms | {"scratch": [alone.folder]}))["scratch"]
    assert row.is_reference
    assert not row.is_union
    assert row.forgetting == pytest.approx({"english": 3.0})


def test_references_alone_have_nothing_to_compare_with(build, tmp_path):
    stages, arms = paper_arms(build)
    row = _rows(build.write(tmp_path, stages[-1:], {"union": arms["union"]}))["union"]
    assert row.forgetting == {}
    assert row.adaptation is None
    assert row.mean_forgetting is None


def test_a_declared_history_makes_the_base_a_start_to_compare_with(build, tmp_path):
    update = build.record("update", key="p0", shares={"python": 1.0})
    stages = [build.finished(update, (2.0, 4.0), (3.0, 1.5))]
    arms = {"plain": [update.folder]}
    known = _rows(build.write(tmp_path / "a", stages, arms, history={"english": "300B"}))["plain"]
    assert not known.is_reference
    assert known.forgetting == pytest.approx({"english": 1.0})
    unknown = _rows(build.write(tmp_path / "b", stages, arms))["plain"]
    assert unknown.is_reference
    assert unknown.forgetting == {}


def _resolved(model, arms):
    return ResolvedRecord(
        campaign={"model": model},
        origins={},
        arms=arms,
        settings=[],
        root=".",
        versions={},
        commit=None,
        data={},
        tokenizer="",
        machine={},
    )


def test_a_model_from_a_folder_is_a_trained_base_and_the_union_is_known_by_name(build, tmp_path):
    stages, arms = paper_arms(build)
    resolved = _resolved({"from": "models/base"}, {"union": {"baseline": "union"}})
    rows = _rows(build.write(tmp_path, stages, arms, resolved=resolved))
    assert rows["union"].is_union
    assert not rows["union"].is_reference
    assert rows["plain"].union_gap == pytest.approx(0.3)


def test_unfinished_arms_have_no_row(build, tmp_path):
    stages, arms = paper_arms(build)
    stages[1] = build.begun(stages[1].record)
    run = read_run(build.write(tmp_path, stages, arms))
    assert [row.arm for row in arm_rows(run)] == ["replay", "union"]
    assert [s.record.folder for s in unfinished_arms(run)["plain"]] == ["update-p0"]


def test_a_reference_takes_its_start_from_an_update_that_is_still_running(build, tmp_path):
    stages, arms = paper_arms(build)
    evals = [
        EvalRecord(step=step, tokens=0, dataset=name, loss=loss, sequences=8)
        for step, name, loss in [(0, "english", 2.0), (0, "python", 4.0), (5, "english", 3.0)]
    ]
    begun = build.begun(stages[1].record, evals=evals)
    path = build.write(
        tmp_path,
        [stages[0], begun, stages[3]],
        {"plain": arms["plain"], "union": arms["union"]},
    )
    row = _rows(path)["union"]
    assert row.forgetting == pytest.approx({"english": 0.1})
    assert row.adaptation == pytest.approx(2.2)


def test_a_missing_final_loss_leaves_no_average(build, tmp_path):
    base = build.record("pretrain", key="b0")
    result = build.result(base, before={"english": 9.0}, final={"english": 2.0})
    stage = type(build.begun(base))(record=base, result=result)
    row = _rows(build.write(tmp_path, [stage], {"only": [base.folder]}))["only"]
    assert row.average is None
    assert row.final == {"english": 2.0}


points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)


@given(points)
def test_the_front_beats_all_and_no_point_of_it_is_beaten(pairs):
    def beats(a, b):
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    front = pareto_front([(float(f), float(a)) for f, a in pairs])
    kept = [pairs[place] for place in front]
    assert set(kept) == {p for p in pairs if not any(beats(q, p) for q in pairs)}
    assert kept == sorted(set(kept))
