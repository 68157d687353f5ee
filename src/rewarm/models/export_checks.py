"""Making sure that a model folder is what it was written from, as other programs will read it."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from rewarm.errors import CheckpointError
from rewarm.models.empty import empty_model, materialise
from rewarm.models.folder import load_folder, open_folder
from rewarm.models.weight_files import Rounded
from rewarm.tensors.blocks import whole_blocks
from rewarm.tensors.held import fill, own_tensors
from rewarm.tensors.source import TensorSource

_SAMPLE = "The first 12 words, naïve — and then some more."
_TOLERANCE = 1e-5


def check_weights(folder: Path, source: TensorSource, dtype: torch.dtype) -> None:
    """Compare every bit of the files with the source, one tensor at a time.

    Args:
        folder: just written.
        source: what it was written from.
        dtype: of the written floats.

    Raises:
        CheckpointError: they are not the same.
    """
    opened = open_folder(folder)
    written = opened.weights(opened.empty_model())
    shapes = source.shapes()
    if dict(written.shapes()) != dict(shapes):
        raise _different(folder, "its tensors have other names or shapes")
    for name, tensor in Rounded(source=source, dtype=dtype).tensors(whole_blocks(shapes)):
        (_, read) = next(iter(written.tensors(whole_blocks({name: shapes[name]}))))
        # Bytes, so that a zero's sign and a NaN count too.
        if read.dtype != tensor.dtype or not torch.equal(_bytes(read), _bytes(tensor)):
            raise _different(folder, f"{name} is not what was to be written")


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def check_logits(
    folder: Path, config: PreTrainedConfig, source: TensorSource, dtype: torch.dtype
) -> None:
    """Compare the logits of the source's model with those of two loaders; one model in memory at a time.

    Args:
        folder: just written.
        config: of the model.
        source: what the weights were written from.
        dtype: of the written floats.

    Raises:
        CheckpointError: they are not the same.
    """
    own = empty_model(config)
    materialise(own, torch.device("cpu"))
    fill(own_tensors(own), Rounded(source=source, dtype=dtype))
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


def check_tokenizer(folder: Path) -> None:
    """Compare transformers' tokenizer with `tokenizer.json` itself.

    Args:
        folder: just written.

    Raises:
        CheckpointError: they are not the same.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    expected = backend.encode(_SAMPLE, add_special_tokens=False).ids
    found = tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
    if found != expected or tokenizer.decode(found) != backend.decode(expected):
        raise _different(folder, "transformers' tokenizer gives other ids or another text")


def _different(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{folder}: {what}, so the folder would not be the model that was trained. It was not given its name. "
        "The installed transformers writes this family otherwise than it reads it; try another version."
    )
