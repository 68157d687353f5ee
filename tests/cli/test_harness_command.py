"""`rewarm eval --harness`: refused where the extra is absent; with it measured, recorded and compared."""

import json
from importlib.util import find_spec

import orjson
import pytest
from tests.cli.command import QUICK, rewarm

HAS_HARNESS = find_spec("lm_eval") is not None
NEEDED = "lm-evaluation-harness is not installed; see `make parity`"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    rows = [
        {"goal": text, "sol1": "ba", "sol2": "bodu", "label": n % 2}
        for n, text in enumerate(("ba bebi", "dida bubo", "ke zu", "kozo ze"))
    ]
    (folder / "baber/piqa").mkdir(parents=True)
    lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    (folder / "baber/piqa/validation.jsonl").write_bytes(lines)
    return folder


@pytest.mark.skipif(HAS_HARNESS, reason="lm-evaluation-harness is installed")
def test_what_to_install_is_said(untouched, tmp_path):
    where = ("--stage", "pretrain", "--prepared", untouched.prepared, "--out", tmp_path / "out")
    done = rewarm("eval", untouched.run, *where, "--harness", "paper_en", *QUICK)
    assert (done.code, "pip install 'rewarm[eval]'" in done.err) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not HAS_HARNESS, reason=NEEDED)
def test_stages_of_a_run_are_asked_and_compared(untouched, data, tmp_path):
    out = tmp_path / "out"
    where = ("--stage", "pretrain", "--prepared", untouched.prepared, "--out", out)
    asked = ("--harness", "piqa", "--data", data, "--limit", "3", *QUICK)
    folders = []
    for step in (12, 24):
        done = rewarm("eval", untouched.run, *where, "--at", f"{step} steps", *asked)
        assert done.code == 0, done.err
        assert "100%" not in done.err  # the harness draws no bars of its own
        name = f"{untouched.run.name}-{untouched.stage('pretrain').name}-step-{step}"
        folders.append(out / name)
    record = json.loads((folders[0] / "results.json").read_text())
    (task,) = record["tasks"]
    assert (task["name"], task["items"], task["file"]) == ("piqa", 3, str(data / "baber/piqa"))
    assert task["harness"] == {"version": "1.0", "shots": 0, "members": ["piqa"]}
    assert record["versions"]["lm_eval"].startswith("0.4.")
    done = rewarm("compare", *folders, "--json")
    assert done.code == 0, done.err
    (model,) = json.loads(done.out)["models"]
    (compared,) = model["tasks"]
    assert (compared["task"], compared["items"]) == ("piqa", 3)
    elsewhere = (*where[:-1], tmp_path / "all", *asked[:4], *QUICK)
    done = rewarm("eval", untouched.run, *elsewhere)
    assert done.code == 0, done.err
    other = tmp_path / "all" / folders[1].name
    assert rewarm("compare", folders[0], other).code == 5  # all rows are not the first three


@pytest.mark.skipif(not HAS_HARNESS, reason=NEEDED)
def test_mistakes_are_said_before_a_model_is_loaded(untouched, data, tmp_path):
    where = ("--stage", "pretrain", "--prepared", untouched.prepared, "--out", tmp_path / "out")
    for asked, code, message in (
        (("--harness", "hellaswag", "--data", data), 3, "has no validation.jsonl"),
        (("--harness", "no_such_task_at_all"), 2, "no task, group or tag of that name"),
    ):
        done = rewarm("eval", untouched.run, *where, *asked, *QUICK)
        assert (done.code, done.out) == (code, "")
        assert message in done.err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_data_alone_is_refused(untouched, data, tmp_path):
    where = ("--stage", "pretrain", "--prepared", untouched.prepared, "--out", tmp_path / "out")
    done = rewarm("eval", untouched.run, *where, "--data", data, *QUICK)
    assert (done.code, "is of --harness" in done.err) == (2, True)
