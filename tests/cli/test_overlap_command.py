"""`rewarm overlap`, and what `plan`, `train` and the report make of it."""

import shutil

import orjson
import pytest
from tests.cli.command import Workplace, rewarm

from rewarm.errors import DataError
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import OverlapRecord


@pytest.fixture
def place(tiny, tmp_path):
    """The tiny campaign, in whose training text two of twelve validation documents are."""
    work = Workplace(tmp_path / "work")
    work.folder.mkdir()
    for path in tiny.folder.glob("*.*"):
        shutil.copy(path, work.folder)
    leaked = (work.folder / "new.valid.jsonl").read_bytes().splitlines(keepends=True)[:2]
    with (work.folder / "old.jsonl").open("ab") as file:
        file.writelines(leaked)
    done = work.prepare()
    assert done.code == 0, done.err
    return work


def overlap(work, *arguments):
    return rewarm("overlap", work.file, "--prepared", work.prepared, "--workers", 1, *arguments)


def plan(work, *arguments):
    return rewarm("plan", work.file, "--prepared", work.prepared, *arguments)


LIMIT = ("--set", "evaluation.max_overlap=10%")


def test_the_record_lies_beside_the_tokens_and_lists_the_documents(place):
    done = overlap(place)
    assert done.code == 0, done.err
    assert "2 of 12 validation documents of new (16.67%)" in done.out
    record = read_record(place.prepared / "overlap.json", OverlapRecord)
    found = {(f.validation, f.train, f.begins) for f in record.found if f.kind == "exact"}
    leaked = (place.folder / "new.valid.jsonl").read_bytes().splitlines()[:2]
    assert found == {("new", "old", orjson.loads(line)["text"][:100]) for line in leaked}
    as_json = overlap(place, "--json")
    assert OverlapRecord.model_validate_json(as_json.out) == record


def test_it_is_a_gate_where_it_is_asked_to_be(place):
    assert overlap(place, "--fail-above", "17%").code == 0
    refused = overlap(place, "--fail-above", "16%")
    assert refused.code == DataError.exit_code
    assert "--fail-above allows 16%" in refused.err
    assert (place.prepared / "overlap.json").exists()


@pytest.mark.parametrize("option", ["--fail-above", "--jaccard", "--ngrams"])
def test_a_share_that_is_none_is_a_mistake_in_the_command(option, place):
    done = overlap(place, option, "3")
    assert done.code == 2
    assert f"{option}: '3' is not a share" in done.err


def test_without_tokens_it_says_how_to_make_them(place):
    shutil.rmtree(place.prepared)
    assert overlap(place).code == DataError.exit_code


def test_the_plan_says_what_is_known(place):
    assert "is not measured" in plan(place).out
    assert "training would be refused" in plan(place, *LIMIT).out
    overlap(place)
    assert "2 of 12 validation documents of new" in plan(place).out
    assert "training would be refused: 2 of 12" in plan(place, *LIMIT).out


def test_training_is_refused_over_the_limit_and_before_it_is_measured(place):
    refused = place.train(*LIMIT)
    assert refused.code == DataError.exit_code
    assert "not measured" in refused.err
    overlap(place)
    refused = place.train(*LIMIT)
    assert refused.code == DataError.exit_code
    assert "2 of 12" in refused.err
    assert not (place.run / "stages").exists()


def test_the_report_shows_what_was_measured_on_these_tokens_alone(place):
    overlap(place)
    done = place.train("--set", "evaluation.max_overlap=20%")
    assert done.code == 0, done.err
    assert "looks better than it is" in done.err
    run = RunFolder(place.run)
    record = read_record(place.prepared / "overlap.json", OverlapRecord)
    assert read_record(run.overlap, OverlapRecord) == record
    page = run.report.read_text(encoding="utf-8")
    assert "<td>2 (16.67%)</td>" in page
    assert "not measured" not in page


def test_what_was_measured_on_other_tokens_does_not_count(place):
    overlap(place)
    shutil.rmtree(place.prepared / "old" / "validation")
    (place.folder / "old.valid.jsonl").write_bytes(b'{"text": "ba be bi"}\n')
    assert place.prepare().code == 0
    assert "is not measured" in plan(place).out
