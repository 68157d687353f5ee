"""Adopting: which files are meant, what the manifest says, and what it refuses."""

import json
import os

import pytest
from tests.data.foreign_files import (
    write_datatrove,
    write_flat,
    write_megatron,
    write_npy,
)

from rewarm.data.adopt import adopt
from rewarm.data.layouts.recognise import recognise
from rewarm.data.manifest_file import read_manifest
from rewarm.data.store import TokenStore
from rewarm.errors import DataError, MismatchError

DOCUMENTS = [[1, 2, 0], [3, 0]]


def names(shards):
    return [[file.name for file in shard.files] for shard in shards]


def test_a_shard_is_meant_by_any_of_its_files(tmp_path):
    write_megatron(tmp_path / "a.bin", DOCUMENTS, "uint16")
    write_datatrove(tmp_path / "b.ds", DOCUMENTS, "uint16")
    for given in ("a", "a.bin", "a.idx"):
        assert names(recognise([tmp_path / given])) == [["a.bin", "a.idx"]]
    for given in ("b.ds", "b.ds.index", "b.ds.metadata"):
        assert names(recognise([tmp_path / given])) == [["b.ds", "b.ds.index", "b.ds.metadata"]]
    everything = sorted(tmp_path.iterdir())
    assert len(everything) == 5
    assert [shard.layout for shard in recognise(everything)] == ["megatron", "datatrove"]


def test_a_folder_means_its_token_files_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1):
        (tmp_path / f"part{number % 2}").mkdir(exist_ok=True)
        write_npy(tmp_path / f"part{number % 2}" / f"x{number}.npy", DOCUMENTS, "uint16")
    write_npy(tmp_path / "part0" / "x_train_indexmap_9ns_4sl_1s_doc_idx.npy", DOCUMENTS, "int32")
    write_npy(tmp_path / "part0" / "ab-GPTDataset-train-shuffle_index.npy", DOCUMENTS, "int32")
    (tmp_path / "notes.txt").write_text("no tokens", encoding="utf-8")
    assert names(recognise([tmp_path])) == [["x10.npy"], ["x1.npy"], ["x9.npy"]]
    given = [tmp_path / "part1" / "x9.npy", tmp_path]
    assert names(recognise(given)) == [["x9.npy"], ["x10.npy"], ["x1.npy"]]


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["pile_text_document.bin"], "pile_text_document.rewarm.json"),
        (["pile_00.bin", "pile_01.bin"], "pile.rewarm.json"),
        (["0.bin", "1.bin"], "corpus.rewarm.json"),
        (["x/00.bin", "y/00.bin"], "corpus.rewarm.json"),
    ],
)
def test_the_manifest_lies_beside_the_files(tmp_path, tokenizer, files, name):
    folder = tmp_path / "corpus"
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        write_megatron(folder / file, DOCUMENTS, "uint16")
    made = adopt([folder / file for file in files], tokenizer)
    assert made.path == folder / name
    assert [shard.files[0].name for shard in read_manifest(made.path).shards] == files


def test_files_are_not_touched_and_adopting_again_changes_nothing(tmp_path, tokenizer):
    path = write_flat(tmp_path / "x.bin", DOCUMENTS, "uint16")
    before = path.read_bytes(), path.stat()
    first = adopt([path], tokenizer, dtype="uint16")
    assert (path.read_bytes(), path.stat()) == before
    content = first.path.read_bytes()
    again = adopt([path], tokenizer, dtype="uint16")
    assert (first.is_new, again.is_new) == (True, False)
    assert again.manifest == first.manifest
    assert first.path.read_bytes() == content
    assert (first.ends, first.manifest.text_bytes, first.manifest.document_seed) == (2, None, None)


def test_another_manifest_in_the_place_is_never_overwritten(tmp_path, tokenizer):
    a, b = (write_npy(tmp_path / f"x{n}.npy", DOCUMENTS, "uint16") for n in (1, 2))
    out = tmp_path / "x.rewarm.json"
    content = adopt([a, b], tokenizer, out=out).path.read_bytes()
    for paths, reason in (
        ([b, a], "the files are in another order"),
        ([a], "tokens 10, now 5; .*without x2.npy"),
    ):
        with pytest.raises(MismatchError, match=reason):
            adopt(paths, tokenizer, out=out)
    write_npy(b, [[1, 2, 0], [4, 0]], "uint16")
    with pytest.raises(MismatchError, match=r"other files or content: x2\.npy"):
        adopt([a, b], tokenizer, out=out)
    assert out.read_bytes() == content


def test_what_is_asked_for_wrongly_is_refused(tmp_path, tokenizer):
    (tmp_path / "in").mkdir()
    flat = write_flat(tmp_path / "in" / "x.bin", DOCUMENTS, "uint16")
    array = write_npy(tmp_path / "in" / "y.npy", DOCUMENTS, "uint16")
    for paths, options, reason in (
        ([flat], {}, r"x\.bin: is a flat file, .*--dtype uint16"),
        ([flat], {"dtype": "float32"}, "--dtype float32: is not one of uint8"),
        ([array], {"dtype": "uint16"}, "the files say the type"),
        ([array], {"out": tmp_path / "in" / "y.json"}, r"must end in \.rewarm\.json"),
        ([array], {"out": tmp_path / "a" / "y.rewarm.json"}, "lies outside its folder"),
        ([tmp_path / "in" / "z"], {}, "z: cannot be read"),
    ):
        with pytest.raises(DataError, match=reason):
            adopt(paths, tokenizer, **options)
    link = tmp_path / "in" / "z.npy"
    link.symlink_to(array)
    with pytest.raises(DataError, match=r"z\.npy: is not a plain file.*Give the file itself"):
        adopt([link], tokenizer)
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(DataError, match="is not a plain file"):
        adopt([link], tokenizer)


def test_a_folder_with_several_manifests_is_not_clear(tmp_path, tokenizer):
    array = write_npy(tmp_path / "y.npy", DOCUMENTS, "uint16")
    adopt([array], tokenizer)
    assert TokenStore.open(tmp_path).tokens == 5
    adopt([array], tokenizer, out=tmp_path / "z.rewarm.json")
    with pytest.raises(DataError, match=r"2 manifests.*y\.rewarm\.json, z\.rewarm\.json"):
        TokenStore.open(tmp_path)
    with pytest.raises(DataError, match="there is no such manifest"):
        TokenStore.open(tmp_path / "a.rewarm.json")


def test_adopted_tokens_of_another_tokenizer_are_refused(tmp_path, tokenizer):
    made = adopt([write_npy(tmp_path / "y.npy", DOCUMENTS, "uint16")], tokenizer)
    with pytest.raises(MismatchError, match=r"adopted with tokenizer .*delete y\.rewarm\.json"):
        TokenStore.open(made.path, tokenizer="e" * 64)


def test_progress_ends_with_all_bytes(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr("rewarm.data.adopt.BLOCK_BYTES", 8)
    a, b = (write_megatron(tmp_path / f"x{n}.bin", DOCUMENTS, "int32") for n in (1, 2))
    seen = []
    adopt([a, b], tokenizer, on_progress=seen.append)
    assert [each.done_bytes for each in seen] == [8, 16, 20, 28, 36, 40]
    assert {each.total_bytes for each in seen} == {40}


def test_the_manifest_says_nothing_of_where_it_is(tmp_path, tokenizer):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_npy(tmp_path / name / "y.npy", DOCUMENTS, "uint16")
    one, two = (adopt([tmp_path / name], tokenizer).path.read_bytes() for name in ("one", "two"))
    assert one == two
    assert json.loads(one)["shards"][0]["files"][0]["name"] == "y.npy"
