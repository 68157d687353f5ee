"""Records round-trip, appear complete or not at all, and survive torn lines and full disks."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewarm.errors import CheckpointError, StorageError
from rewarm.runs.files import (
    append_record,
    keep_lines_until,
    read_record,
    read_records,
    write_bytes,
    write_record,
)
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import (
    EvalRecord,
    EventRecord,
    ExitRecord,
    ResolvedRecord,
    RunRecord,
    SampleRecord,
    StageRecord,
    StageResult,
    StepRecord,
    ThroughputRecord,
)
from rewarm.storage import temporary_path

FULL = Path("/dev/full")
NEEDS_FULL = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
KINDS = [
    EvalRecord,
    EventRecord,
    ExitRecord,
    ResolvedRecord,
    RunRecord,
    SampleRecord,
    StageRecord,
    StageResult,
    StepRecord,
    ThroughputRecord,
]

RATES = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.dictionaries(st.text(max_size=5), st.integers(0, 2**53), max_size=3)
STEPS = st.builds(
    StepRecord,
    step=st.integers(0, 2**53),
    tokens=st.integers(0, 2**53),
    lr=RATES,
    loss=RATES,
    gradient_norm=RATES,
    new=COUNTS,
    replayed=COUNTS,
)
SAMPLES = st.builds(SampleRecord, prompt=st.text(), continuation=st.text())

# Writes the file named while no file may grow beyond 1,000 bytes.
WRITE_TOO_MUCH = """
import resource, sys
from pathlib import Path
from rewarm.runs.files import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
write_bytes(Path(sys.argv[1]), b"x" * int(sys.argv[2]))
"""


def step(number: int, loss: float = 1.0) -> StepRecord:
    return StepRecord(
        step=number, tokens=8, lr=1e-3, loss=loss, gradient_norm=0.5, new={"a": 1}, replayed={}
    )


def exit_record(reason: str) -> ExitRecord:
    return ExitRecord(code=0, reason=reason, at="2024-01-01T00:00:00+00:00")


@given(STEPS | SAMPLES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_record_is_read_back_to_the_last_bit(tmp_path, record):
    write_record(tmp_path / "record.json", record)
    assert read_record(tmp_path / "record.json", type(record)) == record


@given(st.lists(STEPS, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_are_read_back_in_their_order(tmp_path, records):
    path = tmp_path / "lines.jsonl"
    path.unlink(missing_ok=True)
    for record in records:
        append_record(path, record)
    assert list(read_records(path, StepRecord)) == records


@given(SAMPLES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_breaks_a_line(tmp_path, record):
    path = tmp_path / "lines.jsonl"
    path.unlink(missing_ok=True)
    append_record(path, record)
    append_record(path, record)
    assert path.read_bytes().count(b"\n") == 2
    assert list(read_records(path, SampleRecord)) == [record, record]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_record_has_no_keys_and_types_but_its_own(kind):
    assert kind.model_config["extra"] == "forbid"
    assert kind.model_config["strict"] is True
    assert kind.model_config["frozen"] is True


def test_the_same_record_is_the_same_bytes(tmp_path):
    """Metrics of a resumed run are compared as files."""
    for name in ("a", "b"):
        append_record(tmp_path / name, step(1, loss=1 / 3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_missing_file_has_no_lines(tmp_path):
    assert list(read_records(tmp_path / "none", StepRecord)) == []
    assert keep_lines_until(tmp_path / "none", 3) == 0


@pytest.mark.parametrize("left", [1, 5, 20])
def test_a_torn_last_line_is_not_a_record(tmp_path, left):
    path = tmp_path / "lines.jsonl"
    append_record(path, step(1))
    whole = path.read_bytes()
    append_record(path, step(2))
    path.write_bytes(path.read_bytes()[: len(whole) + left])
    assert list(read_records(path, StepRecord)) == [step(1)]


@pytest.mark.parametrize("records", [0, 2])
def test_a_line_after_a_torn_one_takes_its_place(tmp_path, records):
    """Joined to it, both would be lost, and the file could not be read any more."""
    path = tmp_path / "lines.jsonl"
    for number in range(records):
        append_record(path, step(number))
    with path.open("ab") as file:
        file.write(b'{"step":7,"tok')
    append_record(path, step(9))
    expected = [*(step(number) for number in range(records)), step(9)]
    assert list(read_records(path, StepRecord)) == expected


def test_a_complete_line_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_record(path, step(1))
    append_record(path, exit_record("finished"))
    with pytest.raises(CheckpointError, match=r"lines\.jsonl:2: not a StepRecord"):
        list(read_records(path, StepRecord))


def test_lines_are_cut_back_to_a_step(tmp_path):
    path = tmp_path / "lines.jsonl"
    for number in (1, 2, 2, 3, 4):
        append_record(path, step(number))
    with path.open("ab") as file:
        file.write(b'{"step":5')
    assert keep_lines_until(path, 2) == 2
    assert [record.step for record in read_records(path, StepRecord)] == [1, 2, 2]
    assert path.read_bytes().endswith(b"}\n")
    assert keep_lines_until(path, 2) == 0
    assert keep_lines_until(path, -1) == 3
    assert path.read_bytes() == b""


@pytest.mark.parametrize("line", [b"\x00\x00\n", b"{}\n", b"[]\n", b'{"step":"x"}\n', b"3\n"])
def test_what_cannot_be_cut_back_is_named(tmp_path, line):
    path = tmp_path / "lines.jsonl"
    append_record(path, step(1))
    with path.open("ab") as file:
        file.write(line)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"lines\.jsonl:2: not the record of a step"):
        keep_lines_until(path, 1)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a ExitRecord of this version of rewarm"),
        (b"{}", "3 problems"),
        (b'{"code":"0","reason":"","at":""}', "('code',): Input should be a valid integer"),
        (b'{"code":0,"reason":"","at":"","more":1}', "('more',): Extra inputs are not permitted"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, content, says):
    (tmp_path / "exit.json").write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        read_record(tmp_path / "exit.json", ExitRecord)
    assert says in str(refused.value)


def test_a_missing_record_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"exit\.json: cannot be read \(No such file"):
        read_record(tmp_path / "exit.json", ExitRecord)


def test_a_record_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "deep" / "folder" / "exit.json"
    write_record(path, exit_record("interrupted"))
    write_record(path, exit_record("finished"))
    assert read_record(path, ExitRecord).reason == "finished"
    assert [p.name for p in path.parent.iterdir()] == ["exit.json"]


def test_who_is_reading_an_older_record_reads_it_whole(tmp_path):
    """The new one is another file under the same name: never a part of both."""
    path = tmp_path / "exit.json"
    write_bytes(path, b"old" * 100)
    with path.open("rb", buffering=0) as reader:
        first = reader.read(1)
        write_bytes(path, b"new")
        assert first + reader.read() == b"old" * 100
    assert path.read_bytes() == b"new"


def test_what_a_crash_left_half_written_is_no_record(tmp_path):
    path = tmp_path / "exit.json"
    write_record(path, exit_record("interrupted"))
    temporary_path(path).write_bytes(b'{"code":')
    assert read_record(path, ExitRecord).reason == "interrupted"
    write_record(path, exit_record("finished"))
    assert read_record(path, ExitRecord).reason == "finished"
    assert not temporary_path(path).exists()


def too_much(path: Path, num_bytes: int) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WRITE_TOO_MUCH, str(path), str(num_bytes)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def test_on_a_disk_that_refuses_the_older_record_is_intact(tmp_path):
    path = tmp_path / "exit.json"
    write_bytes(path, b"old")
    assert "StorageError" in too_much(path, 100_000)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["exit.json"]
    assert too_much(path, 900) == ""
    assert path.read_bytes() == b"x" * 900


@NEEDS_FULL
def test_a_full_disk_is_said_to_be_one(tmp_path):
    (tmp_path / "lines.jsonl").symlink_to(FULL)
    with pytest.raises(StorageError, match=r"lines\.jsonl: .*No space left on device"):
        append_record(tmp_path / "lines.jsonl", step(1))


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(StorageError, match=r"Not a directory|File exists"):
        write_record(tmp_path / "run" / "exit.json", exit_record("finished"))


def test_every_file_of_a_run_has_a_place_of_its_own():
    run = RunFolder(Path("runs/small"))
    stage = run.stage("update-0123abcd")
    of_run = [run.campaign_file, run.resolved, run.plan, run.annealings, run.lock, run.exit]
    of_stage = [
        stage.record,
        stage.metrics,
        stage.throughput,
        stage.evals,
        stage.events,
        stage.samples,
        stage.result,
        stage.checkpoints,
    ]
    paths = [*of_run, run.report, *of_stage]
    assert len(set(paths)) == len(paths)
    assert {path.parent for path in of_stage} == {Path("runs/small/stages/update-0123abcd")}
    assert {path.parent for path in of_run} == {Path("runs/small")}


def test_checkpoints_sort_by_their_step():
    stage = RunFolder(Path("run")).stage("update-0123abcd")
    names = [stage.checkpoint(number).name for number in (2, 10, 132_366)]
    assert names == sorted(names)
