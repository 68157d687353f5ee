"""A tiny tokenizer and stores small enough to look at."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rewarm.data.store import Manifest, write_store
from rewarm.data.tokenizer import Tokenizer, train_tokenizer

WORDS = (
    "the a of on learning rate warm again model loss old new text Wörter über, . ! <|endoftext|>"
)


def _sentences(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    words = WORDS.split()
    return [" ".join(draw.choices(words, k=draw.randint(1, 40))) for _ in range(count)]


@pytest.fixture(scope="session")
def sentences() -> Callable[[int, int], list[str]]:
    """Short documents drawn from a few words, one of which is the name of the end of text."""
    return _sentences


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """A byte-level BPE of 300 entries."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    return train_tokenizer(_sentences(100, 0), vocabulary=300, path=path)


@pytest.fixture(scope="session")
def write() -> Callable[..., Manifest]:
    """Write documents as a store whose end of text is 0."""

    def write_documents(
        folder: Path, documents: Sequence[Sequence[int]], vocabulary: int = 100
    ) -> Manifest:
        return write_store(
            folder,
            [np.array(ids) for ids in documents],
            vocabulary=vocabulary,
            end_of_text=0,
            tokenizer="f" * 64,
            document_seed=7,
            text_bytes=123,
            provenance=[{"file": "a.txt", "bytes": 123}],
        )

    return write_documents
