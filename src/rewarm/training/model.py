"""The model of a stage, spread over the ranks: gradients of a batch, losses of sequences, tokens to go on with.

Whatever the layout, every rank calls the same functions at the same time, and gets the same answers.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from rewarm.engine.gradients import add_up, norm, square_sum, tree_sum
from rewarm.engine.grid import PIPELINE, TENSOR, Grid
from rewarm.engine.parallelise import SUMMED, spread
from rewarm.engine.pipeline import Pipeline
from rewarm.engine.world import Precision, autocast
from rewarm.models.empty import materialise
from rewarm.models.part import Part, all_blocks, cut, has_tied_head
from rewarm.plan.layout import blocks_of
from rewarm.tensors.held import own_tensors


class TrainedModel:
    """A causal language model in training; of several ranks each has its part."""

    def __init__(
        self,
        build: Callable[[], PreTrainedModel],
        grid: Grid,
        *,
        precision: Precision,
        entries: int,
        isolated_by: int | None = None,
        in_one_order: bool = False,
    ) -> None:
        """Make the parts of this rank; their weights are undefined until they are filled.

        Args:
            build: makes the model without weights, on the meta device.
            grid: where this rank is.
            precision: of the matrix products.
            entries: of the tokenizer.
            isolated_by: the end-of-text id, if tokens are to look back at their own document alone.
            in_one_order: whether all gradients are added up in one order on any number of ranks.

        Raises:
            CampaignError: the layout does not suit the model.
        """
        self.grid = grid
        self._in_one_order = in_one_order
        model = build()
        is_tied = has_tied_head(model)
        self.names = frozenset(own_tensors(model))
        layout = grid.layout
        numbers = range(grid.at(PIPELINE), layout.stages, layout.pipeline)
        models = [model, *(build() for _ in numbers[1:])]
        runs = blocks_of(len(all_blocks(model)), layout.stages)
        self.parts: list[Part] = []
        for number, each in zip(numbers, models, strict=True):
            ends = {"is_first": number == 0, "is_last": number == layout.stages - 1}
            if layout.pipeline > 1:
                cut(each, runs[number], **ends)
            context = partial(autocast, grid.world, precision)
            part = Part(each, precision=context, entries=entries, isolated_by=isolated_by, **ends)
            styles = part.splitting() if layout.tensor > 1 else {}
            spread(
                part,
                part.blocks(),
                styles,
                grid,
                materialise=lambda module: materialise(module, grid.world.device),
                sharded=not in_one_order,
            )
            self.parts.append(part)
        self._summed = [
            parameter
            for part in self.parts
            for name, style in (part.splitting() if layout.tensor > 1 else {}).items()
            if style == SUMMED
            for parameter in part.get_submodule(name).parameters()
        ]
        self._pipeline = Pipeline(self.parts, grid) if layout.pipeline > 1 else None
        self._ends = grid.ends if self._pipeline and is_tied else None
        self.copied = self._names_of_copies()

    @property
    def models(self) -> list[PreTrainedModel]:
        """The model, or the pieces of it that this rank has; their names are those of the whole."""
        return [part.model for part in self.parts]

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of this rank, each once."""
        return list(nn.ModuleList(self.parts).parameters())

    def _names_of_copies(self) -> frozenset[str]:
        """Return what the first rank of the pipeline counts and writes down, and this one has too."""
        if self._ends is None or self.grid.at(PIPELINE) == 0:
            return frozenset()
        copies = [part.embedding() for part in self.parts if part.is_last]
        named = [pair for model in self.models for pair in model.named_parameters()]
        return frozenset(n for n, p in named if any(p is copy for copy in copies))

    def backward(self, tokens: NDArray[np.integer], divisor: float) -> Tensor:
        """Add the gradients of this rank's sequences of a batch.

        Args:
            tokens: token ids, (sequences, sequence_length + 1), of this rank.
            divisor: what the summed losses are divided by before their gradients are taken.

        Returns:
            The summed losses in nats, a float64 scalar: this rank's contribution, or with gradients in one
            order that of all ranks.
        """
        rows = self._on_device(tokens)
        portions = rows.split(self.grid.layout.micro_batch)
        if self._pipeline is not None:
            total = self._pipeline.backward(rows[:, :-1], rows[:, 1:], len(portions), divisor)
        elif self._in_one_order:
            total = tree_sum(
                self.parameters(),
                len(portions),
                lambda number: self._portion(portions[number], divisor),
                self.grid,
            )
        else:
            total = torch.zeros((), dtype=torch.float64, device=self.grid.world.device)
            for number, portion in enumerate(portions):
                self._synchronise(is_last=number == len(portions) - 1)
                total += self._portion(portion, divisor)
        self._add_up_shared()
        return total if self.grid.reports or self._in_one_order else torch.zeros_like(total)

    def _on_device(self, tokens: NDArray[np.integer]) -> Tensor:
        rows, device = torch.from_numpy(tokens.astype(np.int64)), self.grid.world.device
        if device.type == "cuda":
            rows = (
                rows.pin_memory()
            )  # from elsewhere the copy would wait for what the device is doing
        return rows.to(device, non_blocking=True)

    def _portion(self, rows: Tensor, divisor: float) -> Tensor:
        loss = self.parts[0](rows[:, :-1], rows[:, 1:])
        (loss / divisor).backward()
        return loss.detach().double()

    def _synchronise(self, *, is_last: bool) -> None:
        """Exchange gradients after the last micro-batch alone, unless memory is what counts."""
        part = self.parts[0]
        if isinstance(part, FSDPModule) and not self.grid.layout.reshard:
            part.set_requires_gradient_sync(is_last)
            part.set_reshard_after_backward(is_last)

    def _add_up_shared(self) -> None:
        """Add up the gradients of weights that several ranks have but used for different things."""
        if self._summed:
            add_up(self._summed, self.grid.group(TENSOR))
        if self._ends is not None:
            add_up([p.embedding() for p in self.parts if p.is_first or p.is_last], self._ends)

    def totals(self, loss: Tensor, flags: Sequence[float]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Agree on what the batch has come to.

        Args:
            loss: of `backward`.
            flags: numbers of this rank, to be added up.

        Returns:
            The summed losses of the batch, the norm of its gradient, and the sums of the flags: scalars on
            the device, the same on all ranks.
        """
        words = torch.tensor([0.0, 0.0, *flags], dtype=torch.float64, device=loss.device)
        is_whole = self.grid.layout.ranks == 1 or self._in_one_order
        if not is_whole:
            named = [pair for model in self.models for pair in model.named_parameters()]
            counted = [parameter for name, parameter in named if name not in self.copied]
            words[0], words[1] = loss, square_sum(counted, self.grid)
        total, squares, *sums = self.grid.world.ranks.sum(words)
        if is_whole:
            return loss, norm(self.parameters()), sums
        return total, squares.sqrt().float(), sums

    def losses(self, tokens: NDArray[np.integer]) -> Tensor:
        """Return the losses of sequences, shared out among the ranks, in evaluation mode.

        Args:
            tokens: token ids, (sequences, sequence_length + 1), the same on all ranks.

        Returns:
            Sums in nats, (sequences,), float64, on the CPU.
        """
        layout = self.grid.layout
        each = layout.micro_batch * layout.pipeline
        portions = [range(i, min(i + each, len(tokens))) for i in range(0, len(tokens), each)]
        rounds = -(-len(portions) // layout.data)
        found = torch.zeros(len(tokens), dtype=torch.float64, device=self.grid.world.device)
        with self._evaluating():
            for turn in range(rounds):
                number = turn * layout.data + self.grid.data_rank
                # Some ranks have nothing in the last round, but the others need them to go along.
                rows = portions[min(number, len(portions) - 1)]
                losses = self._losses(tokens[list(rows)])
                if number < len(portions) and losses is not None and self.grid.reports:
                    found[list(rows)] = losses.double()
        return self.grid.world.ranks.sum(found).cpu()

    @torch.no_grad()
    def _losses(self, tokens: NDArray[np.integer]) -> Tensor | None:
        rows = self._on_device(tokens)
        if self._pipeline is None:
            return self.parts[0](rows[:, :-1], rows[:, 1:])
        count = len(rows)
        rows = self._padded(rows)
        losses = self._pipeline.forward(rows[:, :-1], targets=rows[:, 1:])
        return None if losses is None else losses[:count]

    def next_token(self, context: Sequence[int], sequence_length: int) -> int:
        """Return the likeliest token behind a context, the same on all ranks.

        Args:
            context: token ids; the last `sequence_length` of them are seen.
            sequence_length: the longest context that the model was trained with.
        """
        context = context[-sequence_length:]
        device = self.grid.world.device
        rows = torch.tensor([context], device=device)
        positions = torch.tensor([len(context) - 1], device=device)
        with self._evaluating(), torch.no_grad():
            if self._pipeline is not None or self.grid.layout.compile:
                # Of one shape always; what comes behind the position is not seen by it.
                rows = nn.functional.pad(rows, (0, sequence_length - len(context)))
            if self._pipeline is None:
                best = self.parts[0](rows, positions=positions)
            else:
                rows, positions = self._padded(rows), self._padded(positions)
                best = self._pipeline.forward(rows, positions=positions)
        found = torch.zeros(1, dtype=torch.int64, device=device)
        if best is not None and self.grid.reports and self.grid.data_rank == 0:
            found += best[:1]
        return int(self.grid.world.ranks.sum(found))

    def _padded(self, rows: Tensor) -> Tensor:
        """Repeat the last row until there are as many as a pipeline takes."""
        wanted = self.grid.layout.micro_batch * self.grid.layout.pipeline
        return torch.cat([rows, rows[-1:].expand(wanted - len(rows), *rows.shape[1:])])

    @contextmanager
    def _evaluating(self) -> Generator[None]:
        modes = [part.training for part in self.parts]
        for part in self.parts:
            part.eval()
        try:
            yield
        finally:
            for part, mode in zip(self.parts, modes, strict=True):
                part.train(mode)
