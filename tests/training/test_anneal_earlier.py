"""The policy anneal-earlier: what is released instead of a stage that forgot too much is what it once was."""

import pytest
from tests.tiny import CAMPAIGN
from tests.training.running import carry_out, run, traces

from rewarm.campaign import load_campaign
from rewarm.campaign.annealing import Annealing
from rewarm.errors import GateError
from rewarm.evaluation.gate import judge
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EvalRecord, ExitRecord, RunRecord, StageRecord, StageResult
from rewarm.training.anneal import with_recorded_annealings

FORGETS = ("stages.update.replay=0%", "checkpoints.every=5 steps")
"""Validated and saved at steps 5, 10, 15 and 20 of 20."""
EARLIER = ('gate.policy="anneal-earlier"', 'gate.anneal="20%"')


@pytest.fixture(scope="module")
def file(tiny):
    """Return the tiny campaign without its arms."""
    path = tiny.folder / "forgets.toml"
    path.write_text(CAMPAIGN[: CAMPAIGN.index("[arms]")], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def forgetting(file, tiny, tmp_path_factory):
    """Return how much of the old data is forgotten at each validation of the update, and at its end."""
    folder = tmp_path_factory.mktemp("ungated") / "tiny"
    plan = run(file, tiny.prepared, folder, *FORGETS)
    stage = RunFolder(folder).stage(plan.stages[-1].folder)
    result = read_record(stage.result, StageResult)
    evals = read_records(stage.evals, EvalRecord)
    steps = {r.step: r.loss - result.before["old"] for r in evals if r.dataset == "old" and r.step}
    return steps, result.final["old"] - result.before["old"]


@pytest.fixture(scope="module")
def limit(forgetting):
    """Return a limit that holds at step 5 of the update, and not at its end."""
    steps, final = forgetting
    assert steps[5] < final
    return f"gate.max_forgetting.old={steps[5] + 0.6 * (final - steps[5]):.4f}"


def test_the_last_checkpoint_that_held_is_annealed_and_released(
    file, tiny, tmp_path, forgetting, limit
):
    settings = (*FORGETS, *EARLIER, limit)
    folder = RunFolder(tmp_path / "run")
    run(file, tiny.prepared, folder.path, *settings)
    assert read_record(folder.exit, ExitRecord).code == 0
    steps, _ = forgetting
    allowed = float(limit.partition("=")[2])
    last = max(step for step in (5, 10, 15) if steps[step] <= allowed)
    record = read_record(folder.plan, RunRecord)
    assert list(record.arms) == ["main", f"main/update-annealed-{last}-4"]
    branch = read_record(
        folder.stage(record.arms[f"main/update-annealed-{last}-4"][-1]).record, StageRecord
    )
    assert (branch.start_step, branch.steps) == (last, 4)
    judgement = judge(folder)
    assert judgement is not None
    assert judgement.is_held
    assert [finding.stage for finding in judgement.findings] == [branch.folder]
    assert judge(folder, ["main"]) == judgement
    # Started again, the branch is found recorded and finished, and nothing is done.
    before = traces(folder.path)
    again = with_recorded_annealings(load_campaign(file, settings), folder)
    plan = carry_out(again, tiny.prepared, folder.path)
    assert [s.folder for s in plan.stages] == [s.folder for s in record.stages]
    assert traces(folder.path) == before


def test_where_it_never_held_the_run_ends_as_with_stop(file, tiny, tmp_path):
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(GateError, match="the limits held at none of its validations") as ended:
        run(file, tiny.prepared, folder.path, *FORGETS, *EARLIER, "gate.max_forgetting.old=0.0001")
    assert "the gate is broken" in str(ended.value)
    assert read_record(folder.exit, ExitRecord).code == GateError.exit_code
    assert not folder.annealings.exists()


def test_without_a_checkpoint_it_says_how_to_keep_one(file, tiny, tmp_path, limit):
    settings = (*FORGETS, *EARLIER, limit, "checkpoints.keep=1")
    with pytest.raises(GateError, match=r"Set checkpoints\.every to evaluation\.every"):
        run(file, tiny.prepared, tmp_path / "run", *settings)


def test_a_branch_that_breaks_the_gate_ends_as_with_stop(file, tiny, tmp_path, forgetting):
    """The limit is just what the stage had forgotten at step 5, and the branch goes on to forget."""
    steps, _ = forgetting
    folder = RunFolder(tmp_path / "run")
    settings = (*FORGETS, *EARLIER, f"gate.max_forgetting.old={steps[5] + 1e-6}")
    for _ in range(2):  # started again, the branch is found finished, and still forgets too much
        loaded = with_recorded_annealings(load_campaign(file, settings), folder)
        with pytest.raises(GateError, match="is an annealing already") as ended:
            carry_out(loaded, tiny.prepared, folder.path)
        assert "forgetting on old at the end of update-annealed-5-4-" in str(ended.value)
    assert len(list(read_records(folder.annealings, Annealing))) == 1


def test_another_arm_is_no_hindrance_and_goes_on(tiny, tmp_path, limit):
    settings = ("checkpoints.every=5 steps", *EARLIER, limit, 'gate.arms=["no-replay", "union"]')
    folder = RunFolder(tmp_path / "run")
    run(tiny.file, tiny.prepared, folder.path, *settings, arms=["no-replay"])
    arms = list(read_record(folder.plan, RunRecord).arms)
    assert arms[:3] == ["no-replay", "replay-25", "union"]
    assert arms[3].startswith("no-replay/update-annealed-")
    again = with_recorded_annealings(load_campaign(tiny.file, settings), folder)
    before = traces(folder.path)
    carry_out(again, tiny.prepared, folder.path, arms=["no-replay"])  # its branch belongs to it
    assert traces(folder.path) == before
