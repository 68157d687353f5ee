"""Stages that another run has finished are taken over, and only those that are the very same."""

import pytest
from tests.tiny import CAMPAIGN
from tests.training.running import run, traces

from rewarm.errors import CheckpointError
from rewarm.runs.files import read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EventRecord

ONLY_PRETRAIN = CAMPAIGN[: CAMPAIGN.rindex("[[stage]]")]


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    """Return a folder of runs in which one has the first stage alone."""
    folder = tmp_path_factory.mktemp("runs")
    run(write(tiny, "base", ONLY_PRETRAIN), tiny.prepared, folder / "base")
    return folder


def write(tiny, name, text=CAMPAIGN):
    file = tiny.folder / f"{name}.toml"
    file.write_text(text.replace('name = "tiny"', f'name = "{name}"'), encoding="utf-8")
    return file


def kinds(folder, name):
    stage = next(folder.glob(f"stages/{name}-*"))
    return [e.kind for e in read_records(RunFolder(folder).stage(stage.name).events, EventRecord)]


def test_a_run_that_takes_a_stage_over_ends_as_one_that_trains_it(runs, tiny, tmp_path):
    file = write(tiny, "whole")
    before = traces(runs / "base")
    run(file, tiny.prepared, tmp_path / "alone")
    run(file, tiny.prepared, tmp_path / "reusing", reuse=runs)
    assert kinds(tmp_path / "reusing", "pretrain")[-1] == "taken over"
    assert "taken over" not in kinds(tmp_path / "alone", "pretrain")
    assert traces(tmp_path / "reusing") == traces(tmp_path / "alone")
    assert traces(runs / "base") == before
    assert "taken over" not in kinds(runs / "base", "pretrain")


def test_checkpoints_are_links_and_records_are_not(runs, tiny, tmp_path):
    run(write(tiny, "linked", ONLY_PRETRAIN), tiny.prepared, tmp_path / "linked", reuse=runs)

    def is_linked(name):
        (here,) = (tmp_path / "linked").glob(f"stages/*/{name}")
        (there,) = (runs / "base").glob(f"stages/*/{name}")
        return here.samefile(there)

    assert is_linked("checkpoints/step-00000024/model.safetensors")
    assert not is_linked("events.jsonl")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("sequences = 8\n", "sequences = 7\n"), "another evaluation.sequences"),
        (('every = "6 steps"', 'every = "12 steps"'), None),
        (('[[stage]]\nname = "update"', '[[stage]]\nname = "update"\nat = "5 steps"'), "step 5"),
    ],
)
def test_what_is_not_the_same_is_trained_and_said(runs, tiny, tmp_path, capsys, change, reason):
    file = write(tiny, "changed", CAMPAIGN[: CAMPAIGN.index("[arms]")].replace(*change))
    run(file, tiny.prepared, tmp_path / "run", reuse=runs, quiet=False)
    said = " ".join(capsys.readouterr().err.split())
    taken = "taken over" in kinds(tmp_path / "run", "pretrain")
    assert taken is (reason is None)
    assert reason is None or reason in said


def test_a_damaged_checkpoint_is_not_taken(tiny, tmp_path):
    folder = tmp_path / "others"
    run(write(tiny, "base", ONLY_PRETRAIN), tiny.prepared, folder / "base")
    weights = next(folder.glob("*/stages/*/checkpoints/step-00000024/model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="model"):
        run(write(tiny, "again"), tiny.prepared, tmp_path / "run", reuse=folder)
