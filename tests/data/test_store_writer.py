"""Writing a store: bad ids are refused, and nothing half-made looks complete."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rewarm
from rewarm.data.files import make_folder
from rewarm.data.store import TokenStore, write_store
from rewarm.errors import DataError, LockedError
from rewarm.storage import held, write_whole

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(rewarm.__file__).parents[1])}


def assert_nothing_there(folder):
    assert not any(folder.glob("*.tmp"))
    with pytest.raises(DataError, match="not prepared"):
        TokenStore.open(folder)


@pytest.mark.parametrize(
    ("documents", "vocabulary", "reason"),
    [
        ([], 100, "empty dataset"),
        ([[1, 0], []], 100, "document 1 has 0 tokens"),
        ([[1, 0], [100, 0]], 100, "document 1 has the id 100, outside the vocabulary of 100"),
        ([[70_000, 0]], 65_536, "has the id 70000, outside"),
        ([[-1, 0]], 70_000, "has the id -1, outside"),
        ([[1, 0], [1, 2]], 100, "document 1 ends with the id 2"),
    ],
)
def test_documents_that_cannot_be_stored_are_refused(
    tmp_path, write, documents, vocabulary, reason
):
    with pytest.raises(DataError, match=reason):
        write(tmp_path, documents, vocabulary)
    assert_nothing_there(tmp_path)
    write(tmp_path, [[1, 0]])


@pytest.mark.parametrize(("vocabulary", "name"), [(65_536, "uint16"), (65_537, "int32")])
def test_the_largest_id_survives(tmp_path, write, vocabulary, name):
    assert write(tmp_path, [[vocabulary - 1, 0]], vocabulary).dtype == name
    assert TokenStore.open(tmp_path).document(0).tolist() == [vocabulary - 1, 0]


def test_a_finished_store_is_never_overwritten(tmp_path, write):
    write(tmp_path, [[1, 0]])
    with pytest.raises(DataError, match="never overwritten"):
        write(tmp_path, [[2, 0]])
    assert TokenStore.open(tmp_path).document(0).tolist() == [1, 0]


def test_pieces_and_blocks_join_without_a_seam(tmp_path, write, monkeypatch):
    documents = [[1 + n % 90] * n + [0] for n in range(50)]
    whole = write(tmp_path / "whole", documents)
    monkeypatch.setattr("rewarm.data.writer._PIECE_BYTES", 100)
    monkeypatch.setattr("rewarm.data.writer.BLOCK_BYTES", 64)
    pieces = write(tmp_path / "pieces", documents)
    assert pieces.shards[0].files == whole.shards[0].files
    assert len(pieces.shards[0].blocks) == -(-pieces.shards[0].files[0].num_bytes // 64)
    TokenStore.open(tmp_path / "pieces").verify()


def test_a_file_in_the_way_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    for folder in (tmp_path / "file", tmp_path / "file" / "store"):
        with pytest.raises(DataError, match="is a file"):
            make_folder(folder)


DISK_FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from rewarm.data.store import write_store
from rewarm.errors import StorageError

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    write_store(
        Path(sys.argv[1]), [np.array([1] * 50_000 + [0])], vocabulary=9, end_of_text=0,
        tokenizer="f", document_seed=0, text_bytes=0, provenance=[{"file": "x" * 2_000}],
    )
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(
    ("limit_bytes", "code"),
    [
        (99_999, 7),
        (200_000, 0),
    ],
)
def test_a_full_disk_leaves_nothing_that_looks_complete(tmp_path, limit_bytes, code):
    ended = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path), str(limit_bytes)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    if code:
        assert "tokens.bin: cannot write its first 100,002 bytes" in ended.stdout
        assert_nothing_there(tmp_path)
    else:
        TokenStore.open(tmp_path).verify()


def test_a_progress_callback_that_fails_stops_the_writing(tmp_path):
    def fail(_progress):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_store(
            tmp_path,
            [np.array([1, 0])],
            vocabulary=9,
            end_of_text=0,
            tokenizer="f",
            document_seed=0,
            text_bytes=0,
            provenance=[],
            on_progress=fail,
        )
    assert_nothing_there(tmp_path)


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    lock = tmp_path / ".lock"
    with held(lock, "is busy"), pytest.raises(LockedError, match="is busy"), held(lock, "is busy"):
        pass
    with held(lock, "is busy"):
        pass


def test_a_small_file_is_replaced_whole(tmp_path):
    write_whole(tmp_path / "a", b"old")
    write_whole(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"
