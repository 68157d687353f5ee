"""Preparation: the same bytes whatever happened on the way."""

import json
import shutil
from dataclasses import dataclass, field

import pytest

from rewarm.data.documents import Document
from rewarm.data.order import document_order
from rewarm.data.prepare import prepare_split
from rewarm.data.sources.text_files import TextFiles
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import train_tokenizer
from rewarm.errors import DataError, LockedError, MismatchError
from rewarm.storage import held

NAMES = ("tokens.bin", "tokens.idx", "manifest.json")


@dataclass
class Texts:
    """A source from memory that can go wrong on request."""

    texts: list[str]
    fails_at: int | None = None
    descriptions: list[str] = field(default_factory=lambda: ["same"])

    def documents(self, rejects):
        for number, text in enumerate(self.texts):
            if number == self.fails_at:
                raise DataError("row 7 is broken")
            yield Document(text, f"memory:{number}")

    def describe(self):
        description = self.descriptions[0]
        if len(self.descriptions) > 1:
            self.descriptions.pop(0)
        return [{"source": description}]

    def num_bytes(self):
        return None


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr("rewarm.data.prepare.CHUNK_BYTES", 1000)
    monkeypatch.setattr("rewarm.data.encoders._SAMPLE_CHARACTERS", 1000)


@pytest.fixture
def texts(sentences):
    return sentences(120, 5)


@pytest.fixture
def source(tmp_path, texts):
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "a.jsonl").write_text(rows, encoding="utf-8")
    return TextFiles(("a.jsonl",), tmp_path)


def contents(folder):
    return [(folder / name).read_bytes() for name in NAMES]


def prepare(source, folder, tokenizer, workers=1, seed=7, encoder="auto", on_progress=None):
    return prepare_split(
        source,
        folder,
        tokenizer,
        document_seed=seed,
        workers=workers,
        encoder=encoder,
        on_progress=on_progress,
    )


def test_the_store_holds_every_document_in_the_drawn_order(tmp_path, source, texts, tokenizer):
    manifest = prepare(source, tmp_path / "store", tokenizer)
    store = TokenStore.open(tmp_path / "store", tokenizer=tokenizer.fingerprint)
    found = [tokenizer.decode(store.document(n)[:-1]) for n in range(store.documents)]
    assert found == [texts[number] for number in document_order(7, len(texts))]
    assert manifest.text_bytes == sum(len(text.encode()) for text in texts)
    assert manifest.provenance == source.describe()
    assert manifest.document_seed == 7
    assert not (tmp_path / "store" / ".partial").exists()
    store.verify()


def test_the_name_of_the_end_of_text_inside_a_document_ends_nothing(tmp_path, tokenizer):
    text = "a <|endoftext|> b"
    prepare(Texts([text]), tmp_path, tokenizer)
    ids = TokenStore.open(tmp_path).document(0).tolist()
    assert ids.count(tokenizer.end_of_text) == 1
    assert tokenizer.decode(ids) == text + "<|endoftext|>"


def test_workers_do_not_change_the_bytes(tmp_path, source, tokenizer):
    prepare(source, tmp_path / "one", tokenizer, workers=1)
    prepare(source, tmp_path / "two", tokenizer, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("chunk_bytes", [1, 10**9])
def test_the_size_of_the_chunks_does_not_change_the_bytes(
    tmp_path, source, tokenizer, monkeypatch, chunk_bytes
):
    prepare(source, tmp_path / "some", tokenizer)
    monkeypatch.setattr("rewarm.data.prepare.CHUNK_BYTES", chunk_bytes)
    prepare(source, tmp_path / "other", tokenizer)
    assert contents(tmp_path / "some") == contents(tmp_path / "other")


def test_an_error_in_the_text_ends_it_and_what_was_done_is_used_again(tmp_path, texts, tokenizer):
    for workers in (1, 2):
        folder = tmp_path / f"{workers}"
        with pytest.raises(DataError, match="row 7 is broken"):
            prepare(Texts(texts, fails_at=100), folder, tokenizer, workers=workers)
        with pytest.raises(DataError, match="not prepared"):
            TokenStore.open(folder)
    chunk = tmp_path / "1" / ".partial" / "chunk-00000002"
    before = chunk.stat()
    seen = []

    def watch(progress):
        if progress.phase == "encode":
            seen.append(chunk.stat().st_ino == before.st_ino)

    prepare(Texts(texts), tmp_path / "1", tokenizer, on_progress=watch)
    assert all(seen)
    assert len(seen) > 5
    prepare(Texts(texts), tmp_path / "whole", tokenizer)
    assert contents(tmp_path / "1") == contents(tmp_path / "whole")


def test_what_another_tokenizer_or_seed_left_is_thrown_away(tmp_path, texts, sentences, tokenizer):
    other = train_tokenizer(sentences(30, 9), vocabulary=280, path=tmp_path / "other.json")
    for name, made_with, seed in (("tokenizer", other, 7), ("seed", tokenizer, 8)):
        folder = tmp_path / name
        with pytest.raises(DataError):
            prepare(Texts(texts, fails_at=100), folder, made_with, seed=seed)
        left = {path.name: path.stat().st_ino for path in (folder / ".partial").iterdir()}
        assert len(left) > 5
        prepare(Texts(texts), folder, tokenizer)
    prepare(Texts(texts), tmp_path / "whole", tokenizer)
    for name in ("tokenizer", "seed"):
        assert contents(tmp_path / name) == contents(tmp_path / "whole")


def test_a_finished_store_is_returned_without_reading_the_text(tmp_path, texts, tokenizer):
    first = prepare(Texts(texts), tmp_path, tokenizer)
    (tmp_path / ".partial").mkdir()
    assert prepare(Texts(texts, fails_at=0), tmp_path, tokenizer) == first
    assert not (tmp_path / ".partial").exists()


def test_a_store_made_from_something_else_is_refused_with_the_differences(
    tmp_path, source, sentences, tokenizer
):
    folder = tmp_path / "store"
    prepare(source, folder, tokenizer)
    good = contents(folder)
    other = train_tokenizer(sentences(30, 9), vocabulary=280, path=tmp_path / "other.json")
    (tmp_path / "b.txt").write_text("b", encoding="utf-8")
    both = TextFiles(("a.jsonl", "b.txt"), tmp_path)
    for arguments, reason in (
        ((both, folder, tokenizer), "now with .*b.txt"),
        ((source, folder, other), "tokenizer was .*, now"),
    ):
        with pytest.raises(MismatchError, match=f"{reason}.*Delete that folder"):
            prepare(*arguments)
    with pytest.raises(MismatchError, match="document_seed was 7, now 8"):
        prepare(source, folder, tokenizer, seed=8)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}', encoding="utf-8")
    with pytest.raises(MismatchError, match=r"now without .*a\.jsonl.*now with .*a\.jsonl"):
        prepare(source, folder, tokenizer)
    assert contents(folder) == good


def test_a_damaged_finished_store_is_not_taken_for_good(tmp_path, texts, tokenizer):
    prepare(Texts(texts), tmp_path, tokenizer)
    (tmp_path / "tokens.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"tokens\.bin: has 0 bytes"):
        prepare(Texts(texts), tmp_path, tokenizer)


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path, texts, tokenizer):
    with pytest.raises(DataError, match="the source changed while it was read"):
        prepare(Texts(texts, descriptions=["before", "after"]), tmp_path, tokenizer)
    with pytest.raises(DataError, match="not prepared"):
        TokenStore.open(tmp_path)


def test_no_documents_are_refused(tmp_path, tokenizer):
    with pytest.raises(DataError, match="empty dataset"):
        prepare(Texts([]), tmp_path, tokenizer)


def test_workers_are_counted_from_one(tmp_path, texts, tokenizer):
    with pytest.raises(DataError, match="give 1 or more"):
        prepare(Texts(texts), tmp_path, tokenizer, workers=0)


def test_a_tokenizer_file_that_changes_under_way_is_refused(tmp_path, texts, sentences, tokenizer):
    """It matters to the reference alone, whose processes load the file each."""
    path = tmp_path / "tokenizer.json"
    shutil.copy(tokenizer.path, path)
    moved = train_tokenizer(sentences(30, 9), vocabulary=280, path=path)
    shutil.copy(tokenizer.path, path)
    with pytest.raises(DataError, match="changed while it was in use"):
        prepare(Texts(texts), tmp_path / "store", moved, workers=2, encoder="reference")


def test_a_folder_that_another_process_prepares_is_refused(tmp_path, texts, tokenizer):
    with held(tmp_path / ".lock", "is busy"), pytest.raises(LockedError):
        prepare(Texts(texts), tmp_path, tokenizer)
    prepare(Texts(texts), tmp_path, tokenizer)


def test_progress_goes_forward_to_the_end(tmp_path, source, texts, tokenizer):
    seen = []
    manifest = prepare(source, tmp_path / "store", tokenizer, on_progress=seen.append)
    size = (tmp_path / "a.jsonl").stat().st_size
    for phase, total_bytes in (("encode", size), ("write", manifest.shards[0].files[0].num_bytes)):
        reports = [each for each in seen if each.phase == phase]
        assert [each.done_bytes for each in reports] == sorted(each.done_bytes for each in reports)
        assert {each.total_bytes for each in reports} == {total_bytes}
        last = reports[-1]
        assert (last.done_bytes, last.documents, last.tokens) == (
            total_bytes,
            len(texts),
            manifest.tokens,
        )
