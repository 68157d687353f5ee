"""Bad rows: the end of the work, or counted up to a limit; none is left out in silence."""

import json
import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.data.documents import read_documents
from rewarm.data.manifest import sealed
from rewarm.data.prepare import prepare_split
from rewarm.data.rejects import NUM_PLACES, BadRow, Rejects
from rewarm.data.sources.text_files import TextFiles
from rewarm.data.split_report import read_report
from rewarm.data.store import TokenStore
from rewarm.errors import DataError

GOOD = b'{"text": "good"}'
BAD = {
    "not JSON": b'{"text": "a',
    "not an object": b'["a"]',
    "not UTF-8": b'{"text": "\xff"}',
    "missing column": b'{"body": "a"}',
    "wrong type": b'{"text": 5}',
    "empty text": b'{"text": " "}',
    "NUL character": b'{"text": "a\\u0000"}',
}


def read(folder, limit, name="a.jsonl"):
    rejects = Rejects(limit)
    documents = list(read_documents(TextFiles((name,), folder), rejects))
    return [document.text for document in documents], rejects


@pytest.mark.parametrize("reason", BAD)
def test_each_reason_is_counted_with_its_place(tmp_path, reason):
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([GOOD, b"", BAD[reason], GOOD]))
    texts, rejects = read(tmp_path, limit=1)
    assert texts == ["good", "good"]
    assert (rejects.rows, rejects.counts) == (3, {reason: 1})
    assert rejects.places == {reason: ["a.jsonl:3"]}
    with pytest.raises(BadRow, match=r"^a\.jsonl:3: "):
        read(tmp_path, limit=0)


def test_one_row_more_than_may_be_left_out_ends_the_work(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*BAD.values(), GOOD]))
    assert read(tmp_path, limit=len(BAD))[0] == ["good"]
    with pytest.raises(DataError, match=r"^a\.jsonl:7: .*7 rows cannot be used.* lets 6 be left"):
        read(tmp_path, limit=len(BAD) - 1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.fractions(0, Fraction(99, 100)))
def test_a_limit_that_is_a_share_is_of_all_rows(tmp_path_factory, is_bad, limit):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "a.jsonl").write_bytes(b"\n".join(b"?" if bad else GOOD for bad in is_bad))
    if sum(is_bad) > limit * len(is_bad):
        with pytest.raises(DataError, match="not valid JSON" if limit == 0 else "cannot be used"):
            read(folder, limit)
    else:
        texts, rejects = read(folder, limit)
        assert (len(texts), rejects.num_bad_rows) == (is_bad.count(False), sum(is_bad))


def test_only_the_first_places_are_kept(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"?\n" * 100 + GOOD)
    rejects = read(tmp_path, limit=100)[1]
    assert rejects.counts == {"not JSON": 100}
    assert rejects.places["not JSON"] == [f"a.jsonl:{n + 1}" for n in range(NUM_PLACES)]
    assert rejects.summary().endswith("a.jsonl:5, …)")


def test_a_line_that_is_too_long_is_skipped_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("rewarm.data.sources.reading.MAX_TEXT_BYTES", 1 << 20)
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(GOOD + b'\n{"text": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + GOOD)
    tracemalloc.start()
    try:
        texts, rejects = read(tmp_path, limit=1)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert texts == ["good", "good"]
    assert rejects.places == {"too long": ["a.jsonl:2"]}


def test_a_damaged_file_is_an_error_however_many_rows_may_be_left_out(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "b.jsonl").write_text(GOOD.decode(), encoding="utf-16")
    for name in ("a.jsonl.gz", "b.jsonl"):
        with pytest.raises(DataError, match=name):
            read(tmp_path, 10**6, name)


def test_a_bad_text_file_is_one_bad_row(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"line\n\xff")
    (tmp_path / "b.txt").write_bytes(b"good")
    texts, rejects = read(tmp_path, 1, "*.txt")
    assert (texts, rejects.places) == (["good"], {"not UTF-8": ["a.txt:2"]})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1" * 30, "good"),  # beyond 64 bits: read as a float, and not looked at
        ('{"a": ' * 500 + "1" + "}" * 500, "good"),
        ('1, "text": "last"', "last"),
        ('"\\ud83d\\ude00"', "good"),
    ],
    ids=["large integer", "nested", "key given twice", "pair of surrogates"],
)
def test_unusual_json_has_a_defined_result(tmp_path, value, text):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "good", "x": {value}}}')
    assert read(tmp_path, 0)[0] == [text]


def test_the_report_beside_the_tokens_has_the_counts(tmp_path, tokenizer):
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([GOOD] * 8 + list(BAD.values())))
    folder = tmp_path / "store"
    source = TextFiles(("a.jsonl",), tmp_path)
    for workers in (1, 2):
        manifest = prepare_split(
            source, folder, tokenizer, document_seed=1, workers=workers, rejects=Rejects(10)
        )
        report = read_report(folder)
        assert report is not None
        assert (report.rows, report.documents, report.text_bytes) == (15, 8, 8 * 4)
        assert report.tokens == manifest.tokens == TokenStore.open(folder).tokens
        assert {reason: left.rows for reason, left in report.left_out.items()} == dict.fromkeys(
            BAD, 1
        )
        assert "1 of 15 rows left out: not JSON (a.jsonl:9)" in report.left_out_lines()
        content = json.loads((folder / "report.json").read_bytes())
        assert content["bytes_per_token"] == manifest.text_bytes / manifest.tokens
        for path in folder.iterdir():
            path.unlink()


def test_a_damaged_report_is_an_error_that_names_it(tmp_path):
    assert read_report(tmp_path) is None
    strange = {"bytes_per_token": 1, "left_out": {}, "x": 2}
    for content in (b"", b"[]", b"{}", json.dumps(strange).encode(), sealed(strange)):
        (tmp_path / "report.json").write_bytes(content)
        with pytest.raises(DataError, match=r"report\.json: is no report"):
            read_report(tmp_path)


def test_every_flipped_bit_of_a_report_is_told(tmp_path, tokenizer):
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([GOOD] * 8 + list(BAD.values())))
    source, folder = TextFiles(("a.jsonl",), tmp_path), tmp_path / "store"
    prepare_split(source, folder, tokenizer, document_seed=1, workers=1, rejects=Rejects(10))
    path = folder / "report.json"
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match=r"report\.json"):
            read_report(folder)
