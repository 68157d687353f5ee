"""What training needs besides the plan: the run folder, the data, the device, the console, the stop request."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from rewarm.data.batches import Batches
from rewarm.data.datasets import PreparedData
from rewarm.engine.world import World, fingerprint
from rewarm.plan import Plan, StagePlan
from rewarm.runs.folder import RunFolder, StageFolder
from rewarm.training.progress import Reporter
from rewarm.training.signals import StopRequest


@dataclass(frozen=True, kw_only=True)
class Job:
    """A campaign at work on this machine."""

    plan: Plan
    """What is to be done."""
    run: RunFolder
    """Where it is recorded."""
    data: PreparedData
    """The tokens."""
    world: World
    """The device."""
    reporter: Reporter
    """Says how far it is."""
    stop: StopRequest
    """Whether a signal has come."""

    def machine(self, stage: StagePlan) -> dict[str, str | int]:
        """Return what makes the bits of a stage differ."""
        return fingerprint(self.world, stage.campaign.training.precision)

    @cached_property
    def data_fingerprints(self) -> Mapping[str, str]:
        """The fingerprint of the training tokens of each source."""
        return self.data.fingerprints()["train"]

    def folder(self, stage: StagePlan) -> StageFolder:
        """Return the folder of a stage."""
        return self.run.stage(stage.folder)

    def batches(self, stage: StagePlan) -> Batches:
        """Return the batches of a stage."""
        return Batches(
            stream=stage.stream,
            stores=self.data.train,
            seed=stage.campaign.seed,
            batch_sequences=stage.batch_sequences,
            sequence_length=stage.sequence_length,
        )
