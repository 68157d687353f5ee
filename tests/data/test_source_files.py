"""Where files are found: patterns here, addresses elsewhere, and nothing that is no plain file."""

import gzip
import os
import socket
from pathlib import Path

import fsspec
import pytest

from rewarm.data.documents import MissingTextError, read_documents
from rewarm.data.rejects import Rejects
from rewarm.data.sources.files import find_files
from rewarm.data.sources.formats import kind_of
from rewarm.data.sources.text_files import TextFiles
from rewarm.errors import DataError

ROW = b'{"text": "a"}\n'


@pytest.fixture
def memory():
    """The file system in memory, empty."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def texts(*patterns, root=Path()):
    source = TextFiles(patterns, root)
    return [document.text for document in read_documents(source, Rejects())]


def test_addresses_are_read_in_the_order_of_their_names(memory):
    memory.pipe("/corpus/b.jsonl.gz", gzip.compress(b'{"text": "b"}'))
    memory.pipe("/corpus/a.txt", b"a")
    memory.pipe("/corpus/deep/c.jsonl", b'{"text": "c"}\n{"text": "d"}')
    source = TextFiles(("memory://corpus/**",), Path())
    documents = list(source.documents(Rejects()))
    assert [document.text for document in documents] == ["a", "b", "c", "d"]
    assert documents[1].origin == "memory:///corpus/b.jsonl.gz:1"
    assert documents[-1].read_bytes == source.num_bytes()
    assert source.describe()[0] == {"file": "memory:///corpus/a.txt", "bytes": 1}


def test_files_by_address_and_by_path_have_the_same_text(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(ROW * 3)
    (tmp_path / "b.txt").write_bytes(b"b")
    by_address = texts(f"file://{tmp_path}/*")
    assert by_address == texts("*", root=tmp_path) == ["a", "a", "a", "b"]


def test_the_tag_of_a_server_is_part_of_where_text_is_from(memory, monkeypatch):
    memory.pipe("/corpus/a.jsonl", ROW)
    glob = type(memory).glob

    def glob_with_tags(system, *arguments, **settings):
        found = glob(system, *arguments, **settings)
        return {name: info | {"ETag": '"f00"'} for name, info in found.items()}

    monkeypatch.setattr(type(memory), "glob", glob_with_tags)
    (entry,) = TextFiles(("memory://corpus/*.jsonl",), Path()).describe()
    assert entry["etag"] == "f00"


@pytest.mark.parametrize(
    ("address", "error", "reason"),
    [
        ("memory://nothing/*.jsonl", MissingTextError, "no file matches"),
        ("s3://bucket/*.jsonl", DataError, "needs a package that is not here: Install s3fs"),
        ("no-such-scheme://a/b", DataError, "there is no file system 'no-such-scheme'"),
        ("ftp://me:secret@host/a.txt", DataError, "has a password in it"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_an_address_that_gives_no_text_says_why(address, error, reason):
    with pytest.raises(error, match=reason) as raised:
        texts(address)
    assert "secret" not in str(raised.value)


def test_a_server_that_does_not_answer_is_text_that_is_missing(memory, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no route")

    monkeypatch.setattr(type(memory), "glob", refuse)
    with pytest.raises(MissingTextError, match=r"cannot be listed .RuntimeError: no route"):
        texts("memory://corpus/*.jsonl")


@pytest.mark.parametrize("by", ["a*", "a.jsonl"])
def test_only_plain_files_are_opened(tmp_path, by):
    path = tmp_path / "a.jsonl"
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"a\.jsonl: is a pipe, not a plain file"):
        texts(by, root=tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"a\.jsonl: is a folder, not a plain file"):
        texts(by, root=tmp_path)
    path.rmdir()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"a\.jsonl: is a device, not a plain file"):
        texts(by, root=tmp_path)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(DataError, match=r"a\.jsonl"):
        texts(by, root=tmp_path)
    path.unlink()
    (tmp_path / "b.jsonl").write_bytes(ROW)
    path.symlink_to(tmp_path / "b.jsonl")
    assert texts(by, root=tmp_path) == ["a"]


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # its address is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("a.txt")
        with pytest.raises(DataError, match="is a socket"):
            texts("*.txt", root=tmp_path)


def test_a_loop_of_links_between_folders_ends(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b.jsonl").write_bytes(ROW)
    assert texts("**/*.jsonl", root=tmp_path) == ["a"]


def test_folders_that_a_pattern_gives_by_the_way_are_no_mistake(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.jsonl").write_bytes(ROW)
    assert [*find_files(["*"], tmp_path)] == ["a.jsonl"]


def test_two_names_of_one_file_have_one_identity(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(ROW)
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    files = find_files(["*", f"{tmp_path}/a.jsonl"], tmp_path)
    assert len(files) == 3
    assert len({file.identity for file in files.values()}) == 1


@pytest.mark.parametrize("name", ["a.csv", "a", "a.jsonl.bz2", "a.parquet.gz", "jsonl", ".jsonl"])
def test_a_name_that_says_nothing_known_has_no_kind(name):
    assert kind_of(name) is None
