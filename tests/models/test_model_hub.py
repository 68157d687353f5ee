"""Models of the hub: from a cache laid out by hand, and from a server of our own on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rewarm.campaign.hub import hub_id, revision_of
from rewarm.errors import CheckpointError
from rewarm.models.hub import download_model, local_model_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""

SCRIPT = """
import sys
from pathlib import Path
from rewarm.campaign.hub import revision_of
from rewarm.errors import RewarmError
from rewarm.models.hub import download_model
try:
    folder = download_model(sys.argv[1], Path(sys.argv[2]))
except RewarmError as error:
    print(error)
    sys.exit(error.exit_code)
print(folder)
print(revision_of(folder))
"""


@dataclass(frozen=True)
class Client:
    """Asks for a model in a process of its own: the hub's client reads its settings when it is imported."""

    root: Path

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def get(self, name: str, *, endpoint: str = NOWHERE, offline: bool = False) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
        settings = {
            "HF_HUB_CACHE": str(self.cache),
            "HF_HOME": str(self.root / "home"),
            "HF_ENDPOINT": endpoint,
            "HF_HUB_OFFLINE": "1" if offline else "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, name, str(self.root)],
            env=kept | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 4), done.stderr
        return done.returncode, done.stdout


@pytest.fixture
def client(tmp_path) -> Client:
    return Client(tmp_path)


def lay_out(cache: Path, name: str, *files: str) -> Path:
    """Make the cache of a model as the hub's client does."""
    files = files or ("config.json", "model.safetensors")
    repository = cache / f"models--{name.replace('/', '--')}"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return folder


@pytest.mark.parametrize("name", ["maker/tiny", "hf://maker/tiny", f"maker/tiny@{COMMIT}"])
def test_without_a_network_the_cache_is_taken_and_the_commit_is_known(client, name):
    folder = lay_out(client.cache, "maker/tiny")
    assert client.get(name, offline=True) == (0, f"{folder}\n{COMMIT}\n")


def test_a_local_folder_wins_unless_the_name_says_hub(client):
    cached = lay_out(client.cache, "maker/tiny")
    local = client.root / "maker" / "tiny"
    local.mkdir(parents=True)
    assert client.get("maker/tiny", offline=True) == (0, f"{local}\nNone\n")
    assert client.get("hf://maker/tiny", offline=True) == (0, f"{cached}\n{COMMIT}\n")


INDEX = '{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}'


@pytest.mark.parametrize("offline", [True, False])
def test_a_part_of_a_model_is_not_taken_for_it_and_what_is_missing_is_said(client, offline):
    folder = lay_out(client.cache, "maker/tiny", "config.json", "one.safetensors")
    (folder / "model.safetensors.index.json").write_text(INDEX)
    code, said = client.get("maker/tiny", offline=offline)
    assert code == 4
    assert "two.safetensors" in said
    assert "one.safetensors" not in said
    (folder / "two.safetensors").write_text("{}")
    assert client.get("maker/tiny", offline=offline)[0] == 0


@pytest.mark.parametrize("offline", [True, False])
def test_what_is_neither_here_nor_to_be_had_is_refused_with_what_to_do(client, offline):
    code, said = client.get("maker/tiny", offline=offline)
    assert code == 4
    assert "maker/tiny: the hub's cache on this machine has not config.json, model.safe" in said
    assert "`hf download maker/tiny`" in said
    assert str(client.root / "maker" / "tiny") in said


@pytest.mark.parametrize(
    "name",
    [
        "nowhere",
        "../nowhere/model",
        "/nowhere",
        "a/b/c",
        "~/nowhere",
        "./a/b",
        "a/b@",
        "hf://",
        "a/b@../../c",
        "a/b--c",
        "a/b.git",
        "a/tokenizer.json",
    ],
)
def test_what_can_only_be_a_path_is_never_looked_for_on_the_hub(tmp_path, name):
    assert hub_id(name) is None
    for get in (local_model_folder, download_model):
        with pytest.raises(CheckpointError, match="no such folder"):
            get(name, tmp_path)


def test_only_a_folder_of_the_cache_has_a_revision(tmp_path):
    assert revision_of(tmp_path / "snapshots" / COMMIT) == COMMIT
    assert revision_of(tmp_path / "snapshots" / "main") is None
    assert revision_of(tmp_path / COMMIT) is None


FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": b"not really",
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "modeling_tiny.py": b"raise SystemExit",
    "README.md": b"# tiny",
    "consolidated.safetensors": b"the same once more",
    "other/model.safetensors": b"another",
}


class Hub(ThreadingHTTPServer):
    """A server that answers as the hub does."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.error: tuple[int, str] | None = None  # status and code of every answer, or the files
        self.without: tuple[str, ...] = ()  # files that it does not have
        self.asked: list[str] = []


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body: bool):
        self.server.asked.append(self.path)
        status, headers, body = self.content()
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def content(self) -> tuple[int, dict[str, str], bytes]:
        if self.server.error is not None:
            status, code = self.server.error
            return status, {"X-Error-Code": code, "X-Error-Message": code}, b"{}"
        name = self.path.partition("?")[0].partition(COMMIT + "/")[2]
        if "/resolve/" in self.path:
            tag = hashlib.sha1(FILES[name]).hexdigest()
            return 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}, FILES[name]
        entries = [
            {
                "type": "file",
                "path": path,
                "rfilename": path,
                "size": len(body),
                "oid": hashlib.sha1(body).hexdigest(),
            }
            for path, body in FILES.items()
            if path not in self.server.without
        ]
        model = {"id": "maker/tiny", "sha": COMMIT, "siblings": entries}
        answer = entries if "/tree/" in self.path else model
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

    def log_message(self, *_: object):
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_neither_pickles_nor_code_are_got(client, hub):
    code, said = client.get("maker/tiny@main", endpoint=hub.endpoint)
    folder, revision = said.splitlines()
    assert (code, revision) == (0, COMMIT)
    got = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert got == {name: FILES[name] for name in wanted}
    assert not any("bin" in path or ".py" in path for path in hub.asked)
    assert client.get("maker/tiny", offline=True) == (0, said)


def test_what_the_cache_has_is_taken_without_asking_the_hub(client, hub):
    """So a branch that moves does not change a model under a campaign."""
    folder = lay_out(client.cache, "maker/tiny")
    assert client.get("maker/tiny", endpoint=hub.endpoint) == (0, f"{folder}\n{COMMIT}\n")
    assert hub.asked == []


def test_a_model_that_has_only_pickles_is_refused(client, hub):
    hub.without = ("model.safetensors",)
    code, said = client.get("maker/tiny", endpoint=hub.endpoint)
    assert code == 4
    assert "maker/tiny: the hub did not give model.safetensors" in said
    assert "never as a pickle" in said


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ((403, "GatedRepo"), "accepted its terms"),
        ((404, "RepoNotFound"), "no such model"),
        ((404, "RevisionNotFound"), "not this revision"),
        ((500, "Broken"), "cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_said_in_words(client, hub, error, message):
    hub.error = error
    code, said = client.get("maker/tiny", endpoint=hub.endpoint)
    assert code == 4
    assert message in said
