"""A campaign so small that it trains in a second: two made-up languages, a GPT-NeoX of 0.1M, three arms."""

import random
from dataclasses import dataclass
from pathlib import Path

import orjson

CAMPAIGN = """
name = "tiny"
seed = 7
sequence_length = 16
batch = "8 sequences"

[model]
preset = "neox-0.1m"

[tokenizer]
train = { on = ["old"], vocabulary = 300 }

[data.old]
train = ["old.jsonl"]
validation = ["old.valid.jsonl"]

[data.new]
train = ["new.jsonl"]
validation = ["new.valid.jsonl"]

[training]
micro_batch = 4

[evaluation]
every = "25%"
sequences = 8
final_steps = 4
final_every = 2
prompts = ["ba"]
prompt_tokens = 4

[checkpoints]
every = "6 steps"
keep = "all"

[[stage]]
name = "pretrain"
data = { old = 1.0 }
budget = "24 steps"
[stage.schedule]
kind = "infinite"
max_lr = 3e-3
constant_lr = 2e-3
min_lr = 3e-4
warmup = "2 steps"
cooldown = "8 steps"
annealing = "0%"

[[stage]]
name = "update"
data = { new = 1.0 }
budget = "20 steps"
replay = "25%"
schedule = { kind = "cosine", max_lr = 3e-3, min_lr = 3e-4, warmup = "2 steps" }

[arms]
no-replay = { baseline = "no-replay" }
replay-25 = {}
union = { baseline = "union" }
"""


@dataclass(frozen=True)
class Tiny:
    """The files of the tiny campaign."""

    folder: Path
    """Holds campaign.toml, the text and prepared/."""

    @property
    def file(self) -> Path:
        return self.folder / "campaign.toml"

    @property
    def prepared(self) -> Path:
        return self.folder / "prepared"


def write_language(path: Path, syllables: str, seed: int, documents: int) -> None:
    """Write documents of made-up words."""
    rng = random.Random(seed)
    pairs = syllables.split()
    lines = []
    for _ in range(documents):
        words = ["".join(rng.choices(pairs, k=rng.randint(1, 3))) for _ in range(60)]
        lines.append(orjson.dumps({"text": " ".join(words)}) + b"\n")
    path.write_bytes(b"".join(lines))


def write_tiny(folder: Path) -> Tiny:
    """Write the campaign file and its text."""
    (folder / "campaign.toml").write_text(CAMPAIGN, encoding="utf-8")
    for name, syllables in (("old", "ba be bi bo bu da de di"), ("new", "ka ke ki ko zu zo ze bi")):
        write_language(folder / f"{name}.jsonl", syllables, 1, 60)
        write_language(folder / f"{name}.valid.jsonl", syllables, 2, 12)
    return Tiny(folder)
