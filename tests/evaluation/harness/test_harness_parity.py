"""The harness's own backend, our adapter to it and our own evaluator give the same numbers."""

import math
from contextlib import nullcontext

import numpy as np
import orjson
import pytest
import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, PreTrainedTokenizerFast

from rewarm.engine.world import current_world
from rewarm.evaluation.evaluate import Settings, evaluate, read_tasks
from rewarm.evaluation.model import open_model
from rewarm.evaluation.scoring import Reader

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed; see `make parity`")

from lm_eval.evaluator import evaluate as harness_evaluate
from lm_eval.models.huggingface import HFLM

from rewarm.evaluation.harness.loading import AskedTask
from rewarm.evaluation.harness.measuring import ask
from rewarm.evaluation.harness.task import HarnessTask

NUM_ITEMS = 200
CONTEXT = 48


@pytest.fixture(scope="module")
def rows():
    """Return 200 questions with four choices and 200 documents; some are longer than what is read at once."""
    rng = np.random.default_rng(5)
    letters = np.array(list("aabbcde ü."))

    def text(least: int, most: int) -> str:
        return "".join(rng.choice(letters, rng.integers(least, most))).strip() or "a"

    questions = [
        {
            "question": text(1, 60),
            "choices": [text(1, 12) for _ in range(4)],
            "label": int(rng.integers(4)),
        }
        for _ in range(NUM_ITEMS)
    ]
    documents = [{"text": text(1, 160)} for _ in range(NUM_ITEMS)]
    return questions, documents


@pytest.fixture(scope="module")
def make_model(tokenizer, tmp_path_factory):
    """Return a function that makes a model whose vocabulary is its tokenizer's, so all can be said."""

    def made(seed: int):
        config = GPTNeoXConfig(
            vocab_size=tokenizer.vocabulary,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=CONTEXT,
            bos_token_id=0,
            eos_token_id=0,
            initializer_range=0.3,
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config)
        folder = tmp_path_factory.mktemp("models")
        model.save_pretrained(folder)
        (folder / "tokenizer.json").write_bytes(tokenizer.path.read_bytes())
        return open_model(folder)

    return made


@pytest.fixture
def model(make_model):
    return make_model(3)


@pytest.fixture
def tasks(write_data, rows, tmp_path):
    questions, documents = rows
    write_data("questions", "test", questions)
    write_data("documents", "test", documents)
    write_data("asked", "test", questions[:20])
    shared = {"data": tmp_path / "data", "test_split": "test"}
    mean = {"aggregation": "mean", "higher_is_better": True}
    return {
        "questions": HarnessTask(
            shared
            | {
                "task": "questions",
                "dataset_path": "questions",
                "output_type": "multiple_choice",
                "doc_to_text": "Question: {{question}}\nAnswer:",
                "doc_to_target": "label",
                "doc_to_choice": "choices",
                "metric_list": [
                    {"metric": name, **mean} for name in ("acc", "acc_norm", "acc_bytes")
                ],
            }
        ),
        "documents": HarnessTask(
            shared
            | {
                "task": "documents",
                "dataset_path": "documents",
                "output_type": "loglikelihood_rolling",
                "doc_to_text": "",
                "doc_to_target": "{{text}}",
                "metric_list": [
                    {
                        "metric": "bits_per_byte",
                        "aggregation": "bits_per_byte",
                        "higher_is_better": False,
                    }
                ],
            }
        ),
        "asked": HarnessTask(
            shared
            | {
                "task": "asked",
                "dataset_path": "asked",
                "output_type": "generate_until",
                "doc_to_text": "{{question}}\nA:",
                "doc_to_target": "{{choices}}",
                "generation_kwargs": {"until": ["\n", "b"], "do_sample": False, "max_gen_toks": 8},
                "metric_list": [{"metric": "exact_match", **mean}],
            }
        ),
    }


@pytest.fixture
def theirs(model, tasks):
    """Return what the harness makes of its own backend."""
    folder = model.place
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json",
        eos_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    backend = HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        tokenizer=tokenizer,
        batch_size=8,
        max_length=CONTEXT,
        device="cpu",
    )
    return harness_evaluate(backend, {"tasks": tasks}, bootstrap_iters=0)


@pytest.fixture
def ours(model, tasks):
    """Return the records and items of our adapter, by task."""
    reader = Reader(
        model=model.model.eval(),
        tokenizer=model.tokenizer,
        context_length=CONTEXT,
        batch=8,
        precision=nullcontext,
    )
    asked = [
        AskedTask(name=name, kind=kind, members=[tasks[name]])
        for name, kind in (
            ("questions", "questions"),
            ("documents", "documents"),
            ("asked", "generate"),
        )
    ]
    found = ask(asked, reader, lambda *_: None, limit=None)
    return {record.name: (record, items) for record, items in found}


def values(record) -> dict[str, float]:
    return {each.metric: each.value for each in record.metrics}


def test_the_adapter_gives_what_the_harness_backend_gives(theirs, ours):
    record, items = ours["questions"]
    found = values(record)
    for metric in ("acc", "acc_norm", "acc_bytes"):
        assert found[metric] == theirs["results"]["questions"][f"{metric},none"]
    assert 0.1 < found["acc"] < 0.6  # a random model is neither always right nor never
    for item, sample in zip(items, theirs["samples"]["questions"], strict=True):
        nats = [-each[0][0] for each in sample["resps"]]
        assert item.nats == pytest.approx(nats, abs=1e-4)
        assert item.greedy == [each[0][1] for each in sample["resps"]]
    assert (record.items, len(items)) == (NUM_ITEMS, NUM_ITEMS)
    assert 0 < record.truncated < NUM_ITEMS

    record, items = ours["documents"]
    bits = theirs["results"]["documents"]["bits_per_byte,none"]
    assert values(record)["bits_per_byte"] == pytest.approx(bits, abs=1e-6)
    nats = [-sample["resps"][0][0] for sample in theirs["samples"]["documents"]]
    assert [item.nats for item in items] == pytest.approx(nats, abs=1e-4)
    assert max(item.tokens for item in items) > 2 * CONTEXT

    record, items = ours["asked"]
    assert [item.said for item in items] == [
        sample["filtered_resps"][0] for sample in theirs["samples"]["asked"]
    ]
    assert values(record)["exact_match"] == theirs["results"]["asked"]["exact_match,none"]
    assert any(item.said for item in items)


def test_our_own_evaluator_gives_what_the_harness_gives(theirs, model, rows, tmp_path):
    questions, documents = rows
    written = {
        "questions": [
            {
                "context": f"Question: {row['question']}\nAnswer:",
                "choices": row["choices"],
                "answer": row["label"],
            }
            for row in questions
        ],
        "documents": documents,
    }
    for name, lines in written.items():
        content = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_bytes(content)
    files = {name: {name: str(tmp_path / f"{name}.jsonl")} for name in ("questions", "documents")}
    record, items = evaluate(
        model,
        read_tasks(files, german_prompts=False, limit=None),
        tmp_path / "out",
        world=current_world("cpu", None),
        settings=Settings(batch=16),
        on_progress=lambda *_: None,
    )
    first, second = (values(task) for task in record.tasks)
    for metric in ("acc", "acc_norm", "acc_bytes"):
        assert first[metric] == theirs["results"]["questions"][f"{metric},none"]
    bits = theirs["results"]["documents"]["bits_per_byte,none"]
    assert second["bits_per_byte"] == pytest.approx(bits, abs=1e-6)
    own = [item for item in items if item.task == "questions"]
    for item, sample in zip(own, theirs["samples"]["questions"], strict=True):
        assert item.nats == pytest.approx([-each[0][0] for each in sample["resps"]], abs=1e-4)


def test_another_model_gives_other_numbers(theirs, make_model, tasks):
    """The twin: what the tests above compare does tell models apart."""
    other = make_model(4)
    reader = Reader(
        model=other.model.eval(),
        tokenizer=other.tokenizer,
        context_length=CONTEXT,
        batch=8,
        precision=nullcontext,
    )
    asked = [AskedTask(name="documents", kind="documents", members=[tasks["documents"]])]
    ((record, _),) = ask(asked, reader, lambda *_: None, limit=None)
    bits = theirs["results"]["documents"]["bits_per_byte,none"]
    assert not math.isclose(values(record)["bits_per_byte"], bits, abs_tol=1e-3)
