"""Parquet as text: the rows in their order, some at a time, and every way of being wrong named."""

import sys
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rewarm.data.documents import read_documents
from rewarm.data.rejects import Rejects
from rewarm.data.sources import parquet
from rewarm.data.sources.rows import Selection
from rewarm.data.sources.text_files import TextFiles
from rewarm.errors import DataError


def write(path, columns, **settings):
    pq.write_table(pa.table(columns), path, **settings)


def read(folder, *patterns, text="text", rejects=None):
    source = TextFiles(patterns, folder, Selection(text=text))
    return list(read_documents(source, rejects or Rejects()))


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_rows_come_in_their_order_whatever_the_row_groups(tmp_path, compression):
    texts = [f"text {n} ü" for n in range(2500)]
    columns = {"id": list(range(2500)), "text": texts}
    write(tmp_path / "a.parquet", columns, row_group_size=700, compression=compression)
    documents = read(tmp_path, "*")
    assert [document.text for document in documents] == texts
    assert [documents[0].origin, documents[-1].origin] == ["a.parquet:1", "a.parquet:2500"]
    sizes = [document.read_bytes for document in documents]
    assert sizes == sorted(sizes)
    assert sizes[-1] == TextFiles(("*",), tmp_path).num_bytes()


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_every_type_of_text_is_read(tmp_path, kind):
    write(tmp_path / "a.parquet", {"text": pa.array(["a", "b", "a"]).cast(kind)})
    assert [document.text for document in read(tmp_path, "*")] == ["a", "b", "a"]


def test_a_nested_column_is_named_with_dots_and_a_dot_in_a_name_comes_first(tmp_path):
    nested = [{"body": "in", "n": 1}, {"body": "out", "n": 2}]
    write(tmp_path / "a.parquet", {"page": nested, "page.title": ["t", "u"], "n": [1, 2]})
    assert [each.text for each in read(tmp_path, "*", text="page.body")] == ["in", "out"]
    assert [each.text for each in read(tmp_path, "*", text="page.title")] == ["t", "u"]


def test_rows_that_cannot_be_used_are_named_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("rewarm.data.sources.reading.MAX_TEXT_BYTES", 100)
    texts = pa.array([b"a", None, b"\xff\xfe", b" ", b"x" * 101, b"a\0", b"b"], pa.binary())
    text = pa.StringArray.from_buffers(7, *texts.buffers()[1:], texts.buffers()[0])
    write(tmp_path / "a.parquet", {"text": text})
    rejects = Rejects(5)
    assert [each.text for each in read(tmp_path, "*", rejects=rejects)] == ["a", "b"]
    assert {reason: places[0] for reason, places in rejects.places.items()} == {
        "wrong type": "a.parquet:2",
        "not UTF-8": "a.parquet:3",
        "empty text": "a.parquet:4",
        "too long": "a.parquet:5",
        "NUL character": "a.parquet:6",
    }
    with pytest.raises(DataError, match=r"^a\.parquet:2: 'text' is null, not a string"):
        read(tmp_path, "*")


def test_a_table_without_the_column_is_an_error_however_many_rows_may_be_left_out(tmp_path):
    write(tmp_path / "a.parquet", {"body": ["a"], "page": [{"title": "a"}]})
    for name in ("text", "page.body", "body.text"):
        with pytest.raises(DataError, match=rf"a.parquet: has no column '{name}'.* body, page"):
            read(tmp_path, "*", text=name, rejects=Rejects(10))


def test_what_is_no_table_or_cut_short_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    write(path, {"text": [f"{n} some text" for n in range(5000)]}, compression="zstd")
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[len(good) // 3 : len(good) // 2] = bytes(len(good) // 2 - len(good) // 3)
    for content in (b"", b"text", good[:-20], good[len(good) // 2 :], bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
            read(tmp_path, "*", rejects=Rejects(10**6))


def test_the_memory_does_not_grow_with_the_table(tmp_path, monkeypatch):
    """Arrow's own memory and Python's stay far below the 64 MiB of text in one row group.

    A page is decoded whole; `write_batch_size` is how often the writer looks whether one is full.
    """
    monkeypatch.setattr("rewarm.data.sources.parquet._BATCH_BYTES", 1 << 20)
    texts = [f"{n} " * (1 << 15) for n in range(1000, 1400)]
    write(tmp_path / "a.parquet", {"text": texts}, use_dictionary=False, write_batch_size=4)
    total = sum(map(len, texts))
    del texts
    tracemalloc.start()
    most_arrow = 0
    try:
        for _ in TextFiles(("*",), tmp_path).documents(Rejects()):
            most_arrow = max(most_arrow, pa.total_allocated_bytes())
        assert tracemalloc.get_traced_memory()[1] < total / 8
    finally:
        tracemalloc.stop()
    assert most_arrow < total / 4


def test_the_size_of_a_batch_follows_the_size_of_the_rows(tmp_path):
    write(tmp_path / "small.parquet", {"text": ["a"] * 5000})
    write(tmp_path / "large.parquet", {"text": ["x" * (1 << 22)] * 3}, use_dictionary=False)
    found = [
        parquet._batch_rows(pq.read_metadata(tmp_path / f"{name}.parquet"))
        for name in ("small", "large")
    ]
    assert found[0] == 1024
    assert found[1] <= 4


def test_without_the_package_the_message_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "a.parquet", {"text": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"Parquet needs the package pyarrow.*rewarm\[data\]"):
        read(tmp_path, "*")
