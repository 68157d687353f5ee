"""A model from a local Hugging Face folder, treated as untrusted data.

Two things are read: `config.json` by `config_json`, and safetensors files by the safetensors library.
transformers gets a configuration and tensors from us and opens no file of the folder, so no code, pickle,
adapter or template in it can take effect.
"""

from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedConfig, PreTrainedModel

from rewarm.errors import CheckpointError
from rewarm.models.config_json import read_config
from rewarm.models.head import check_head

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def load_folder(folder: Path) -> PreTrainedModel:
    """Load a causal language model, in float32, in training mode, on the CPU.

    Args:
        folder: has `config.json` and either `model.safetensors` or, for several files,
            `model.safetensors.index.json`.

    Returns:
        The model; every weight comes from the files, and every tensor of the files is in the model.
        Weights that the configuration ties are one tensor.

    Raises:
        CheckpointError: the folder is damaged, incomplete or not allowed (`config_json`, pickled
            weights), or `check_head` refuses the model.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Give a local Hugging Face model folder.")
    config = read_config(folder / "config.json")
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        for name, tensor in _read_tensors(path).items():
            if name in tensors:
                raise CheckpointError(
                    f"{path}: {name} is in another file as well; which one holds?"
                )
            tensors[name] = tensor
    try:
        model = _build(folder, config, tensors)
        check_head(model)
    except CheckpointError:
        raise
    except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{folder}: transformers cannot build or run this model: {error}. Its config.json does not "
            "make sense, or it needs another version of transformers."
        ) from error
    return model.train()


def _build(folder: Path, config: PreTrainedConfig, tensors: dict[str, Tensor]) -> PreTrainedModel:
    """Build the model from our tensors and check that they are exactly what it has."""
    kind: type[PreTrainedModel] = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]  # type: ignore[assignment]  # lazy
    loaded: Any = kind.from_pretrained(
        None,
        config=config,
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
        raise CheckpointError(
            f"{folder}: the weights are not those of its config.json ({len(differences)} differences): "
            + "; ".join(differences[:20])
            + ". Missing weights would be trained from random values. Get the complete model."
        )
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if (
        getattr(config, "tie_word_embeddings", False)
        and head is not None
        and head.weight is not embedding.weight
    ):
        raise CheckpointError(
            f"{folder}: config.json ties the head to the embedding, but the files hold two different "
            "matrices. Set tie_word_embeddings to false if both are meant."
        )
    return model


def _weight_files(folder: Path) -> list[Path]:
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


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file into memory of our own: a mapped file could change under a running training."""
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in file.keys():  # noqa: SIM118  # not a mapping
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and tensor.dtype not in _FLOATS:
                    raise CheckpointError(
                        f"{path}: {name} is {tensor.dtype}; quantised weights cannot be trained."
                    )
                to = torch.float32 if tensor.is_floating_point() else tensor.dtype
                tensors[name] = tensor.to(to, copy=True)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a complete safetensors file ({error}). Get it again."
        ) from error
    return tensors
