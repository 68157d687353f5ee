"""The losses of the tiny campaign are a contract: they change only on purpose, with the reason in LOG.md.

`python -m tests.training.test_golden` writes golden.json anew.
"""

import json
import tempfile
from pathlib import Path

import pytest
from tests.tiny import write_tiny
from tests.training.running import run

from rewarm.campaign import load_campaign
from rewarm.data.datasets import prepare_campaign
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import RunRecord, StageResult, StepRecord

GOLDEN = Path(__file__).parent / "golden.json"


def losses(folder: Path) -> dict[str, dict[str, float]]:
    """Return, for each stage by arm and name, the final losses and the last training loss."""
    record = read_record(RunFolder(folder).plan, RunRecord)
    names = {stage.folder: stage.name for stage in record.stages}
    found: dict[str, dict[str, float]] = {}
    for arm, stages in record.arms.items():
        for stage in stages:
            files = RunFolder(folder).stage(stage)
            final = read_record(files.result, StageResult).final
            *_, last = read_records(files.metrics, StepRecord)
            found[f"{arm}/{names[stage]}"] = {**final, "training": last.loss}
    return found


def test_losses_are_the_golden_ones(tiny, tmp_path):
    run(tiny.file, tiny.prepared, tmp_path / "run")
    golden = json.loads(GOLDEN.read_text())
    found = losses(tmp_path / "run")
    assert found.keys() == golden.keys()
    for stage, expected in golden.items():
        # Other CPUs and library versions round differently; a change of method moves far more.
        assert found[stage] == pytest.approx(expected, rel=1e-4)


def write_golden() -> None:
    """Carry the tiny campaign out in a temporary folder and keep its losses."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_tiny(Path(folder))
        loaded = load_campaign(tiny.file)
        prepare_campaign(loaded.campaign, loaded.root, tiny.prepared, workers=1)
        run(tiny.file, tiny.prepared, tiny.folder / "run")
        GOLDEN.write_text(json.dumps(losses(tiny.folder / "run"), indent=1) + "\n")


if __name__ == "__main__":
    write_golden()
