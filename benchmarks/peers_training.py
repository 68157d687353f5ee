"""The peers of `training.py` and `memory.py`: each trains the model in FOLDER and prints its rate as JSON.

python peers_training.py NAME FOLDER LENGTH BATCH STEPS WARM_STEPS PRECISION THREADS
"""

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from resident import resident_bytes
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments


@dataclass(frozen=True)
class Work:
    """What is to be done."""

    folder: Path
    length: int
    batch: int
    steps: int
    warm_steps: int
    precision: str
    built_bytes: list[int] = field(default_factory=list[int])
    """Resident memory after the model was made."""

    def windows(self) -> torch.Tensor:
        """Return as many windows as all steps read, (windows, length)."""
        tokens = np.fromfile(self.folder / "tokens/text/train/tokens.bin", np.uint16)
        count = (self.steps + self.warm_steps) * self.batch
        return torch.from_numpy(tokens[: count * self.length].astype(np.int64)).view(count, -1)

    def model(self) -> torch.nn.Module:
        """Return the model in training mode, and note how much memory there is in use with it."""
        made = AutoModelForCausalLM.from_pretrained(self.folder / "model").train()
        self.built_bytes.append(resident_bytes("VmRSS"))
        return made

    def rate(self, marks: list[float]) -> float:
        """Return tokens per second between the ends of the steps that count."""
        seconds = marks[-1] - marks[self.warm_steps - 1]
        return self.steps * self.batch * self.length / seconds


class _Marks(TrainerCallback):
    """Notes when each step has ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.times.append(time.perf_counter())


def trainer(work: Work) -> float:
    """Train by the Hugging Face Trainer."""
    windows, marks = work.windows(), _Marks()
    rows = [{"input_ids": row, "labels": row} for row in windows]
    arguments = TrainingArguments(
        output_dir=str(work.folder / "trainer"),
        per_device_train_batch_size=work.batch,
        max_steps=work.steps + work.warm_steps,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        optim="adamw_torch_fused",
        adam_beta2=0.95,
        weight_decay=0.1,
        max_grad_norm=1.0,
        bf16=work.precision == "bf16",
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    Trainer(work.model(), arguments, train_dataset=rows, callbacks=[marks]).train()
    return work.rate(marks.times)


def plain(work: Work) -> float:
    """Train in a loop of a dozen lines."""
    model, windows = work.model(), work.windows()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    marks: list[float] = []
    for rows in windows.split(work.batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=work.precision == "bf16"):
            loss = model(input_ids=rows, labels=rows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        marks.append(time.perf_counter())
    return work.rate(marks)


def matrices(work: Work) -> float:
    """Return the GFLOP/s of large products."""
    kind = torch.bfloat16 if work.precision == "bf16" else torch.float32
    a, b = (torch.randn(2048, 2048).to(kind) for _ in range(2))
    for _ in range(2):
        a @ b
    began = time.perf_counter()
    for _ in range(10):
        a @ b
    return 10 * 2 * 2048**3 / (time.perf_counter() - began) / 1e9


PEERS = {"Trainer": trainer, "plain loop": plain, "matrices": matrices}


if __name__ == "__main__":
    name, folder, length, batch, steps, warm, precision, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    job = Work(Path(folder), int(length), int(batch), int(steps), int(warm), precision)
    found = {"rate": PEERS[name](job), "built_bytes": job.built_bytes}
    print(json.dumps(found | {"peak_bytes": resident_bytes("VmHWM")}))
