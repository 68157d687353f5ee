"""A model as a Hugging Face folder, which transformers loads; it is checked before it gets its name.

The folder is written beside its place, read back by two loaders, synced, and renamed. Weights are read from
their source one shard at a time.
"""

import copy
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, PreTrainedConfig

from rewarm.errors import CampaignError, DataError
from rewarm.models.empty import empty_model
from rewarm.models.export_checks import check_logits, check_tokenizer, check_weights
from rewarm.models.vocabulary import first_rows
from rewarm.models.weight_files import write_weights
from rewarm.storage import TEMPORARY_SUFFIX, storage_errors, sync_folder
from rewarm.tensors.source import TensorSource

ExportType = Literal["fp32", "bf16"]
"""Type of the written weights."""

SHARD_BYTES = 5_000_000_000
"""The most that one weights file holds, unless one tensor alone is larger."""

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


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
        kept = first_rows(source, model, content.vocabulary)
    temporary = out.with_name(f".{out.name}-{os.getpid()}{TEMPORARY_SUFFIX}")
    with storage_errors(temporary, 0):
        temporary.mkdir(parents=True)
    try:
        with storage_errors(out, 0):
            _write_texts(temporary, exported, content)
        write_weights(temporary, model, kept, _TYPES[content.dtype], shard_bytes)
        check_weights(temporary, kept, _TYPES[content.dtype])
        check_logits(temporary, exported, kept, _TYPES[content.dtype])
        check_tokenizer(temporary)
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
    tokenizer = Tokenizer.from_file(str(content.tokenizer_json))
    found = tokenizer.token_to_id(content.end_of_text)
    if found is None:
        raise DataError(
            f"{content.tokenizer_json}: has no token {content.end_of_text!r} to end a text with, so what the "
            "model writes would never end. Name the one it has."
        )
    return found


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
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(content.card, encoding="utf-8")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
