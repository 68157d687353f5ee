"""Tiny models of several families in folders, with a tokenizer of bytes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM

from rewarm.data.tokenizer import Tokenizer, load_tokenizer

CONTEXT = 48
"""Tokens that the tiny models read at once."""
SIZE = {
    "vocab_size": 272,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "initializer_range": 0.3,
}
MERGES = [("Ġ", "a"), ("b", "a"), ("Ġa", "ba"), ("Ġ", "ba")]
"""Tokens of more than one letter, some across a space, so that a border can fall within one."""


@pytest.fixture(autouse=True)
def quiet(one_thread: None) -> None:
    """See `one_thread`."""


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a byte-level tokenizer with a few merges; its end of text is id 0."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = ["<|endoftext|>", *letters, *("".join(merge) for merge in MERGES)]
    vocabulary = {name: number for number, name in enumerate(entries)}
    backend = Backend(models.BPE(vocab=vocabulary, merges=MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    backend.save(str(path))
    return path


@pytest.fixture(scope="session")
def tokenizer(tokenizer_file: Path) -> Tokenizer:
    """Return that tokenizer."""
    return load_tokenizer(tokenizer_file)


@pytest.fixture(scope="session")
def model_folder(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_file: Path
) -> Callable[..., Path]:
    """Return a function that gives the folder of a tiny random model; the same for the same arguments."""
    made: dict[tuple[str, int], Path] = {}

    def folder(family: str = "gpt_neox", seed: int = 1) -> Path:
        if (family, seed) not in made:
            config = AutoConfig.for_model(family, **SIZE)
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                model = AutoModelForCausalLM.from_config(config)
            path = tmp_path_factory.mktemp("models") / f"{family}-{seed}"
            model.save_pretrained(path)
            (path / "tokenizer.json").write_bytes(tokenizer_file.read_bytes())
            made[family, seed] = path
        return made[family, seed]

    return folder
