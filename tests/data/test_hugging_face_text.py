"""Hugging Face datasets as text: saved ones, folders as the hub has them, and names of the hub."""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from rewarm.data.documents import MissingTextError, read_documents
from rewarm.data.rejects import Rejects
from rewarm.data.sources.hugging_face import HuggingFaceDataset
from rewarm.data.sources.rows import Selection
from rewarm.errors import DataError

TEXTS = [f"text {n}" for n in range(150)]
COLUMNS = {
    "text": TEXTS,
    "page": [{"title": f"title {n}"} for n in range(150)],
    "id": [*range(150)],
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    """Have the packages use no network and no cache but one of the test."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


@pytest.fixture
def saved(tmp_path):
    from datasets import Dataset, DatasetDict

    whole = Dataset.from_dict(COLUMNS)
    whole.save_to_disk(tmp_path / "one", num_shards=3)
    splits = {"train": whole, "held": whole.select([0, 1])}
    DatasetDict(splits).save_to_disk(tmp_path / "splits")
    return tmp_path


@pytest.fixture
def repository(tmp_path):
    """A folder as a dataset of the hub has it: three files of the training split, one of another."""
    folder = tmp_path / "repository" / "data"
    folder.mkdir(parents=True)
    table = pa.table(COLUMNS)
    for n in range(3):
        pq.write_table(table.slice(50 * n, 50), folder / f"train-0000{n}-of-00003.parquet")
    pq.write_table(table.slice(0, 2), folder / "validation-00000-of-00001.parquet")
    return tmp_path


@pytest.fixture
def both(saved, repository):
    """Return the folder that holds both."""
    assert saved == repository
    return saved


def texts(source, rejects=None):
    return [document.text for document in read_documents(source, rejects or Rejects())]


def test_a_saved_dataset_is_read_in_its_order(saved):
    source = HuggingFaceDataset(name="one", root=saved)
    documents = list(source.documents(Rejects()))
    assert [document.text for document in documents] == TEXTS
    assert documents[64].origin == "one:65"
    assert source.describe()[0] == {"dataset": "one", "split": "train", "text_key": "text"}
    assert "data-00000-of-00003.arrow" in {entry.get("file") for entry in source.describe()}
    assert source.num_bytes() is None


def test_a_split_of_saved_ones_is_read(saved):
    assert texts(HuggingFaceDataset(name="splits", root=saved, split="held")) == TEXTS[:2]
    with pytest.raises(DataError, match=r"splits: has no split 'tset'; it has train, held"):
        texts(HuggingFaceDataset(name="splits", root=saved, split="tset"))
    with pytest.raises(DataError, match=r"one: holds the split 'train' alone"):
        texts(HuggingFaceDataset(name="one", root=saved, split="validation"))


def test_a_folder_as_the_hub_has_it_is_streamed(repository):
    source = HuggingFaceDataset(name="repository", root=repository)
    assert texts(source) == TEXTS
    assert (
        texts(HuggingFaceDataset(name="repository", root=repository, split="validation"))
        == (TEXTS[:2])
    )


def test_other_columns_can_hold_the_text(both):
    titles = [f"title {n}" for n in range(150)]
    selection = Selection(text="page.title")
    for name in ("one", "repository"):
        source = HuggingFaceDataset(name=name, root=both, selection=selection)
        assert texts(source) == titles


@pytest.mark.parametrize("name", ["one", "repository"])
def test_parts_have_every_document_once(both, name):
    source = HuggingFaceDataset(name=name, root=both)
    parts = [texts(source.part(number, 2)) for number in (1, 2)]
    assert sorted(parts[0] + parts[1]) == sorted(TEXTS)
    assert all(parts)
    with pytest.raises(DataError, match=r"cannot be cut into 200 parts"):
        texts(source.part(1, 200))


@pytest.mark.parametrize("name", ["one", "repository"])
def test_a_column_that_is_not_there_is_named(both, name):
    source = HuggingFaceDataset(name=name, root=both, selection=Selection(text="body"))
    with pytest.raises(DataError, match=rf"{name}: has no column 'body'; its columns are .*text"):
        texts(source)


def test_rows_that_cannot_be_used_are_counted(tmp_path):
    from datasets import Dataset

    Dataset.from_dict({"text": ["a", None, " ", "b"]}).save_to_disk(tmp_path / "saved")
    source = HuggingFaceDataset(name="saved", root=tmp_path)
    rejects = Rejects(2)
    assert texts(source, rejects) == ["a", "b"]
    assert rejects.places == {"wrong type": ["saved:2"], "empty text": ["saved:3"]}
    with pytest.raises(DataError, match=r"^saved:2: 'text' is null"):
        texts(source)


def test_a_configuration_or_split_that_is_not_there_is_an_error(repository):
    for settings in ({"split": "tset"}, {"config": "de"}):
        with pytest.raises(DataError, match=r"repository: cannot be opened .*(tset|'de')"):
            texts(HuggingFaceDataset(name="repository", root=repository, **settings))


def test_code_that_a_dataset_brings_along_is_not_run(tmp_path):
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(DataError, match="scripted: cannot be opened"):
        texts(HuggingFaceDataset(name="scripted", root=tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_hub_that_does_not_answer_is_text_that_is_missing(tmp_path):
    source = HuggingFaceDataset(name="maker/corpus", root=tmp_path)
    for call in (source.describe, lambda: texts(source)):
        with pytest.raises(MissingTextError, match=r"maker/corpus: the hub does not know"):
            call()


def test_a_commit_that_is_given_needs_no_hub_to_be_described(tmp_path):
    commit = "a" * 40
    source = HuggingFaceDataset(name=f"maker/corpus@{commit}", root=tmp_path, config="de")
    assert source.describe()[0]["commit"] == commit
    assert source.describe()[0]["config"] == "de"


def test_a_name_of_nothing_is_text_that_is_missing(tmp_path):
    with pytest.raises(MissingTextError, match=r"\.\./nothing: there is no such folder"):
        texts(HuggingFaceDataset(name="../nothing", root=tmp_path))


def test_without_the_package_the_message_says_what_to_install(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs the package datasets.*rewarm\[data\]"):
        texts(HuggingFaceDataset(name="one", root=saved))
