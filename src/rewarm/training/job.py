"""What training needs besides the plan: the run folder, the data, the device, the console, the stop request."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rewarm.data.batches import Batches
from rewarm.data.datasets import PreparedData
from rewarm.engine.grid import Grid, make_grid
from rewarm.engine.ranks import Ranks
from rewarm.engine.world import World, fingerprint
from rewarm.plan import Plan, StagePlan
from rewarm.plan.choice import plan_layout
from rewarm.plan.layout import Layout, rows_of
from rewarm.runs.folder import RunFolder, StageFolder
from rewarm.training.journal import Journal
from rewarm.training.progress import Reporter
from rewarm.training.signals import StopRequest


@dataclass(frozen=True, kw_only=True)
class ExistingWork:
    """What is to be made of work that is there already."""

    allow_changes: bool = False
    """Go on although the campaign was changed so that work already begun is left aside."""
    require_bitwise: bool = False
    """Refuse to go on where the last bits would differ from one run."""
    reuse: Path | None = None
    """A folder of runs; stages that one of them has finished are not trained again."""


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

    arms: Collection[str] | None = None
    """The arms to train; all if None."""
    existing: ExistingWork = field(default_factory=ExistingWork)
    """What is to be made of work that is there already."""
    written: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    """Steps whose checkpoints this process has written, by the key of the stage."""

    grids: dict[Layout, Grid] = field(default_factory=dict[Layout, Grid])
    """The ranks laid out, once for each layout: groups of ranks are never let go."""

    def grid(self, stage: StagePlan) -> Grid:
        """Return this rank's place in the layout of a stage."""
        layout = self.layout(stage)
        if layout not in self.grids:
            self.grids[layout] = make_grid(self.world, layout)
        return self.grids[layout]

    @property
    def stages(self) -> tuple[StagePlan, ...]:
        """Return the stages to be done; a parent comes before its children."""
        return self.plan.stages_of(self.arms)

    @property
    def ranks(self) -> Ranks:
        """This rank among the others."""
        return self.world.ranks

    def layout(self, stage: StagePlan) -> Layout:
        """Return how a stage is spread over the ranks."""
        return plan_layout(stage.campaign, self.plan.size_of(stage), self.ranks.size)

    def journal(self, stage: StagePlan) -> Journal:
        """Return the records of a stage."""
        return Journal(folder=self.folder(stage), writes=self.ranks.is_first)

    def machine(self, stage: StagePlan) -> dict[str, str | int]:
        """Return what makes the bits of a stage differ."""
        layout = self.layout(stage)
        spread = {"layout": str(layout), "micro_batch": layout.micro_batch}
        return fingerprint(self.world, stage.campaign.training.precision) | spread

    @cached_property
    def data_fingerprints(self) -> Mapping[str, str]:
        """The fingerprint of the training tokens of each source."""
        return self.data.fingerprints()["train"]

    def folder(self, stage: StagePlan) -> StageFolder:
        """Return the folder of a stage."""
        return self.run.stage(stage.folder)

    def batches(self, stage: StagePlan, data_rank: int) -> Batches:
        """Return the batches of a stage, and of them the rows of a data-parallel rank."""
        leaves = stage.campaign.leaves()
        return Batches(
            rows=rows_of(self.layout(stage), data_rank, stage.batch_sequences),
            stream=stage.stream,
            stores=self.data.windows(stage.campaign.training.packing),
            orders={source: text.order for source, (text, _) in leaves.items()},
            parts={source: text.part for source, (text, _) in leaves.items()},
            seed=stage.campaign.seed,
            batch_sequences=stage.batch_sequences,
            sequence_length=stage.sequence_length,
        )
