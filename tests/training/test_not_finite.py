"""What is done when a loss or a gradient is not finite; in every case the weights stay what they were."""

import multiprocessing
import threading

import orjson
import pytest
import torch
from safetensors.torch import load_file
from tests.tiny import CAMPAIGN
from tests.training.running import run, traces
from tests.training.spoiling import sequences_of, spoiled

from rewarm.campaign import load_campaign
from rewarm.engine.loss_scale import LossScale
from rewarm.errors import NumericsError
from rewarm.plan import make_plan
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EvalRecord, EventRecord, ExitRecord, StageResult, StepRecord
from rewarm.tensors.held import own_tensors
from rewarm.training.not_finite import MOST_IN_A_ROW, MOST_REWINDS

SKIP, REWIND, FP16 = (
    "training.not_finite=skip",
    "training.not_finite=rewind",
    "training.precision=fp16",
)
EACH = "checkpoints.every=1 steps"
STEPS = 24
"""Of the stage; a checkpoint is written every 6."""


@pytest.fixture(scope="module")
def file(tiny):
    """Return the first stage of the tiny campaign alone."""
    path = tiny.folder / "one-stage.toml"
    path.write_text(CAMPAIGN.split('[[stage]]\nname = "update"')[0], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def plan(file):
    return make_plan(load_campaign(file))


@pytest.fixture(scope="module")
def sequences(plan, tiny):
    """Return a function from steps to sequences that are read there alone."""
    return lambda *steps: sequences_of(plan, tiny.prepared, plan.stages[0], steps)


@pytest.fixture(scope="module")
def undisturbed(file, tiny, tmp_path_factory):
    """Return the folder of a run with a checkpoint after every step, in which all is finite."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run(file, tiny.prepared, folder, EACH)
    return folder


@pytest.fixture
def train(file, tiny, tmp_path):
    """Return a function that trains with bad sequences, and gives the stage's folder."""

    def start(bad, *settings, kind="loss", name="run"):
        with spoiled(bad, kind):
            run(file, tiny.prepared, tmp_path / name, *settings)
        return only_stage(tmp_path / name)

    return start


def train_in_child(file, prepared, folder, settings, bad, deadly, kind):
    torch.set_num_threads(1)
    with spoiled(bad, kind, deadly=deadly):
        run(file, prepared, folder, *settings)


@pytest.fixture(scope="module")
def killed(file, tiny):
    """Return a function that trains in a child, which is killed where it reads a deadly sequence."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rewarm.training.campaign", "tests.training.test_not_finite"])

    def start(folder, settings, bad, deadly, kind="loss"):
        arguments = (file, tiny.prepared, folder, settings, bad, deadly, kind)
        child = context.Process(target=train_in_child, args=arguments)
        child.start()
        child.join()
        assert child.exitcode == 137

    return start


def only_stage(folder):
    (stage,) = (folder / "stages").iterdir()
    return RunFolder(folder).stage(stage.name)


def trained(stage):
    return [record.step for record in read_records(stage.metrics, StepRecord)]


def left_out(stage):
    return read_record(stage.result, StageResult).left_out


def events(stage, kind="left out"):
    return [e for e in read_records(stage.events, EventRecord) if e.kind == kind]


def state(stage, step):
    return orjson.loads((stage.checkpoint(step) / "state.json").read_bytes())


def weights(stage, step):
    """Return the bytes of weights and moments."""
    folder = stage.checkpoint(step)
    return [(folder / f"{group}.safetensors").read_bytes() for group in ("model", "optimizer")]


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_stop_ends_with_the_weights_of_the_step_before(
    file, tiny, tmp_path, sequences, undisturbed, kind
):
    with (
        spoiled(sequences(9), kind) as seen,
        pytest.raises(NumericsError, match=r"step 9: .*nan.*weights were not touched"),
    ):
        run(file, tiny.prepared, tmp_path / "run", EACH)
    stage = only_stage(tmp_path / "run")
    assert trained(stage) == list(range(1, 9))
    assert read_record(RunFolder(tmp_path / "run").exit, ExitRecord).code == 6
    in_memory = own_tensors(seen.parts[-1].model)
    saved = load_file(only_stage(undisturbed).checkpoint(8) / "model.safetensors", device="cpu")
    assert in_memory.keys() == saved.keys()
    assert all(torch.equal(in_memory[name], saved[name]) for name in saved)
    assert weights(stage, 8) == weights(only_stage(undisturbed), 8)
    assert not stage.checkpoint(9).exists()


def test_a_step_that_is_finite_does_change_the_weights(undisturbed):
    stage = only_stage(undisturbed)
    assert weights(stage, 9) != weights(stage, 8)


def test_after_a_stop_the_last_checkpoint_is_there_and_training_goes_on_from_it(
    file, tiny, tmp_path, sequences, undisturbed
):
    """Step 7 is bad, right after the checkpoint of step 6 was begun in the background."""
    with spoiled(sequences(7)), pytest.raises(NumericsError, match="last checkpoint is good"):
        run(file, tiny.prepared, tmp_path / "run")
    assert "saver" not in {thread.name for thread in threading.enumerate()}
    assert only_stage(tmp_path / "run").checkpoint(6).is_dir()
    run(file, tiny.prepared, tmp_path / "run")
    expected = traces(undisturbed)
    assert traces(tmp_path / "run").items() <= expected.items()


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_skip_leaves_out_the_update_of_the_step_and_goes_on(train, sequences, undisturbed, kind):
    stage, before = train(sequences(9), SKIP, EACH, kind=kind), only_stage(undisturbed)
    assert weights(stage, 8) == weights(before, 8)
    assert weights(stage, 9) == weights(stage, 8)
    assert weights(stage, 10) != weights(stage, 9)
    assert trained(stage) == [step for step in range(1, STEPS + 1) if step != 9]
    assert left_out(stage) == state(stage, STEPS)["left_out"] == [9]
    assert [event.step for event in events(stage)] == [9]
    assert "nan" in events(stage)[0].message


def test_the_last_step_left_out_ends_with_the_weights_of_the_one_before(
    train, sequences, undisturbed
):
    stage, before = train(sequences(STEPS), SKIP, EACH), only_stage(undisturbed)
    assert weights(stage, STEPS) == weights(before, STEPS - 1)
    sha256 = read_record(stage.result, StageResult).weights_sha256
    assert sha256 != read_record(before.result, StageResult).weights_sha256


def test_what_was_left_out_is_not_counted_as_read(train, plan, sequences):
    stage = train(sequences(9, 10, 15), SKIP)
    result, first = read_record(stage.result, StageResult), plan.stages[0]
    unread = {name: (c.new, c.replayed) for name, c in result.unread.items()}
    assert unread == {"old": (3 * first.batch_sequences, 0)}
    for name, count in first.counts().items():
        read, missing = result.read[name], result.unread[name]
        assert (count.new, count.replayed) == (
            read.new + missing.new,
            read.replayed + missing.replayed,
        )
    *_, last = read_records(stage.metrics, StepRecord)
    assert last.tokens == (STEPS - 3) * first.batch_tokens
    *_, evaluation = read_records(stage.evals, EvalRecord)
    assert (evaluation.step, evaluation.tokens) == (STEPS, last.tokens)
    assert all(record.step * first.batch_tokens == record.tokens for record in _before(stage, 9))


def _before(stage, step):
    return [record for record in read_records(stage.metrics, StepRecord) if record.step < step]


@pytest.mark.parametrize("policy", [SKIP, REWIND])
@pytest.mark.parametrize("place", [8, 11, 15])
def test_killed_and_resumed_equals_never_killed(
    train, killed, tmp_path, sequences, file, tiny, policy, place
):
    """Killed before the bad step 9, after it and before a checkpoint, and after a checkpoint."""
    bad = sequences(9)
    whole = train(bad, policy, name="whole")
    killed(tmp_path / "killed", (policy,), bad, sequences(place))
    with spoiled(bad):
        run(file, tiny.prepared, tmp_path / "killed", policy)
    assert traces(tmp_path / "killed") == traces(tmp_path / "whole")
    stage = only_stage(tmp_path / "killed")
    assert left_out(stage) == left_out(whole)
    assert state(stage, STEPS)["left_out"] == state(whole, STEPS)["left_out"]


def test_rewind_leaves_out_all_since_the_newest_checkpoint(train, sequences, undisturbed):
    stage = train(sequences(9), REWIND)
    assert left_out(stage) == [7, 8, 9]
    assert trained(stage) == [step for step in range(1, STEPS + 1) if step not in (7, 8, 9)]
    assert weights(stage, 6) == weights(only_stage(undisturbed), 6)
    assert [event.step for event in events(stage)] == [9]
    assert "back to the newest checkpoint" in events(stage)[0].message
    assert [event.step for event in events(stage, "resumed")] == [6]


def test_rewind_without_a_checkpoint_begins_the_stage_anew(train, sequences):
    stage = train(sequences(3), REWIND)
    assert left_out(stage) == [1, 2, 3]
    assert len(events(stage, "started")) == 2


def test_a_stage_is_taken_back_only_so_often(train, sequences, tmp_path):
    """Each time one batch later than the last time: 8, 9, 10, 11, all from the checkpoint of step 6."""
    often = range(8, 8 + MOST_REWINDS)
    stage = train(sequences(*often), REWIND, name="often")
    assert left_out(stage) == list(range(7, 8 + MOST_REWINDS))
    assert [event.step for event in events(stage)] == list(often)
    with pytest.raises(NumericsError, match=f"taken back {MOST_REWINDS} times"):
        train(sequences(*often, 8 + MOST_REWINDS), REWIND, name="too-often")
    ended = only_stage(tmp_path / "too-often")
    # The step that ended it is not said to be one that the stage went back from.
    assert [event.step for event in events(ended)] == list(often)


def test_too_many_left_out_in_a_row_end_the_training(train, sequences, tmp_path):
    row = range(2, 2 + MOST_IN_A_ROW)
    stage = train(sequences(*row), SKIP, name="long")
    assert left_out(stage) == list(row)
    with pytest.raises(NumericsError, match=f"{MOST_IN_A_ROW} batches before it were left out"):
        train(sequences(*row, 2 + MOST_IN_A_ROW), SKIP, name="too-long")
    assert trained(only_stage(tmp_path / "too-long")) == [1]


def test_fp16_trains_on_the_cpu_and_comes_close_to_fp32(train, undisturbed):
    stage = train((), FP16)
    half, single = (
        read_record(each.result, StageResult).final["old"]
        for each in (stage, only_stage(undisturbed))
    )
    # fp16 has 10 bits of mantissa, so that a rounding is at most 2^-11 of a value.
    assert half == pytest.approx(single, rel=2**-10)
    assert left_out(stage) == []
    assert state(stage, STEPS)["loss_scale"] == [LossScale.first("fp16").value, STEPS]


def test_an_overflow_in_fp16_halves_the_scale_whatever_the_policy(train, sequences):
    stage = train(sequences(4, 5), FP16, EACH, kind="overflow")
    first = LossScale.first("fp16").value
    assert state(stage, 3)["loss_scale"] == [first, 3]
    assert state(stage, 4)["loss_scale"] == [first / 2, 0]
    assert state(stage, 6)["loss_scale"] == [first / 4, 1]
    assert weights(stage, 5) == weights(stage, 3)
    assert left_out(stage) == [4, 5]
    assert [event.message.split(" (")[0] for event in events(stage)] == ["overflow in fp16"] * 2
    assert f"loss scale {first:g} → {first / 2:g}" in events(stage)[0].message


def test_in_fp32_the_same_overflow_ends_the_training(train, sequences):
    with pytest.raises(NumericsError, match=r"step 4: .*gradient norm inf"):
        train(sequences(4, 5), kind="overflow")


def test_the_scale_comes_back_bit_for_bit(train, killed, file, tiny, tmp_path, sequences):
    bad = sequences(4, 8)
    whole = train(bad, FP16, kind="overflow", name="whole")
    killed(tmp_path / "killed", (FP16,), bad, sequences(10), "overflow")
    with spoiled(bad, "overflow"):
        run(file, tiny.prepared, tmp_path / "killed", FP16)
    assert traces(tmp_path / "killed") == traces(tmp_path / "whole")
    stage = only_stage(tmp_path / "killed")
    for step in (6, 12, STEPS):
        assert state(stage, step)["loss_scale"] == state(whole, step)["loss_scale"]
    assert state(stage, 12)["loss_scale"] == [LossScale.first("fp16").value / 4, 4]


def test_a_scale_of_one_does_not_help_so_the_policy_decides(train, sequences):
    """Sixteen halvings of 2^16 leave 1, below which scaling has nothing to do with it."""
    first = LossScale.first("fp16").value
    halvings = int(first).bit_length() - 1
    stage = train(sequences(*range(2, 4 + halvings)), FP16, SKIP, EACH, kind="overflow")
    scales = [state(stage, step)["loss_scale"][0] for step in range(1, 4 + halvings)]
    assert scales == [first / 2**k for k in range(halvings + 1)] + [1.0, 1.0]
    with pytest.raises(NumericsError, match=f"step {2 + halvings}: "):
        train(sequences(*range(2, 3 + halvings)), FP16, kind="overflow", name="stop")
