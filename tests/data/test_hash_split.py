"""Sources cut in two by a hash, by domain, and into parts: no document twice, none lost."""

import json
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.data.documents import Joined, Part, read_documents
from rewarm.data.python_sources import PythonCode, PythonDocs
from rewarm.data.rejects import Rejects
from rewarm.data.sources.hash_split import HashSide
from rewarm.data.sources.rows import DomainRows, Selection
from rewarm.data.sources.text_files import TextFiles
from rewarm.errors import DataError

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.text("abc", min_size=1, max_size=3),
            "page": st.fixed_dictionaries({"id": st.integers(0, 9)}),
        }
    ),
    min_size=1,
    max_size=60,
)
FRACTIONS = st.fractions(Fraction(1, 100), Fraction(99, 100))


def write(folder, rows, num_files):
    for n in range(num_files):
        lines = (json.dumps(row) for row in rows[n::num_files])
        (folder / f"{n}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def side(name, fraction, group=None, salt="s"):
    return HashSide(fraction=fraction, salt=salt, group=group, side=name)


def texts(source, rejects=None):
    return [document.text for document in read_documents(source, rejects or Rejects())]


def of_side(folder, name, fraction, group=None):
    return texts(TextFiles(("*",), folder, Selection(side=side(name, fraction, group))))


@settings(deadline=None, max_examples=50)
@given(ROWS, FRACTIONS, st.integers(1, 4), st.integers(1, 4), st.randoms())
def test_a_split_by_document_is_whole_disjoint_and_of_the_text_alone(
    tmp_path_factory, rows, fraction, num_files, other_num_files, rng
):
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    write(one, rows, num_files)
    write(other, rng.sample(rows, len(rows)), other_num_files)
    train, held = (of_side(one, name, fraction) for name in ("train", "validation"))
    assert Counter(train + held) == Counter(row["text"] for row in rows)
    assert not set(train) & set(held)
    assert Counter(of_side(other, "validation", fraction)) == Counter(held)


@settings(deadline=None, max_examples=50)
@given(ROWS, FRACTIONS)
def test_a_split_by_group_keeps_groups_together(tmp_path_factory, rows, fraction):
    folder = tmp_path_factory.mktemp("groups")
    rows = [row | {"text": f"{n} {row['page']['id']}"} for n, row in enumerate(rows)]
    write(folder, rows, 2)
    train, held = (of_side(folder, name, fraction, "page.id") for name in ("train", "validation"))
    assert Counter(train + held) == Counter(row["text"] for row in rows)
    assert not {text.split()[1] for text in train} & {text.split()[1] for text in held}


def test_the_share_that_is_held_out_is_the_one_asked_for():
    held = side("validation", Fraction(1, 20))
    found = sum(held.takes(f"document {n}") for n in range(20_000))
    assert abs(found - 1000) < 4 * (20_000 * 0.05 * 0.95) ** 0.5


def test_a_larger_share_holds_out_what_a_smaller_one_does_and_a_salt_something_else():
    keys = [f"document {n}" for n in range(2000)]

    def held(*arguments):
        return {key for key in keys if side("validation", *arguments).takes(key)}

    assert held(Fraction(1, 100)) < held(Fraction(1, 10))
    assert held(Fraction(1, 10)) != held(Fraction(1, 10), None, "t")


def test_the_side_of_a_text_is_fixed_for_all_time():
    """Another hash would move documents between training and validation of data that is in use."""
    held = side("validation", Fraction(1, 2), None, "rewarm")
    found = "".join(str(int(held.takes(f"document {n}"))) for n in range(40))
    assert found == "0001110111110100011110111111110011000001"


def test_a_row_without_its_group_is_a_bad_row(tmp_path):
    rows = [{"text": "a"}, {"text": "b", "page": {"id": None}}, {"text": "c", "page": {"id": True}}]
    write(tmp_path, rows, 1)
    rejects = Rejects(3)
    selection = Selection(side=side("train", Fraction(1, 2), "page.id"))
    assert texts(TextFiles(("*",), tmp_path, selection), rejects) == []
    assert rejects.counts == {"missing column": 1, "wrong type": 2}


def test_a_bad_text_of_a_known_group_is_counted_on_its_side_alone(tmp_path):
    write(tmp_path, [{"text": "", "page": {"id": n}} for n in range(50)], 1)
    counts = []
    for name in ("train", "validation"):
        rejects = Rejects(50)
        selection = Selection(side=side(name, Fraction(1, 2), "page.id"))
        texts(TextFiles(("*",), tmp_path, selection), rejects)
        counts.append(rejects.num_bad_rows)
    assert sum(counts) == 50
    assert all(counts)


def test_a_text_file_is_on_one_side_with_all_of_its_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("rewarm.data.sources.reading.MAX_TEXT_BYTES", 64)
    monkeypatch.setattr("rewarm.data.sources.reading.PIECE_BYTES", 16)
    contents = {f"{n:02}.txt": f"{n:02} " * 50 for n in range(20)}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    found = []
    for name in ("train", "validation"):
        source = TextFiles(("*",), tmp_path, Selection(side=side(name, Fraction(1, 2))))
        pieces = list(source.documents(Rejects()))
        assert pieces
        found.append({piece.origin for piece in pieces})
        for origin in found[-1]:
            text = "".join(piece.text for piece in pieces if piece.origin == origin)
            assert text == contents[origin]
    assert not found[0] & found[1]
    assert found[0] | found[1] == set(contents)


def test_rows_go_to_the_domain_that_names_their_value(tmp_path):
    values = ["wiki", "book", "wiki", "web", "paper"]
    write(tmp_path, [{"text": str(n), "meta": {"set": v}} for n, v in enumerate(values)], 1)

    def of(*wanted, rejects=None):
        listed = frozenset({"wiki", "book", "web"})
        rows = DomainRows(column="meta.set", wanted=frozenset(wanted), listed=listed)
        return texts(TextFiles(("*",), tmp_path, Selection(domain=rows)), rejects or Rejects(1))

    assert of("wiki") == ["0", "2"]
    assert of("book", "web") == ["1", "3"]
    rejects = Rejects(1)
    of("wiki", rejects=rejects)
    assert rejects.places == {"unlisted domain": ["0.jsonl:5"]}
    with pytest.raises(
        DataError, match=r"^0.jsonl:5: 'meta.set' is 'paper', which no domain takes"
    ):
        of("wiki", rejects=Rejects())


def test_a_text_file_has_no_columns(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    by_group = Selection(side=side("train", Fraction(1, 2), "page"))
    with pytest.raises(DataError, match=r"a\.txt: a text file has no columns.* 'page'"):
        texts(TextFiles(("*",), tmp_path, by_group))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.data())
def test_parts_have_every_file_once(tmp_path_factory, num_files, data):
    folder = tmp_path_factory.mktemp("parts")
    write(folder, [{"text": str(n)} for n in range(num_files)], num_files)
    of = data.draw(st.integers(1, num_files))
    source = TextFiles(("*",), folder)
    parts = [source.part(number, of) for number in range(1, of + 1)]
    assert sorted(text for part in parts for text in texts(part)) == sorted(texts(source))
    described = [entry["file"] for part in parts for entry in part.describe()]
    assert sorted(described) == [entry["file"] for entry in source.describe()]
    assert sum(part.num_bytes() for part in parts) == source.num_bytes()


def test_fewer_files_than_parts_are_an_error(tmp_path):
    write(tmp_path, [{"text": "a"}, {"text": "b"}], 2)
    with pytest.raises(DataError, match=r"2 files cannot be cut into 3 parts"):
        texts(TextFiles(("*",), tmp_path).part(1, 3))
    for number, of in ((0, 2), (3, 2), (1, 0), (1, -1)):
        with pytest.raises(DataError, match=f"there is no part {number} of {of}"):
            TextFiles(("*",), tmp_path).part(number, of)


def test_parts_of_the_built_in_sources_have_every_document_once():
    for source in (PythonDocs("validation"), PythonCode("validation")):
        parts = [source.part(number, 3) for number in (1, 2, 3)]
        found = [texts(part) for part in parts]
        together = Counter(text for part in found for text in part)
        assert together == Counter(texts(source))
        assert all(found)
        assert parts[1].describe()[0]["part"] == "2 of 3"
        assert source.part(1, 1) == source
        assert "part" not in source.describe()[0]


def test_the_parts_of_nothing_are_everything():
    assert all(Part().takes(n) for n in range(10))


def test_joined_sources_come_one_after_the_other(tmp_path):
    write(tmp_path, [{"text": "a"}, {"text": "b"}, {"text": "c"}, {"text": "d"}], 4)
    joined = Joined((TextFiles(("[23]*",), tmp_path), TextFiles(("[01]*",), tmp_path)))
    documents = list(read_documents(joined, Rejects()))
    assert [document.text for document in documents] == ["c", "d", "a", "b"]
    assert documents[-1].read_bytes == joined.num_bytes()
    assert [entry["file"][0] for entry in joined.describe()] == ["2", "3", "0", "1"]
    assert texts(joined.part(2, 2)) == ["d", "b"]
    assert Joined((*joined.sources, PythonCode("validation"))).num_bytes() is None
