"""Every verb does its work: results on standard output, messages on standard error, exit code 0."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from tests.cli.command import contents, flip_a_bit, rewarm
from tests.training.running import traces

from rewarm.campaign import PRESETS, load_campaign
from rewarm.campaign.starters import STARTERS
from rewarm.data.manifest_file import read_manifest
from rewarm.plan import make_plan
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import RunRecord, StageResult, StepRecord

VERBS = [
    "init",
    "plan",
    "doctor",
    "prepare",
    "train",
    "quickstart",
    "anneal",
    "eval",
    "compare",
    "export",
    "report",
    "gate",
    "publish",
    "adopt",
    "inspect",
    "verify",
]


@pytest.fixture
def base_model(tiny, tmp_path) -> Path:
    """Return a folder with a small Hugging Face model and its tokenizer, where a starter expects it."""
    from rewarm.models.build import build_preset

    folder = tmp_path / "base-model"
    model = build_preset(PRESETS["neox-0.1m"], vocabulary=300, sequence_length=16, seed=0)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_bytes((tiny.prepared / "tokenizer.json").read_bytes())
    return folder


def steps_of(stage: Path) -> list[StepRecord]:
    return list(read_records(stage / "metrics.jsonl", StepRecord))


def test_help_names_every_verb():
    done = rewarm("--help")
    assert (done.code, done.err) == (0, "")
    for verb in VERBS:
        assert re.search(rf"^ +{verb} ", done.out, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    done = rewarm(verb, "-h")
    assert (done.code, done.err) == (0, "")
    usage, *_ = done.out.splitlines()
    assert usage.startswith("Usage: ")
    assert verb in usage


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["trian", "campaign.toml"], "'train'"),
        (["plan", "campaign.toml", "--thruput", "3"], "--throughput"),
        (["train", "campaign.toml", "--allow-change"], "--allow-changes"),
    ],
)
def test_a_mistyped_command_or_option_gets_a_suggestion(arguments, suggestion):
    done = rewarm(*arguments)
    assert (done.code, done.out) == (2, "")
    assert suggestion in done.err


@pytest.mark.parametrize("starter", STARTERS)
def test_init_writes_a_starter_that_plans(starter, tmp_path, base_model):
    assert base_model.parent == tmp_path
    file = tmp_path / "campaign.toml"
    done = rewarm("init", file, "--starter", starter)
    assert (done.code, done.err) == (0, "")
    assert str(file) in done.out
    plan = make_plan(load_campaign(file))
    assert plan.stages
    planned = rewarm("plan", file)
    assert planned.code == 0, planned.err
    assert all(stage.folder in planned.out for stage in plan.stages)


def test_every_starter_in_the_package_can_be_asked_for():
    import rewarm.campaign.starters as package

    files = {path.stem for path in Path(package.__file__).parent.glob("*.toml")}
    assert files == set(STARTERS)
    assert "quickstart" in STARTERS


def test_init_does_not_overwrite(tmp_path):
    file = tmp_path / "campaign.toml"
    file.write_text("mine")
    done = rewarm("init", file)
    assert (done.code, done.out) == (2, "")
    assert f"{file} exists already" in done.err
    assert file.read_text() == "mine"


def test_init_names_the_starters_there_are(tmp_path):
    done = rewarm("init", tmp_path / "campaign.toml", "--starter", "scrach")
    assert done.code == 2
    assert all(starter in done.err for starter in STARTERS)
    assert not list(tmp_path.iterdir())


def test_plan_shows_stages_data_rates_and_cost_and_writes_nothing(untouched):
    done = rewarm("plan", untouched.file, "--prepared", untouched.prepared)
    assert (done.code, done.err) == (0, "")
    plan = make_plan(load_campaign(untouched.file))
    for stage in plan.stages:
        assert stage.folder in done.out
    for expected in ("138,496 parameters", "25%", "13,824 tokens", "learning rate over steps"):
        assert expected in done.out
    tokens = read_manifest(untouched.prepared / "old" / "train").tokens
    (row,) = [row for row in done.out.splitlines() if "3,072" in row and "100.00%" in row]
    assert f"{3072 / tokens:.2f}" in row
    assert "not prepared" not in done.out


def test_plan_says_what_it_cannot_know_yet(untouched, tmp_path):
    done = rewarm("plan", untouched.file, "--prepared", tmp_path / "none")
    assert done.code == 0
    assert "note: old is not prepared" in done.out


def test_plan_as_json_is_the_record_that_a_run_keeps(untouched):
    done = rewarm("plan", untouched.file, "--json")
    assert (done.code, done.err) == (0, "")
    record = RunRecord.model_validate_json(done.out)
    assert record == read_record(RunFolder(untouched.run).plan, RunRecord)
    assert list(record.arms) == ["no-replay", "replay-25", "union"]


def test_plan_takes_changes(untouched):
    change = ("--set", "stages.update.budget=21 steps", "--set", "seed=8")
    done = rewarm("plan", untouched.file, "--json", *change)
    record = RunRecord.model_validate_json(done.out)
    assert record.seed == 8
    assert [s.steps for s in record.stages if s.name == "update"] == [21, 21]


def test_plan_spreads_a_campaign_over_ranks(untouched):
    """The tiny campaign has 8 sequences in a batch, 2 blocks and 2 heads."""
    sides = ("--ranks", 8, "--tp", 2, "--pp", 2, "--shard", 1)
    done = rewarm("plan", untouched.file, *sides, "--set", "training.micro_batch=2")
    assert (done.code, done.err) == (0, "")
    assert "8 ranks, pipeline 2 × replicate 2 × tensor 2" in done.out
    assert "each data rank has 4 of 8 sequences: micro-batch 2, 2 of them in a step" in done.out
    assert "a rank of the pipeline waits 33.3% of a step (1f1b)" in done.out
    assert "of 80 GB" in done.out
    rows = [line.split("│") for line in done.out.splitlines() if line.startswith("│")]
    assert [row[1].strip() for row in rows][-2:] == ["0", "1"]


def test_plan_points_to_ranks_only_where_none_are_given(untouched):
    small = ("--set", "parallel.device_memory=0.001")
    assert "one rank would need" in rewarm("plan", untouched.file, *small).out
    assert "one rank would need" not in rewarm("plan", untouched.file, *small, "--ranks", 2).out


def test_plan_as_json_has_the_layouts_beside_the_record(untouched):
    sides = ("--ranks", 4, "--tp", 2, "--json")
    done = rewarm("plan", untouched.file, *sides)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    alone = json.loads(rewarm("plan", untouched.file, "--json").out)
    assert found["plan"] == alone
    (layout,) = found["layouts"]
    assert (layout["ranks"], layout["tensor"], layout["shard"], layout["bubble"]) == (4, 2, 2, 0)
    assert layout["stages"] == [stage["folder"] for stage in alone["stages"]]
    (memory,) = layout["memory_bytes"]
    assert memory["total"] == sum(
        memory[part] for part in memory if part not in ("blocks", "held", "total")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tp", 2), "--tp divides ranks; say with --ranks how many there are"),
        (
            ("--ranks", 4, "--tp", 2, "--set", "parallel.tensor=4"),
            "--tp and --set parallel.tensor set the same value; give one of them",
        ),
        (("--ranks", 4, "--tp", 0), "--tp"),
        (("--ranks", 3), "the batch of 8 sequences cannot be divided among 3 ranks"),
        (
            ("--ranks", 4, "--pp", 4, "--set", "training.micro_batch=4"),
            "2 micro-batches on each rank; a pipeline of 4 ranks needs 4",
        ),
        (("--ranks", 8, "--tp", 4), "does not divide the model's 2 attention heads"),
        (
            ("--ranks", 4, "--pp", 4, "--set", "training.micro_batch=2"),
            "a pipeline of 4 stages cannot be made of 2 blocks",
        ),
    ],
)
def test_plan_refuses_spreads_that_cannot_be(untouched, arguments, message):
    done = rewarm("plan", untouched.file, *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_plan_draws_a_picture(untouched, tmp_path):
    picture = tmp_path / "new" / "plan.svg"
    done = rewarm("plan", untouched.file, "--picture", picture)
    assert (done.code, done.err) == (0, "")
    root = ElementTree.parse(picture).getroot()
    assert root.tag.endswith("svg")
    # One line of points for the arms that share their rates, one for the union.
    assert sum(element.tag.endswith("path") for element in root.iter()) >= 2


def test_plan_turns_throughput_and_price_into_hours_and_money(untouched):
    # 13,824 tokens at 1.92 a second are two hours.
    done = rewarm("plan", untouched.file, "--throughput", "1.92", "--price", "1.25")
    assert done.code == 0
    assert "2.00 hours, price 2.50" in done.out


def test_prepare_counts_tokens_and_does_nothing_twice(work):
    before = work.contents()
    done = work.prepare()
    assert done.code == 0
    assert "preparing" not in done.err
    for split in (r"old: [\d,]+ tokens, 60", r"new, validation: [\d,]+ tokens, 12"):
        line = rf"^{split} documents, \d\.\d\d bytes per token$"
        assert re.search(line, done.out, re.MULTILINE)
    assert work.contents() == before


def test_prepare_says_on_standard_error_what_it_is_doing(work, tmp_path):
    done = rewarm("prepare", work.file, "--prepared", tmp_path / "new", "--workers", 1)
    assert done.code == 0
    assert "preparing old train" in done.err
    assert "preparing" not in done.out
    assert contents(tmp_path / "new") == contents(work.prepared)


def test_rows_that_are_left_out_are_said_and_text_that_costs_more_is_pointed_out(work, tmp_path):
    text = work.file.read_text(encoding="utf-8")
    allowed = text.replace("[data.new]", "[data.new]\nmax_bad_rows = 1")
    work.file.write_text(allowed, encoding="utf-8")
    with (work.folder / "new.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": 5}\n')
    folder = ("--prepared", tmp_path / "new")
    done = rewarm("prepare", work.file, *folder, "--workers", 1)
    assert done.code == 0, done.err
    said = "1 of 61 rows left out: wrong type (new.jsonl:61)"
    assert re.search(rf"^  {re.escape(said)}$", done.out, re.MULTILINE)
    assert said in rewarm("inspect", folder[1]).out
    costs = r"note: data\.new needs [\d.]+ times the tokens of data\.old for the same text"
    assert re.search(costs, done.err)
    planned = rewarm("plan", work.file, *folder)
    assert re.search(costs, planned.out)
    assert re.search(
        r"^bytes of text per token: old [\d.]+, new [\d.]+$", planned.out, re.MULTILINE
    )


def test_a_finished_preparation_needs_no_text(work):
    before = contents(work.prepared)
    (work.folder / "new.jsonl").unlink()
    done = work.prepare()
    assert done.code == 0
    assert done.err.count("note: new train: its tokens are used as they were prepared") == 1
    assert contents(work.prepared) == before


def test_train_goes_on_and_ends_with_the_same_bits(unfinished, finished):
    done = unfinished.train()
    assert done.code == 0
    assert "union" in done.err
    assert "5,632 tokens in" in done.err
    assert "replay-25" in done.out
    assert "preparing" not in done.out
    assert f"report: {unfinished.run / 'report.html'}" in done.out
    assert traces(unfinished.run) == traces(finished.run)


def test_the_time_of_a_stage_is_that_of_all_its_starts(unfinished):
    """Here an hour is said to have gone into the steps before this start."""
    records = unfinished.stage("union") / "throughput.jsonl"
    text = re.sub(r'"seconds":[^,]+', '"seconds":3600.0', records.read_text(), count=1)
    records.write_text(text)
    done = unfinished.train()
    assert done.code == 0, done.err
    assert "5,632 tokens in 1:00:" in done.err


def test_train_on_a_finished_run_says_so_and_changes_nothing(untouched):
    done = untouched.train()
    assert done.code == 0
    assert "is finished; nothing is left to do" in done.err
    for arm in ("no-replay", "replay-25", "union"):
        assert arm in done.out


def test_one_arm_of_a_finished_campaign_is_finished_too(work):
    done = work.train("--arm", "union", "--arm", "union")
    assert done.code == 0, done.err
    assert "is finished: union; nothing is left to do" in done.err


def test_an_arm_that_is_not_there_is_a_mistake(work):
    done = work.train("--arm", "onion")
    assert (done.code, done.out) == (2, "")
    assert "--arm onion: there is no such arm; there are no-replay, replay-25, union" in done.err


def test_train_takes_changes_by_name_of_the_stage(work):
    file = work.folder / "other.toml"
    text = work.file.read_text(encoding="utf-8")
    file.write_text(text[: text.index("[arms]")].replace('"tiny"', '"other"'), encoding="utf-8")
    short = ("--set", "stages.pretrain.budget=12 steps", "--set", "stages.update.budget=9 steps")
    done = work.train(*short, file=file)
    assert done.code == 0, done.err
    record = read_record(RunFolder(work.run.parent / "other").plan, RunRecord)
    assert [stage.steps for stage in record.stages] == [12, 9]
    assert list(record.arms) == ["main"]


def test_anneal_goes_on_with_data_weights_and_optimizer_under_a_falling_rate(work, finished):
    trunk = work.stage("pretrain")
    before = read_record(RunFolder(work.run).plan, RunRecord)
    done = work.anneal("--stage", "pretrain", "--at", "50%", "--budget", "8 steps")
    assert done.code == 0, done.err

    record = read_record(RunFolder(work.run).plan, RunRecord)
    (arm,) = record.arms.keys() - before.arms.keys()
    assert arm in done.out
    assert {name: record.arms[name] for name in before.arms} == before.arms
    assert record.arms[arm][0] == trunk.name
    (branch,) = [stage for stage in record.stages if stage.folder == record.arms[arm][-1]]
    assert (branch.parent, branch.start_step, branch.steps) == (trunk.name, 12, 8)
    assert branch.optimizer == "keep"

    annealed = steps_of(work.run / "stages" / branch.folder)
    on_trunk = steps_of(trunk)
    # The same weights on the same batch; then the rates, and with them the weights, part.
    assert annealed[0].loss == on_trunk[12].loss
    assert annealed[0].gradient_norm == on_trunk[12].gradient_norm
    assert [s.new for s in annealed] == [s.new for s in on_trunk[12:20]]
    rates = [step.lr for step in annealed]
    assert on_trunk[11].lr == 2e-3
    assert rates == sorted(rates, reverse=True)
    assert 2e-3 > rates[0] > rates[-1] == pytest.approx(3e-4, rel=1e-12)
    assert traces(finished.run).items() <= traces(work.run).items()


def test_train_keeps_an_annealed_branch(work):
    done = work.anneal("--stage", "pretrain", "--at", "12 steps", "--budget", "4 steps")
    assert done.code == 0, done.err
    arms = read_record(RunFolder(work.run).plan, RunRecord).arms
    before = work.contents()
    again = work.train()
    assert again.code == 0
    assert "is finished" in again.err
    assert read_record(RunFolder(work.run).plan, RunRecord).arms == arms
    assert work.contents() == before


def test_a_branch_asked_for_twice_is_there_once(work):
    asked = ("--stage", "pretrain", "--at", "50%", "--budget", "4 steps")
    assert work.anneal(*asked).code == 0
    before = work.contents()
    again = work.anneal(*asked)
    assert (again.code, "is finished" in again.err) == (0, True)
    assert work.contents() == before


def test_a_branch_that_several_ranks_recorded_is_there_once(work):
    assert work.anneal("--stage", "pretrain", "--at", "50%", "--budget", "4 steps").code == 0
    recorded = RunFolder(work.run).annealings
    recorded.write_bytes(recorded.read_bytes() * 3)
    again = work.train()
    assert (again.code, "is finished" in again.err) == (0, True)


def test_a_branch_off_a_step_that_was_not_saved_names_those_that_were(untouched):
    done = untouched.anneal("--stage", "pretrain", "--at", "17 steps", "--budget", "4 steps")
    assert (done.code, done.out) == (4, "")
    assert "no checkpoint at step 17" in done.err
    assert "12, 24" in done.err


def test_export_writes_a_folder_and_says_how_to_load_it(work):
    done = rewarm("export", work.run, "--stage", "pretrain", "--prepared", work.prepared)
    assert done.code == 0, done.err
    folder = work.run / "export" / work.stage("pretrain").name
    assert done.out == (
        f'wrote {folder}; load it with AutoModelForCausalLM.from_pretrained("{folder}")\n'
    )
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    again = rewarm("export", work.run, "--stage", "pretrain", "--prepared", work.prepared)
    assert (again.code, again.out) == (2, "")
    assert "exists already" in again.err


def test_report_writes_a_page_and_a_markdown_table(untouched, tmp_path):
    page, table = tmp_path / "page.html", tmp_path / "table.md"
    done = rewarm("report", untouched.run, "--out", page, "--markdown", table)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"wrote {page}\nwrote {table}\n"
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    for arm in ("no-replay", "replay-25", "union"):
        assert f"| {arm}" in table.read_text(encoding="utf-8")


def test_inspect_describes_a_run(untouched):
    done = rewarm("inspect", untouched.run)
    assert (done.code, done.err) == (0, "")
    for path in untouched.run.glob("stages/*"):
        final = read_record(path / "result.json", StageResult).final["old"]
        assert f"{path.name}" in done.out
        assert f"finished: old {final:.3f}" in done.out


def test_inspect_says_where_an_unfinished_run_stands(unfinished):
    done = rewarm("inspect", unfinished.run)
    stands = rf"{unfinished.stage('union').name}  44 steps  at step 24 \(55%\), saved [\d:]+ ago"
    assert re.search(stands, done.out)


def test_inspect_describes_a_checkpoint(untouched):
    checkpoint = untouched.stage("union") / "checkpoints" / "step-00000044"
    done = rewarm("inspect", checkpoint)
    assert (done.code, done.err) == (0, "")
    assert "step-00000044, intact" in done.out
    result = json.loads((untouched.stage("union") / "result.json").read_bytes())
    assert result["weights_sha256"] in done.out
    assert "  step: 44" in done.out


def test_inspect_describes_prepared_tokens(untouched):
    done = rewarm("inspect", untouched.prepared)
    assert (done.code, done.err) == (0, "")
    for split in ("old/train", "old/validation", "new/train", "new/validation"):
        assert f"{untouched.prepared / split}: " in done.out
    assert len(re.findall(r"begins: '[a-z ]+'", done.out)) == 4


def test_verify_names_everything_that_is_intact(untouched):
    done = rewarm("verify", untouched.prepared, untouched.run)
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 4 + len(list(untouched.run.rglob("MANIFEST.json")))
    assert all(line.startswith("intact  ") for line in done.out.splitlines())


def test_verify_goes_on_after_damage_and_names_all_of_it(work):
    number = len(rewarm("verify", work.prepared, work.run).out.splitlines())
    checkpoints = work.stage("pretrain") / "checkpoints"
    flip_a_bit(checkpoints / "step-00000012" / "model.safetensors")
    (checkpoints / "step-00000024" / "MANIFEST.json").unlink()
    flip_a_bit(work.prepared / "new" / "train" / "tokens.bin")
    flip_a_bit(work.prepared / "old" / "train" / "report.json")
    for folders, code, damaged in (
        ((work.run, work.prepared), 4, 4),
        ((work.prepared, work.run), 3, 4),
        ((work.prepared,), 3, 2),
    ):
        done = rewarm("verify", *folders)
        assert done.code == code
        lines = [line.split()[0] for line in done.out.splitlines()]
        assert lines.count("damaged") == damaged
        assert f"{damaged} damaged, {lines.count('intact')} intact" in done.err
    done = rewarm("verify", work.prepared, work.run)
    assert len(done.out.splitlines()) == number
    for step in (12, 24):
        assert f"damaged  {checkpoints}/step-{step:08d}\n" in done.out
        assert f"error: {checkpoints}/step-{step:08d}/" in done.err


def test_inspect_of_a_run_names_a_damaged_checkpoint_and_the_one_that_counts(unfinished):
    checkpoints = unfinished.stage("union") / "checkpoints"
    newest = checkpoints / "step-00000024"
    (newest / "model.safetensors").write_bytes(b"short")
    done = rewarm("inspect", unfinished.run)
    assert (done.code, done.err) == (0, "")
    assert "44 steps  at step 12 (27%), saved " in done.out
    assert f"    damaged: {newest / 'model.safetensors'}: it has 5 bytes" in done.out
    (checkpoints / "step-00000012" / "MANIFEST.json").write_bytes(b"{}")
    done = rewarm("inspect", unfinished.run)
    assert (done.code, done.err) == (0, "")
    assert "44 steps  begun, no intact checkpoint" in done.out
    assert f"    damaged: {checkpoints / 'step-00000012' / 'MANIFEST.json'}" in done.out


@pytest.mark.parametrize("lost", ["MANIFEST.json", "state.json"])
def test_inspect_of_a_damaged_checkpoint_says_which_file(work, lost):
    checkpoint = work.stage("union") / "checkpoints" / "step-00000044"
    (checkpoint / lost).unlink()
    done = rewarm("inspect", checkpoint)
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith(f"error: {checkpoint / lost}: ")


@pytest.mark.parametrize("name", ["tokens.bin", "tokens.idx", "manifest.json"])
def test_verify_names_a_token_file_with_one_flipped_bit(work, name):
    path = work.prepared / "new" / "train" / name
    flip_a_bit(path)
    done = rewarm("verify", work.prepared)
    assert done.code == 3
    assert str(path) in done.err


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"]
)
def test_verify_names_a_checkpoint_file_with_one_flipped_bit(work, name):
    path = work.stage("pretrain") / "checkpoints" / "step-00000012" / name
    flip_a_bit(path)
    done = rewarm("verify", work.run)
    assert done.code == 4
    assert str(path) in done.err


def test_inspect_and_verify_refuse_a_folder_that_holds_nothing(tmp_path):
    for verb in ("inspect", "verify"):
        done = rewarm(verb, tmp_path)
        assert (done.code, done.out) == (2, "")
        assert str(tmp_path) in done.err


def test_doctor_lists_what_is_here():
    done = rewarm("doctor")
    assert (done.code, done.err) == (0, "")
    for name in ("python", "cores", "memory", "free disk", "torch", "GPU"):
        assert re.search(rf"^{name} +\S", done.out, re.MULTILINE)


@pytest.mark.parametrize("trainer", ["megatron", "gpt-neox"])
def test_plan_prints_a_stage_for_another_trainer(untouched, trainer):
    """The arguments name the tokens that are there, on standard output; the notes are apart."""
    folders = ("--prepared", untouched.prepared)
    constant = ("--set", 'stages.pretrain.schedule={kind = "constant", lr = 1e-3}')
    arguments = ("--to", trainer, "--stage", "pretrain", "--arm", "replay-25")
    done = rewarm("plan", untouched.file, *folders, *arguments, *constant)
    assert done.code == 0, done.err
    prefix = untouched.prepared / "old" / "train" / "tokens"
    assert str(prefix) in done.out
    assert prefix.with_suffix(".bin").exists()
    assert "note" not in done.out
    assert all(line.startswith("note: ") for line in done.err.splitlines())


def test_the_replay_of_an_arm_is_printed_for_another_trainer(untouched):
    shuffled = ("--set", 'stages.update.replay={share = "25%", order = "shuffled"}')
    arguments = ("--to", "megatron", "--stage", "update", "--arm", "replay-25")
    done = rewarm("plan", untouched.file, *arguments, *shuffled)
    assert done.code == 0, done.err
    old, new = (f"prepared/tiny/{name}/train/tokens" for name in ("old", "new"))
    assert f"--train-data-path 0.75 {new} 0.25 {old}" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "nemo", "--stage", "update"), "--to megatron or --to gpt-neox"),
        (("--to", "megatron"), "--stage NAME"),
        (("--stage", "update"), "--to megatron"),
        (("--to", "megatron", "--stage", "update"), "choose one with --arm"),
        (("--to", "megatron", "--stage", "update", "--arm", "replay-25"), 'order = "shuffled"'),
    ],
)
def test_what_another_trainer_cannot_be_told_is_refused(untouched, arguments, said):
    done = rewarm("plan", untouched.file, *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
