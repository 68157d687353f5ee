"""Text files in: every way in which a file can be wrong has a defined result."""

import gzip
import json
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.data.documents import Document, read_documents
from rewarm.data.rejects import Rejects
from rewarm.data.sources.rows import Selection
from rewarm.data.sources.text_files import TextFiles
from rewarm.errors import DataError

ROWS = [{"text": "one"}, {"text": "two ü", "id": 2}, {"text": "three\nlines\r\n\u2028here"}]
LINES = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)
COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def read(root, *patterns, text="text", rejects=None):
    source = TextFiles(patterns, root, Selection(text=text))
    return list(read_documents(source, rejects or Rejects()))


def texts(root, *patterns):
    return [document.text for document in read(root, *patterns)]


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize("compression", COMPRESS)
def test_json_lines_give_a_document_each(tmp_path, kind, compression):
    name = f"a.{kind}{compression}"
    content = COMPRESS[compression](LINES)
    (tmp_path / name).write_bytes(content)
    assert read(tmp_path, "*") == [
        Document(row["text"], f"{name}:{number}", len(content))
        for number, row in enumerate(ROWS, start=1)
    ]
    assert TextFiles(("*",), tmp_path).num_bytes() == len(content)


@pytest.mark.parametrize("kind", ["txt", "md"])
@pytest.mark.parametrize("compression", COMPRESS)
def test_a_text_file_is_one_document_taken_as_it_is(tmp_path, kind, compression):
    content = COMPRESS[compression]("# Über\r\n\ntext\n".encode())
    (tmp_path / f"a.{kind}{compression}").write_bytes(content)
    expected = Document("# Über\r\n\ntext\n", f"a.{kind}{compression}", len(content))
    assert read(tmp_path, "*") == [expected]


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)), st.data())
def test_the_size_of_the_pieces_does_not_matter(tmp_path_factory, lines, data):
    rows = [text for text in lines if text.strip() and "\0" not in text]
    folder = tmp_path_factory.mktemp("pieces")
    content = "".join(json.dumps({"text": text}) + "\n" for text in rows).encode()
    for compression, compress in COMPRESS.items():
        (folder / f"a.jsonl{compression}").write_bytes(compress(content))
        with pytest.MonkeyPatch.context() as patch:
            size = data.draw(st.integers(1, 50))
            patch.setattr("rewarm.data.sources.reading._READ_BYTES", size)
            patch.setattr("rewarm.data.sources.reading._ZSTD_PIECE_BYTES", size)
            assert texts(folder, f"a.jsonl{compression}") == rows


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b'{"text": "a"}\n{"text": \n', 2, "not valid JSON.*at column"),
        (b'{"text": "a"}\n{"text": "b', 2, "not valid JSON: unexpected end of data"),
        (b'{"text": "a"}\n\n{"text": "\xff"}', 3, "not valid UTF-8 .byte 0xff"),
        (b'{"text": "\xed\xa0\x80"}', 1, "not valid UTF-8"),
        (b'{"text": "\\ud800"}', 1, "not valid JSON: .*surrogate"),
        (b'{"text": "a", "n": NaN}', 1, "not valid JSON"),
        (b'{"text": "a", "n": ' + b"1" * 5000 + b"}", 1, "not valid JSON: number is infinity"),
        (b'{"text": ' + b"[" * 100_000, 1, "not valid JSON: depth"),
        (b'{"text": "a"} {"text": "b"}', 1, "not valid JSON: unexpected content"),
        (b'[{"text": "a"}]', 1, "holds an array, not an object"),
        (b'{"txt": "a", "id": 1}', 1, "no key 'text'; its keys are .'id', 'txt'"),
        (b'{"text": null}', 1, "'text' is null, not a string"),
        (b'{"text": 5}', 1, "is a number, not a string"),
        (b'{"text": ""}', 1, "the document is empty"),
        (b'{"text": "a"}\n{"text": " \\n"}', 2, "the document is empty"),
        (b'{"text": "a\\u0000b"}', 1, "NUL character at position 1"),
        ('{"text": "a"}'.encode("utf-16"), 1, "UTF-16"),
        ('{"text": "a"}'.encode("utf-16-be"), 1, "is the file UTF-16"),
        (b'\n{"text": "a"}\xef\xbb\xbf', 2, "not valid JSON"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_line(tmp_path, content, line, reason):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=rf"^a\.jsonl:{line}: .*{reason}"):
        read(tmp_path, "a.jsonl")


@pytest.mark.parametrize(
    ("content", "where", "reason"),
    [
        (b"one\ntwo \xff", "a.txt:2", "not valid UTF-8"),
        (b"", "a.txt", "empty"),
        (b" \n", "a.txt", "empty"),
        (b"\xef\xbb\xbf", "a.txt", "empty"),
        (b"a\0b", "a.txt", "NUL"),
        (b"\xff\xfea\0", "a.txt:1", "UTF-16"),
    ],
)
def test_a_text_file_that_cannot_be_used_is_named(tmp_path, content, where, reason):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=f"^{where}: .*{reason}"):
        read(tmp_path, "a.txt")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + LINES,
        LINES.replace(b"\n", b"\r\n"),
        LINES.removesuffix(b"\n"),
        b"\n \n" + LINES + b"\n\t\r\n",
    ],
    ids=["byte order mark", "CRLF", "no last line feed", "blank lines"],
)
def test_harmless_differences_are_accepted(tmp_path, content):
    (tmp_path / "a.jsonl").write_bytes(content)
    assert texts(tmp_path, "a.jsonl") == [row["text"] for row in ROWS]


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_several_members_are_read_to_the_end(tmp_path, compression):
    compress = COMPRESS[compression]
    (tmp_path / f"a.jsonl{compression}").write_bytes(compress(LINES) + compress(LINES))
    assert len(texts(tmp_path, "*")) == 2 * len(ROWS)


@pytest.mark.parametrize("compression", [".gz", ".zst"])
def test_a_damaged_compressed_file_is_an_error(tmp_path, compression):
    path = tmp_path / f"a.jsonl{compression}"
    good = COMPRESS[compression](LINES)
    for content in (good[:-1], good[:-9], good[:20], good + b"garbage", LINES):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"a.jsonl{compression}: cannot be decompressed"):
            read(tmp_path, "*")
    path.write_bytes(good)
    assert len(read(tmp_path, "*")) == len(ROWS)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.txt.gz", "a.txt.zst"])
def test_a_bomb_is_read_in_bounded_memory(tmp_path, name, monkeypatch):
    """256 MiB in one line, from a file of a few hundred kB at most."""
    monkeypatch.setattr("rewarm.data.sources.reading.MAX_TEXT_BYTES", 1 << 20)
    monkeypatch.setattr("rewarm.data.sources.reading.PIECE_BYTES", 1 << 20)
    compress = COMPRESS["." + name.split(".")[-1]]
    (tmp_path / name).write_bytes(compress(b"a" * (1 << 22)) * 64)
    rejects = Rejects(limit=1)
    tracemalloc.start()
    try:
        pieces = TextFiles((name,), tmp_path).documents(rejects)
        num_bytes = sum(len(piece.text) for piece in pieces)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()
    if ".txt" in name:
        assert (num_bytes, rejects.counts) == (1 << 28, {})
    else:
        assert (num_bytes, rejects.counts) == (0, {"too long": 1})


def test_a_line_may_be_as_long_as_the_bound(tmp_path, monkeypatch):
    line = b'{"text": "abc"}'
    (tmp_path / "a.jsonl").write_bytes(line + b"\n" + line)
    monkeypatch.setattr("rewarm.data.sources.reading.MAX_TEXT_BYTES", len(line))
    assert len(read(tmp_path, "*")) == 2
    monkeypatch.setattr("rewarm.data.sources.reading.MAX_TEXT_BYTES", len(line) - 1)
    with pytest.raises(DataError, match=r"a\.jsonl:1: a line of over"):
        read(tmp_path, "*")


def test_files_are_sorted_and_unique_and_described_by_name_and_size(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.txt", "a.jsonl", "deep/c.txt", "deep/er/d.txt"):
        (tmp_path / name).write_bytes(LINES)
    source = TextFiles(("**/*.txt", "*.txt", "a.jsonl"), tmp_path, Selection(text="body"))
    assert [*source.files()] == ["a.jsonl", "b.txt", "deep/c.txt", "deep/er/d.txt"]
    assert source.describe()[:2] == [
        {"file": "a.jsonl", "bytes": len(LINES), "text_key": "body"},
        {"file": "b.txt", "bytes": len(LINES)},
    ]


def test_files_beside_the_root_and_absolute_ones_are_found(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    (tmp_path / "b[1].txt").write_text("b", encoding="utf-8")
    assert [*TextFiles(("../a*",), root).files()] == ["../a.txt"]
    assert [*TextFiles((f"{tmp_path}/a*",), root).files()] == [f"{tmp_path}/a.txt"]
    assert [*TextFiles((f"{tmp_path}/b[1].txt",), root).files()] == [f"{tmp_path}/b[1].txt"]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("*.jsonl", "no file matches '.*jsonl'"),
        ("", "no file matches ''|not a file pattern"),
        ("**x/*", "not a file pattern|no file matches"),
        ("folder", "no file matches 'folder'"),
        ("*.csv", "a.csv: text is read from"),
    ],
)
def test_a_pattern_that_gives_no_text_is_an_error(tmp_path, pattern, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=reason):
        TextFiles((pattern,), tmp_path).files()


def test_another_key_can_hold_the_text(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a", "body": "b"}')
    assert read(tmp_path, "*", text="body")[0].text == "b"
