"""Reading a model folder's `config.json` as untrusted data.

The rule. A key reaches transformers only if one of these holds: the family's configuration class declares it
(as a field or as another name of one); it is the older spelling of the rotary settings; its value is a plain
number, which can name no code. Keys that only describe are left out. Everything else is refused: private
keys, remote code, kernels, adapters, quantised weights, and strings or objects that the family does not
know. The same holds within nested objects. So nothing in the file can choose what code is run beyond the
`model_type`, which must be one of transformers' own causal language models.

Why so strict: a crafted key has run code from a hub in spite of `trust_remote_code=False` (CVE-2026-4372).
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from rewarm.errors import CheckpointError

_MOST_BYTES = 1_000_000

_DESCRIPTIVE = {
    "_name_or_path", "_commit_hash", "_sliding_window_pattern", "architectures", "cache_implementation",
    "dtype", "id2label", "label2id", "model_type", "problem_type", "task_specific_params",
    "tokenizer_class", "torch_dtype", "transformers.js_config", "transformers_version",
}  # fmt: skip
"""Keys on where the model comes from, its use in other tasks or generation; none changes the network. (Gemma
writes `_sliding_window_pattern`, and reads `layer_types`.)"""

_OLD_ROTARY_KEYS = {"rope_scaling"}

_REFUSED = {
    "adapter_config": "an adapter",
    "attn_implementation": "a kernel",
    "auto_map": "code that comes with the model",
    "custom_pipelines": "code that comes with the model",
    "distributed_config": "a way to distribute the model",
    "experts_implementation": "a kernel",
    "fusion_config": "a kernel",
    "kernel_config": "a kernel",
    "quantization_config": "quantised weights, which cannot be trained",
    "transformers_weights": "another weights file",
    "trust_remote_code": "code that comes with the model",
    "use_kernels": "a kernel",
}
"""Keys refused whatever their value, and what they ask for."""


def read_config(path: Path) -> PreTrainedConfig:
    """Read a `config.json` and make the configuration of its family from it.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is not a JSON object, asks for something that is not allowed, or makes no
            valid configuration.
    """
    content = _read_object(path)
    model_type = content.get("model_type")
    if not isinstance(model_type, str) or model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise CheckpointError(
            f"{path}: model_type is {model_type!r}, which is not one of transformers' own causal language "
            "models. Code that comes with a model is never run: use a model of a family that "
            "transformers has, or a newer transformers."
        )
    kind = CONFIG_MAPPING[model_type]
    kept = _allowed(path, content, kind)
    try:
        return kind(**kept)
    except (StrictDataclassError, TypeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: not a valid {kind.__name__}: {reason} Mend the file, or get the model again."
        ) from error


def _read_object(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}). A model folder has config.json and *.safetensors."
        ) from error
    if len(text) > _MOST_BYTES:
        raise CheckpointError(f"{path}: over {_MOST_BYTES:,} bytes, so it is no configuration.")
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CheckpointError(f"{path}:{error.lineno}: not JSON: {error.msg}.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds no JSON object.")
    return content


def _allowed(path: Path, content: dict[str, Any], kind: type[PreTrainedConfig]) -> dict[str, Any]:
    declared = {field.name for field in fields(kind)} | set(kind.attribute_map) | _OLD_ROTARY_KEYS
    kept: dict[str, Any] = {}
    for key, value in content.items():
        if key in _DESCRIPTIVE or (value is None and key not in declared):
            continue
        _refuse_code(path, key, value)
        if key not in declared and not isinstance(value, int | float):
            raise CheckpointError(
                f"{path}: {key} is not a setting of {kind.__name__}, and its value is not a plain number, "
                "so what it would do is unknown. Remove the key if the model does not need it."
            )
        kept[key] = value
    if kept.get("is_encoder_decoder"):
        raise CheckpointError(f"{path}: an encoder-decoder; only decoders can be trained here.")
    return kept


def _refuse_code(path: Path, key: str, value: object) -> None:
    """Refuse a key, or one nested in its value, that could bring in code."""
    reason = "a private setting" if key.startswith("_") else _REFUSED.get(key)
    if reason is not None:
        raise CheckpointError(
            f"{path}: the key {key} asks for {reason}. A model folder is data here, and may not choose "
            "what is run. Remove the key if the model works without it."
        )
    if isinstance(value, list):
        for item in value:
            _refuse_code(path, key, item)
    elif isinstance(value, dict):
        if "model_type" in value:
            raise CheckpointError(
                f"{path}: {key} holds a model of its own; only plain text models can be trained here. "
                "Take the text model out into a folder of its own."
            )
        for inner, item in value.items():
            _refuse_code(path, inner, item)
