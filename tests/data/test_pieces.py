"""Long documents in pieces: whatever the cuts, the ids are those of the whole text."""

import json
import re
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.test_tiktoken_encoder import KINDS

from rewarm.data import pieces, split_patterns
from rewarm.data.documents import Document
from rewarm.data.pieces import cut_documents
from rewarm.data.split_patterns import GPT_2, LLAMA_3, QWEN_2, can_be_cut, first_border, last_border
from rewarm.data.tokenizer import load_tokenizer
from rewarm.errors import DataError

WORDS = [
    "the",
    " ",
    "  ",
    "\n",
    "\n\n",
    "rate",
    "1",
    "1234",
    "é",
    "e\u0301",
    "。",
    "日本",
    "'s",
    "\t",
    "!",
]
TEXTS = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=2)), max_size=80).map(
    lambda words: "".join(words).encode(errors="ignore").decode()
)


@pytest.fixture(scope="module", params=["llama 3", "qwen 2", "neox"])
def tokenizer(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / "tokenizer.json"
    path.write_text(json.dumps(KINDS[request.param]), encoding="utf-8")
    return load_tokenizer(path)


@pytest.fixture(autouse=True, scope="module")
def _small_pieces():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_CHARACTERS", 7)
        patch.setattr(split_patterns, "_FIRST_WINDOW", 2)
        yield


def cut_anywhere(text, cuts):
    """Return a document in pieces, as a source may give it."""
    borders = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    texts = [text[start:stop] for start, stop in pairwise(borders)] or [""]
    return [Document(each, "a", n, n == len(texts)) for n, each in enumerate(texts, 1)]


@settings(deadline=None, max_examples=300)
@given(texts=st.lists(st.tuples(TEXTS, st.lists(st.integers(0, 1000), max_size=4)), max_size=3))
def test_the_ids_of_the_pieces_are_those_of_the_whole(tokenizer, texts):
    given_pieces = [piece for text, cuts in texts for piece in cut_anywhere(text, cuts)]
    made = [*cut_documents(given_pieces, can_be_cut=True)]
    found = [""]
    parts = [[]]
    for piece in made:
        found[-1] += piece.text
        parts[-1].append(piece.text)
        if piece.ends:
            found.append("")
            parts.append([])
    assert found == [text for text, _ in texts] + [""]
    for (text, _), part in zip(texts, parts, strict=False):
        together = np.concatenate(tokenizer.encode(part)).tolist()
        assert together == tokenizer.encode([text])[0].tolist(), part


@given(text=TEXTS, ends=st.tuples(st.integers(0, 90), st.integers(0, 90)))
def test_the_last_border_is_the_last_of_those_that_the_first_finds(text, ends):
    start, stop = sorted(min(end, len(text)) for end in ends)
    borders = []
    while (border := first_border(text, borders[-1] + 1 if borders else start)) is not None:
        borders.append(border)
    inside = [border for border in borders if border < stop]
    assert last_border(text, start, stop) == (inside[-1] if inside else None)


def test_long_text_is_cut_short():
    made = [*cut_documents([Document("warm again " * 50, "a")], can_be_cut=True)]
    assert max(len(piece.text) for piece in made) <= 7
    assert [piece.ends for piece in made] == [False] * (len(made) - 1) + [True]


def test_a_document_of_one_piece_stays_whole_where_it_cannot_be_cut():
    (piece,) = cut_documents([Document("warm again " * 50, "a")], can_be_cut=False)
    assert piece.text == "warm again " * 50


@pytest.mark.parametrize(("text", "is_cut", "reason"), [
    ("x" * 50, True, "no space or line feed"),
    ("x y " * 20, False, "does not split"),
])  # fmt: skip
def test_text_that_cannot_be_cut_is_not_gathered_without_bound(monkeypatch, text, is_cut, reason):
    monkeypatch.setattr(pieces, "MAX_UNCUT_CHARACTERS", 30)
    documents = [Document(text, "a.txt", ends=False), Document("z", "a.txt")]
    with pytest.raises(DataError, match=rf"a\.txt: over 30 characters.*{reason}"):
        list(cut_documents(documents, can_be_cut=is_cut))


def test_border_letters_are_letters_or_digits():
    letters = re.compile(f"[{split_patterns._LETTER}]")
    found = [chr(code) for code in range(0x110000) if letters.match(chr(code))]
    assert len(found) > 20_000
    assert {unicodedata.category(letter)[0] for letter in found} == {"L", "N"}


@pytest.mark.parametrize("pattern", [GPT_2, LLAMA_3, QWEN_2])
def test_which_tokenizers_allow_cuts(pattern):
    content = next(each for each in KINDS.values() if split_patterns.split_pattern(each) == pattern)
    assert can_be_cut(content)
    assert not can_be_cut({**content, "pre_tokenizer": None})
    assert not can_be_cut({**content, "normalizer": {"type": "Lowercase"}})
    token = {**content["added_tokens"][0], "special": False, "content": "a b"}
    assert not can_be_cut({**content, "added_tokens": [token]})
    assert can_be_cut({**content, "added_tokens": [{**token, "content": "ab"}]})
    assert not can_be_cut({**content, "added_tokens": [{**token, "content": "ab", "rstrip": True}]})
