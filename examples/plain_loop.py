"""Re-warming and replay in a bare PyTorch loop: a tiny model learns language A, then B, and forgets A less.

Run it with `python examples/plain_loop.py`; it takes a few seconds on a CPU and makes its own text.
"""

import copy
import random
from fractions import Fraction

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from rewarm import schedules
from rewarm.integrations.lr_scheduler import scheduled
from rewarm.integrations.sampler import ReplaySampler
from rewarm.replay import Mixture, NewData, Replay, Stream, Tape

STEPS, BATCH, WINDOW = 200, 16, 32


def language(seed: int) -> torch.Tensor:
    """Make up 40 words and write a text with them: windows of bytes, (windows, WINDOW)."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(3, 6))) for _ in range(40)]
    text = " ".join(rng.choices(words, k=8000)).encode()
    return torch.tensor(list(text[: len(text) // WINDOW * WINDOW])).view(-1, WINDOW)


class Model(torch.nn.Module):
    """Predicts the next byte from the last four."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(128, 16)
        self.body = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU())
        self.head = torch.nn.Linear(256, 128)

    def loss(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of windows of bytes, in nats per byte."""
        contexts = self.embedding(tokens).unfold(1, 4, 1)[:, :-1].flatten(2)  # (B, T - 4, 64)
        logits = self.head(self.body(contexts))
        return cross_entropy(logits.flatten(0, 1), tokens[:, 4:].flatten())


torch.manual_seed(0)
text_a, text_b = language(seed=1), language(seed=2)
train_a, valid_a, train_b, valid_b = text_a[:-100], text_a[-100:], text_b[:-100], text_b[-100:]
dataset = ConcatDataset([TensorDataset(train_a), TensorDataset(train_b)])
lengths = {"A": len(train_a), "B": len(train_b)}  # in the order of the concatenation

# The learning rate of every step. Called again for the update it warms up again: that is the re-warming.
schedule = schedules.warmup_cosine(max_lr=1e-2, min_lr=1e-3, warmup_steps=10, steps=STEPS)


def train(model: Model, stream: Stream) -> Model:
    """Train on what the stream says, with a new optimizer, as at the beginning of every stage."""
    sampler = ReplaySampler(stream, lengths, seed=1234, num_samples=STEPS * BATCH)
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = scheduled(optimizer, schedule)
    for (tokens,) in DataLoader(dataset, BATCH, sampler=sampler):
        optimizer.zero_grad()
        model.loss(tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    return model


def report(name: str, model: Model) -> None:
    """Print the validation losses on the old and on the new language."""
    with torch.no_grad():
        a, b = model.loss(valid_a).item(), model.loss(valid_b).item()
    print(f"{name:<24} loss on A {a:.3f}   loss on B {b:.3f}")


# Stage 1: the model meets A.
pretraining = Stream(NewData(Mixture.of({"A": 1}), starts={}))
base = train(Model(), pretraining)
report("after pre-training on A", base)

# Stage 2: it meets B. Both updates take as many steps, so replay costs nothing but some tokens of B.
new = NewData(Mixture.of({"B": 1}), starts={})
report("update without replay", train(copy.deepcopy(base), Stream(new)))

# A tape is what an earlier stage has read; every tenth sequence is taken from it, in the same order.
tape = Tape(pretraining.new_data(), length=STEPS * BATCH)
replay = Replay(Fraction(1, 10), Mixture.of({"pre-training": 1}), {"pre-training": tape})
report("update with 10 % replay", train(copy.deepcopy(base), Stream(new, replay)))
