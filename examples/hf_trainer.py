"""Re-warming and replay in Hugging Face's Trainer, and a stop in the middle that changes neither.

Run it with `pip install accelerate` and `python examples/hf_trainer.py`; it takes half a minute on a CPU.
Left to itself, Trainer resumed on new data for more steps goes on in the middle of a stretched cosine: the rate
jumps up in one step. It also leaves out as many batches of the new data as it has trained on the old.
"""

import random
from fractions import Fraction
from tempfile import TemporaryDirectory

import torch
from torch.utils.data import ConcatDataset, DataLoader, default_collate
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, Trainer, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from rewarm import schedules
from rewarm.integrations.lr_scheduler import scheduled
from rewarm.integrations.sampler import ReplaySampler
from rewarm.replay import Mixture, NewData, Replay, Stream, Tape

STEPS, STOP, BATCH, WINDOW = 100, 60, 16, 32
SETTINGS = {"per_device_train_batch_size": BATCH, "save_steps": STOP, "use_cpu": True}


def language(seed: int) -> list[dict[str, torch.Tensor]]:
    """Make up 40 words and write 1,500 sequences with them, as Trainer wants them."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(3, 6))) for _ in range(40)]
    text = " ".join(rng.choices(words, k=15_000)).encode()
    tokens = torch.tensor(list(text[: 1500 * WINDOW])).view(-1, WINDOW)
    return [{"input_ids": window, "labels": window} for window in tokens]


old, new = language(seed=1), language(seed=2)
train = ConcatDataset([old[100:], new[100:]])  # the first 100 of each are for validation
lengths = {"old": len(old) - 100, "new": len(new) - 100}  # in the order of the concatenation
schedule = schedules.warmup_cosine(max_lr=5e-3, min_lr=5e-4, warmup_steps=5, steps=STEPS)


class StreamTrainer(Trainer):
    """Trainer on a stream: the n-th sequence it reads is the stream's n-th, also where it resumes."""

    def __init__(self, base: LlamaForCausalLM, stream: Stream, folder: str, steps: int) -> None:
        model = LlamaForCausalLM(base.config)
        model.load_state_dict(base.state_dict())
        optimizer = torch.optim.AdamW(model.parameters())
        ours = (optimizer, scheduled(optimizer, schedule))
        settings = TrainingArguments(folder, max_steps=steps, disable_tqdm=True, **SETTINGS)
        super().__init__(model, settings, train_dataset=train, optimizers=ours)
        self.remove_callback(PrinterCallback)
        self.stream, self.read, self.rates = stream, [], []

    def get_train_dataloader(self) -> DataLoader:
        """Read in the stream's order. On resuming, Trainer passes over what was read before."""
        sampler = ReplaySampler(self.stream, lengths, seed=1234, num_samples=STEPS * BATCH)
        return self.accelerator.prepare(DataLoader(train, BATCH, sampler=sampler))

    def training_step(self, model: torch.nn.Module, inputs: dict, *more: object) -> torch.Tensor:
        """Note what is read and at which rate."""
        self.read += [tuple(window) for window in inputs["input_ids"].tolist()]
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        assert self.rates[-1] == schedule(self.state.global_step + 1)
        return super().training_step(model, inputs, *more)


def report(name: str, model: LlamaForCausalLM) -> None:
    """Print the validation losses on both languages, in nats per byte."""
    with torch.no_grad():
        a, b = (model.eval()(**default_collate(data[:100])).loss for data in (old, new))
    print(f"{name:<24} loss on old {a:.3f}   loss on new {b:.3f}")


disable_progress_bar()
torch.manual_seed(0)
shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
base = LlamaForCausalLM(LlamaConfig(vocab_size=128, num_hidden_layers=2, **shape))
with TemporaryDirectory() as folder:
    pretraining = Stream(NewData(Mixture.of({"old": 1}), starts={}))
    first = StreamTrainer(base, pretraining, f"{folder}/first", STEPS)
    first.train()
    report("before the update", first.model)

    tape = Tape(pretraining.new_data(), length=STEPS * BATCH)  # what was read, in its order
    replay = Replay(Fraction(1, 4), Mixture.of({"pre-training": 1}), {"pre-training": tape})
    stream = Stream(NewData(Mixture.of({"new": 1}), starts={}), replay)
    update = StreamTrainer(first.model, stream, f"{folder}/update", STEPS)
    update.train()
    report("updated with replay", update.model)
    replayed = [window for window in update.read if window in first.read]
    print(f"replayed: {len(replayed) / len(update.read):.2%} of the sequences")
    stopped = StreamTrainer(first.model, stream, f"{folder}/stopped", STOP)
    stopped.train()
    resumed = StreamTrainer(first.model, stream, f"{folder}/stopped", STEPS)
    resumed.train(resume_from_checkpoint=f"{folder}/stopped/checkpoint-{STOP}")
    report("stopped and resumed", resumed.model)
    assert stopped.read + resumed.read == update.read
    assert stopped.rates + resumed.rates == update.rates
    print("the resumed run read the same sequences at the same learning rates")
