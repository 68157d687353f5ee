"""The examples run as they are and show what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import rewarm

REPOSITORY = Path(__file__).parents[2]
LINE = re.compile(r"(.+?) +loss on (?:A|old) (\d+\.\d+) +loss on (?:B|new) (\d+\.\d+)")


def run(example: str) -> str:
    """Run an example in a fresh interpreter, warnings being errors, and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", str(REPOSITORY / "examples" / example)],
        env=os.environ
        | {"PYTHONPATH": str(Path(rewarm.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_in_the_plain_loop_replay_forgets_less_and_still_learns():
    """The margins are wide: forgetting is about 2.8 nats without replay and 0.5 with it."""
    found = [LINE.fullmatch(line) for line in run("plain_loop.py").splitlines()]
    losses = {line[1]: (float(line[2]), float(line[3])) for line in found if line}
    assert len(losses) == len(found) == 3
    before = losses["after pre-training on A"]
    without = losses["update without replay"]
    replayed = losses["update with 10 % replay"]
    forgotten, kept = without[0] - before[0], replayed[0] - before[0]
    assert 0 < kept < forgotten / 2
    assert max(without[1], replayed[1]) < before[1] - 1
    assert abs(replayed[1] - without[1]) < 0.2


def test_in_hugging_faces_trainer_the_schedule_and_the_replay_survive_a_stop():
    """The script compares the learning rate of each step and what was read, and ends with an error otherwise.

    It is the same training: the losses agree in every digit that is printed.
    """
    *lines, last = run("hf_trainer.py").splitlines()
    assert last == "the resumed run read the same sequences at the same learning rates"
    matched = [line for line in map(LINE.fullmatch, lines) if line]
    found = {line[1]: (float(line[2]), float(line[3])) for line in matched}
    before, updated = found["before the update"], found["updated with replay"]
    assert updated[1] < before[1] - 0.5
    assert updated[0] < before[1] - 0.5  # the old language is still known
    assert found["stopped and resumed"] == updated
    assert "replayed: 25.00% of the sequences" in lines
