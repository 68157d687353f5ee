"""Tiny models of several families, built from configurations."""

from collections.abc import Callable, Iterator

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

TINY = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
    "initializer_range": 0.2,
}
GROUPED = {"num_key_value_heads": 1, "head_dim": 16}
FAMILY = {
    "gemma3_text": {
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"],
        "tie_word_embeddings": True,
    },
    "mistral": {"sliding_window": 4},
}
"""What makes a tiny model of a family use what sets the family apart."""


@pytest.fixture(autouse=True)
def _quiet_and_single_threaded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny_model() -> Callable[..., PreTrainedModel]:
    """Return a function that builds a tiny model of a family, from a fixed seed."""

    def build(model_type: str, **settings: object) -> PreTrainedModel:
        grouped = {} if model_type in {"gpt_neox", "gpt2", "opt"} else GROUPED
        config = AutoConfig.for_model(
            model_type, **(TINY | grouped | FAMILY.get(model_type, {}) | settings)
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(5)
            return AutoModelForCausalLM.from_config(config).train()

    return build
