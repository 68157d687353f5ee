"""The tokenizer: text is only ever text, and the same file gives the same ids."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.data.tokenizer import load_tokenizer, train_tokenizer
from rewarm.errors import DataError


@pytest.fixture
def changed(tokenizer, tmp_path):
    """Return a loader of the tokenizer's file after a change of its content."""

    def load(change, end_of_text="<|endoftext|>"):
        content = json.loads(tokenizer.path.read_bytes())
        change(content)
        (tmp_path / "changed.json").write_text(json.dumps(content, indent=3), encoding="utf-8")
        return load_tokenizer(tmp_path / "changed.json", end_of_text)

    return load


def leave(content):
    """Change nothing."""
    del content


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=5))
def test_every_text_comes_back_and_ends_once(tokenizer, texts):
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.dtype == np.uint16
        assert ids[-1] == 0
        assert (ids[:-1] != 0).all()
        assert ids.max() < tokenizer.vocabulary
        assert tokenizer.decode(ids[:-1]) == text


def test_the_name_of_a_special_token_in_a_text_is_text(tokenizer):
    text = "a <|endoftext|> b<|endoftext|>"
    (ids,) = tokenizer.encode_batch([text])
    assert ids.tolist().count(tokenizer.end_of_text) == 1
    assert tokenizer.decode(ids) == text + "<|endoftext|>"


def test_training_is_deterministic_and_puts_the_end_of_text_first(tokenizer, sentences, tmp_path):
    texts = sentences(100, 0)
    again = train_tokenizer(iter(texts), vocabulary=300, path=tmp_path / "deep" / "t.json")
    assert again.fingerprint == tokenizer.fingerprint
    assert (again.vocabulary, again.end_of_text) == (300, 0)
    other = train_tokenizer(sentences(100, 1)[:50], vocabulary=300, path=tmp_path / "other.json")
    assert other.fingerprint != tokenizer.fingerprint


def test_a_vocabulary_that_the_text_cannot_fill_is_refused(tmp_path):
    path = tmp_path / "t.json"
    with pytest.raises(DataError, match=r"fill only 26\d of 1,000 entries"):
        train_tokenizer(["the cat sat, the cat sat"], vocabulary=1000, path=path)
    with pytest.raises(DataError, match="give at least 257"):
        train_tokenizer(["the cat"], vocabulary=256, path=path)
    assert not path.exists()
    assert train_tokenizer(["the cat"], vocabulary=257, path=path).vocabulary == 257


def test_an_error_of_the_source_is_not_hidden_by_training(tmp_path):
    def texts():
        yield "the cat"
        raise DataError("line 2")

    with pytest.raises(DataError, match="line 2"):
        train_tokenizer(texts(), vocabulary=257, path=tmp_path / "t.json")


def test_the_fingerprint_is_of_the_content_and_not_of_its_formatting(tokenizer, changed):
    assert changed(leave).fingerprint == tokenizer.fingerprint

    def swap(content):
        merges = content["model"]["merges"]
        merges[0], merges[1] = merges[1], merges[0]

    assert changed(swap).fingerprint != tokenizer.fingerprint


def test_truncation_padding_and_added_ends_of_foreign_tokenizers_are_off(tokenizer, changed):
    def add(content):
        content["truncation"] = {
            "direction": "Right",
            "max_length": 2,
            "strategy": "LongestFirst",
            "stride": 0,
        }
        content["padding"] = {
            "strategy": "BatchLongest",
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<|endoftext|>",
        }
        content["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {
                "<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}
            },
        }

    texts = ["the rate", "warm"]
    for ours, foreign in zip(
        tokenizer.encode_batch(texts), changed(add).encode_batch(texts), strict=True
    ):
        assert foreign.tolist() == ours.tolist()


def test_added_tokens_count_and_large_vocabularies_are_stored_wide(changed):
    def add(content):
        content["model"]["vocab"]["<|extra|>"] = 70_000
        content["added_tokens"].append(
            {**content["added_tokens"][0], "id": 70_000, "content": "<|extra|>"}
        )

    tokenizer = changed(add, "<|extra|>")
    assert (tokenizer.vocabulary, tokenizer.end_of_text) == (70_001, 70_000)
    (ids,) = tokenizer.encode_batch(["warm <|extra|>"])
    assert ids.dtype == np.int32
    assert ids.tolist().count(70_000) == 1


def test_a_tokenizer_that_cannot_be_used_is_refused(changed, tmp_path):
    with pytest.raises(DataError, match="no token '</s>' to end documents") as error:
        changed(leave, "</s>")
    assert "its special tokens are: '<|endoftext|>'" in str(error.value)
    with pytest.raises(DataError, match="has the id 400, but the library takes 300"):
        changed(
            lambda content: content["added_tokens"].append(
                {**content["added_tokens"][0], "id": 400, "content": "<|extra|>"}
            )
        )
    with pytest.raises(DataError, match="BPE dropout"):
        changed(lambda content: content["model"].update(dropout=0.1))
    with pytest.raises(DataError, match="end in its middle"):
        changed(lambda content: content["added_tokens"][0].update(special=False))
    with pytest.raises(DataError, match=r"is not a tokenizer\.json"):
        changed(lambda content: content.pop("model"))
    for content in (b"{", b"\xff", b"[" * 100_000):
        (tmp_path / "broken.json").write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.json: is not a tokenizer\.json"):
            load_tokenizer(tmp_path / "broken.json")
    with pytest.raises(DataError, match=r"missing\.json: cannot be read"):
        load_tokenizer(tmp_path / "missing.json")
