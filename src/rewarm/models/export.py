"""A model as a Hugging Face folder, which transformers loads; it is checked before it gets its name.

The folder is written beside its place, read back by two loaders, synced, and renamed. Weights are read from
their source one shard at a time.
"""

import copy
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer as TokenizerBackend
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from rewarm.errors import CampaignError, CheckpointError, DataError, StorageError
from rewarm.models.empty import empty_model, fill, materialise, own_tensors
from rewarm.models.folder import load_folder, open_folder
from rewarm.models.names import converts_on_save, stored_tensors
from rewarm.models.source import Part, TensorSource, whole
from rewarm.storage import TEMPORARY_SUFFIX, storage_errors, sync_folder

ExportType = Literal["fp32", "bf16"]
"""Type of the written weights."""

SHARD_BYTES = 5_000_000_000
"""The most that one weights file holds, unless one tensor alone is larger."""

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SAMPLE = "The first 12 words, naïve — and then some more."
_TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True)
class FolderContent:
    """What a model folder holds beside the configuration and the weights."""

    tokenizer_json: Path
    """The tokenizer; its bytes are kept."""
    end_of_text: str
    """Name of the token that ends a document."""
    vocabulary: int | None
    """Rows of the embedding and the head to keep, the first ones; None keeps all."""
    dtype: ExportType
    """Type of the written weights."""
    card: str
    """The README.md."""


def write_model_folder(
    out: Path,
    config: PreTrainedConfig,
    source: TensorSource,
    content: FolderContent,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a model folder, and make sure that it loads as the model that it was made from.

    What is made sure of: every weight in the files is, bit for bit, that of the source (after rounding, if
    `dtype` is bf16); `load_folder` and transformers give the logits of the source's own model, to within
    1e-5 of the largest; and transformers' tokenizer gives the ids of `tokenizer_json`.

    Args:
        out: the folder; must not exist, or be empty.
        config: of the model; not changed.
        source: its weights.
        content: everything else.
        shard_bytes: the most that one weights file holds.

    Raises:
        CampaignError: something is at `out` already.
        DataError: the tokenizer has no such end of text.
        CheckpointError: what was written does not load as the same model; nothing is at `out`.
        StorageError: the disk is full or refuses to write; nothing is at `out`.
    """
    _refuse_existing(out)
    exported = _exported_config(config, content)
    model = empty_model(exported)
    exported.architectures = [type(model).__name__]
    kept = source
    if content.vocabulary is not None:
        kept = _FirstRows(source=source, names=_embeddings(model), rows=content.vocabulary)
    temporary = out.with_name(f".{out.name}-{os.getpid()}{TEMPORARY_SUFFIX}")
    with storage_errors(temporary, 0):
        temporary.mkdir(parents=True)
    try:
        with storage_errors(out, 0):
            _write_texts(temporary, exported, content)
        _write_weights(temporary, model, kept, _TYPES[content.dtype], shard_bytes)
        _check_weights(temporary, kept, _TYPES[content.dtype])
        _check_logits(temporary, exported, kept, _TYPES[content.dtype])
        _check_tokenizer(temporary)
        with storage_errors(out, 0):
            for path in temporary.iterdir():
                _sync(path)
            sync_folder(temporary)
            temporary.rename(out)
        sync_folder(out.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _refuse_existing(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise CampaignError(
            f"{out}: exists already and was not touched, since it could be all there is of a model. Move it "
            "away, or give another folder."
        )


def _exported_config(config: PreTrainedConfig, content: FolderContent) -> Any:  # noqa: ANN401  # see below
    """Return the configuration to write; its keys are the family's, which no type knows."""
    end = _end_of_text_id(content)
    exported: Any = copy.deepcopy(config)
    exported.dtype = _TYPES[content.dtype]
    exported.eos_token_id = end
    if exported.bos_token_id is None:
        exported.bos_token_id = end
    # The padding id stays as it is: some families give that row of the embedding no gradient.
    if content.vocabulary is not None:
        exported.vocab_size = content.vocabulary
    return exported


def _end_of_text_id(content: FolderContent) -> int:
    found = _backend(content.tokenizer_json).token_to_id(content.end_of_text)
    if found is None:
        raise DataError(
            f"{content.tokenizer_json}: has no token {content.end_of_text!r} to end a text with, so what the "
            "model writes would never end. Name the one it has."
        )
    return found


def _backend(tokenizer_json: Path) -> TokenizerBackend:
    return TokenizerBackend.from_file(str(tokenizer_json))


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

    def tensors(self, wanted: Mapping[str, Part]) -> Iterator[tuple[str, Tensor]]:
        return self.source.tensors(wanted)


def _embeddings(model: PreTrainedModel) -> frozenset[str]:
    """Return the names of the tensors that have a row for each entry of the vocabulary."""
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    ids = {id(module.weight) for module in modules if isinstance(module, nn.Module)}
    return frozenset(name for name, tensor in own_tensors(model).items() if id(tensor) in ids)


def _write_texts(folder: Path, config: PreTrainedConfig, content: FolderContent) -> None:
    config.save_pretrained(folder)
    end = _end_of_text_id(content)
    generation = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=end)
    generation.save_pretrained(folder)
    shutil.copyfile(content.tokenizer_json, folder / "tokenizer.json")
    token = content.end_of_text
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token,
        "eos_token": token,
        "pad_token": token,
        "model_max_length": getattr(config, "max_position_embeddings", None),
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "tokenizer_config.json", settings)
    (folder / "README.md").write_text(content.card, encoding="utf-8")


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_weights(
    folder: Path, model: PreTrainedModel, source: TensorSource, dtype: torch.dtype, shard_bytes: int
) -> None:
    """Write the weights files, and for several an index."""
    files: list[tuple[Path, dict[str, Tensor]]] = []
    for number, tensors in enumerate(_shards(model, source, dtype, shard_bytes)):
        path = folder / f"shard-{number}"
        num_bytes = sum(tensor.nbytes for tensor in tensors.values())
        with storage_errors(path, num_bytes):
            try:
                save_file(tensors, path, metadata={"format": "pt"})
                shutil.copymode(
                    folder / "README.md", path
                )  # the library's own is for the owner alone
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
        _write_json(folder / "model.safetensors.index.json", index)


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
    return {name: _rounded(tensor, dtype) for name, tensor in source.tensors(whole(shapes))}


def _rounded(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


@dataclass(frozen=True, kw_only=True)
class _Rounded:
    """A source as it is after its floats were written in a narrower type."""

    source: TensorSource
    dtype: torch.dtype

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.source.shapes()

    def tensors(self, wanted: Mapping[str, Part]) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.source.tensors(wanted):
            yield name, _rounded(_rounded(tensor, self.dtype), tensor.dtype)


def _check_weights(folder: Path, source: TensorSource, dtype: torch.dtype) -> None:
    """Compare every bit of the files with the source, one tensor at a time."""
    opened = open_folder(folder)
    written = opened.weights(opened.empty_model())
    shapes = source.shapes()
    if dict(written.shapes()) != dict(shapes):
        raise _different(folder, "its tensors have other names or shapes")
    for name, tensor in _Rounded(source=source, dtype=dtype).tensors(whole(shapes)):
        (_, read) = next(iter(written.tensors(whole({name: shapes[name]}))))
        # Bytes, so that a zero's sign and a NaN count too.
        if read.dtype != tensor.dtype or not torch.equal(_bytes(read), _bytes(tensor)):
            raise _different(folder, f"{name} is not what was to be written")


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _check_logits(
    folder: Path, config: PreTrainedConfig, source: TensorSource, dtype: torch.dtype
) -> None:
    """Compare the logits of the source's model with those of two loaders; one model in memory at a time."""
    own = empty_model(config)
    materialise(own, torch.device("cpu"))
    fill(own, _Rounded(source=source, dtype=dtype))
    expected = _logits(own)
    del own
    found = {"rewarm": _logits(load_folder(folder))}
    theirs: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    found["transformers"] = _logits(theirs)
    for loader, logits in found.items():
        if not _close(logits, expected):
            raise _different(folder, f"loaded by {loader}, it has other logits")


@torch.no_grad()
def _logits(model: PreTrainedModel) -> Tensor:
    rows = int(model.get_input_embeddings().num_embeddings)  # pyright: ignore[reportArgumentType]
    tokens = (torch.arange(12) * 7 % rows)[None]
    return model.eval()(input_ids=tokens, use_cache=False).logits


def _close(actual: Tensor, expected: Tensor) -> bool:
    if actual.shape != expected.shape:
        return False
    return bool((actual - expected).abs().max() <= _TOLERANCE * expected.abs().max())


def _check_tokenizer(folder: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    backend = _backend(folder / "tokenizer.json")
    expected = backend.encode(_SAMPLE, add_special_tokens=False).ids
    found = tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
    if found != expected or tokenizer.decode(found) != backend.decode(expected):
        raise _different(folder, "transformers' tokenizer gives other ids or another text")


def _different(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{folder}: {what}, so the folder would not be the model that was trained. It was not given its name. "
        "The installed transformers writes this family otherwise than it reads it; try another version."
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
