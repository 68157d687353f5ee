"""The tiny campaign carried out by the command, and copies of it to spoil."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.command import Workplace
from tests.tiny import Tiny

from rewarm.runs.folder import RunFolder


@pytest.fixture(autouse=True)
def quiet(one_thread: None) -> None:
    """See `one_thread`."""


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make lines long enough for a table with a path in it."""
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture(scope="session")
def finished(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Return the tiny campaign, finished; not to be changed."""
    place = Workplace(tmp_path_factory.mktemp("finished") / "tiny")
    shutil.copytree(tiny.folder, place.folder)
    # Half as many checkpoints are quicker to copy, and still enough to fall back to.
    text = place.file.read_text(encoding="utf-8").replace('"6 steps"', '"12 steps"')
    place.file.write_text(text, encoding="utf-8")
    done = place.train()
    assert done.code == 0, done.err
    return place


@pytest.fixture
def work(finished: Workplace, tmp_path: Path) -> Iterator[Workplace]:
    """Return a copy of the finished campaign that a test may spoil."""
    place = Workplace(tmp_path / "work")
    shutil.copytree(finished.folder, place.folder)
    yield place
    shutil.rmtree(place.folder)


@pytest.fixture
def unfinished(work: Workplace) -> Workplace:
    """Return a copy whose last stage, the union, stands at step 24 of 44."""
    stage = RunFolder(work.run).stage(work.stage("union").name)
    stage.result.unlink()
    for step in (36, 44):
        shutil.rmtree(stage.checkpoint(step))
    return work


@pytest.fixture
def untouched(finished: Workplace) -> Iterator[Workplace]:
    """Return the finished campaign, and make sure that the test leaves every byte of it."""
    before = finished.contents()
    yield finished
    assert finished.contents() == before
