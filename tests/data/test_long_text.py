"""Text files that are too long to hold: pieces that are cut between characters."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.data.documents import read_documents
from rewarm.data.rejects import Rejects
from rewarm.data.sources.text_files import TextFiles
from rewarm.errors import DataError


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch):
    monkeypatch.setattr("rewarm.data.sources.reading.MAX_TEXT_BYTES", 64)
    monkeypatch.setattr("rewarm.data.sources.reading.PIECE_BYTES", 16)


def read(folder, name="a.txt", limit=0):
    return list(read_documents(TextFiles((name,), folder), Rejects(limit)))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)


@settings(deadline=None, max_examples=200)
@given(TEXT.filter(lambda text: text.strip() and not text.startswith("\ufeff")), st.integers(1, 70))
def test_the_pieces_are_the_text_and_do_not_depend_on_the_reading(
    tmp_path_factory, text, read_bytes
):
    folder = tmp_path_factory.mktemp("pieces")
    content = text.encode()
    (folder / "a.txt").write_bytes(content)
    (folder / "a.txt.gz").write_bytes(gzip.compress(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rewarm.data.sources.reading.MAX_TEXT_BYTES", 64)
        patch.setattr("rewarm.data.sources.reading.PIECE_BYTES", 16)
        whole = [(piece.text, piece.ends) for piece in _or_nothing(folder, "a.txt")]
        patch.setattr("rewarm.data.sources.reading._READ_BYTES", read_bytes)
        for name in ("a.txt", "a.txt.gz"):
            assert [(piece.text, piece.ends) for piece in _or_nothing(folder, name)] == whole
    if not whole:
        assert text[:16].isspace()  # a long file that begins with nothing is no text
        return
    assert "".join(piece for piece, _ in whole) == text
    assert [ends for _, ends in whole] == [False] * (len(whole) - 1) + [True]
    if len(content) <= 64:
        assert len(whole) == 1
    else:
        assert all(12 < len(piece.encode()) <= 16 for piece, _ in whole[:-1])


def _or_nothing(folder, name):
    return read(folder, name, limit=1)


def test_what_is_wrong_far_behind_cannot_be_left_out(tmp_path):
    for tail, reason in ((b"\n\xff", "not valid UTF-8"), (b"\n\0", "NUL character")):
        (tmp_path / "a.txt").write_bytes(b"a\n" * 50 + tail)
        with pytest.raises(DataError, match=rf"^a\.txt.*{reason}.*read in pieces"):
            read(tmp_path, limit=5)


def test_the_line_of_a_wrong_byte_is_counted_over_pieces(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a\n" * 50 + b"\xff")
    with pytest.raises(DataError, match=r"^a\.txt:51: "):
        read(tmp_path)


def test_a_long_file_that_is_wrong_at_once_is_one_bad_row(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\0" + b"a\n" * 100)
    (tmp_path / "b.txt").write_bytes(b"b")
    assert [document.text for document in read(tmp_path, "*.txt", limit=1)] == ["b"]
