"""Preparing in shards from the command line, as a scheduler's jobs would, and training on what was merged."""

import json

import pytest
from tests.cli.command import Workplace, contents, rewarm
from tests.tiny import Tiny, write_tiny

OF = 3


@pytest.fixture
def place(tmp_path) -> Workplace:
    """Return the tiny campaign, its training text in three files each and nothing prepared."""
    tiny: Tiny = write_tiny(tmp_path)
    text = tiny.file.read_text(encoding="utf-8")
    for name in ("old", "new"):
        rows = (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        for number in range(OF):
            part = "".join(rows[number::OF])
            (tmp_path / f"{name}-{number}.jsonl").write_text(part, encoding="utf-8")
        (tmp_path / f"{name}.jsonl").unlink()
        text = text.replace(f'"{name}.jsonl"', f'"{name}-*.jsonl"')
    # One arm is enough.
    tiny.file.write_text(text[: text.index("[arms]")], encoding="utf-8")
    return Workplace(tmp_path)


def prepare_shards(place: Workplace, numbers=(2, 3, 1)) -> None:
    for number in numbers:
        done = place.prepare("--shard", f"{number}/{OF}")
        assert done.code == 0, done.err
        assert f"shard {number}/{OF} is prepared" in done.out


def test_a_campaign_trains_on_merged_shards(place):
    prepare_shards(place)
    refused = place.train()
    assert refused.code != 0
    assert "--merge" in refused.err
    done = place.prepare("--merge", OF)
    assert done.code == 0, done.err
    assert "old: " in done.out
    report = json.loads((place.prepared / "old/train/report.json").read_text())
    assert (report["rows"], report["documents"]) == (60, 60)
    before = contents(place.prepared)
    done = place.train()
    assert done.code == 0, done.err
    assert contents(place.prepared) == before
    verified = rewarm("verify", place.prepared)
    assert verified.code == 0, verified.err


def test_merging_again_changes_nothing_and_a_shard_that_lacks_is_named(place):
    prepare_shards(place, (1, 3))
    done = place.prepare("--merge", OF)
    assert done.code == 3
    assert f"--shard 2/{OF}" in done.err
    assert "Traceback" not in done.err
    prepare_shards(place, (2,))
    assert place.prepare("--merge", OF).code == 0
    before = contents(place.prepared)
    again = place.prepare("--merge", OF)
    assert again.code == 0, again.err
    assert contents(place.prepared) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shard", "1/3", "--merge", 3), "give one"),
        (("--shard", "4/3"), "Write 2/8 for the second of eight"),
        (("--shard", "1/4"), "3 files cannot be cut into 4 parts"),
        (("--encoder", "fast"), "there is auto, reference, tiktoken"),
    ],
)
def test_what_cannot_be_prepared_is_refused_and_leaves_no_tokens(place, options, said):
    done = place.prepare(*options)
    assert done.code not in (0, 1)
    assert said in done.err
    assert not [*place.prepared.rglob("tokens.bin")]


def test_encoders_make_the_same_bytes_and_the_report_names_them(place, tmp_path):
    made = {}
    for encoder in ("auto", "reference", "tiktoken"):
        folder = tmp_path / encoder
        options = ("--prepared", folder, "--workers", 1, "--encoder", encoder)
        done = rewarm("prepare", place.file, *options)
        assert done.code == 0, done.err
        report = json.loads((folder / "new/train/report.json").read_text())
        assert report["encoder"] == ("reference" if encoder == "reference" else "tiktoken")
        files = contents(folder)
        made[encoder] = {name: files[name] for name in files if not name.endswith("report.json")}
    assert made["auto"] == made["reference"] == made["tiktoken"]
