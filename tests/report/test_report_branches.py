"""The trunk with its branches: where each stage is drawn."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.conftest import Builder

from rewarm.report.branches import lanes, trunk
from rewarm.report.gallery import RUN_FIGURES
from rewarm.report.styles import SHARED_COLOUR, arm_styles
from rewarm.report.tables import read_run


def records(*stages):
    """Return the records of stages, given as name, parent and start step; all have 10 steps."""
    build, found = Builder(), {}
    for name, parent, start in stages:
        folder = None if parent is None else found[parent].folder
        found[name] = build.record(name, parent=folder, start_step=start)
    return list(found.values())


def rows(*stages):
    return {folder.partition("-")[0]: row for folder, row in lanes(records(*stages)).items()}


def test_a_chain_is_one_row():
    assert rows(("a", None, 0), ("b", "a", 10), ("c", "b", 10)) == {"a": 0, "b": 0, "c": 0}


def test_a_trunk_goes_on_and_its_branches_leave_it_the_last_one_first():
    found = rows(
        ("trunk", None, 0), ("early", "trunk", 3), ("late", "trunk", 8), ("more", "trunk", 10)
    )
    assert found == {"trunk": 0, "more": 0, "late": 1, "early": 2}


def test_what_starts_anew_has_a_row_of_its_own():
    found = rows(("a", None, 0), ("union", None, 0), ("b", "a", 10), ("twin", "a", 10))
    assert found == {"a": 0, "b": 0, "twin": 1, "union": 2}


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10)), max_size=12))
def test_no_stage_is_drawn_over_another(tree):
    stages = [("s0", None, 0)]
    for number, (parent, start) in enumerate(tree, start=1):
        stages.append((f"s{number}", f"s{parent % number}", start))
    made = records(*stages)
    found = lanes(made)
    assert set(found) == {record.folder for record in made}
    begins = {}
    for record in made:
        begins[record.folder] = begins.get(record.parent, 0) + record.start_step
    for row in set(found.values()):
        spans = sorted(begins[folder] for folder, its in found.items() if its == row)
        assert all(b - a >= 10 for a, b in pairwise(spans))


@pytest.fixture
def run(realistic):
    return read_run(realistic)


def test_branches_start_where_they_leave_the_trunk(run):
    figure = trunk(run, arm_styles(list(run.record.arms)))
    lines = {trace.name: trace for trace in figure.data if trace.name != "branch"}
    tokens = 64 * 512
    assert lines["pretrain"].line.color == SHARED_COLOUR
    assert list(lines["pretrain"].x) == [0, 1500 * tokens]
    assert list(lines["update (replay-5)"].x) == [1500 * tokens, 2500 * tokens]
    assert lines["update (no-replay)"].y == lines["pretrain"].y
    forks = [trace for trace in figure.data if trace.name == "branch"]
    assert [list(fork.x) for fork in forks] == [[1500 * tokens] * 2] * 2
    assert [note.text for note in figure.layout.annotations][-1] == "union"
    assert lines["union"].marker.size == (0, 12)


def test_what_is_still_to_be_trained_is_dotted(run):
    folder = "union-9e8d7c6b"
    stage = run.stages[folder]
    half = replace(
        stage,
        result=None,
        steps=replace(stage.steps, step=stage.steps.step[:1000]),
    )
    at_work = replace(run, stages={**run.stages, folder: half})
    done, to_do = [
        trace
        for trace in trunk(at_work, arm_styles(list(run.record.arms))).data
        if trace.name == "union"
    ]
    assert (done.line.dash, to_do.line.dash) == ("solid", "dot")
    assert (done.x[1], to_do.x[1]) == (1000 * 64 * 512, 2500 * 64 * 512)


def test_one_chain_has_no_branches_to_show(run, build, tmp_path):
    def figures(of):
        drawn = RUN_FIGURES.drawn("r", of, arm_styles(list(of.record.arms)))
        return [figure.id for figure in drawn["stages"]]

    assert figures(run) == ["r-trunk"]
    base, update = records(("a", None, 0), ("b", "a", 10))
    path = build.write(
        tmp_path / "chain",
        [build.begun(base), build.begun(update)],
        {"x": [base.folder, update.folder]},
    )
    assert figures(read_run(path)) == []
    early = update.model_copy(update={"start_step": 5})
    path = build.write(
        tmp_path / "early",
        [build.begun(base), build.begun(early)],
        {"x": [base.folder, early.folder]},
    )
    assert figures(read_run(path)) == ["r-trunk"]
