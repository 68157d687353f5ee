"""The standard library as text: whole modules on one side, prose apart from code."""

import ast
import io
import re
import tokenize
from itertools import islice

import pytest

from rewarm.data.python_code import without_prose
from rewarm.data.python_sources import (
    MIN_CHARACTERS,
    PythonCode,
    PythonDocs,
    modules,
    side,
    without_examples,
)
from rewarm.data.rejects import Rejects


def lone_strings(tree):
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


def skeleton(source):
    """Return the program without lone strings and without `pass`."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                gone = lone_strings(ast.Module(value, [])) if value else []
                kept = [each for each in value if each not in gone]
                setattr(node, name, [each for each in kept if not isinstance(each, ast.Pass)])
    return ast.dump(tree)


def assert_is_code_only(text):
    assert lone_strings(ast.parse(text)) == []
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    assert not any(token.type == tokenize.COMMENT for token in tokens)


TRICKY = {
    "one line": 'def f(): "doc"\n',
    "before a statement": '"""doc"""; x = 1\n',
    "after a statement": 'x = 1; "doc"; y = 2  # c\n',
    "two strings": 'class A:\n    "a"\n    "b"\n\n\n\nx = 1\n',
    "string between": 'def f():\n    x = 1\n    """note\n    more"""\n    return x\n',
    "branches": 'if x:\n    "a"\nelse:\n    """b"""\ntry:\n    "c"\nfinally:\n    "d"\n',
    "literal": 'x = """a  \n\n\n\n# no comment  \n"""  # comment\n\n\n\ny = f"""{x}\n\n\n  """\n',
    "inside brackets": "x = [\n    # one\n    1,  # two\n\n\n    2,\n]\n",
    "joined literals": 'x = ("a"  # one\n     # two\n     "b")\n',
    "form feed": 'x = 1\n\f\n# c\ndef f():\n    "ü doc" ; return 1\n',
    "columns in bytes": 'x = "üüü"; "doc"; y = 1\n',
    "match": 'match x:\n    case 1:\n        "doc"\n',
    "async": "async def f():\n    '''doc'''\n    # c\n    await g()\n",
    "no line feed at the end": 'class A: "doc"',
    "continued": 'x = 1 + \\\n    2\n"doc"\n',
}


@pytest.mark.parametrize("name", TRICKY)
def test_code_without_prose_is_the_same_program(name):
    source = TRICKY[name]
    text = without_prose(source)
    assert_is_code_only(text)
    assert skeleton(text) == skeleton(source)


def test_literals_keep_their_blank_lines_and_code_does_not():
    text = without_prose(TRICKY["literal"])
    assert text == 'x = """a  \n\n\n\n# no comment  \n"""\n\ny = f"""{x}\n\n\n  """\n'
    assert without_prose(TRICKY["two strings"]) == "class A:\n    pass\nx = 1\n"


def test_no_module_is_on_both_sides():
    train, validation = modules("train"), modules("validation")
    assert not train.keys() & validation.keys()
    assert 0.02 < len(validation) / (len(train) + len(validation)) < 0.1
    assert all(side(name) == "train" for name in train)
    assert {"json.decoder", "argparse"} <= train.keys() | validation.keys()
    for name in (*train, *validation):
        assert not {"test", "tests", "idle_test", "encodings", "pydoc_data"} & {*name.split(".")}


def test_the_code_is_code_only_and_of_its_side():
    sources = modules("validation")
    documents = list(PythonCode("validation").documents(Rejects()))
    assert [each.origin for each in documents] == sorted(each.origin for each in documents)
    for document in documents:
        assert len(document.text) >= MIN_CHARACTERS
        assert_is_code_only(document.text)
        with tokenize.open(sources[document.origin]) as file:
            assert skeleton(document.text) == skeleton(file.read())


def assert_is_prose(documents):
    for document in documents:
        assert not re.search(r"^\s*>>>", document.text, re.MULTILINE)
        assert len(document.text) >= MIN_CHARACTERS


def test_the_prose_is_of_its_side_and_has_no_examples():
    documents = list(PythonDocs("validation").documents(Rejects()))
    assert {each.origin for each in documents} <= modules("validation").keys()
    assert_is_prose(documents)
    first = list(islice(PythonDocs("train").documents(Rejects()), 30))
    assert {each.origin for each in first} <= modules("train").keys()
    assert_is_prose(first)


def test_all_topics_are_on_the_training_side(monkeypatch):
    monkeypatch.setattr("rewarm.data.python_sources.modules", lambda _split: {})
    assert not list(PythonDocs("validation").documents(Rejects()))
    topics = list(PythonDocs("train").documents(Rejects()))
    assert all(topic.origin.startswith("topic:") for topic in topics)
    assert "topic:assert" in {topic.origin for topic in topics}
    assert_is_prose(topics)


def test_the_prose_reads_like_english_and_the_code_does_not():
    """Share of words that are among the most frequent English ones."""
    frequent = {"the", "of", "a", "to", "and", "is", "in", "that", "be", "this", "for", "if"}

    def share(source):
        text = " ".join(each.text for each in islice(source.documents(Rejects()), 10))
        words = re.findall(r"[a-z]+", text.lower())
        return sum(word in frequent for word in words) / len(words)

    prose, code = share(PythonDocs("validation")), share(PythonCode("validation"))
    assert prose > 0.2
    assert code < prose / 2


def test_a_source_says_what_it_is():
    described = PythonDocs("train").describe()[0]
    assert described.keys() == {"source", "split", "python", "modules", "topics"}
    assert described["modules"] == len(modules("train"))
    assert PythonDocs("validation").describe()[0]["topics"] == 0
    assert PythonCode("validation").describe()[0]["modules"] == len(modules("validation"))
    assert PythonCode("train").num_bytes() is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A.\n\n\n\nB.", "A.\n\nB."),
        ("A:\n    >>> f(\n    ... )\n    1\n    2\n\nB.\n", "A:\n\nB."),
        (">>> only", ""),
        ("It is 1 >>> 2.", "It is 1 >>> 2."),
    ],
)
def test_examples_go_up_to_the_next_blank_line(text, expected):
    assert without_examples(text) == expected
