"""The weights files of a model folder, written from a source one shard at a time."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from rewarm.errors import StorageError
from rewarm.models.names import converts_on_save, stored_tensors
from rewarm.storage import storage_errors
from rewarm.tensors.blocks import Block, whole_blocks
from rewarm.tensors.source import TensorSource


@dataclass(frozen=True, kw_only=True)
class Rounded:
    """A source as it is after its floats were written in a narrower type."""

    source: TensorSource
    """As it was."""
    dtype: torch.dtype
    """Of the written floats."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every tensor, by name."""
        return self.source.shapes()

    def tensors(self, wanted: Mapping[str, Block]) -> Iterator[tuple[str, Tensor]]:
        """Yield each wanted part once, in the type that the source has; see `TensorSource`."""
        for name, tensor in self.source.tensors(wanted):
            yield name, _rounded(_rounded(tensor, self.dtype), tensor.dtype)


def write_weights(
    folder: Path, model: PreTrainedModel, source: TensorSource, dtype: torch.dtype, shard_bytes: int
) -> None:
    """Write the weights files, and for several an index.

    Args:
        folder: has no weights yet.
        model: says what the tensors are called in files; its weights may be on the meta device.
        source: of the weights.
        dtype: of the written floats.
        shard_bytes: the most that one file holds, unless one tensor alone is larger.

    Raises:
        StorageError: the disk is full or refuses to write.
    """
    files: list[tuple[Path, dict[str, Tensor]]] = []
    for number, tensors in enumerate(_shards(model, source, dtype, shard_bytes)):
        path = folder / f"shard-{number}"
        num_bytes = sum(tensor.nbytes for tensor in tensors.values())
        with storage_errors(path, num_bytes):
            try:
                path.touch()
                mode = path.stat().st_mode
                save_file(tensors, path, metadata={"format": "pt"})
                path.chmod(mode)  # the library's own is for the owner alone
            except SafetensorError as error:
                raise StorageError(
                    f"{path}: cannot be written ({error}). {shutil.disk_usage(folder).free:,} bytes are "
                    f"free, the file has {num_bytes:,}. Free some space, or give another folder."
                ) from error
        # Only what the index needs is kept of them.
        files.append((path, {name: tensor.to("meta") for name, tensor in tensors.items()}))
    if len(files) == 1:
        files[0][0].rename(folder / "model.safetensors")
        return
    weight_map: dict[str, str] = {}
    for number, (path, tensors) in enumerate(files, start=1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        path.rename(folder / name)
        weight_map |= dict.fromkeys(tensors, name)
    written = [tensor for _, tensors in files for tensor in tensors.values()]
    totals = {
        "total_parameters": sum(tensor.numel() for tensor in written),
        "total_size": sum(tensor.nbytes for tensor in written),
    }
    index = {"metadata": totals, "weight_map": dict(sorted(weight_map.items()))}
    with storage_errors(folder, 0):
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(
    model: PreTrainedModel, source: TensorSource, dtype: torch.dtype, shard_bytes: int
) -> Iterator[dict[str, Tensor]]:
    """Yield what each file holds, by the names on disk; whole models only where tensors are converted."""
    shapes = source.shapes()
    if converts_on_save(model):
        tensors = {
            name: tensor.clone(memory_format=torch.contiguous_format)
            for name, tensor in stored_tensors(model, _read(source, shapes, dtype)).items()
        }
        for names in _split({n: t.nbytes for n, t in tensors.items()}, shard_bytes):
            yield {name: tensors[name] for name in names}
        return
    num_bytes = {name: prod(shape) * dtype.itemsize for name, shape in shapes.items()}
    for names in _split(num_bytes, shard_bytes):
        yield stored_tensors(model, _read(source, {name: shapes[name] for name in names}, dtype))


def _split(num_bytes: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """Yield the names in groups that are as large as allowed."""
    names: list[str] = []
    size = 0
    for name, length in num_bytes.items():
        if names and size + length > most:
            yield names
            names, size = [], 0
        names.append(name)
        size += length
    yield names


def _read(
    source: TensorSource, shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype
) -> dict[str, Tensor]:
    return {name: _rounded(tensor, dtype) for name, tensor in source.tensors(whole_blocks(shapes))}


def _rounded(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
