"""Token files as other tools write them, put together from the descriptions of their formats."""

import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

CODES = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "uint16": 8}


def flat_ids(documents: Sequence[Sequence[int]]) -> list[int]:
    return [token for document in documents for token in document]


def megatron_index(
    lengths: Sequence[int], documents: Sequence[int], dtype: str, modes: Sequence[int] = ()
) -> bytes:
    """Megatron's index, number by number."""
    size = np.dtype(dtype).itemsize
    content = b"MMIDIDX\x00\x00" + struct.pack("<QB", 1, CODES[dtype])
    content += struct.pack("<QQ", len(lengths), len(documents))
    content += b"".join(struct.pack("<i", length) for length in lengths)
    offset = 0
    for length in lengths:
        content += struct.pack("<q", offset)
        offset += length * size
    content += b"".join(struct.pack("<q", document) for document in documents)
    return content + b"".join(struct.pack("<b", mode) for mode in modes)


def write_megatron(
    path: Path, documents: Sequence[Sequence[int]], dtype: str, pieces: int = 1, modes: bool = False
) -> Path:
    """A pair whose documents are cut into sequences of `pieces` tokens, the rest in the last one."""
    lengths, starts = [], [0]
    for document in documents:
        cuts = [*range(0, max(1, len(document) - pieces), pieces), len(document)]
        lengths += [b - a for a, b in pairwise(cuts)] if pieces > 1 else [len(document)]
        starts.append(len(lengths))
    path.write_bytes(np.array(flat_ids(documents), dtype).tobytes())
    index = megatron_index(lengths, starts, dtype, [0] * len(lengths) if modes else [])
    path.with_suffix(".idx").write_bytes(index)
    return path


def write_datatrove(path: Path, documents: Sequence[Sequence[int]], dtype: str) -> Path:
    path.write_bytes(np.array(flat_ids(documents), dtype).tobytes())
    ends = np.cumsum([len(document) for document in documents])
    Path(f"{path}.index").write_bytes(b"".join(struct.pack("<Q", end) for end in ends.tolist()))
    size = np.dtype(dtype).itemsize
    Path(f"{path}.metadata").write_text(f"gpt2|{size}\n{ends[-1]}\n0.0 KT", encoding="utf-8")
    return path


def write_flat(path: Path, documents: Sequence[Sequence[int]], dtype: str) -> Path:
    path.write_bytes(np.array(flat_ids(documents), dtype).tobytes())
    return path


def write_npy(path: Path, documents: Sequence[Sequence[int]], dtype: str) -> Path:
    np.save(path, np.array(flat_ids(documents), dtype))
    return path


WRITERS = {
    "megatron uint16": lambda folder, docs: write_megatron(folder / "a.bin", docs, "uint16"),
    "megatron int32, pieces": lambda folder, docs: write_megatron(
        folder / "b.bin", docs, "int32", pieces=3, modes=True
    ),
    "megatron int64": lambda folder, docs: write_megatron(folder / "c.bin", docs, "int64"),
    "megatron uint8": lambda folder, docs: write_megatron(
        folder / "d.bin", docs, "uint8", pieces=2
    ),
    "megatron int16": lambda folder, docs: write_megatron(folder / "e.bin", docs, "int16"),
    "npy uint16": lambda folder, docs: write_npy(folder / "f.npy", docs, "uint16"),
    "npy int64": lambda folder, docs: write_npy(folder / "g.npy", docs, "int64"),
    "flat uint16": lambda folder, docs: write_flat(folder / "h.bin", docs, "uint16"),
    "flat uint16 named npy": lambda folder, docs: write_flat(folder / "i.npy", docs, "uint16"),
    "datatrove uint16": lambda folder, docs: write_datatrove(folder / "j.ds", docs, "uint16"),
    "datatrove uint32": lambda folder, docs: write_datatrove(folder / "k.ds", docs, "uint32"),
}
