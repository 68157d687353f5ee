"""Tasks of lm-evaluation-harness with data from local files, and tasks that vary one of its own."""

from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import lm_eval.tasks  # pyright: ignore[reportMissingImports]  # an extra
from lm_eval.api.task import ConfigurableTask  # pyright: ignore[reportMissingImports]
from lm_eval.tasks._yaml_loader import load_yaml  # pyright: ignore[reportMissingImports]

from rewarm.errors import DataError
from rewarm.evaluation.harness.local_data import read_dataset

STOCK = Path(lm_eval.tasks.__file__).parent
"""The harness's own tasks."""
_LOCAL_ONLY = {"triviaqa_de"}
"""Data that are on no hub."""
_FOR_SHOTS = ("training_split", "fewshot_split", "fewshot_config")


class HarnessTask(ConfigurableTask):
    """A task as its file says, with three more keys.

    Args:
        config: the keys of the harness, and: `of`, the file of a stock task (below `STOCK`) whose keys count
            where this one has none; `data`, a folder with the data of all tasks, of which those of this task's
            `dataset_path` and `dataset_name` are read; without one the library `datasets` gets them.

    Raises:
        DataError: `data` has not what the task needs.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        own = {key: value for key, value in config.items() if key not in ("class", "of", "data")}
        stock = load_yaml(STOCK / config["of"]) if "of" in config else {}
        merged = stock | own
        if not merged.get("num_fewshot"):
            # The harness reads what shots come from also where there are none.
            merged |= {"num_fewshot": 0} | dict.fromkeys(_FOR_SHOTS)
            if merged.get("test_split"):
                merged["validation_split"] = None
        self._data: Path | None = config.get("data")
        super().__init__(config=merged)

    @property
    def shots(self) -> int:
        """Examples before each question."""
        return self.config.num_fewshot

    @property
    def place(self) -> str:
        """Where its rows are: a folder, or a name of the hub."""
        named = "/".join(filter(None, (self.config.dataset_path, self.config.dataset_name)))
        return named if self._data is None else str(self._data / named)

    def download(self, dataset_kwargs: Mapping[str, Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Read its data; the harness calls this."""
        config = self.config
        if self._data is not None:
            splits = {config.test_split or config.validation_split}
            if self.shots and not self.fewshot_cfg.samples:
                others = (self.fewshot_cfg.split, config.training_split, config.validation_split)
                splits.add(next(filter(None, others), config.test_split))
            self.dataset = read_dataset(Path(self.place), sorted(splits))
        elif config.dataset_path in _LOCAL_ONLY:
            raise DataError(
                f"{config.task}: its data are on no hub. Name with --data a folder that has them in "
                f"{config.dataset_path}/."
            )
        else:
            super().download(dict(dataset_kwargs or {}))

    def build_all_requests(self, **how: Any) -> None:  # noqa: ANN401  # the harness's
        """Build its requests, without the progress bar that the harness draws for each task."""
        with redirect_stderr(StringIO()):
            super().build_all_requests(**how)
