"""What `rewarm inspect` says of checkpoints and runs."""

import os
import time

import orjson
import pytest
import torch

from rewarm.campaign import load_campaign
from rewarm.engine.manifest import MANIFEST, Manifest, manifest_bytes
from rewarm.engine.tensor_file import write_file, write_tensors
from rewarm.plan import make_plan
from rewarm.plan.record import run_record, stage_record
from rewarm.runs.files import write_record
from rewarm.runs.folder import RunFolder
from rewarm.training.inspection import describe

STATE = {
    "rewarm": "0.1.0",
    "stage": "a" * 64,
    "step": 12,
    "read": {"new": [60, 0], "old": [0, 20]},
    "ledger_before": {"old": [192, 0]},
    "ledger": {"old": [192, 20], "new": [60, 0]},
    "left_out": [4, 5],
    "loss_scale": [16384.0, 7],
    "data": {"old": "xxh3:1", "new": "xxh3:2"},
    "tokenizer": "sha256:3",
    "machine": {
        "torch": "2.13.0",
        "device": "cuda",
        "threads": 2,
        "ranks": 2,
        "precision": "fp16",
        "layout": "shard 2",
        "micro_batch": 4,
    },
}


@pytest.fixture(scope="module")
def plan(tiny):
    return make_plan(load_campaign(tiny.file))


def write_in_parts(folder, state=STATE):
    """Write a checkpoint as two ranks would: each has one half of a matrix."""
    folder.mkdir(parents=True)
    files = {}
    for rank in (0, 1):
        name = f"model-{rank + 1:05d}-of-00002.safetensors"
        part = {"w": ((2 * rank, 0), (4, 3))}
        files[name] = write_tensors(folder / name, {"w": torch.zeros(2, 3)}, part)
    files["state.json"] = write_file(folder / "state.json", [orjson.dumps(state)])
    manifest = Manifest(files=files)
    (folder / MANIFEST).write_bytes(manifest_bytes(manifest))
    return manifest


def test_a_checkpoint_of_two_ranks_is_described_in_lines(tmp_path):
    folder = tmp_path / "step-00000012"
    manifest = write_in_parts(folder)
    lines = list(describe(folder))
    for expected in (
        "checkpoint step-00000012, intact",
        f"  stage: of another folder, key {'a' * 64}",
        "  step: 12",
        "  left out: steps 4 to 5, not finite and not trained on",
        "  read in this stage: new 60 new, old 0 new and 20 replayed sequences",
        "  read since the base model: old 192 new and 20 replayed, new 60 new sequences",
        "  loss scale: 16,384, unchanged for 7 steps",
        "  written on: 2 ranks (shard 2), micro-batch 4",
        "  machine: torch 2.13.0, device cuda, threads 2, precision fp16",
        f"  weights: sha256 {manifest.digest('model')}",
    ):
        assert expected in lines
    assert sum("model-0000" in line for line in lines) == 2
    assert not any("{" in line or "[" in line for line in lines)


def test_beside_its_stage_a_checkpoint_knows_its_tokens(tmp_path, plan):
    stage = plan.stages[0]
    home = RunFolder(tmp_path).stage(stage.folder)
    write_record(home.record, stage_record(plan, stage))
    write_in_parts(home.checkpoint(12), STATE | {"stage": stage.key})
    lines = list(describe(home.checkpoint(12)))
    assert f"  stage: {stage.folder}, key {stage.key}" in lines
    assert f"  step: 12 of {stage.steps}" in lines
    tokens = 80 * stage.sequence_length
    assert any(line.startswith("  read in this stage: ") for line in lines)
    assert any(line.endswith(f"sequences ({tokens:,} tokens)") for line in lines)


def test_of_another_stage_it_does_not(tmp_path, plan):
    stage = plan.stages[0]
    home = RunFolder(tmp_path).stage(stage.folder)
    write_record(home.record, stage_record(plan, stage))
    write_in_parts(home.checkpoint(12))
    assert not any("tokens)" in line for line in describe(home.checkpoint(12)))


def test_what_is_one_rank_in_fp32_with_nothing_left_out_is_said_shortly(tmp_path):
    machine = {"ranks": 1, "layout": "one rank", "micro_batch": 4, "device": "cpu"}
    state = STATE | {"left_out": [], "loss_scale": [1.0, 0], "machine": machine}
    write_in_parts(tmp_path / "step-00000012", state)
    lines = list(describe(tmp_path / "step-00000012"))
    assert "  written on: 1 rank, micro-batch 4" in lines
    assert not any("left out" in line or "loss scale" in line for line in lines)


def test_a_run_says_the_newest_checkpoint_of_a_stage_and_its_age(tmp_path, plan):
    run, stage = RunFolder(tmp_path), plan.stages[0]
    write_record(run.plan, run_record(plan))
    lines = list(describe(tmp_path))
    assert f"  {stage.folder}  {stage.steps} steps  not begun" in lines
    home = run.stage(stage.folder)
    write_record(home.record, stage_record(plan, stage))
    assert f"  {stage.folder}  {stage.steps} steps  begun, no checkpoint yet" in describe(tmp_path)
    for step in (6, 12):
        write_in_parts(home.checkpoint(step))
    saved = time.time() - 7200
    os.utime(home.checkpoint(12) / MANIFEST, (saved, saved))
    (line,) = [line for line in describe(tmp_path) if f"  {stage.folder}  " in line]
    assert line.startswith(f"  {stage.folder}  {stage.steps} steps  at step 12 (50%), saved 2:0")
    assert line.endswith(" ago")
