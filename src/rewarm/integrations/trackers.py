"""TensorBoard, Weights & Biases and trackio: a place for named numbers by step, for each stage of a run.

None of them is needed for anything else. Each is loaded when it is asked for. Weights & Biases sends to its
server unless its own settings (`WANDB_MODE=offline`) say otherwise; the others write to this machine.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from rewarm.errors import CampaignError

Log = Callable[[int, Mapping[str, float]], None]
"""Takes the numbers of a step; steps rise."""
OpenLog = Callable[[str], AbstractContextManager[Log]]
"""Opens the log of a stage, by the name of its folder."""


def tensorboard(folder: Path) -> OpenLog:
    """Return logs for TensorBoard: event files in a folder for each stage, older ones hidden.

    Args:
        folder: give it to `tensorboard --logdir`.

    Raises:
        CampaignError: the package is not installed.
    """
    package = _package("torch.utils.tensorboard", "tensorboard")

    @contextmanager
    def opened(stage: str) -> Generator[Log]:
        writer = package.SummaryWriter(log_dir=str(folder / stage), purge_step=0)

        def log(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, global_step=step)

        try:
            yield log
        finally:
            writer.close()

    return opened


def wandb(project: str, group: str) -> OpenLog:
    """Return logs for Weights & Biases: a run for each stage, gone on with if it is there.

    Args:
        project: the project.
        group: what the runs of all stages have in common.

    Raises:
        CampaignError: the package is not installed.
    """
    package = _package("wandb", "wandb")

    @contextmanager
    def opened(stage: str) -> Generator[Log]:
        run = package.init(
            project=project, group=group, name=stage, id=f"{group}-{stage}", resume="allow"
        )

        def log(step: int, values: Mapping[str, float]) -> None:
            run.log(dict(values), step=step)

        try:
            yield log
        finally:
            run.finish()

    return opened


def trackio(project: str, group: str) -> OpenLog:
    """Return logs for trackio: a new run for each stage.

    Args:
        project: the project.
        group: what the runs of all stages have in common.

    Raises:
        CampaignError: the package is not installed.
    """
    package = _package("trackio", "trackio")

    @contextmanager
    def opened(stage: str) -> Generator[Log]:
        package.init(project=project, group=group, name=stage, embed=False)

        def log(step: int, values: Mapping[str, float]) -> None:
            package.log(dict(values), step=step)

        try:
            yield log
        finally:
            package.finish()

    return opened


def _package(module: str, distribution: str) -> Any:  # noqa: ANN401  (a module that may not be there)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise CampaignError(
            f"the package {distribution} is not installed ({error}), and nothing else can write its files. "
            f"Install it: pip install {distribution}"
        ) from error
