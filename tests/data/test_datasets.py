"""The text of a campaign: which split reads what, and what finished tokens still need of it."""

import json
import os
from pathlib import Path

import pytest
from tests.tiny import CAMPAIGN, write_language

from rewarm.campaign import load_campaign
from rewarm.data.datasets import open_campaign, prepare_campaign
from rewarm.data.documents import MissingTextError
from rewarm.data.prepared import bytes_per_token, train_manifests
from rewarm.data.split_report import read_report
from rewarm.errors import DataError, MismatchError

NEW = '[data.new]\ntrain = ["new.jsonl"]\nvalidation = ["new.valid.jsonl"]\n'
BY_HASH = '[data.new]\ntrain = ["new*.jsonl"]\nvalidation = { fraction = "20%" }\n'
SETS = ("wiki", "book", "web")
BY_ROWS = """[data.new]
train = ["rows.jsonl"]
validation = { fraction = "20%" }
domain_column = "meta.set"
[data.new.domains.wiki]
weight = 1
rows = "wiki"
[data.new.domains.rest]
weight = 3
rows = ["book", "web"]
"""


class Place:
    """The tiny campaign's text in a folder, and a campaign file to change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []
        for name, syllables in (("old", "ba be bi bo bu"), ("new", "ka ke ki ko zu")):
            write_language(folder / f"{name}.jsonl", syllables, 1, 60)
            write_language(folder / f"{name}.valid.jsonl", syllables, 2, 12)

    def prepare(self, data: str = NEW):
        assert NEW in CAMPAIGN
        text = CAMPAIGN.replace(NEW, data)
        file = self.folder / "campaign.toml"
        file.write_text(text, encoding="utf-8")
        loaded = load_campaign(file)
        self.notes = []
        self.campaign = loaded.campaign
        self.prepared = self.folder / "prepared"
        prepare_campaign(
            loaded.campaign, self.folder, self.prepared, workers=1, on_note=self.notes.append
        )
        return open_campaign(loaded.campaign, self.folder, self.prepared)

    def texts(self, name: str) -> list[str]:
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["text"] for line in lines]


def documents(data, store):
    return [data.tokenizer.decode(store.document(n)[:-1]) for n in range(store.documents)]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_text_held_out_by_hash_is_not_trained_on(place):
    data = place.prepare(BY_HASH)
    train = documents(data, data.train["new"])
    held = documents(data, data.validation["new"])
    assert sorted(train + held) == sorted(place.texts("new.jsonl") + place.texts("new.valid.jsonl"))
    assert not set(train) & set(held)
    assert held


def test_rows_of_one_file_become_domains_and_their_validation(place):
    texts = place.texts("new.jsonl")
    rows = [{"text": text, "meta": {"set": SETS[n % 3]}} for n, text in enumerate(texts)]
    lines = "\n".join(json.dumps(row) for row in rows)
    (place.folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    data = place.prepare(BY_ROWS)
    held = set(documents(data, data.validation["new"]))
    assert held
    for name, sets in (("wiki", {"wiki"}), ("rest", {"book", "web"})):
        found = documents(data, data.train[f"new/{name}"])
        wanted = {row["text"] for row in rows if row["meta"]["set"] in sets}
        assert set(found) == wanted - held
    assert list(bytes_per_token(train_manifests(place.campaign, place.folder, place.prepared))) == [
        "old",
        "new",
    ]


def test_domains_with_files_of_their_own_are_held_out_together(place):
    data = place.prepare(
        '[data.new]\nvalidation = { fraction = "20%" }\n'
        '[data.new.domains.a]\nweight = 1\ntrain = ["new.jsonl"]\n'
        '[data.new.domains.b]\nweight = 1\ntrain = ["new.valid.jsonl"]\n'
    )
    held = documents(data, data.validation["new"])
    train = [t for name in "ab" for t in documents(data, data.train[f"new/{name}"])]
    assert sorted(train + held) == sorted(place.texts("new.jsonl") + place.texts("new.valid.jsonl"))


def test_a_saved_dataset_is_trained_and_validated_on(place):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    splits = {
        name: datasets.Dataset.from_dict({"text": place.texts(file)})
        for name, file in (("train", "new.jsonl"), ("test", "new.valid.jsonl"))
    }
    datasets.DatasetDict(splits).save_to_disk(place.folder / "saved")
    data = place.prepare(
        '[data.new]\nhugging_face = { from = "saved", validation_split = "test" }\n'
    )
    assert sorted(documents(data, data.train["new"])) == sorted(place.texts("new.jsonl"))
    held = documents(data, data.validation["new"])
    assert sorted(held) == sorted(place.texts("new.valid.jsonl"))
    with pytest.raises(DataError, match="is also training text of new"):
        place.prepare('[data.new]\nhugging_face = { from = "saved", validation_split = "train" }\n')


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ('["new*.jsonl"]', '["new.valid.jsonl"]'),
        ('["new.jsonl", "link.jsonl"]', '["new.valid.jsonl"]'),
        ('["new.jsonl", "old.valid.jsonl"]', '["new.valid.jsonl"]'),
        ('["new.jsonl", "old.valid.jsonl"]', '{ fraction = "10%" }'),
    ],
)
def test_validation_text_that_is_trained_on_is_refused(place, train, validation):
    (place.folder / "link.jsonl").symlink_to(place.folder / "new.valid.jsonl")
    with pytest.raises(DataError, match=r"valid\.jsonl is also training text of new"):
        place.prepare(f"[data.new]\ntrain = {train}\nvalidation = {validation}\n")
    assert not (place.folder / "prepared").exists()


def test_what_one_dataset_holds_out_another_may_not_train_on(place):
    more = '[data.more]\ntrain = ["new.jsonl"]\nvalidation = { fraction = "%s" }\n'
    with pytest.raises(DataError, match=r"new\.jsonl is also training text of more"):
        place.prepare(BY_HASH + more % "10%")
    place.prepare(BY_HASH + more % "20%")  # the same side of the same split


def test_finished_tokens_do_not_need_the_text(place):
    before = place.prepare().fingerprints()
    for name in ("old.jsonl", "new.jsonl", "new.valid.jsonl"):
        (place.folder / name).unlink()
    assert place.prepare().fingerprints() == before
    assert [note.split(":")[0] for note in place.notes] == [
        "old train",
        "new train",
        "new validation",
    ]
    assert "no file matches 'old.jsonl'" in place.notes[0]


def test_unfinished_tokens_need_the_text(place):
    place.prepare()
    (place.folder / "new.jsonl").unlink()
    (place.prepared / "new" / "train" / "manifest.json").unlink()
    with pytest.raises(MissingTextError, match=r"no file matches 'new\.jsonl'"):
        place.prepare()


def test_text_that_is_there_but_other_is_refused(place):
    place.prepare()
    with (place.folder / "new.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": "more"}\n')
    with pytest.raises(MismatchError, match=r"now with .*new\.jsonl"):
        place.prepare()


def test_a_file_written_to_after_its_tokens_is_pointed_out(place):
    place.prepare()
    path = place.folder / "new.jsonl"
    prepared_at = (place.prepared / "new" / "train" / "manifest.json").stat().st_mtime
    os.utime(path, (prepared_at - 5, prepared_at - 5))
    place.prepare()
    assert place.notes == []
    os.utime(path, (prepared_at + 5, prepared_at + 5))
    place.prepare()
    (note,) = place.notes
    assert note.startswith("new train: new.jsonl was written to after its tokens were prepared")


def test_bad_rows_are_reported_and_a_stricter_limit_refuses_what_was_made(place):
    with (place.folder / "new.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": ""}\n?\n')
    allowed = NEW + "max_bad_rows = 2\n"
    data = place.prepare(allowed)
    report = read_report(place.prepared / "new" / "train")
    assert report is not None
    assert (report.rows, report.num_left_out, report.documents) == (62, 2, 60)
    assert data.train["new"].documents == 60
    assert place.prepare(NEW + 'max_bad_rows = "5%"\n').fingerprints() == data.fingerprints()
    for limit in ("1", '"3%"'):
        with pytest.raises(MismatchError, match=r"2 of 62 rows left out, more than max_bad_rows"):
            place.prepare(NEW + f"max_bad_rows = {limit}\n")
