"""One thread, and a tiny transformer with dropout and tied embeddings to train."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def _single_threaded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TinyTied(nn.Module):
    """An embedding, a block with dropout and LayerNorm, a buffer, and the embedding again as head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(29, 16)
        self.norm = nn.LayerNorm(16)
        self.up = nn.Linear(16, 33)
        self.down = nn.Linear(33, 16)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(16, 29, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, tokens: Tensor) -> Tensor:
        self.seen += tokens.numel()
        hidden = self.embedding(tokens)
        hidden = hidden + self.dropout(self.down(torch.relu(self.up(self.norm(hidden)))))
        return nn.functional.cross_entropy(self.head(hidden[:, :-1]).mT, tokens[:, 1:])


@pytest.fixture
def tied_model() -> Callable[[int], TinyTied]:
    """Return a function that builds the model from a seed."""

    def build(seed: int) -> TinyTied:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TinyTied()

    return build
