"""The job files parse, start the same campaign with options that exist, and know the exit codes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser
from typer.main import get_command

from rewarm import errors
from rewarm.cli import app
from rewarm.training.signals import EXIT_CODES

LAUNCH = Path(__file__).parents[2] / "examples" / "launch"
FILES = ["slurm.sh", "kubernetes.yaml", "skypilot.yaml"]
NAME = "my-campaign"


def text(name: str) -> str:
    return (LAUNCH / name).read_text(encoding="utf-8")


def scripts(name: str) -> str:
    """Return the Bash of a job file."""
    if name == "slurm.sh":
        return text(name)
    if name == "skypilot.yaml":
        return yaml.safe_load(text(name))["run"]
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["bash", "-c"]
    return container["args"][0]


def job() -> dict:
    service, found = yaml.safe_load_all(text("kubernetes.yaml"))
    assert (service["kind"], found["kind"]) == ("Service", "Job")
    return found


def is_bash(script: str) -> bool:
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run([bash, "-n"], input=script.encode(), check=False).returncode == 0


def torchrun_options(script: str):
    """Return what torchrun itself makes of the command in a script."""
    (command,) = re.findall(r"torchrun (--nnodes.*)", script.replace("\\\n", " "))
    words = shlex.split(command.partition(" &")[0].rstrip('"'))
    return get_args_parser().parse_args(words)


@pytest.mark.parametrize("name", FILES)
def test_a_job_file_is_bash_that_parses(name):
    assert is_bash(scripts(name))
    assert not is_bash(scripts(name) + "\nif then")


@pytest.mark.parametrize("name", FILES)
def test_torchrun_and_rewarm_know_the_options(name):
    options = torchrun_options(scripts(name))
    assert (options.module, options.training_script) == (True, "rewarm")
    assert options.rdzv_backend == "c10d"
    assert options.rdzv_endpoint.endswith(":29500")
    verb, *arguments = options.training_script_args
    command = get_command(app).commands[verb]
    context = command.make_context(verb, list(arguments))
    assert str(context.params["file"]) == "campaign.toml"


def test_an_option_that_torchrun_does_not_have_is_noticed(capsys):
    with pytest.raises(SystemExit):
        torchrun_options(scripts("slurm.sh").replace("--rdzv-id", "--rdzv-name"))
    assert "--rdzv-name" in capsys.readouterr().err


@pytest.mark.parametrize("name", FILES)
def test_the_job_files_run_the_same_campaign(name):
    named = set(re.findall(r"runs/([a-z-]+)/", scripts(name)))
    assert named == {NAME}
    label = {
        "slurm.sh": lambda: re.search(r"--job-name=(\S+)", text(name))[1],
        "kubernetes.yaml": lambda: job()["metadata"]["name"],
        "skypilot.yaml": lambda: yaml.safe_load(text(name))["name"],
    }
    assert label[name]() == NAME


def test_kubernetes_gives_up_on_mistakes_and_starts_a_stopped_run_again():
    """Its codes are those of the errors that users can mend, and of SIGTERM; a lost rank is no mistake."""
    mistakes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and "exit_code" in vars(error)
    } - {errors.RewarmError.exit_code, errors.RankLostError.exit_code}
    give_up, again, _ = job()["spec"]["podFailurePolicy"]["rules"]
    assert give_up["action"] == "FailJob"
    assert set(give_up["onExitCodes"]["values"]) == mistakes
    assert again["action"] == "Ignore"
    stopped = [code for number, code in EXIT_CODES.items() if number.name == "SIGTERM"]
    assert again["onExitCodes"]["values"] == stopped
    sky = yaml.safe_load(text("skypilot.yaml"))["resources"]["job_recovery"]
    assert sky["recover_on_exit_codes"] == stopped
    assert f'"$code" -eq {stopped[0]}' in text("slurm.sh")


def test_a_pod_is_given_more_time_than_its_ranks():
    pod = job()["spec"]["template"]["spec"]
    (variable,) = pod["containers"][0]["env"]
    assert int(variable["value"]) < pod["terminationGracePeriodSeconds"]
    (seconds,) = re.findall(r"TIMEOUT=(\d+)", text("slurm.sh"))
    (warning,) = re.findall(r"TERM@(\d+)", text("slurm.sh"))
    assert int(seconds) < int(warning)


STUBS = {
    # Ends as torchrun does: with 1 whatever happened, and on SIGTERM once its ranks have saved.
    "torchrun": """
        end() { [ -z "$1" ] || echo "{\\"code\\": $1}" > runs/my-campaign/exit.json; exit 1; }
        trap 'end 75' TERM
        touch started
        [ "$ENDS_WITH" = waits ] || { [ "$ENDS_WITH" = 0 ] && exit 0; end "$ENDS_WITH"; }
        while :; do sleep 0.05; done
        """,
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "scontrol": 'if [ "$1" = requeue ]; then touch requeued; else echo node1; fi',
    "rewarm": "exit 0",
}


def run_script(script: str, folder: Path, ends_with: str) -> int:
    """Run a job's script with stand-ins for the cluster's commands; SIGTERM comes if torchrun waits."""
    commands = folder / "commands"
    commands.mkdir()
    for name, body in STUBS.items():
        (commands / name).write_text(f"#!/bin/bash\n{body}", encoding="utf-8")
        (commands / name).chmod(0o755)
    (folder / "runs" / NAME).mkdir(parents=True)
    (folder / "runs" / NAME / "exit.json").write_text(
        '{"code": 0}', encoding="utf-8"
    )  # an older end
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    cluster = {"SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_ID": "7", "TMPDIR": str(folder)}
    cluster |= {"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "n", "JOB_COMPLETION_INDEX": "0"}
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=os.environ | cluster | {"PATH": path, "ENDS_WITH": ends_with},
        stderr=subprocess.DEVNULL,
    )
    while ends_with == "waits" and not (folder / "started").exists():
        time.sleep(0.02)
    if ends_with == "waits":
        process.terminate()
    return process.wait(timeout=60)


@pytest.mark.parametrize("name", ["slurm.sh", "kubernetes.yaml"])
@pytest.mark.parametrize(
    ("ends_with", "code"), [("0", 0), ("waits", 75), ("2", 2), ("6", 6), ("", 1)]
)
def test_a_job_ends_with_the_code_that_the_training_had(tmp_path, name, ends_with, code):
    """Also on SIGTERM; a crash, which leaves no record, is 1, and an older record does not count."""
    assert run_script(scripts(name), tmp_path, ends_with) == code
    assert (tmp_path / "requeued").exists() == (name == "slurm.sh" and code == 75)
