"""More peers of `training.py`: litgpt and OLMo-core, which need an environment of their own.

python peers_libraries.py NAME FOLDER LENGTH BATCH STEPS WARM_STEPS PRECISION THREADS

litgpt has the very same model (GPT-NeoX, as its configurations of Pythia have it). OLMo-core has not; the
nearest it has is a Llama-like model of the same depth, width and heads with a multi-layer perceptron of the
same size. Both train as their own loops do, with compiled models and fused AdamW.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch


def windows(folder: Path, length: int, count: int) -> torch.Tensor:
    """Return windows of one token more than a sequence, (count, length + 1), as both libraries read them."""
    tokens = np.fromfile(folder / "tokens/text/train/tokens.bin", np.uint16).astype(np.int64)
    starts = np.arange(count) * length
    return torch.from_numpy(tokens[starts[:, None] + np.arange(length + 1)])


def litgpt(config: dict[str, int], precision: str) -> tuple[int, Callable[[torch.Tensor], None]]:
    """Return the parameters and a step as `litgpt.pretrain` makes it."""
    import lightning
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    fabric = lightning.Fabric(
        accelerator="cpu", precision="bf16-true" if precision == "bf16" else "32-true"
    )
    size = Config(
        block_size=config["max_position_embeddings"],
        vocab_size=config["vocab_size"],
        padded_vocab_size=config["vocab_size"],
        n_layer=config["num_hidden_layers"],
        n_head=config["num_attention_heads"],
        n_embd=config["hidden_size"],
        rotary_percentage=0.25,
        parallel_residual=True,
    )
    with fabric.init_module():
        made = GPT(size)
    count = sum(each.numel() for each in made.parameters())
    model = fabric.setup(torch.compile(made))
    optimizer = fabric.setup_optimizers(_adamw(model))

    def step(rows: torch.Tensor) -> None:
        loss = chunked_cross_entropy(model(rows[:, :-1].contiguous()), rows[:, 1:].contiguous())
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()

    return count, step


def olmo_core(config: dict[str, int], precision: str) -> tuple[int, Callable[[torch.Tensor], None]]:
    """Return the parameters and a step with OLMo-core's model, its own loss within."""
    from olmo_core.nn.transformer import TransformerConfig

    width = config["hidden_size"]
    made = TransformerConfig.llama_like(
        d_model=width,
        vocab_size=config["vocab_size"],
        n_layers=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        hidden_size_multiple_of=16,  # its gated perceptron has three matrices, GPT-NeoX's has two
    ).build(init_device="cpu")
    made.init_weights(device=torch.device("cpu"))
    count = sum(each.numel() for each in made.parameters())
    made.apply_compile()
    optimizer = _adamw(made)

    def step(rows: torch.Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            found = made(rows[:, :-1].contiguous(), labels=rows[:, 1:].contiguous())
        found.loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return count, step


def _adamw(model: torch.nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )


PEERS = {"litgpt": litgpt, "OLMo-core": olmo_core}


def main() -> None:
    """Train, and print the rate between the ends of the steps that count."""
    name, folder, *numbers, precision, threads = sys.argv[1:]
    length, batch, steps, warm_steps = map(int, numbers)
    torch.set_num_threads(int(threads))
    config = json.loads(Path(folder, "model/config.json").read_text())
    parameters, step = PEERS[name](config, precision)
    marks: list[float] = []
    for rows in windows(Path(folder), length, (steps + warm_steps) * batch).split(batch):
        step(rows)
        marks.append(time.perf_counter())
    rate = steps * batch * length / (marks[-1] - marks[warm_steps - 1])
    print(json.dumps({"rate": rate, "parameters": parameters}))


if __name__ == "__main__":
    main()
