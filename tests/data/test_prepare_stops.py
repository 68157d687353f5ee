"""Preparation that is stopped: killed, interrupted, out of disk. The next run mends everything."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rewarm
from rewarm.data.prepare import prepare_split
from rewarm.data.sources.text_files import TextFiles
from rewarm.data.store import TokenStore
from rewarm.errors import DataError

CHUNK_BYTES = 1000
PIECE_CHARACTERS = 300
NAMES = ("tokens.bin", "tokens.idx", "manifest.json")

# Arguments: root, tokenizer, folder, workers, encoder, then what is to happen and when.
SCRIPT = """
import multiprocessing, os, resource, signal, sys, time
from pathlib import Path

from rewarm.data import pieces, prepare
from rewarm.data.sources.text_files import TextFiles
from rewarm.data.tokenizer import load_tokenizer
from rewarm.errors import RewarmError

def main():
    # A shell may have started the tests in the background, where SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root, tokenizer, folder, workers, encoder, event, when = sys.argv[1:]
    prepare.CHUNK_BYTES, pieces.PIECE_CHARACTERS = 1000, 300
    renames = reports = 0

    def before_rename(name, arguments):
        nonlocal renames
        if name == "os.rename":
            renames += 1
            if event == "rename" and renames == int(when):
                os.kill(os.getpid(), signal.SIGKILL)

    def wait(progress):
        nonlocal reports
        reports += 1
        if event == "wait" and reports == int(when):
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
            time.sleep(60)

    sys.addaudithook(before_rename)
    if event == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(when), resource.RLIM_INFINITY))
    try:
        prepare.prepare_split(
            TextFiles(("a.jsonl",), Path(root)), Path(folder), load_tokenizer(Path(tokenizer)),
            document_seed=7, workers=int(workers), encoder=encoder, on_progress=wait,
        )
    except RewarmError as error:
        print(error)
        sys.exit(error.exit_code)
    print("renames", renames)

if __name__ == "__main__":
    main()
"""


@pytest.fixture(autouse=True, scope="module")
def _small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rewarm.data.prepare.CHUNK_BYTES", CHUNK_BYTES)
        patch.setattr("rewarm.data.pieces.PIECE_CHARACTERS", PIECE_CHARACTERS)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory, sentences):
    root = tmp_path_factory.mktemp("root")
    texts = sentences(60, 5)
    texts[30] = " ".join(sentences(40, 6))  # over several pieces and chunks
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (root / "a.jsonl").write_text(rows, encoding="utf-8")
    (root / "script.py").write_text(SCRIPT, encoding="utf-8")
    return root


def prepare(root, folder, tokenizer, workers=1, encoder="tiktoken"):
    prepare_split(
        TextFiles(("a.jsonl",), root),
        folder,
        tokenizer,
        document_seed=7,
        workers=workers,
        encoder=encoder,
    )
    return [(folder / name).read_bytes() for name in NAMES]


@pytest.fixture(scope="module")
def undisturbed(root, tokenizer):
    """Made with the reference and in whole documents, as the others are not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rewarm.data.pieces.PIECE_CHARACTERS", 10**9)
        return prepare(root, root / "undisturbed", tokenizer, encoder="reference")


@pytest.mark.parametrize("encoder", ["reference", "tiktoken"])
@pytest.mark.parametrize("workers", [1, 2])
def test_encoders_pieces_and_processes_do_not_change_the_bytes(
    tmp_path, root, tokenizer, undisturbed, encoder, workers
):
    assert prepare(root, tmp_path, tokenizer, workers, encoder) == undisturbed


def start(root, folder, tokenizer, workers, event, when, encoder="tiktoken"):
    arguments = (root, tokenizer.path, folder, workers, encoder, event, when)
    return subprocess.Popen(
        [sys.executable, str(root / "script.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(rewarm.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_a_worker_imports_has_no_torch():
    code = "import sys, rewarm.data.prepare; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(rewarm.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def is_running(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def num_renames(root, folder, tokenizer):
    """Return how many files an undisturbed preparation renames: each is a moment to be killed."""
    process = start(root, folder, tokenizer, 1, "none", 0)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return int(output.split()[-1])


def test_a_kill_before_any_rename_leads_to_the_same_bytes(tmp_path, root, tokenizer, undisturbed):
    """The recipe, the first, a middle and the last chunk, the tokens, the index, the manifest."""
    count = num_renames(root, tmp_path / "counted", tokenizer)
    moments = [1, 2, count // 2, *range(count - 3, count + 1)]
    assert count > 8
    processes = []
    for moment in moments:
        folder = tmp_path / str(moment)
        process = start(root, folder, tokenizer, 1, "rename", moment)
        process.communicate(timeout=60)
        processes.append(process.returncode)
        with pytest.raises(DataError, match="not prepared"):
            TokenStore.open(folder)
        assert prepare(root, folder, tokenizer) == undisturbed
    assert processes == [-signal.SIGKILL] * len(moments)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_a_stop(tmp_path, root, tokenizer, undisturbed, number):
    process = start(root, tmp_path, tokenizer, 2, "wait", 3, "reference")
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(is_running, workers))
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_running, workers))
    assert prepare(root, tmp_path, tokenizer) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_threads_end_with_a_stop(tmp_path, root, tokenizer, undisturbed, number):
    process = start(root, tmp_path, tokenizer, 2, "wait", 3)
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"  # it has no other processes
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    assert prepare(root, tmp_path, tokenizer) == undisturbed


@pytest.mark.parametrize(
    ("workers", "encoder", "limit_bytes"),
    [(1, "tiktoken", 300), (2, "tiktoken", 300), (2, "reference", 300), (1, "tiktoken", 2_000)],
)
def test_a_full_disk_is_an_error_that_the_next_run_mends(
    tmp_path, root, tokenizer, undisturbed, workers, encoder, limit_bytes
):
    """A limit below the size of a chunk, in all kinds of run, and one below that of the tokens."""
    process = start(root, tmp_path, tokenizer, workers, "limit", limit_bytes, encoder)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 7, errors
    assert "tokens.bin: cannot write" in output or "chunk-00000000: cannot write" in output
    assert ("chunk" in output) == (limit_bytes == 300)
    with pytest.raises(DataError, match="not prepared"):
        TokenStore.open(tmp_path)
    assert prepare(root, tmp_path, tokenizer) == undisturbed
