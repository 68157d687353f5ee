"""A model from a local Hugging Face folder, treated as untrusted data.

Two things are read: `config.json` by `config_json`, and safetensors files by the safetensors library.
transformers gets a configuration and tensors from us and opens no file of the folder, so no code, pickle,
adapter or template in it can take effect.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from rewarm.errors import CheckpointError
from rewarm.models.config_json import read_config
from rewarm.models.empty import empty_model, materialise
from rewarm.models.head import check_head
from rewarm.models.names import first_names, is_left_out, model_names
from rewarm.tensors.blocks import Block, slices, whole_blocks
from rewarm.tensors.held import fill, own_tensors
from rewarm.tensors.source import MemorySource, TensorSource, own_copy

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_FLOATS = {"F64", "F32", "F16", "BF16"}
_INTEGERS = {"I64", "I32", "I16", "I8", "U8", "BOOL"}


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A folder whose configuration was read; its weights have not been."""

    folder: Path
    """Where it is."""
    config: PreTrainedConfig
    """Its configuration."""

    def empty_model(self) -> PreTrainedModel:
        """Build the model without its weights; see `rewarm.models.empty.empty_model`.

        Raises:
            CheckpointError: transformers cannot build it.
        """
        try:
            return empty_model(self.config)
        except CheckpointError as error:
            raise CheckpointError(f"{self.folder}: {error}") from error

    def weights(self, model: PreTrainedModel) -> TensorSource:
        """Compare the files with a model, and return its weights, to be read in parts.

        Files are opened and their headers read; a tensor is read when it is asked for, into memory of its
        own: a mapped file could change under a running training. Only a family whose tensors must be
        converted is loaded whole, here.

        Args:
            model: of this folder; its weights may be on the meta device.

        Returns:
            Every tensor of the model, each from the files.

        Raises:
            CheckpointError: the files are damaged, quantised or pickled, or are not those of the model.
        """
        stored = _stored_tensors(self.folder)
        names = model_names(model, stored)
        if names is None:
            return MemorySource(by_name=own_tensors(_converted(self, stored)))
        return _matched(self.folder, model, stored, names)


def open_folder(folder: Path) -> ModelFolder:
    """Read the configuration of a model folder.

    Args:
        folder: has `config.json` and either `model.safetensors` or, for several files,
            `model.safetensors.index.json`.

    Raises:
        CheckpointError: there is no such folder, or its configuration is not allowed (`config_json`).
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Give a local Hugging Face model folder.")
    return ModelFolder(folder=folder, config=read_config(folder / "config.json"))


def load_folder(folder: Path) -> PreTrainedModel:
    """Load a causal language model, in float32, in training mode, on the CPU.

    Args:
        folder: see `open_folder`.

    Returns:
        The model; every weight comes from the files, and every tensor of the files is in the model.
        Weights that the configuration ties are one tensor.

    Raises:
        CheckpointError: the folder is damaged, incomplete or not allowed (`config_json`, pickled
            weights), or `check_head` refuses the model.
    """
    opened = open_folder(folder)
    model = opened.empty_model()
    source = opened.weights(model)
    materialise(model, torch.device("cpu"))
    fill(own_tensors(model), source)
    with _transformers_at_work(folder):
        check_head(model)
    return model


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """A tensor in a file."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float(self) -> bool:
        return self.dtype in _FLOATS

    def read(self, file: Any, block: Block) -> Tensor:  # noqa: ANN401  # the library has no type for it
        """Read a block from the opened file."""
        tensor = file.get_slice(self.name)
        if (tuple(tensor.get_shape()), tensor.get_dtype()) != (self.shape, self.dtype):
            raise CheckpointError(
                f"{self.path}: {self.name} has changed while it was read. Leave the folder alone until the "
                "model is loaded, and start again."
            )
        return own_copy(tensor[slices(block)] if self.shape else file.get_tensor(self.name))


@dataclass(frozen=True, kw_only=True)
class _FileSource:
    """Tensors in safetensors files, read when they are asked for."""

    stored: Mapping[str, _Stored]
    """By their names in the model."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: stored.shape for name, stored in self.stored.items()}

    def tensors(self, wanted: Mapping[str, Block]) -> Iterator[tuple[str, Tensor]]:
        by_file: dict[Path, list[str]] = {}
        for name in wanted:
            by_file.setdefault(self.stored[name].path, []).append(name)
        for path, names in sorted(by_file.items()):
            with _opened(path) as file:
                for name in names:
                    yield name, self.stored[name].read(file, wanted[name])


def _stored_tensors(folder: Path) -> dict[str, _Stored]:
    """Read the headers of all files, and refuse what cannot be trained from."""
    tensors: dict[str, _Stored] = {}
    for path in weight_files(folder):
        for stored in _header(path):
            if stored.name in tensors:
                raise CheckpointError(
                    f"{path}: {stored.name} is in another file as well; which one holds?"
                )
            if stored.dtype not in _FLOATS | _INTEGERS:
                raise CheckpointError(
                    f"{path}: {stored.name} is {stored.dtype}; quantised weights cannot be trained."
                )
            tensors[stored.name] = stored
    return tensors


def _header(path: Path) -> list[_Stored]:
    with _opened(path) as file:
        slices_by_name = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        return [
            _Stored(path=path, name=name, shape=tuple(found.get_shape()), dtype=found.get_dtype())
            for name, found in slices_by_name.items()
        ]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a complete safetensors file ({error}). Get it again."
        ) from error


def _matched(
    folder: Path, model: PreTrainedModel, stored: Mapping[str, _Stored], names: Mapping[str, str]
) -> TensorSource:
    """Check that the files have exactly the tensors of the model, and give each its name there."""
    own, first = model.state_dict(keep_vars=True), first_names(model)
    found: dict[str, _Stored] = {}
    differences: list[str] = []
    for disk_name, name in names.items():
        tensor = stored[disk_name]
        if name not in own:
            if not is_left_out(model, name):
                differences.append(f"not in the model: {name}")
        elif tensor.shape != tuple(own[name].shape):
            differences.append(
                f"wrong shape: {name} is {list(tensor.shape)}, the model's {list(own[name].shape)}"
            )
        elif tensor.is_float != own[name].is_floating_point():
            differences.append(f"wrong type: {name} is {tensor.dtype}")
        elif name in found:
            differences.append(f"twice: {name} is both {found[name].name} and {disk_name}")
        else:
            found[name] = tensor
    there = {first[name] for name in found}
    differences += [f"missing: {name}" for name in own if first[name] not in there]
    if differences:
        raise _differ(folder, differences)
    source = _FileSource(stored=found)
    for name in found:
        if (
            first[name] != name
            and first[name] in found
            and not _are_equal(source, first[name], name)
        ):
            raise _contradiction(folder)
    return _FileSource(stored={first[name]: tensor for name, tensor in found.items()})


def _are_equal(source: _FileSource, one: str, other: str) -> bool:
    """Compare two tensors of the same shape, some rows at a time."""
    blocks = whole_blocks(source.shapes())
    (rows, *rest) = source.shapes()[one]
    step = max(1, 2**24 // max(1, torch.Size(rest).numel()))
    for start in range(0, rows, step):
        block = ((start, *blocks[one][0][1:]), (min(step, rows - start), *rest))
        read = dict(source.tensors({one: block, other: block}))
        if not torch.equal(read[one], read[other]):
            return False
    return True


def _converted(opened: ModelFolder, stored: Mapping[str, _Stored]) -> PreTrainedModel:
    """Have transformers build the model from our tensors, and check that they are what it has."""
    folder = opened.folder
    source = _FileSource(stored=stored)
    tensors = dict(source.tensors(whole_blocks(source.shapes())))
    kind: Any = type(opened.empty_model())
    with _transformers_at_work(folder):
        loaded: Any = kind.from_pretrained(
            None,
            config=opened.config,
            state_dict=tensors,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    model, info = loaded
    differences = [
        *(f"missing: {name}" for name in sorted(info["missing_keys"])),
        *(f"not in the model: {name}" for name in sorted(info["unexpected_keys"])),
        *(f"wrong shape: {name}" for name in sorted(str(key) for key in info["mismatched_keys"])),
        *(f"not read: {message}" for message in info["error_msgs"]),
    ]
    if differences:
        raise _differ(folder, differences)
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = getattr(opened.config, "tie_word_embeddings", False)
    if tied and head is not None and head.weight is not embedding.weight:
        raise _contradiction(folder)
    return model


@contextmanager
def _transformers_at_work(folder: Path) -> Iterator[None]:
    """Turn what transformers raises on a configuration without sense into a refusal of the folder."""
    try:
        yield
    except CheckpointError:
        raise
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{folder}: transformers cannot build or run this model: {error}. Its config.json does not "
            "make sense, or it needs another version of transformers."
        ) from error


def _differ(folder: Path, differences: list[str]) -> CheckpointError:
    return CheckpointError(
        f"{folder}: the weights are not those of its config.json ({len(differences)} differences): "
        + "; ".join(differences[:20])
        + ". Missing weights would be trained from random values. Get the complete model."
    )


def _contradiction(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"{folder}: config.json ties the head to the embedding, but the files hold two different "
        "matrices. Set tie_word_embeddings to false if both are meant."
    )


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model folder.

    Raises:
        CheckpointError: there are none, or the index does not make sense.
    """
    index = folder / _INDEX
    if index.is_file():
        return [folder / name for name in _indexed_names(index)]
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    pickles = sorted(path.name for path in folder.glob("*.bin")) + sorted(
        path.name for path in folder.glob("*.pt*")
    )
    if pickles:
        raise CheckpointError(
            f"{folder}: its weights are pickled ({pickles[0]}). A pickle can run code when it is read, so "
            "none is. Convert the model where you trust it: load it with transformers and "
            "save_pretrained() it, which writes safetensors."
        )
    raise CheckpointError(f"{folder}: neither {_SINGLE} nor {_INDEX} is there.")


def _indexed_names(index: Path) -> list[str]:
    try:
        weight_map = orjson.loads(index.read_bytes())["weight_map"]
        names = sorted(set(weight_map.values()))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: not an index of safetensors files ({error!r}).") from error
    for name in names:
        if (
            not isinstance(name, str)
            or Path(name).name != name
            or not name.endswith(".safetensors")
        ):
            raise CheckpointError(
                f"{index}: names {name!r}, which is no safetensors file beside it."
            )
    return names
