"""A model with fewer rows in its embedding and its head than it was trained with: without the padding."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel

from rewarm.tensors.blocks import Block
from rewarm.tensors.held import own_tensors
from rewarm.tensors.source import TensorSource


def first_rows(source: TensorSource, model: PreTrainedModel, rows: int) -> TensorSource:
    """Return a source whose embedding and head have their first rows alone.

    Args:
        source: the weights, with as many rows or more.
        model: of the same family and names; it may be without weights.
        rows: how many to keep.
    """
    return _FirstRows(source=source, names=_embeddings(model), rows=rows)


@dataclass(frozen=True, kw_only=True)
class _FirstRows:
    """A source with fewer rows in some of its tensors."""

    source: TensorSource
    names: frozenset[str]
    rows: int

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {
            name: (self.rows, *shape[1:]) if name in self.names else shape
            for name, shape in self.source.shapes().items()
        }

    def tensors(self, wanted: Mapping[str, Block]) -> Iterator[tuple[str, Tensor]]:
        return self.source.tensors(wanted)


def _embeddings(model: PreTrainedModel) -> frozenset[str]:
    """Return the names of the tensors that have a row for each entry of the vocabulary."""
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    ids = {id(module.weight) for module in modules if isinstance(module, nn.Module)}
    return frozenset(name for name, tensor in own_tensors(model).items() if id(tensor) in ids)
