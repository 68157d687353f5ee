"""Local data for tasks of lm-evaluation-harness, and tasks made of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

WriteData = Callable[[str, str, Sequence[Mapping[str, Any]]], None]


@pytest.fixture
def write_data(tmp_path: Path) -> WriteData:
    """Return a function that writes a split of a dataset below `tmp_path / "data"`."""

    def write(dataset: str, split: str, rows: Sequence[Mapping[str, Any]]) -> None:
        folder = tmp_path / "data" / dataset
        folder.mkdir(parents=True, exist_ok=True)
        lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        (folder / f"{split}.jsonl").write_bytes(lines)

    return write


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection."""
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
