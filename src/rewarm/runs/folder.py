"""Where everything of a run lies on disk.

A stage's folder is named for the stage and for what made it (`update-3fa94c21`), so that arms which share
a stage share its folder, and a changed campaign never writes over older work.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StageFolder:
    """The files of one stage."""

    path: Path
    """`runs/<run>/stages/<stage>-<key>`."""

    @property
    def record(self) -> Path:
        """What the stage is: a `StageRecord`, written before the first step."""
        return self.path / "stage.json"

    @property
    def metrics(self) -> Path:
        """One `StepRecord` for each optimizer step."""
        return self.path / "metrics.jsonl"

    @property
    def throughput(self) -> Path:
        """One `ThroughputRecord` now and then: what depends on the clock, kept out of the metrics."""
        return self.path / "throughput.jsonl"

    @property
    def evals(self) -> Path:
        """One `EvalRecord` for each validation of each dataset."""
        return self.path / "evals.jsonl"

    @property
    def events(self) -> Path:
        """One `EventRecord` for each start, resume, interruption, checkpoint fallback and finish."""
        return self.path / "events.jsonl"

    @property
    def samples(self) -> Path:
        """One `SampleRecord` for each prompt, continued by the finished stage."""
        return self.path / "samples.jsonl"

    @property
    def result(self) -> Path:
        """A `StageResult`, written last: its presence means that the stage is finished."""
        return self.path / "result.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, one folder each."""
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """Return the folder of the checkpoint of a step.

        >>> StageFolder(Path("s")).checkpoint(1200).name
        'step-00001200'
        """
        return self.checkpoints / f"step-{step:08d}"


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path
    """`runs/<run>`."""

    @property
    def campaign_file(self) -> Path:
        """The campaign file as it was given."""
        return self.path / "campaign.toml"

    @property
    def resolved(self) -> Path:
        """Every value of the campaign with its origin, the versions and the commit."""
        return self.path / "resolved.json"

    @property
    def plan(self) -> Path:
        """A `RunRecord`: the arms, their stages, and what each stage was planned to do."""
        return self.path / "plan.json"

    @property
    def overlap(self) -> Path:
        """An `OverlapRecord`: how much of the validation text is training text; if it was measured."""
        return self.path / "overlap.json"

    @property
    def gate(self) -> Path:
        """A `GateRecord`: what the campaign's gate allows; only if it has one."""
        return self.path / "gate.json"

    @property
    def evaluations(self) -> Path:
        """The folder of the evaluations that the gate looks at: what `rewarm eval --out` was given."""
        return self.path / "evaluations"

    @property
    def annealings(self) -> Path:
        """One line for each annealed branch that was asked for after the fact."""
        return self.path / "annealings.jsonl"

    @property
    def lock(self) -> Path:
        """Held (flock) while a process works in this folder; shared by those that have arms of their own."""
        return self.path / "lock"

    @property
    def locks(self) -> Path:
        """The folder of the locks of single stages, and of the records of the run."""
        return self.path / "locks"

    @property
    def exit(self) -> Path:
        """How the last process ended: exit code, reason, time."""
        return self.path / "exit.json"

    @property
    def report(self) -> Path:
        """The page that `rewarm report` writes."""
        return self.path / "report.html"

    @property
    def exports(self) -> Path:
        """The folder of the models that `rewarm export` writes, unless it is told where."""
        return self.path / "export"

    @property
    def logs(self) -> Path:
        """What the ranks but the first print, where they are watched."""
        return self.path / "ranks"

    def stage(self, folder: str) -> StageFolder:
        """Return the files of the stage kept in the folder of this name."""
        return StageFolder(self.path / "stages" / folder)
