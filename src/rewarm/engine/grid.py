"""The ranks as a grid: pipeline × replicate × shard × tensor (see `rewarm.plan.layout`)."""

from dataclasses import dataclass
from functools import cached_property

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import (
    _set_pg_timeout,  # pyright: ignore[reportPrivateUsage]  (there is no public way)
)

from rewarm.engine.ranks import new_group
from rewarm.engine.world import World
from rewarm.errors import CampaignError
from rewarm.plan.layout import Layout

PIPELINE, REPLICATE, SHARD, TENSOR = "pipeline", "replicate", "shard", "tensor"
_SIDES = (PIPELINE, REPLICATE, SHARD, TENSOR)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """This rank's place among the ranks of a layout."""

    world: World
    """The ranks and the device."""
    layout: Layout
    """How they are spread."""
    mesh: DeviceMesh | None
    """All four sides; None for one rank."""

    def at(self, side: str) -> int:
        """Return this rank's place along a side."""
        return self.mesh.get_local_rank(side) if self.mesh else 0

    def group(self, side: str) -> dist.ProcessGroup:
        """Return the ranks that differ from this one along a side alone."""
        assert self.mesh is not None, "one rank has no groups"
        return self.mesh.get_group(side)

    @cached_property
    def ends(self) -> dist.ProcessGroup:
        """The first and the last rank of this rank's pipeline; all ranks ask for it at the same time."""
        assert self.mesh is not None, "one rank has no groups"
        ranks = self.mesh.mesh
        pairs = zip(ranks[0].flatten().tolist(), ranks[-1].flatten().tolist(), strict=True)
        groups = {pair: new_group(list(pair), timeout=self.world.ranks.timeout) for pair in pairs}
        place = (self.at(REPLICATE), self.at(SHARD), self.at(TENSOR))
        return groups[int(ranks[0][place]), int(ranks[-1][place])]

    @property
    def data_rank(self) -> int:
        """Which part of every batch this rank reads."""
        return self.at(REPLICATE) * self.layout.shard + self.at(SHARD)

    @property
    def data_mesh(self) -> DeviceMesh:
        """The sides along which the data differ: shards, and copies of them if there are any."""
        assert self.mesh is not None, "one rank has no mesh"
        return self.mesh[REPLICATE, SHARD] if self.layout.replicate > 1 else self.mesh[SHARD]

    @property
    def reports(self) -> bool:
        """Whether a loss that all ranks of a pipeline and a tensor side share counts as this one's."""
        return self.at(TENSOR) == 0 and self.at(PIPELINE) == self.layout.pipeline - 1


def make_grid(world: World, layout: Layout) -> Grid:
    """Lay the ranks out.

    Raises:
        CampaignError: the layout is for another number of ranks.
    """
    if layout.ranks != world.ranks.size:
        raise CampaignError(
            f"the layout {layout} is for {layout.ranks} ranks, but {world.ranks.size} are here. Start as many "
            "as it needs, or change [parallel]."
        )
    if world.ranks.size == 1:
        return Grid(world=world, layout=layout, mesh=None)
    sides = (layout.pipeline, layout.replicate, layout.shard, layout.tensor)
    mesh = init_device_mesh(world.device.type, sides, mesh_dim_names=_SIDES)
    assert world.ranks.timeout is not None, "several ranks have a timeout"
    for side in _SIDES:
        # Groups of a mesh have the backend's own, half an hour for gloo, whatever that of the job is.
        _set_pg_timeout(world.ranks.timeout, mesh.get_group(side))
    return Grid(world=world, layout=layout, mesh=mesh)
