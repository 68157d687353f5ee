"""Reading tensors from the safetensors files of a checkpoint, whatever spread they were written by."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from rewarm.engine.tensor_file import PARTS, TORCH_TYPES
from rewarm.tensors.blocks import Block, overlap, slices, whole_blocks


@dataclass(frozen=True, kw_only=True)
class _Piece:
    file: Path
    block: Block


class SavedTensors:
    """The tensors of one group of files; a `TensorSource`."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the headers.

        Args:
            files: verified before.

        Raises:
            ValueError: the parts do not make whole tensors.
            SafetensorError: a file is no safetensors file.
        """
        self._pieces: dict[str, list[_Piece]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._types: dict[str, str] = {}
        for path in files:
            with safe_open(path, framework="pt", device="cpu") as file:
                parts: dict[str, Any] = json.loads((file.metadata() or {}).get(PARTS, "{}"))
                for name in file.keys():  # noqa: SIM118  # not a mapping
                    self._add(path, name, file.get_slice(name), parts.get(name))
        for name, pieces in self._pieces.items():
            found = sum(torch.Size(tuple(piece.block[1])).numel() for piece in pieces)
            if found != torch.Size(self._shapes[name]).numel():
                raise ValueError(f"the parts of {name} do not make the whole")

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the whole shape of every tensor."""
        return self._shapes

    def types(self) -> Mapping[str, str]:
        """Return the type of every tensor, as safetensors names it."""
        return self._types

    def tensors(self, wanted: Mapping[str, Block]) -> Iterator[tuple[str, Tensor]]:
        """Yield the wanted parts, in memory of their own."""
        opened: dict[Path, Any] = {}
        for name, block in wanted.items():
            made = torch.empty(tuple(block[1]), dtype=TORCH_TYPES[self._types[name]])
            for piece in self._pieces[name]:
                common = overlap(block, piece.block)
                if common is None:
                    continue
                if piece.file not in opened:
                    opened[piece.file] = safe_open(piece.file, framework="pt", device="cpu")
                file = opened[piece.file]
                if (tuple(common[0]), tuple(common[1])) == piece.block:
                    made[slices(common, block[0])] = file.get_tensor(name)
                else:
                    part = file.get_slice(name)[slices(common, piece.block[0])]
                    made[slices(common, block[0])] = part
            yield name, made

    def whole(self) -> dict[str, Tensor]:
        """Return all tensors, whole."""
        return dict(self.tensors(whole_blocks(self._shapes)))

    def _add(self, path: Path, name: str, view: Any, part: Any) -> None:  # noqa: ANN401  (JSON)
        shape = tuple(view.get_shape())
        offset = tuple(part["offset"]) if part else (0,) * len(shape)
        whole = tuple(part["whole"]) if part else shape
        if self._shapes.setdefault(name, whole) != whole or len(offset) != len(shape):
            raise ValueError(f"the parts of {name} do not fit together")
        if self._types.setdefault(name, view.get_dtype()) != view.get_dtype():
            raise ValueError(f"the parts of {name} are of different types")
        self._pieces.setdefault(name, []).append(_Piece(file=path, block=(offset, shape)))
