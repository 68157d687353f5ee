"""What `torch.save` and `torch.load` take for the state that `checkpoints.py` saves; printed as JSON.

python peers_checkpoints.py FOLDER THREADS
"""

import json
import os
import sys
from pathlib import Path

import torch
from measuring import seconds_of
from transformers import AutoModelForCausalLM


def measured(folder: Path) -> dict[str, float]:
    """Save and load the state of the model in a folder and of an optimizer that has done a step."""
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    path = folder / "torch.pt"

    def save() -> None:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)

    def sync() -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def load() -> None:
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])

    os.sync()
    found = {"torch.save": seconds_of(save), "torch.save, then to the disk": seconds_of(sync)}
    found["torch.save, then to the disk"] += found["torch.save"]
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    found["torch.load, cold"] = seconds_of(load)
    path.unlink()
    return found


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    print(json.dumps(measured(Path(sys.argv[1]))))
