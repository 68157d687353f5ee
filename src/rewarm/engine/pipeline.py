"""Running parts of a model as a pipeline, by PyTorch's schedules: 1F1B and interleaved 1F1B."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

from rewarm.engine.grid import PIPELINE, Grid


class Pipeline:
    """The parts of this rank, and their turns among those of the others."""

    def __init__(self, parts: Sequence[nn.Module], grid: Grid) -> None:
        """Make a pipeline.

        Args:
            parts: of this rank; part k is stage k·pipeline + (this rank's place).
            grid: where this rank is.
        """
        self._parts = parts
        self._grid = grid
        self._schedules: dict[tuple[str, int], Schedule1F1B | ScheduleInterleaved1F1B] = {}
        self._divisor = 1.0

    def backward(self, inputs: Tensor, targets: Tensor, portions: int, divisor: float) -> Tensor:
        """Run a batch forward and backward, and add its gradients.

        Args:
            inputs: token ids, (batch, sequence).
            targets: the token that follows each.
            portions: micro-batches that it is divided into.
            divisor: what the losses are divided by before their gradients are taken.

        Returns:
            The summed losses, not divided, on the last rank; 0 on the others.
        """
        self._divisor = divisor
        losses: list[Tensor] = []
        schedule = self._schedule("loss", portions)
        given = (inputs,) if self._grid.at(PIPELINE) == 0 else ()
        # The first time, shapes are found out with a batch of their own, whose loss must not count.
        schedule.step(*given, target=targets, losses=losses, return_outputs=False, targets=targets)
        total = torch.zeros((), dtype=torch.float64, device=inputs.device)
        for loss in losses:
            total += loss.detach().double() * divisor
        return total

    @torch.no_grad()
    def forward(self, inputs: Tensor, **kwargs: Tensor) -> Tensor | None:
        """Run a batch forward.

        Args:
            inputs: token ids, (batch, sequence), as many as micro-batches of the training times ranks of the
                pipeline, always of the same shape.
            kwargs: for the last part, with the batch as their first dimension.

        Returns:
            What the last part gives, on the last rank; None on the others.
        """
        schedule = self._schedule(" ".join(kwargs), self._grid.layout.pipeline)
        given = (inputs,) if self._grid.at(PIPELINE) == 0 else ()
        return schedule.eval(*given, **kwargs)  # pyright: ignore[reportArgumentType]  (kwargs of parts)

    def _schedule(self, purpose: str, portions: int) -> Schedule1F1B | ScheduleInterleaved1F1B:
        """Make the turns for a purpose, once: a stage remembers the shapes that it has met first."""
        key = (purpose, portions)
        if key not in self._schedules:
            self._schedules[key] = self._make(portions, with_loss=purpose == "loss")
        return self._schedules[key]

    def _make(self, portions: int, *, with_loss: bool) -> Schedule1F1B | ScheduleInterleaved1F1B:
        layout, place = self._grid.layout, self._grid.at(PIPELINE)
        stages = [
            PipelineStage(
                part,
                number * layout.pipeline + place,
                layout.stages,
                self._grid.world.device,
                group=self._grid.group(PIPELINE),
            )
            for number, part in enumerate(self._parts)
        ]
        loss = self._divided if with_loss else None
        if layout.pipeline_schedule == "1f1b":
            return Schedule1F1B(stages[0], portions, loss_fn=loss, scale_grads=False)
        return ScheduleInterleaved1F1B([*stages], portions, loss_fn=loss, scale_grads=False)

    def _divided(self, loss: Tensor, _targets: Tensor) -> Tensor:
        return loss / self._divisor
