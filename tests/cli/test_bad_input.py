"""Mistakes and damage: the exit code and the message say what and where, and nothing that was done is lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.cli.command import QUICK, Workplace, contents, flip_a_bit, rewarm
from tests.tiny import write_language
from tests.training.running import traces

from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EventRecord, ExitRecord


def goes_on(place: Workplace, finished: Workplace) -> None:
    """Make sure that the same command, after the repair, ends with the bits of an undisturbed run."""
    done = place.train()
    assert done.code == 0, done.err
    assert traces(place.run) == traces(finished.run)


def exit_record(place: Workplace) -> ExitRecord:
    return read_record(RunFolder(place.run).exit, ExitRecord)


# Each mistake: what is written in place of what, and what the message must say after file and line.
MISTAKES = {
    "an unknown key": ("batch = ", "bacth = ", r"bacth: unknown key; did you mean 'batch'\?"),
    "a wrong unit": (
        'budget = "24 steps"',
        'budget = "24 sequences"',
        r"stages\.pretrain\.budget: .*in sequences; .* steps or tokens",
    ),
    "no unit": ('budget = "24 steps"', "budget = 24", r"stages\.pretrain\.budget: .*no unit"),
    "shares above 1": (
        "data = { new = 1.0 }",
        "data = { old = 0.5, new = 0.7 }",
        r"stages\.update\.data: .*old = 0\.5, new = 0\.7.* 1\.2",
    ),
    "replay above 1": (
        'replay = "25%"',
        'replay = "125%"',
        r"stages\.update\.replay: .*between 0 and 1",
    ),
    "a stage that does not exist": (
        'name = "update"',
        'after = "pretrian"\nname = "update"',
        r"stages\.update\.after: .*'pretrian'; did you mean 'pretrain'\?",
    ),
    "a dataset that does not exist": (
        "data = { new = 1.0 }",
        "data = { now = 1.0 }",
        r"stages\.update\.data\.now: .*did you mean 'new'\?",
    ),
    "a mistyped path in an arm": (
        "replay-25 = {}",
        'replay-25 = { "stages.update.reply" = "25%" }',
        r"arms\.replay-25: .*reply.*did you mean 'replay'\?",
    ),
    "a text for a number": (
        "max_lr = 3e-3",
        'max_lr = "3e-3"',
        r"stages\.pretrain\.schedule\.max_lr: '3e-3' is not a number",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_campaign_file_is_named_with_its_line(mistake, untouched, tmp_path):
    before, after, message = MISTAKES[mistake]
    text = untouched.file.read_text(encoding="utf-8")
    wrong = text.replace(before, after, 1)
    assert wrong != text
    line = text[: text.index(before)].count("\n") + 1
    file = tmp_path / "campaign.toml"
    file.write_text(wrong, encoding="utf-8")
    for done in (untouched.train(file=file), rewarm("plan", file)):
        assert (done.code, done.out) == (2, "")
        assert re.search(rf"{re.escape(str(file))}:{line}: {message}", done.err)


def test_every_mistake_is_named_at_once(untouched, tmp_path):
    text = untouched.file.read_text(encoding="utf-8")
    chosen = ("an unknown key", "a wrong unit", "shares above 1")
    for before, after, _ in map(MISTAKES.__getitem__, chosen):
        text = text.replace(before, after, 1)
    (tmp_path / "campaign.toml").write_text(text, encoding="utf-8")
    done = rewarm("plan", tmp_path / "campaign.toml")
    assert done.code == 2
    for _, _, message in map(MISTAKES.__getitem__, chosen):
        assert re.search(message, done.err)


def test_a_missing_campaign_file_is_named_with_one_that_is_there(untouched):
    file = untouched.folder / "campain.toml"
    done = untouched.train(file=file)
    assert (done.code, done.out) == (2, "")
    assert str(file) in done.err
    assert f"did you mean {untouched.file}?" in done.err


def test_a_file_that_is_no_campaign_is_refused(untouched):
    for file in (untouched.folder / "old.jsonl", untouched.run):
        done = untouched.train(file=file)
        assert (done.code, done.out) == (2, "")
        assert str(file) in done.err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stages.updat.replay=5%", "did you mean 'update'?"),
        ("stages.update.replay", "path=value"),
        ("training.micro_batch=3", "does not divide"),
        ("evaluation.final_steps=21", "'update', which has 20 steps"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(setting, message, untouched):
    done = untouched.train("--set", setting)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_a_layout_that_cannot_be_is_refused_before_any_text_is_prepared(work):
    shutil.rmtree(work.prepared)
    before = work.contents()
    for setting, message in (
        ("parallel.tensor=2", "does not divide the number of ranks, 1"),
        ("parallel.shard=2", "have data of their own, 1 (1 in all"),
    ):
        done = work.train("--set", "seed=8", "--set", setting)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
    assert work.contents() == before


def test_watched_ranks_are_not_started_for_a_layout_that_cannot_be(work):
    before = work.contents()
    for options, message in (
        (("--ranks", 3), "cannot be divided among 3 ranks"),
        (
            ("--ranks", 2, "--tp", 4),
            "parallel.tensor = 4 times parallel.pipeline = 1 does not divide the number",
        ),
        (("--tp", 2), "--tp divides ranks; say with --ranks how many there are"),
        (("--ranks", 2, "--pp", 0), "--pp"),
    ):
        done = work.train("--set", "seed=8", *options)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
    assert work.contents() == before


def test_a_final_window_longer_than_a_stage_is_said_to_be_the_default(untouched, tmp_path):
    file = tmp_path / "campaign.toml"
    text = untouched.file.read_text(encoding="utf-8")
    file.write_text(text.replace("final_steps = 4\n", ""), encoding="utf-8")
    done = rewarm("plan", file)
    assert (done.code, done.out) == (2, "")
    assert "evaluation.final_steps = 100 (the default) is longer than stage 'pretrain'" in done.err


def test_a_mark_that_an_editor_puts_in_front_is_not_part_of_the_file(untouched, tmp_path):
    file = tmp_path / "campaign.toml"
    file.write_bytes(b"\xef\xbb\xbf" + untouched.file.read_bytes())
    assert untouched.train(file=file).code == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--at": "12"}, "--at: '12' has no unit"),
        ({"--at": "12 sequences"}, "--at 12 sequences"),
        ({"--budget": "8"}, "--budget: '8' has no unit"),
        ({"--budget": "3 steps"}, "evaluation.every"),
        ({"--shape": "exponental"}, "'exponential'"),
        ({"--stage": "pretrian"}, "no stage 'pretrian'"),
        ({"--stage": "update"}, "--arm (no-replay, replay-25)"),
        ({"--arm": "main"}, "arms: no-replay, replay-25, union"),
        ({"--min-lr": "-1"}, "negative"),
    ],
)
def test_a_branch_that_cannot_be_leaves_the_run_as_it_is(changed, message, untouched):
    asked = {"--stage": "pretrain", "--at": "50%", "--budget": "8 steps", **changed}
    done = untouched.anneal(*(part for option in asked.items() for part in option))
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_anneal_finds_the_text_from_any_folder(unfinished, tmp_path, monkeypatch):
    monkeypatch.chdir(unfinished.folder)
    trained = rewarm("train", "campaign.toml", "--prepared", "prepared", "--workers", 1, *QUICK)
    assert trained.code == 0, trained.err
    monkeypatch.chdir(tmp_path)
    done = unfinished.anneal("--stage", "pretrain", "--at", "50%", "--budget", "4 steps")
    assert done.code == 0, done.err


def test_a_path_that_is_taken_is_named(untouched, tmp_path):
    runs = untouched.folder / "old.jsonl"
    for done in (
        rewarm("train", untouched.file, "--runs", runs, "--prepared", untouched.prepared, *QUICK),
        rewarm("report", untouched.run, "--out", runs / "page.html"),
        rewarm("plan", untouched.file, "--picture", runs / "plan.svg"),
        rewarm("init", runs / "campaign.toml"),
    ):
        assert (done.code, done.out) == (7, "")
        assert str(runs) in done.err
    done = rewarm("report", untouched.run, "--out", tmp_path)
    assert (done.code, done.out) == (7, "")
    assert str(tmp_path) in done.err


def test_a_price_without_a_throughput_is_refused(untouched):
    done = rewarm("plan", untouched.file, "--price", "2")
    assert (done.code, done.out) == (2, "")
    assert "--throughput" in done.err


def spoil_line(content: bytes, line: bytes) -> bytes:
    """Replace line 42 of a file."""
    lines = content.splitlines(keepends=True)
    return b"".join([*lines[:41], line + b"\n", *lines[42:]])


# Each text: what new.jsonl becomes (None: it is not there), and what the message must say.
TEXTS = {
    "a missing file": (
        lambda _: None,
        r"data\.new\.train: no file matches 'new\.jsonl' \(relative to /",
    ),
    "an empty dataset": (lambda _: b"", r"new/train: empty dataset"),
    "only blank lines": (lambda _: b"\n\n\n", r"new/train: empty dataset"),
    "a broken JSON line": (lambda c: spoil_line(c, b'{"text": "ka'), r"new\.jsonl:42: .*JSON"),
    "invalid UTF-8": (lambda c: spoil_line(c, b'{"text": "k\xfc"}'), r"new\.jsonl:42: .*UTF-8.*fc"),
    "another key": (
        lambda c: spoil_line(c, b'{"content": "ka"}'),
        r"new\.jsonl:42: has no key 'text'; its keys are \['content'\]",
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_that_cannot_be_used_is_named_and_what_was_prepared_stays(text, tiny, work):
    spoil, message = TEXTS[text]
    source = work.folder / "new.jsonl"
    good = source.read_bytes()
    shutil.rmtree(work.prepared)
    if (bad := spoil(good)) is None:
        source.unlink()
    else:
        source.write_bytes(bad)
    run = contents(work.run)
    done = work.prepare()
    assert (done.code, done.out) == (3, "")
    assert re.search(message, done.err)
    # A missing file is found before any work; what is wrong inside one, when its turn comes.
    assert (work.prepared / "old" / "train" / "manifest.json").exists() == (bad is not None)
    assert contents(work.run) == run

    source.write_bytes(good)
    assert work.prepare().code == 0
    assert contents(work.prepared) == contents(tiny.prepared)


def test_patterns_that_match_nothing_are_noted_by_plan_and_all_named_by_prepare(work):
    text = work.file.read_text(encoding="utf-8").replace('"new.jsonl"', '"new-*.jsonl"')
    work.file.write_text(text.replace('"old.valid.jsonl"', '"other/*.txt"'), encoding="utf-8")
    missing = (
        f"data.new.train: no file matches 'new-*.jsonl' (relative to {work.folder})",
        f"data.old.validation: no file matches 'other/*.txt' (relative to {work.folder})",
    )
    done = rewarm("plan", work.file, "--prepared", work.prepared)
    assert (done.code, done.err) == (0, "")
    assert all(f"note: {message}" in done.out for message in missing)
    # The tokens that are there were made from other files, so they do not take the place of these.
    done = work.prepare()
    assert (done.code, done.out) == (3, "")
    assert all(message in done.err for message in missing)


def test_text_that_is_both_trained_and_validated_on_is_refused(work):
    shutil.rmtree(work.prepared)
    text = work.file.read_text(encoding="utf-8").replace(
        '["new.valid.jsonl"]', '["*.valid.jsonl", "old.jsonl"]'
    )
    work.file.write_text(text, encoding="utf-8")
    done = work.prepare()
    assert done.code == 3
    assert "data.new.validation: old.jsonl is also training text of old" in done.err
    assert not work.prepared.exists()


def test_too_little_validation_text_is_named(unfinished):
    (unfinished.folder / "new.valid.jsonl").write_bytes(b'{"text": "ka"}\n')
    shutil.rmtree(unfinished.prepared / "new" / "validation")
    before = unfinished.results()
    done = unfinished.train()
    assert done.code == 3
    assert "new: the validation set has" in done.err
    assert unfinished.results() == before


def test_ctrl_c_while_text_is_prepared_keeps_what_is_done(tiny, tmp_path):
    place = Workplace(tmp_path / "work")
    shutil.copytree(tiny.folder, place.folder)
    shutil.rmtree(place.prepared / "new")
    text = (place.folder / "new.jsonl").read_bytes()
    # Ten chunks of text, so that the signal comes long before the end.
    (place.folder / "new.jsonl").write_bytes(text * (40_000_000 // len(text)))
    first, ended = place.prepared / "new/train/.partial/chunk-00000000", threading.Event()

    def press() -> None:
        while not first.exists():
            if ended.wait(0.01):
                return
        os.kill(os.getpid(), signal.SIGINT)

    finger = threading.Thread(target=press)
    finger.start()
    done = place.prepare()
    ended.set()
    finger.join()
    assert (done.code, done.out) == (130, "")
    assert "SIGINT" in done.err
    assert "goes on from there" in done.err
    assert first.exists()
    assert not (place.prepared / "new" / "train" / "manifest.json").exists()
    (place.folder / "new.jsonl").unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("spoil", [cut_short, flip_a_bit])
@pytest.mark.parametrize("split", ["old/train", "new/validation"])
def test_spoilt_tokens_stop_the_training(spoil, split, unfinished, finished):
    path = unfinished.prepared / split / "tokens.bin"
    good, before = path.read_bytes(), unfinished.results()
    spoil(path)
    done = unfinished.train()
    assert (done.code, done.out) == (3, "")
    assert f"{path}: " in done.err
    assert unfinished.results() == before
    path.write_bytes(good)
    goes_on(unfinished, finished)


def test_a_flipped_bit_in_a_checkpoint_is_said_and_the_one_before_is_taken(unfinished, finished):
    path = unfinished.stage("union") / "checkpoints" / "step-00000024" / "optimizer.safetensors"
    flip_a_bit(path)
    done = unfinished.train()
    assert done.code == 0
    assert str(path) in done.err
    assert "passed over" in done.err
    events = read_records(unfinished.stage("union") / "events.jsonl", EventRecord)
    assert [event.step for event in events if event.kind == "resumed"] == [12]
    assert traces(unfinished.run) == traces(finished.run)


def test_a_flipped_bit_in_the_parents_checkpoint_stops_the_stage(work, finished):
    for stage in work.run.glob("stages/update-*"):
        shutil.rmtree(stage)
    path = work.stage("pretrain") / "checkpoints" / "step-00000024" / "model.safetensors"
    good = path.read_bytes()
    flip_a_bit(path)
    before = work.results()
    done = work.train()
    assert (done.code, done.out) == (4, "")
    assert str(path) in done.err
    assert work.results() == before
    assert exit_record(work).code == 4
    path.write_bytes(good)
    goes_on(work, finished)


def test_another_tokenizer_than_the_tokens_were_made_with_is_refused(unfinished, finished):
    path = unfinished.prepared / "tokenizer.json"
    good, before = path.read_bytes(), unfinished.results()
    other = json.loads(good)
    merges = other["model"]["merges"]
    merges[-1], merges[-2] = merges[-2], merges[-1]
    path.write_text(json.dumps(other))
    done = unfinished.train()
    assert (done.code, done.out) == (5, "")
    assert str(unfinished.prepared / "old" / "train") in done.err
    assert "tokenizer was" in done.err
    assert unfinished.results() == before
    path.write_bytes(good)
    goes_on(unfinished, finished)


def test_text_that_was_changed_after_it_was_prepared_is_refused(unfinished, finished):
    path = unfinished.folder / "new.jsonl"
    good = path.read_bytes()
    path.write_bytes(good + good)
    before = unfinished.contents()
    done = unfinished.train()
    assert (done.code, done.out) == (5, "")
    assert str(unfinished.prepared / "new" / "train") in done.err
    assert "new.jsonl" in done.err
    assert unfinished.contents() == before
    path.write_bytes(good)
    goes_on(unfinished, finished)


def test_tokens_that_changed_since_the_checkpoint_are_refused(unfinished, finished):
    tokens, aside = unfinished.prepared / "new" / "train", unfinished.folder / "aside"
    good = (unfinished.folder / "new.jsonl").read_bytes()
    tokens.rename(aside)
    write_language(unfinished.folder / "new.jsonl", "ka ke ki ko zu zo ze bi", 3, 60)
    before = unfinished.results()
    done = unfinished.train()
    assert (done.code, done.out) == (5, "")
    assert "step-00000024: the tokens of 'new' have changed" in done.err
    assert unfinished.results() == before
    assert exit_record(unfinished).code == 5
    shutil.rmtree(tokens)
    aside.rename(tokens)
    (unfinished.folder / "new.jsonl").write_bytes(good)
    goes_on(unfinished, finished)


HOLD = """
import sys
from pathlib import Path
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import locked
with locked(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_on_the_same_run_is_refused(unfinished, finished):
    before = unfinished.results()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, unfinished.run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = unfinished.train()
        holder.communicate("")
    assert (done.code, done.out) == (8, "")
    assert f"{unfinished.run}: process {holder.pid} is at work here" in done.err
    assert unfinished.results() == before
    goes_on(unfinished, finished)


SMALL_DISK = """
import resource
from rewarm.cli import main
# The weights still fit; the moments of the optimizer, twice as large, do not.
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
main()
"""


def test_a_full_disk_keeps_older_checkpoints_and_the_run_goes_on_later(unfinished, finished):
    before = unfinished.results()
    folders = ("--runs", unfinished.run.parent, "--prepared", unfinished.prepared)
    ended = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, "train", unfinished.file, *folders, *QUICK],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (7, "")
    assert "step-00000036: File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert unfinished.results() == before
    assert exit_record(unfinished).code == 7
    assert rewarm("verify", unfinished.run).code == 0
    goes_on(unfinished, finished)


def test_a_changed_campaign_is_refused_with_what_changed(unfinished, finished):
    before = unfinished.contents()
    done = unfinished.train("--set", "stages.pretrain.budget=25 steps")
    assert (done.code, done.out) == (5, "")
    assert "24 steps → 25 steps" in done.err
    assert unfinished.stage("pretrain").name in done.err
    assert "--allow-changes" in done.err
    assert unfinished.contents() == before
    goes_on(unfinished, finished)


def test_an_arm_that_diverges_ends_alone_and_can_be_mended(work, finished):
    for stage in work.run.glob("stages/u*"):
        shutil.rmtree(stage)
    before = work.results()
    done = work.train("--set", "stages.update.schedule.max_lr=1e30")
    assert (done.code, done.out) == (6, "")
    assert re.search(r"update-[0-9a-f]{8}, step \d+: loss (nan|inf)", done.err)
    assert "weights were not touched" in done.err
    assert exit_record(work).code == 6
    assert "Finished all the same: union." in done.err
    after = work.results()
    assert before.items() <= after.items()
    assert {name.split("/")[1].split("-")[0] for name in after.keys() - before.keys()} == {"union"}

    refused = work.train()
    assert refused.code == 5
    assert "max_lr: 1e+30 → 0.003" in refused.err
    mended = work.train("--allow-changes")
    assert mended.code == 0, mended.err
    assert traces(finished.run).items() <= traces(work.run).items()


def test_a_device_that_is_not_there_is_named(unfinished):
    done = unfinished.train("--device", "cuda:99")
    assert (done.code, done.out) == (2, "")
    assert "cuda:99" in done.err


def test_the_comparisons_of_these_tests_notice_one_bit(work):
    before = (work.contents(), work.results())
    flip_a_bit(work.stage("pretrain") / "checkpoints" / "step-00000012" / "model.safetensors")
    assert work.contents() != before[0]
    assert work.results() != before[1]
