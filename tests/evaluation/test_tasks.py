"""Metrics against sums by hand, errors against a bootstrap, and rows that cannot be used."""

import math
from functools import partial

import numpy as np
import orjson
import pytest
from tests.evaluation.conftest import CONTEXT

from rewarm.engine.world import autocast, current_world
from rewarm.errors import DataError
from rewarm.evaluation.items import DocumentItem, QuestionItem
from rewarm.evaluation.metrics import MACRO, measure
from rewarm.evaluation.model import open_model
from rewarm.evaluation.requests import Request
from rewarm.evaluation.rows import (
    Ask,
    Document,
    Question,
    read_asks,
    read_documents,
    read_questions,
)
from rewarm.evaluation.scoring import Reader, score
from rewarm.evaluation.tasks import (
    GERMAN_PROMPTS,
    answer_all,
    choose_all,
    continue_all,
    normalised,
    read_all,
)


def quietly(_done: int, _total: int) -> None:
    """Take progress and say nothing."""


@pytest.fixture(scope="module")
def reader(model_folder) -> Reader:
    found = open_model(model_folder("llama"))
    return Reader(
        model=found.model.eval(),
        tokenizer=found.tokenizer,
        context_length=CONTEXT,
        batch=4,
        precision=partial(autocast, current_world("cpu"), "fp32"),
    )


def one_by_one(reader: Reader, context: list[int], continuation: list[int]) -> float:
    """Return a log-likelihood token by token, each a request of its own."""
    total = 0.0
    for number, token in enumerate(continuation):
        before = np.array([*context, *continuation[:number]])
        (found,) = score(reader, [Request(context=before, continuation=np.array([token]))])
        total += found.log_likelihood
    return total


def test_bits_per_byte_are_nats_over_bytes_of_the_raw_text(reader):
    texts = ["a ba bä 🙂", "b" * 70, "x"]
    domains = ["de", "en", "de"]
    documents = [
        Document(id=str(n), text=text, domain=domain)
        for n, (text, domain) in enumerate(zip(texts, domains, strict=True))
    ]
    items = read_all(reader, documents, "t", quietly)
    (ids,) = reader.tokenizer.encode([texts[0]])
    assert items[0].nats == pytest.approx(-one_by_one(reader, [0], ids.tolist()), rel=1e-5)
    (ids,) = reader.tokenizer.encode([texts[1]])
    first, last = ids[:CONTEXT].tolist(), ids[CONTEXT:].tolist()
    expected = one_by_one(reader, [0], first)
    expected += one_by_one(reader, ids[len(ids) - CONTEXT - 1 : CONTEXT].tolist(), last)
    assert items[1].nats == pytest.approx(-expected, rel=1e-5)
    assert [item.bytes for item in items] == [len(text.encode()) for text in texts]
    found = {(m.metric, m.domain): m.estimate.value for m in measure(items)}
    bits = [item.nats / math.log(2) for item in items]
    german = (bits[0] + bits[2]) / (items[0].bytes + 1)
    assert found["bits_per_byte", None] == pytest.approx(sum(bits) / sum(i.bytes for i in items))
    assert found["bits_per_byte", "de"] == pytest.approx(german)
    assert found[MACRO, None] == pytest.approx((german + bits[1] / 70) / 2)


def test_the_errors_are_those_of_a_bootstrap_over_documents():
    rng = np.random.default_rng(5)
    sizes = rng.integers(50, 2000, 300)
    nats = sizes * rng.normal(0.9, 0.15, 300)
    items = [
        DocumentItem(
            task="t",
            id=str(n),
            domain=str(n % 3),
            nats=float(nats[n]),
            bytes=int(sizes[n]),
            tokens=1,
        )
        for n in range(300)
    ]
    found = {(m.metric, m.domain): m.estimate.standard_error for m in measure(items)}
    draws = rng.integers(0, 300, (4000, 300))
    pooled = nats[draws].sum(axis=1) / sizes[draws].sum(axis=1) / math.log(2)
    assert found["bits_per_byte", None] == pytest.approx(pooled.std(), rel=0.05)
    macro = np.zeros(4000)
    for domain in range(3):
        own = np.arange(domain, 300, 3)[rng.integers(0, 100, (4000, 100))]
        macro += nats[own].sum(axis=1) / sizes[own].sum(axis=1) / math.log(2) / 3
    assert found[MACRO, None] == pytest.approx(macro.std(), rel=0.05)


def test_choices_are_scored_behind_the_context_and_a_space(reader):
    questions = [
        Question(id="1", context="b", choices=("a", "bbbä", "x"), answer=1),
        Question(id="2", context="", choices=("ba", "b"), answer=0),
        Question(id="3", context="c" * 60, choices=("a", "b"), answer=0),
    ]
    items = choose_all(reader, questions, "t", quietly)
    for question, item in zip(questions, items, strict=True):
        contexts = reader.tokenizer.encode([question.context])[0].tolist()
        for choice, nats in zip(question.choices, item.nats, strict=True):
            (whole,) = reader.tokenizer.encode([f"{question.context} {choice}"])
            rest = whole[len(contexts) :].tolist()
            before = (contexts or [0])[-(CONTEXT + 1 - len(rest)) :]
            assert nats == pytest.approx(-one_by_one(reader, before, rest), rel=1e-5)
    assert items[0].characters == [1, 4, 1]
    assert items[0].bytes == [1, 5, 1]
    assert [item.truncated for item in items] == [False, False, True]


def test_what_is_right_depends_on_what_a_choice_is_divided_by():
    item = QuestionItem(
        task="t",
        id="1",
        answer=1,
        nats=[10.0, 12.0, 11.0],
        greedy=[False] * 3,
        characters=[2, 4, 3],
        bytes=[2, 4, 6],
        truncated=False,
    )
    found = {m.metric: m.estimate.value for m in measure([item])}
    assert found == {
        "acc": 0.0,
        "acc_norm": 1.0,
        "acc_bytes": 0.0,
        "gold_bits_per_byte": pytest.approx(12 / math.log(2) / 5),
    }


def test_a_choice_that_does_not_fit_is_refused(reader):
    long = Question(id="7", context="c", choices=("a", "b" * 60), answer=0)
    with pytest.raises(DataError, match=r"t, 7, choice 1: has 61 tokens and the model reads 48"):
        choose_all(reader, [long], "t", quietly)


def test_an_answer_is_right_if_any_of_the_answers_is(reader):
    asked = {"context": "b a", "stop": ("\n",)}
    (wrong,) = answer_all(reader, [Ask(id="1", answers=("nothing",), **asked)], "t", quietly)
    (right,) = answer_all(
        reader, [Ask(id="1", answers=("nothing", wrong.said), **asked)], "t", quietly
    )
    assert (wrong.right, right.right) == (False, True)
    assert wrong.said == right.said
    assert measure([wrong, right])[0].estimate.value == 0.5


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (" The  Eiffel-Tower!\n", "eiffeltower"),
        ("an apple, a day", "apple day"),
        ("‘Der’ Käse", "der käse"),
        ("A", "a"),
        ("!", "!"),
        ("", ""),
    ],
)
def test_answers_are_compared_without_case_punctuation_and_articles(said, expected):
    assert normalised(said) == expected


def test_the_german_prompts_are_continued(reader):
    items = continue_all(reader, GERMAN_PROMPTS, "t", quietly)
    assert [item.prompt for item in items] == list(GERMAN_PROMPTS)


QUESTION = {"context": "a", "choices": ["b", "c"], "answer": 1}


@pytest.mark.parametrize(
    ("read", "row", "message"),
    [
        (
            read_questions,
            QUESTION | {"answer": 2},
            r"2: 'answer' is 2, but the choices are .* to 1",
        ),
        (read_questions, QUESTION | {"answer": "1"}, r"2: 'answer' is a string"),
        (read_questions, QUESTION | {"answer": True}, r"2: 'answer' is a boolean"),
        (read_questions, QUESTION | {"choices": ["b"]}, r"2: 'choices' has 1 entries, at least 2"),
        (read_questions, QUESTION | {"choices": ["b", ""]}, r"2: choices\[1\] is empty"),
        (read_questions, QUESTION | {"choices": "bc"}, r"2: 'choices' is a string, not an array"),
        (read_questions, {"context": "a"}, r"2: has no key 'choices'; its keys are \['context'\]"),
        (read_questions, QUESTION | {"id": "1"}, r"2: the id '1' is that of an earlier row"),
        (read_documents, {"text": " "}, "2: the document is empty"),
        (read_documents, {"text": "a", "domain": "x\n"}, r"2: 'domain' is 'x\\n'"),
        (read_documents, {"txt": "a"}, "2: has no key 'text'"),
        (
            read_documents,
            {"text": "a", "domain": "x"},
            r"1 of 2 rows have no 'domain' \(the first: 1\)",
        ),
        (read_asks, {"context": "a", "answers": []}, "2: 'answers' has 0 entries, at least 1"),
        (read_asks, {"context": "a", "answers": ["b", 3]}, r"2: answers\[1\] is a number"),
        (read_asks, ["context"], "2: holds an array, not an object"),
    ],
)
def test_rows_that_are_not_as_declared_are_named_with_their_line(tmp_path, read, row, message):
    good = {"text": "a", "answers": ["b"]} | QUESTION
    path = tmp_path / "rows.jsonl"
    path.write_bytes(orjson.dumps(good) + b"\n")
    assert len(read(str(path)).rows) == 1
    path.write_bytes(orjson.dumps(good) + b"\n" + orjson.dumps(row) + b"\n")
    with pytest.raises(DataError, match=message):
        read(str(path))
    assert len(read(str(path), 1).rows) == 1


def test_all_bad_rows_are_said_at_once(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": 1}\n{"text": "a"}\nno\n' + b"{}\n" * 20)
    with pytest.raises(DataError) as caught:
        read_documents(str(path))
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert "rows.jsonl:1: " in lines[0]
    assert "rows.jsonl:3: not valid JSON" in lines[1]
    assert lines[-1] == "and 12 more"


def test_files_that_hold_no_rows_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(DataError, match="has no rows"):
        read_documents(str(tmp_path / "empty.jsonl"))
    with pytest.raises(DataError, match="one file of JSON lines"):
        read_documents(str(tmp_path / "a.txt"))
    with pytest.raises(DataError, match="no file matches"):
        read_documents(str(tmp_path / "none.jsonl"))
