"""Training on CPU cores: `rewarm train` against the Hugging Face Trainer and a plain loop, on the same model.

    python benchmarks/training.py TEXT.jsonl.zst --vocabulary 4096 --layers 6 --width 256
    python benchmarks/training.py TEXT.jsonl.zst --tokenizer TOKENIZER.json --layers 8 --peers PYTHON

Every contender starts from the same model folder and trains on the same windows with the same batch, AdamW,
clipping at 1.0 and precision, in a process of its own. Its rate is tokens over the time of its steps, the first
ones left out. With --peers (an interpreter of an environment that has them) litgpt and OLMo-core take part, see
`peers_libraries.py`. Large matrix products are measured in the same rounds, for the distance from the limit.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import zstandard
from measuring import Contender, Result, in_turns, table, write

HERE = Path(__file__).resolve().parent
HEADS, BATCH, WARM_STEPS = 8, 16, 4

CAMPAIGN = """
name = "speed"
sequence_length = {length}
batch = "{batch} sequences"
[model]
from = "model"
[tokenizer]
from = "model/tokenizer.json"
[data.text]
train = ["text.jsonl"]
validation = ["short.jsonl"]
[training]
precision = "{precision}"
micro_batch = {batch}
[evaluation]
every = "{steps} steps"
sequences = 1
final_steps = 0
[checkpoints]
every = "{warm} steps"
[[stage]]
name = "pretrain"
data = {{ text = 1 }}
budget = "{steps} steps"
schedule = {{ kind = "cosine", max_lr = 1e-3 }}
"""


def set_up(options: argparse.Namespace, folder: Path) -> float:
    """Write text, tokenizer, model and campaign, prepare the tokens, and return the FLOPs of a token."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from rewarm.campaign.presets import Preset
    from rewarm.models.build import preset_config

    with options.text.open("rb") as packed:
        text = zstandard.ZstdDecompressor().stream_reader(packed).read(options.megabytes * 10**6)
    lines = text.splitlines(keepends=True)[:-1]
    (folder / "text.jsonl").write_bytes(b"".join(lines))
    (folder / "short.jsonl").write_bytes(b"".join(lines[:20]))
    (folder / "model").mkdir()
    if options.tokenizer is None:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=options.vocabulary,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator((json.loads(line)["text"] for line in lines), trainer)
    else:
        tokenizer = Tokenizer.from_file(str(options.tokenizer))
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    entries = tokenizer.get_vocab_size()
    size = Preset(layers=options.layers, width=options.width, heads=HEADS)
    config = preset_config(size, vocabulary=entries, sequence_length=options.length)
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    values = {
        "length": options.length,
        "batch": BATCH,
        "precision": options.precision,
        "steps": options.steps + WARM_STEPS,
        "warm": WARM_STEPS,
    }
    (folder / "campaign.toml").write_text(CAMPAIGN.format(**values))
    command = [sys.executable, "-m", "rewarm", "prepare", "campaign.toml", "--prepared", "tokens"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    print(f"{size.num_parameters(entries):,} parameters, {entries:,} entries", flush=True)
    matrices = size.num_parameters(entries) - entries * options.width
    return 6.0 * matrices + 12.0 * options.layers * options.width * options.length


def train_anew(
    folder: Path, threads: int, *settings: str, program: tuple[str, ...] = ("-m", "rewarm")
) -> Path:
    """Run `rewarm train` on what `set_up` wrote, from the beginning.

    Args:
        folder: of `set_up`.
        threads: of torch.
        settings: values of the campaign to change, as given to `--set`.
        program: what Python is to run instead of rewarm, with the same arguments.

    Returns:
        The folder of the stage.
    """
    subprocess.run(["rm", "-rf", str(folder / "runs")], check=True)
    train(folder, threads, *settings, program=program)
    (stage,) = folder.glob("runs/speed/stages/*")
    return stage


def train(folder: Path, threads: int, *settings: str, program: tuple[str, ...]) -> None:
    """Run `rewarm train` from where it stands; the arguments are those of `train_anew`."""
    command = [sys.executable, *program, "train", "campaign.toml", "--prepared", "tokens"]
    command += ["--device", "cpu", "--threads", str(threads)]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def ours(folder: Path, options: argparse.Namespace) -> float:
    """Run `rewarm train` and return tokens per second of its steps, data wait included."""
    file = train_anew(folder, options.threads) / "throughput.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    counted = [record for record in records if record["step"] > WARM_STEPS]
    seconds = sum(record["seconds"] for record in counted)
    return options.steps * BATCH * options.length / seconds


def peer(
    name: str,
    folder: Path,
    options: argparse.Namespace,
    program: tuple[str, str] = (sys.executable, "peers_training.py"),
) -> float:
    """Give a peer its turn in a process of its own, and return what it measured."""
    command = [program[0], str(HERE / program[1]), name, str(folder)]
    command += [str(options.length), str(BATCH), str(options.steps), str(WARM_STEPS)]
    command += [options.precision, str(options.threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(json.loads(done.stdout.splitlines()[-1])["rate"])


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """Add what `set_up` needs besides the precision, and how often to measure."""
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--megabytes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_size_options(parser)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--peers", help="Interpreter that has litgpt and OLMo-core.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        flops = set_up(options, folder)
        results = in_turns(_contenders(folder, options), rounds=options.rounds)
    *trained, matrices = results
    limit = matrices.median * 1e9 / flops
    shares = ", ".join(f"{r.name} {r.median / limit:.0%}" for r in trained)
    text = table(
        trained, unit="tokens/s", targets={"Trainer": 1.25} if options.precision == "bf16" else {}
    )
    text += f"\n\nMatrix products of 2,048³: {matrices.median:,.0f} GFLOP/s. Share of it: {shares}."
    size = f"{options.layers} layers, {options.width} wide, length {options.length}"
    name = f"training-cpu-{options.layers}x{options.width}-{options.length}-{options.precision}"
    heading = f"{size}, {options.precision}, {options.threads} threads"
    write(name, "Training on a CPU", {heading: (text, [*trained, _named(matrices)])})


def _contenders(folder: Path, options: argparse.Namespace) -> list[Contender]:
    counted = {
        "Trainer": "Hugging Face Trainer, fused AdamW, no logging, saving or evaluation within",
        "plain loop": "transformers' model and loss, torch's fused AdamW, autocast for bf16",
        "matrices": "products of 2,048 × 2,048 in the same precision, GFLOP/s",
    }
    programs = dict.fromkeys(counted, (sys.executable, "peers_training.py"))
    if options.peers is not None:
        libraries = {
            "litgpt": "the same model by litgpt, compiled, its chunked loss, fused AdamW, Fabric",
            "OLMo-core": "Llama-like of the same depth and width, compiled, its own loss, fused AdamW",
        }
        counted = libraries | counted  # the products stay last
        programs |= dict.fromkeys(libraries, (options.peers, "peers_libraries.py"))
    return [
        Contender(
            name="rewarm train",
            counted="the whole loop: data, step, records; saving and evaluation left out",
            run=lambda: ours(folder, options),
        ),
        *(
            Contender(
                name=name,
                counted=words,
                run=lambda name=name: peer(name, folder, options, programs[name]),
            )
            for name, words in counted.items()
        ),
    ]


def _named(result: Result) -> Result:
    return Result(name=f"{result.name}, GFLOP/s", counted=result.counted, rates=result.rates)


if __name__ == "__main__":
    main()
