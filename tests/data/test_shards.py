"""Splits prepared in shards: any order, any machine; one manifest over them, or a refusal."""

import json
import shutil

import pytest

from rewarm.data.prepare import prepare_split
from rewarm.data.shards import ShardNumber, check_merged, merge_shards, shard_folder
from rewarm.data.sources.text_files import TextFiles
from rewarm.data.split_report import read_report
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import train_tokenizer
from rewarm.errors import DataError, MismatchError

OF = 3


@pytest.fixture
def texts(sentences):
    return sentences(40, 5)


@pytest.fixture
def source(tmp_path, texts):
    for number in range(5):
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts[number::5])
        (tmp_path / f"{number}.jsonl").write_text(rows, encoding="utf-8")
    return TextFiles(("*.jsonl",), tmp_path)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "train"


def prepare(source, folder, tokenizer, numbers=(3, 1, 2), of=OF, seed=7):
    for number in numbers:
        shard = ShardNumber(number, of)
        place = shard_folder(folder, shard)
        prepare_split(source.part(*shard), place, tokenizer, document_seed=seed, workers=1)


def merge(source, folder, tokenizer, of=OF, seed=7):
    return merge_shards(source, folder, tokenizer, document_seed=seed, of=of)


def test_merged_shards_are_one_store_with_every_document(source, texts, folder, tokenizer):
    prepare(source, folder, tokenizer)
    with pytest.raises(DataError, match="not prepared"):
        TokenStore.open(folder)
    manifest = merge(source, folder, tokenizer)
    store = TokenStore.open(folder, tokenizer=tokenizer.fingerprint)
    assert store.manifest == manifest
    assert len(manifest.shards) == OF
    found = [tokenizer.decode(store.document(n)[:-1]) for n in range(store.documents)]
    assert sorted(found) == sorted(texts)
    assert manifest.text_bytes == sum(len(text.encode()) for text in texts)
    report = read_report(folder)
    assert report is not None
    assert (report.documents, report.tokens) == (len(texts), manifest.tokens)
    store.verify()


def test_preparing_the_whole_finds_what_was_merged(source, folder, tokenizer):
    prepare(source, folder, tokenizer)
    manifest = merge(source, folder, tokenizer)
    before = (folder / "manifest.json").stat().st_ino
    assert prepare_split(source, folder, tokenizer, document_seed=7, workers=1) == manifest
    assert merge(source, folder, tokenizer) == manifest
    assert (folder / "manifest.json").stat().st_ino == before
    assert not (folder / "tokens.bin").exists()


def test_the_order_of_the_work_does_not_change_the_bytes(source, folder, tokenizer, tmp_path):
    prepare(source, folder, tokenizer, (1, 2, 3))
    prepare(source, tmp_path / "other", tokenizer, (2, 3, 1))
    merge(source, folder, tokenizer)
    merge(source, tmp_path / "other", tokenizer)
    files = [path.relative_to(folder) for path in folder.rglob("*.*") if path.is_file()]
    assert len(files) > 9
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_shards_that_wait_to_be_merged_are_told(source, folder, tokenizer):
    check_merged(folder)
    prepare(source, folder, tokenizer, (2,))
    with pytest.raises(DataError, match=r"shard-00002-of-00003 first.*--merge 3"):
        check_merged(folder)
    prepare(source, folder, tokenizer)
    merge(source, folder, tokenizer)
    check_merged(folder)


def test_more_shards_than_files_are_refused(source, folder, tokenizer):
    with pytest.raises(DataError, match="5 files cannot be cut into 8 parts"):
        prepare(source, folder, tokenizer, (1,), of=8)
    with pytest.raises(DataError, match="5 files cannot be cut into 8 parts"):
        merge(source, folder, tokenizer, of=8)


def test_a_missing_shard_is_named(source, folder, tokenizer):
    prepare(source, folder, tokenizer, (1, 3))
    with pytest.raises(DataError, match=r"shard-00002-of-00003: is missing.*--shard 2/3"):
        merge(source, folder, tokenizer)
    assert not (folder / "manifest.json").exists()


def test_foreign_shards_are_refused(source, folder, tokenizer, sentences, tmp_path):
    prepare(source, folder, tokenizer)
    other = train_tokenizer(sentences(30, 9), vocabulary=280, path=tmp_path / "other.json")
    with pytest.raises(MismatchError, match="tokenizer was"):
        merge(source, folder, other)
    with pytest.raises(MismatchError, match="document_seed was 7, now 8"):
        merge(source, folder, tokenizer, seed=8)
    second = shard_folder(folder, ShardNumber(2, OF))
    shutil.rmtree(second)
    shutil.copytree(shard_folder(folder, ShardNumber(1, OF)), second)
    with pytest.raises(MismatchError, match="shard-00002-of-00003: was prepared from something"):
        merge(source, folder, tokenizer)
    assert not (folder / "manifest.json").exists()


def test_a_damaged_shard_is_refused(source, folder, tokenizer):
    prepare(source, folder, tokenizer)
    (shard_folder(folder, ShardNumber(1, OF)) / "tokens.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"tokens\.bin"):
        merge(source, folder, tokenizer)


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "a/3", "1/", "-1/3", "1/2/3"])
def test_what_is_not_one_shard_of_several_is_refused(text):
    with pytest.raises(DataError, match="Write 2/8 for the second of eight"):
        ShardNumber.parse(text)
