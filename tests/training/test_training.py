"""What training a campaign must do, whatever interrupts it."""

import math
import shutil
from pathlib import Path

import pytest
from tests.training.running import run, traces

from rewarm.data.batches import Batches
from rewarm.errors import CampaignError, CheckpointError, LockedError, MismatchError, NumericsError
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import locked
from rewarm.runs.records import EvalRecord, EventRecord, ExitRecord, StageResult, StepRecord


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """Return the folder of the tiny campaign carried out once, and its plan."""
    folder = tmp_path_factory.mktemp("done") / "tiny"
    return folder, run(tiny.file, tiny.prepared, folder)


def stage_of(plan, arm, name):
    return next(stage for stage in plan.arms[arm] if stage.name == name)


def evals(folder: Path, stage, step: int) -> dict[str, float]:
    path = RunFolder(folder).stage(stage.folder).evals
    return {r.dataset: r.loss for r in read_records(path, EvalRecord) if r.step == step}


def steps(folder: Path, stage) -> list[StepRecord]:
    return list(read_records(RunFolder(folder).stage(stage.folder).metrics, StepRecord))


def test_shared_stages_are_trained_once(done):
    folder, plan = done
    assert len(plan.stages) == 4
    assert len(list((folder / "stages").iterdir())) == 4
    assert plan.arms["no-replay"][0].key == plan.arms["replay-25"][0].key


def test_the_same_campaign_gives_the_same_bits(done, tiny, tmp_path):
    folder, _ = done
    run(tiny.file, tiny.prepared, tmp_path / "again")
    assert traces(tmp_path / "again") == traces(folder)


def test_another_seed_gives_other_bits(done, tiny, tmp_path):
    folder, plan = done
    other = run(tiny.file, tiny.prepared, tmp_path / "other", "seed=8")
    assert (
        steps(folder, plan.stages[0])[0].loss != steps(tmp_path / "other", other.stages[0])[0].loss
    )


def test_isolated_documents_are_another_run_and_resume_to_the_same_bits(done, tiny, tmp_path):
    folder, plan = done
    isolated = 'training.documents="isolated"'
    never_stopped = run(tiny.file, tiny.prepared, tmp_path / "never", isolated)
    first, other = (
        steps(f, p.stages[0]) for f, p in ((folder, plan), (tmp_path / "never", never_stopped))
    )
    assert first[0].loss != other[0].loss
    assert first[0].loss == pytest.approx(other[0].loss, rel=1e-2)
    stopped = RunFolder(tmp_path / "stopped")
    run(tiny.file, tiny.prepared, stopped.path, isolated)
    for stage in never_stopped.stages:
        last = stopped.stage(stage.folder)
        last.result.unlink()
        shutil.rmtree(last.checkpoint(stage.steps))
    run(tiny.file, tiny.prepared, stopped.path, isolated)
    assert traces(stopped.path) == traces(tmp_path / "never")


def test_a_new_stage_starts_with_exactly_the_weights_of_its_parent(done):
    folder, plan = done
    parent = stage_of(plan, "replay-25", "pretrain")
    for arm in ("replay-25", "no-replay"):
        child = stage_of(plan, arm, "update")
        assert evals(folder, child, 0) == evals(folder, parent, parent.steps)


def test_learning_rates_are_those_of_the_plan(done):
    folder, plan = done
    for stage in plan.stages:
        recorded = [record.lr for record in steps(folder, stage)]
        assert recorded == [stage.schedule(step) for step in range(1, stage.steps + 1)]


def test_the_audit_counts_what_was_planned(done):
    folder, plan = done
    for stage in plan.stages:
        result = read_record(RunFolder(folder).stage(stage.folder).result, StageResult)
        planned = {name: (c.new, c.replayed) for name, c in stage.counts().items()}
        assert {name: (c.new, c.replayed) for name, c in result.read.items()} == planned
        assert {name: (c.new, c.replayed) for name, c in result.ledger.items()} == {
            name: (c.new, c.replayed) for name, c in stage.ledger().items()
        }
    update = stage_of(plan, "replay-25", "update")
    assert all(record.replayed == {"old": 2} for record in steps(folder, update))


def test_the_final_loss_is_the_mean_over_the_last_evaluations(done):
    folder, plan = done
    stage = stage_of(plan, "union", "union")
    result = read_record(RunFolder(folder).stage(stage.folder).result, StageResult)
    last = [evals(folder, stage, stage.steps - back)["old"] for back in (0, 2)]
    assert result.final["old"] == pytest.approx(sum(last) / 2, rel=1e-12)
    assert result.before == evals(folder, stage, 0)


def test_training_learns(done):
    folder, plan = done
    stage = plan.stages[0]
    assert evals(folder, stage, stage.steps)["old"] < evals(folder, stage, 0)["old"] - 0.5


def test_a_finished_campaign_is_left_as_it_is(done, tiny):
    folder, _ = done
    before = {p: p.stat().st_mtime_ns for p in folder.glob("stages/**/*") if p.is_file()}
    run(tiny.file, tiny.prepared, folder)
    assert {p: p.stat().st_mtime_ns for p in folder.glob("stages/**/*") if p.is_file()} == before


def test_micro_batches_change_nothing_but_the_order_of_sums(done, tiny, tmp_path):
    folder, plan = done
    run(tiny.file, tiny.prepared, tmp_path / "whole", "training.micro_batch=8")
    for stage in plan.stages:
        for one, other in zip(steps(folder, stage), steps(tmp_path / "whole", stage), strict=True):
            assert (one.new, one.replayed, one.lr) == (other.new, other.replayed, other.lr)
            assert one.loss == pytest.approx(other.loss, rel=1e-4)


def test_a_larger_budget_reads_the_same_sequences_in_the_same_order(tiny, done):
    from rewarm.campaign import load_campaign
    from rewarm.data.datasets import open_campaign
    from rewarm.plan import make_plan

    loaded = load_campaign(tiny.file, ["stages.update.budget=200 steps"])
    data = open_campaign(loaded.campaign, loaded.root, tiny.prepared)
    _, plan = done
    found = []
    for each in (plan, make_plan(loaded)):
        stage = stage_of(each, "replay-25", "update")
        batches = Batches(
            stream=stage.stream,
            stores=data.train,
            seed=7,
            batch_sequences=stage.batch_sequences,
            sequence_length=stage.sequence_length,
        )
        readers = batches.readers()
        found.append([batches.read(step, readers).tokens.tobytes() for step in range(1, 21)])
    assert found[0] == found[1]


def test_optimizer_state_is_reset_unless_it_is_kept(done, tiny, tmp_path):
    folder, plan = done
    kept = run(tiny.file, tiny.prepared, tmp_path / "kept", "stages.update.optimizer=keep")
    reset_steps = steps(folder, stage_of(plan, "replay-25", "update"))
    kept_steps = steps(tmp_path / "kept", stage_of(kept, "replay-25", "update"))
    assert kept_steps[0].loss == reset_steps[0].loss
    assert kept_steps[1].loss != reset_steps[1].loss


def test_a_changed_campaign_is_refused_and_says_what_changed(tiny, tmp_path):
    folder = tmp_path / "run"
    run(tiny.file, tiny.prepared, folder)
    with pytest.raises(MismatchError, match=r"stages\.update\.budget: 20 steps → 21 steps"):
        run(tiny.file, tiny.prepared, folder, "stages.update.budget=21 steps")
    run(tiny.file, tiny.prepared, folder, "stages.update.budget=21 steps", allow_changes=True)
    assert len(list(folder.glob("stages/update-*"))) == 4


def test_a_change_that_leaves_no_work_aside_is_accepted(done, tiny):
    folder, _ = done
    run(tiny.file, tiny.prepared, folder, "evaluation.prompt_tokens=5")


def test_a_second_process_is_refused(tiny, tmp_path):
    folder = tmp_path / "run"
    with locked(RunFolder(folder)), pytest.raises(LockedError, match="at work here"):
        run(tiny.file, tiny.prepared, folder)


def test_a_loss_that_is_not_finite_stops_before_the_weights(tiny, tmp_path):
    rates = [f"stages.pretrain.schedule.{name}=1e30" for name in ("max_lr", "constant_lr")]
    with pytest.raises(NumericsError, match="weights were not touched"):
        run(tiny.file, tiny.prepared, tmp_path / "run", *rates)
    assert read_record(RunFolder(tmp_path / "run").exit, ExitRecord).code == 6
    files = tmp_path.glob("run/stages/*/metrics.jsonl")
    losses = [record.loss for file in files for record in read_records(file, StepRecord)]
    assert losses
    assert all(map(math.isfinite, losses))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unfinish(folder: Path, stage) -> Path:
    """Make a finished stage look as if it had been killed just before its result."""
    stage_folder = RunFolder(folder).stage(stage.folder)
    stage_folder.result.unlink()
    return stage_folder.checkpoints


def test_a_damaged_checkpoint_is_passed_over_loudly(done, tiny, tmp_path):
    clean, plan = done
    folder = tmp_path / "run"
    run(tiny.file, tiny.prepared, folder)
    stage = stage_of(plan, "union", "union")
    saved = unfinish(folder, stage)
    damage(saved / f"step-{stage.steps:08d}" / "model.safetensors")
    run(tiny.file, tiny.prepared, folder)
    assert traces(folder) == traces(clean)
    events = list(read_records(RunFolder(folder).stage(stage.folder).events, EventRecord))
    assert any(e.kind == "damaged" and "model.safetensors" in e.message for e in events)


def test_a_damaged_parent_checkpoint_stops_the_stage_after_it(tiny, tmp_path):
    folder = tmp_path / "run"
    plan = run(tiny.file, tiny.prepared, folder)
    update = stage_of(plan, "replay-25", "update")
    saved = unfinish(folder, update)
    for path in sorted(saved.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    parent = RunFolder(folder).stage(update.parent.folder).checkpoint(update.parent.steps)
    damage(parent / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        run(tiny.file, tiny.prepared, folder)


def test_a_checkpoint_of_another_stage_is_refused(tiny, tmp_path):
    folder = tmp_path / "run"
    plan = run(tiny.file, tiny.prepared, folder)
    update = stage_of(plan, "replay-25", "update")
    other = stage_of(plan, "no-replay", "update")
    saved = unfinish(folder, update)
    last = saved / f"step-{update.steps:08d}"
    last.rename(tmp_path / "aside")
    (RunFolder(folder).stage(other.folder).checkpoint(other.steps)).rename(last)
    with pytest.raises(CheckpointError, match="expected"):
        run(tiny.file, tiny.prepared, folder)


def test_more_epochs_than_allowed_are_refused_before_anything_is_done(tiny, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(CampaignError, match=r"epochs of its .*; data\.old\.max_epochs is 0\.01"):
        run(tiny.file, tiny.prepared, folder, "data.old.max_epochs=0.01")
    assert not folder.exists()
