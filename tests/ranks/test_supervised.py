"""Two ranks on one machine, watched: killed, hanging or stopped, they end as those that never were."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rewarm.campaign.annealing import Annealing
from rewarm.errors import GateError, NumericsError
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import EventRecord, ExitRecord
from rewarm.training.inspection import describe
from tests.tiny import CAMPAIGN
from tests.training.running import traces

KILLS = int(os.environ.get("REWARM_KILLS", "6"))
"""Random kills; LOG.md says when it was run with 50."""

SETTINGS = (
    "stages.pretrain.budget=120 steps",
    "stages.update.budget=90 steps",
    "parallel.timeout=15",
)
CHECKPOINT_PLACES = ("between_files", "after_tensors", "after_manifest", "after_rename")


@pytest.fixture(scope="module")
def campaign(tiny) -> Path:
    """Return the tiny campaign without its arms: pretrain, and update with replay."""
    file = tiny.folder / "two-stages.toml"
    file.write_text(CAMPAIGN[: CAMPAIGN.index("[arms]")], encoding="utf-8")
    return file


def start(file: Path, folder: Path, *options: str, environment: dict[str, str] | None = None):
    """Start two watched ranks of a campaign."""
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    return subprocess.Popen(
        [
            *(sys.executable, "-W", "ignore", "-m", "rewarm", "train", str(file)),
            *(
                "--prepared",
                str(file.parent / "prepared"),
                "--runs",
                str(folder),
                "--device",
                "cpu",
            ),
            *("--threads", "1", "--ranks", "2", *settings, *options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
    )


def ranks_of(supervisor: subprocess.Popen[str]) -> list[int]:
    """Return the process numbers of the ranks that are alive."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(supervisor.pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(number) for number in listed.stdout.split()]


def is_training(folder: Path) -> bool:
    return any(folder.glob("tiny/stages/*/metrics.jsonl"))


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(campaign, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    done = start(campaign, folder)
    output, _ = done.communicate(timeout=600)
    assert done.returncode == 0, output
    return traces(folder / "tiny")


def test_killed_at_random_it_ends_with_the_bits_of_a_run_never_killed(
    campaign, tmp_path, undisturbed
):
    """Any rank, in training and in checkpoints, now and then at the start; each time a fresh start follows."""
    rng = random.Random(20240308)
    folder = tmp_path / "runs"
    killed = 0
    while killed < KILLS:
        supervisor = start(campaign, folder, "--restarts", str(KILLS))
        while killed < KILLS and supervisor.poll() is None:
            killed += kill_a_rank(supervisor, folder, rng)
        output, _ = supervisor.communicate(timeout=600)
        assert supervisor.returncode == 0, output
        assert traces(folder / "tiny") == undisturbed
        if killed < KILLS:
            shutil.rmtree(folder)
    assert "was killed by SIGKILL" in output


def test_a_broken_gate_ends_all_ranks_and_starts_none_afresh(campaign, tmp_path):
    stop = ("--set", 'gate.policy="stop"', "--set", "gate.max_forgetting.old=0")
    supervisor = start(campaign, tmp_path, "--set", "stages.update.replay=0%", *stop)
    output, _ = supervisor.communicate(timeout=600)
    assert supervisor.returncode == GateError.exit_code, output
    assert "no stage behind it is begun" in output
    assert "starting 2 ranks afresh" not in output
    assert read_record(RunFolder(tmp_path / "tiny").exit, ExitRecord).code == GateError.exit_code


def test_an_arm_that_fails_ends_alone_on_all_ranks(tiny, tmp_path):
    file = tiny.folder / "failing.toml"
    arms = '[arms]\nlost = { "stages.update.schedule.max_lr" = 1e30 }\nkept = {}\n'
    file.write_text(CAMPAIGN[: CAMPAIGN.index("[arms]")] + arms, encoding="utf-8")
    supervisor = start(file, tmp_path)
    output, _ = supervisor.communicate(timeout=600)
    assert supervisor.returncode == NumericsError.exit_code, output
    assert "Finished all the same: kept." in output
    assert "starting 2 ranks afresh" not in output


def test_a_stage_that_forgets_too_much_is_annealed_earlier_by_all_ranks(campaign, tmp_path):
    """The limit is one that holds early in the update without replay, and not at its end."""
    earlier = (
        'gate.policy="anneal-earlier"',
        'gate.anneal="4 steps"',
        "gate.max_forgetting.old=0.9",
        "stages.update.replay=0%",
    )
    saved = ("checkpoints.every=5 steps", "evaluation.every=5 steps")
    settings = [part for setting in (*earlier, *saved) for part in ("--set", setting)]
    supervisor = start(campaign, tmp_path, *settings)
    output, _ = supervisor.communicate(timeout=600)
    assert supervisor.returncode == 0, output
    assert "gate: broken: forgetting on old at the end of update-" in output
    assert "gate: held: forgetting on old at the end of update-annealed-" in output


def kill_a_rank(supervisor: subprocess.Popen[str], folder: Path, rng: random.Random) -> bool:
    """Kill a rank at random, mostly in training; return False if all was done before."""
    seen = beginnings(folder)
    wait_for(lambda: len(ranks_of(supervisor)) == 2 or supervisor.poll() is not None)
    if rng.random() < 0.8:
        wait_for(lambda: beginnings(folder) > seen or supervisor.poll() is not None)
    time.sleep(rng.uniform(0.0, 2.0))
    victims = ranks_of(supervisor)
    if len(victims) != 2:
        return False
    os.kill(rng.choice(victims), signal.SIGKILL)
    wait_for(lambda: not set(victims) & set(ranks_of(supervisor)))
    return True


def beginnings(folder: Path) -> int:
    """Return how often training was begun or gone on with."""
    events = [path.read_text() for path in folder.glob("tiny/stages/*/events.jsonl")]
    return sum(text.count('"started"') + text.count('"resumed"') for text in events)


def test_ranks_that_die_in_a_checkpoint_leave_the_ones_before(campaign, tmp_path, undisturbed):
    folder = tmp_path / "runs"
    for place in CHECKPOINT_PLACES:
        failing = start(
            campaign, folder, "--restarts", "0", environment={"REWARM_FAILPOINT": place}
        )
        output, _ = failing.communicate(timeout=120)
        assert failing.returncode == 137, output
    again = start(campaign, folder)
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    assert traces(folder / "tiny") == undisturbed


def test_a_rank_that_dies_ends_the_job_with_its_name(campaign, tmp_path):
    folder = tmp_path / "runs"
    supervisor = start(campaign, folder, "--restarts", "0")
    wait_for(lambda: is_training(folder))
    os.kill(sorted(ranks_of(supervisor))[1], signal.SIGKILL)
    began = time.monotonic()
    output, _ = supervisor.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert supervisor.returncode == 137
    assert "rank 1 was killed by SIGKILL" in output
    assert "Dead or hanging: rank 1" in output
    exit_record = read_record(RunFolder(folder / "tiny").exit, ExitRecord)
    assert (exit_record.code, exit_record.reason) == (
        137,
        "rank 1 was killed by SIGKILL, and no start was left",
    )


def test_a_fresh_start_is_said_and_recorded_with_its_reason(campaign, tmp_path, undisturbed):
    folder = tmp_path / "runs"
    supervisor = start(campaign, folder, "--restarts", "1")
    wait_for(lambda: is_training(folder))
    os.kill(sorted(ranks_of(supervisor))[1], signal.SIGKILL)
    output, _ = supervisor.communicate(timeout=600)
    assert supervisor.returncode == 0, output
    why = "rank 1 was killed by SIGKILL; restart 1 of 1"
    assert f"starting 2 ranks afresh from the last checkpoint: {why}\n" in output
    (path,) = folder.glob("tiny/stages/pretrain-*/events.jsonl")
    events = [event for event in read_records(path, EventRecord) if event.kind == "restarted"]
    assert [event.message for event in events] == [why]
    assert f"restarted once, the last time at {events[0].at}: {why}" in "\n".join(
        describe(folder / "tiny")
    )
    assert traces(folder / "tiny") == undisturbed


def test_a_rank_that_hangs_ends_the_job_with_its_name(campaign, tmp_path):
    folder = tmp_path / "runs"
    supervisor = start(campaign, folder, "--restarts", "0")
    wait_for(lambda: is_training(folder))
    hanging = sorted(ranks_of(supervisor))[1]
    os.kill(hanging, signal.SIGSTOP)
    began = time.monotonic()
    output, _ = supervisor.communicate(timeout=60)
    assert time.monotonic() - began < 30 + 15
    assert supervisor.returncode == 9
    assert "Dead or hanging: rank 1" in output
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_with_its_code(campaign, tmp_path, undisturbed, number, code):
    folder = tmp_path / "runs"
    supervisor = start(campaign, folder)
    wait_for(lambda: is_training(folder))
    supervisor.send_signal(number)
    output, _ = supervisor.communicate(timeout=60)
    assert supervisor.returncode == code, output
    assert output.startswith(f"starting 2 ranks; what all but the first print is in {folder}")
    assert output.count(f"stopped by {number.name}; step ") == 1
    assert "is saved" in output
    assert not re.search("error|exit code|rank 0|rank 1", output)
    again = start(campaign, folder)
    output, _ = again.communicate(timeout=600)
    assert again.returncode == 0, output
    found = traces(folder / "tiny")  # with one checkpoint more, that of the stop
    assert {name: found[name] for name in undisturbed} == undisturbed


def test_ranks_do_not_outlive_their_supervisor(campaign, tmp_path):
    folder = tmp_path / "runs"
    supervisor = start(campaign, folder)
    wait_for(lambda: is_training(folder))
    ranks = ranks_of(supervisor)
    supervisor.kill()
    supervisor.wait()
    assert supervisor.stdout is not None
    supervisor.stdout.close()

    def are_gone() -> bool:
        return all(not Path(f"/proc/{rank}").exists() for rank in ranks)

    wait_for(are_gone)


def test_a_mistake_is_said_once_and_not_tried_again(campaign, tmp_path):
    supervisor = start(campaign, tmp_path / "runs", "--set", 'data.new.train=["nothing.jsonl"]')
    output, _ = supervisor.communicate(timeout=60)
    assert supervisor.returncode == 3
    assert output.count("no file matches 'nothing.jsonl'") == 1
    assert "afresh" not in output


def test_a_branch_is_annealed_on_two_ranks(campaign, tmp_path):
    folder = tmp_path / "runs"
    done = start(campaign, folder)
    output, _ = done.communicate(timeout=600)
    assert done.returncode == 0, output
    run = folder / "tiny"
    asked = ("--stage", "pretrain", "--at", "50%", "--budget", "12 steps", "--ranks", "2")
    here = ("--prepared", str(campaign.parent / "prepared"), "--device", "cpu", "--threads", "1")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "rewarm", "anneal", str(run), *asked, *here],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(read_records(RunFolder(run).annealings, Annealing))) == 1
    (branch,) = run.glob("stages/pretrain-annealed-60-12-*")
    assert "written on: 2 ranks" in "\n".join(describe(branch / "checkpoints/step-00000012"))
