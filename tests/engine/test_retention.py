"""Choosing the newest checkpoint, sweeping leftovers, removing old ones."""

import pytest
import torch

from rewarm.engine.checkpoint import load, save
from rewarm.engine.retention import newest_valid, prune, saved_steps, step_folder_name, sweep
from rewarm.engine.tensor_parts import whole_parts
from rewarm.runs.folder import StageFolder


@pytest.fixture
def checkpoints(tmp_path):
    """Steps 1 to 5."""
    for step in range(1, 6):
        save(
            tmp_path / step_folder_name(step),
            {"model": whole_parts({"w": torch.ones(step)})},
            {"step": step},
        )
    return tmp_path


def damage(checkpoints, *steps):
    for step in steps:
        (checkpoints / step_folder_name(step) / "model.safetensors").write_bytes(b"damaged")


def never(folder, reason):
    raise AssertionError(f"{folder}: {reason}")


def test_names_are_those_of_the_run_folder(tmp_path):
    for step in (0, 1200, 123_456_789_012):
        assert StageFolder(tmp_path).checkpoint(step).name == step_folder_name(step)


def test_the_newest_is_the_highest_step(checkpoints):
    assert newest_valid(checkpoints, never).folder == checkpoints / "step-00000005"


def test_damaged_ones_are_reported_and_passed_over(checkpoints):
    damage(checkpoints, 5, 3)
    (checkpoints / "step-00000004" / "MANIFEST.json").unlink()
    reports = []
    found = newest_valid(checkpoints, lambda folder, reason: reports.append((folder.name, reason)))
    assert found.folder == checkpoints / "step-00000002"
    assert [name for name, _ in reports] == [step_folder_name(step) for step in (5, 4, 3)]
    assert "model.safetensors" in reports[0][1]
    assert "MANIFEST.json" in reports[1][1]


def test_without_a_valid_one_there_is_none(checkpoints, tmp_path):
    damage(checkpoints, 1, 2, 3, 4, 5)
    reports = []
    assert newest_valid(checkpoints, lambda *report: reports.append(report)) is None
    assert len(reports) == 5
    assert newest_valid(tmp_path / "nowhere", never) is None


def test_only_folders_of_that_very_name_count(checkpoints):
    for name in ("step-6", "step-000000006", "step-00000006.bak", ".tmp-step-00000006-1"):
        (checkpoints / name).mkdir()
    (checkpoints / "step-00000007").write_bytes(b"")
    assert saved_steps(checkpoints) == [1, 2, 3, 4, 5]
    assert newest_valid(checkpoints, never).folder == checkpoints / "step-00000005"


def test_steps_are_ordered_as_numbers(tmp_path):
    for step in (99_999_999, 100_000_000):
        save(tmp_path / step_folder_name(step), {}, {"step": step})
    assert saved_steps(tmp_path) == [99_999_999, 100_000_000]


def test_sweeping_removes_leftovers_alone(checkpoints, tmp_path):
    leftover = checkpoints / ".tmp-step-00000006-123"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    assert sweep(checkpoints) == [leftover]
    assert sweep(checkpoints) == []
    assert sweep(tmp_path / "nowhere") == []
    assert saved_steps(checkpoints) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("keep", "protected", "damaged", "left"),
    [
        (2, set(), [], [4, 5]),
        (2, {1}, [], [1, 4, 5]),
        (1, {5, 99}, [], [5]),
        (5, set(), [], [1, 2, 3, 4, 5]),
        (9, set(), [], [1, 2, 3, 4, 5]),
        (2, set(), [5], [3, 4, 5]),
        (2, set(), [5, 3], [2, 3, 4, 5]),
        (2, set(), [1, 5], [3, 4, 5]),
        (1, set(), [2, 3, 4, 5], [1, 2, 3, 4, 5]),
        (2, set(), [2, 3, 4, 5], [1, 2, 3, 4, 5]),
        (1, set(), [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
    ],
)
def test_pruning_keeps_the_newest_that_verify(checkpoints, keep, protected, damaged, left):
    damage(checkpoints, *damaged)
    removed = prune(checkpoints, keep, protected)
    assert saved_steps(checkpoints) == left
    assert [path.name for path in removed] == [
        step_folder_name(step) for step in range(1, 6) if step not in left
    ]
    assert len(list(checkpoints.iterdir())) == len(left)
    for step in set(left) - set(damaged):
        assert load(checkpoints / step_folder_name(step)).state == {"step": step}
