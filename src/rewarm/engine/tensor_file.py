"""Writing tensors as a safetensors file, hashed on the way to the disk.

The safetensors library reads these files; writing is ours because the library takes all tensors in host
memory at once, gives no hash, and hides the operating system's error number. The format: the header's length
(8 bytes, little-endian), a JSON header, the raw tensors. A tensor of which a file has only a part is under its
own name all the same; the header's metadata say where the part lies in the whole.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

PARTS = "parts"
"""Key of the metadata with the offset and the whole shape of each tensor that is a part."""

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
TORCH_TYPES = {name: dtype for dtype, name in _TYPES.items()}
"""torch's types by the names that safetensors has for them."""


def type_name(dtype: torch.dtype) -> str:
    """Return the name that safetensors has for a type.

    >>> type_name(torch.float32)
    'F32'
    """
    return _TYPES[dtype]


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """What a file must be when it is read again."""

    num_bytes: int
    """Its size."""
    sha256: str
    """SHA-256 of its content, in hexadecimal."""


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    parts: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] | None = None,
) -> WrittenFile:
    """Write a new safetensors file and make it durable; one tensor at a time is in host memory.

    Args:
        path: must not exist.
        tensors: on any device, of any layout in memory.
        parts: of the tensors that are parts, the offset and the shape of the whole.

    Raises:
        OSError: the file cannot be written.
    """
    # The widest types first, as the library does, so that every tensor is aligned.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    metadata = {"format": "pt"}
    if parts:
        described = {name: {"offset": o, "whole": w} for name, (o, w) in sorted(parts.items())}
        metadata[PARTS] = json.dumps(described, separators=(",", ":"))
    header: dict[str, object] = {"__metadata__": metadata}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    assert len(header) == len(tensors) + 1
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    content = (_raw(tensor) for _, tensor in ordered)
    return write_file(path, [len(text).to_bytes(8, "little"), text], content)


def write_file(path: Path, first: Iterable[bytes], then: Iterable[memoryview] = ()) -> WrittenFile:
    """Write a new file from its parts, and make it durable.

    Args:
        path: must not exist.
        first: the parts that it begins with.
        then: the parts after these, each made when its turn comes.

    Raises:
        OSError: the file cannot be written.
    """
    digest = hashlib.sha256()
    num_bytes = 0
    with path.open("xb") as file:
        for parts in (first, then):
            for part in parts:
                file.write(part)
                digest.update(part)
                num_bytes += len(part)
        file.flush()
        os.fsync(file.fileno())
    return WrittenFile(num_bytes=num_bytes, sha256=digest.hexdigest())


def _raw(tensor: Tensor) -> memoryview:
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
