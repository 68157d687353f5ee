"""A cache of the Hugging Face hub laid out by hand, as its client does; no network."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import constants

FIRST, SECOND = "1" * 40, "2" * 40
"""Two commits."""


@dataclass(frozen=True)
class HubCache:
    """Where the client looks for models."""

    folder: Path

    def snapshot(self, name: str, commit: str = FIRST, *, branch: str = "main") -> Path:
        """Return the folder of a commit, after making it and pointing the branch at it."""
        repository = self.folder / f"models--{name.replace('/', '--')}"
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True, exist_ok=True)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit)
        return snapshot


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    """Have the client use this cache and no network, as HF_HUB_CACHE and HF_HUB_OFFLINE would at its start."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return HubCache(folder)
