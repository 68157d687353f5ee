"""How far the work is, on standard error: a bar on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rewarm.data.progress import Progress as Preparation
from rewarm.plan import StagePlan
from rewarm.runs.records import EvalRecord
from rewarm.training.status import Status, phase_text, status_lines

LINE_SECONDS = 15.0
"""Distance between plain lines where there is no terminal."""


class Reporter:
    """Says what is being done and how long it will still take."""

    def __init__(self, console: Console, total_tokens: int) -> None:
        self._console = console
        self._total_tokens = total_tokens
        self._finished_tokens = 0
        self._done_tokens = 0
        self._session_tokens = 0
        self._session_seconds = 0.0
        self._waited_seconds = 0.0
        self._flops_per_token = 0.0
        self._validation: dict[str, tuple[float, float]] = {}
        self._saved_at = time.monotonic()
        self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._stage: StagePlan | None = None
        self._last_step = 0
        self.stage_seconds = 0.0
        """Time in the steps of the stage that was finished last, over all its starts."""

    @contextmanager
    def stage(
        self,
        stage: StagePlan,
        *,
        done: int,
        flops_per_token: float,
        evals: Iterable[EvalRecord],
    ) -> Generator[None]:
        """Show a stage while it is trained.

        Args:
            stage: the stage.
            done: its steps done before, which are saved.
            flops_per_token: of its training; 0 if not known.
            evals: its validations so far.
        """
        self._stage = stage
        self._flops_per_token = flops_per_token
        self._validation = {}
        for record in evals:
            self.evaluated(record)
        self.saved()
        self._last_step = done
        self._done_tokens = self._finished_tokens + done * stage.batch_tokens
        self._task = self._bar.add_task(stage.folder, total=stage.steps, completed=done, numbers="")
        try:
            with self._bar:
                yield
        finally:
            self._bar.remove_task(self._task)
        if self._last_step == stage.steps:  # and not one that goes back to its last checkpoint
            self._finished_tokens += stage.tokens

    def evaluated(self, record: EvalRecord) -> None:
        """Show a validation from now on."""
        start, _ = self._validation.get(record.dataset, (record.loss, record.loss))
        self._validation[record.dataset] = (start, record.loss)

    def saved(self) -> None:
        """Count the age of the last checkpoint from now on."""
        self._saved_at = time.monotonic()

    def step(self, step: int, loss: float, lr: float, seconds: float, waited: float) -> None:
        """Show a finished step.

        Args:
            step: its number.
            loss: its loss.
            lr: its rate.
            seconds: that it took, evaluation and saving included.
            waited: seconds of these spent waiting for the batch.
        """
        assert self._stage is not None, "steps are done within a stage"
        self._last_step = step
        tokens = self._stage.batch_tokens
        self._done_tokens += tokens
        self._session_tokens += tokens
        self._session_seconds += seconds
        self._waited_seconds += waited
        now = time.monotonic()
        elapsed = max(self._session_seconds, 1e-9)
        speed = self._session_tokens / elapsed
        fast, slow = status_lines(
            Status(
                loss=loss,
                lr=lr,
                phase=phase_text(self._stage.schedule, step),
                tokens_per_second=speed,
                flops_per_token=self._flops_per_token,
                wait_share=self._waited_seconds / elapsed,
                seconds_left=(self._total_tokens - self._done_tokens) / speed,
                seconds_since_saved=now - self._saved_at,
                validation=self._validation,
            )
        )
        if self._task is not None:
            self._bar.update(self._task, completed=step, numbers=f"{fast}\n{slow}")
        if not self._console.is_terminal and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.say(f"{self._stage.folder}  step {step:,}/{self._stage.steps:,}  {fast}  {slow}")

    def say(self, message: str, style: str | None = None) -> None:
        """Print a line as it is; no mark in it means anything."""
        self._console.print(message, style=style, highlight=False, markup=False, soft_wrap=True)

    def add(self, tokens: int) -> None:
        """Count a stage that was not planned when training began."""
        self._total_tokens += tokens

    def skip(self, tokens: int) -> None:
        """Count a stage of which nothing is left to do."""
        self._finished_tokens += tokens


@contextmanager
def show_evaluation(console: Console, model: str) -> Generator[Callable[[str, int, int], None]]:
    """Show how far the evaluation of a model is: give what it returns to `evaluate`."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def on_progress(task: str, done: int, total: int) -> None:
        if task not in tasks:
            tasks[task] = bar.add_task(f"{model}: {task}")
            if not console.is_terminal:
                console.print(f"{model}: {task}, {total:,} requests", markup=False, soft_wrap=True)
        bar.update(tasks[task], completed=done, total=total)

    with bar:
        yield on_progress


@contextmanager
def show_preparation(
    console: Console, doing: str = "preparing"
) -> Generator[Callable[[str, Preparation], None]]:
    """Show how far work on text is: give what it returns to `prepare_campaign` or `measure_overlap`."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}
    said: set[str] = set()

    def on_progress(split: str, progress: Preparation) -> None:
        label = f"{split}: {progress.phase}"
        if label not in tasks:
            tasks[label] = bar.add_task(label, total=None, numbers="")
        numbers = f"{progress.documents:,} documents  {progress.tokens:,} tokens"
        bar.update(
            tasks[label],
            completed=progress.done_bytes,
            total=progress.total_bytes,
            numbers=numbers,
        )
        if not console.is_terminal and split not in said:
            said.add(split)
            console.print(f"{doing} {split}")

    with bar:
        yield on_progress
