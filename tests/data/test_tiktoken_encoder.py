"""The fast encoder: the ids of the reference, or a refusal."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from rewarm.data.documents import Document
from rewarm.data.encoders import _hard_cases, choose_encoder, make_encoder
from rewarm.data.split_patterns import GPT_2, LLAMA_3, QWEN_2
from rewarm.data.tiktoken_encoder import tiktoken_encoder
from rewarm.data.tokenizer import END_OF_TEXT, load_tokenizer
from rewarm.errors import DataError

TEXT = "the rate of it's   the\n\n\tgrün über 1234 don't!! 日本 the the rate rate " * 20
SPACES = [" " * count for count in range(2, 6)]
# Sources refuse NUL, and the fast encoder is not made for it.
ANY_CHARACTERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)


def byte_level(pattern, normalizer=None, added=()):
    """Return a tokenizer trained on a few words, as a table that JSON can hold."""
    backend = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, letters])
    if pattern == GPT_2:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT], trainer)
    content = json.loads(backend.to_str())
    for number, text in enumerate(added, len(content["model"]["vocab"])):
        token = {"id": number, "content": text, "special": False, "normalized": bool(normalizer)}
        content["added_tokens"].append({**content["added_tokens"][0], **token})
    return content


KINDS = {
    "gpt 2": byte_level(GPT_2),
    "llama 3": byte_level(LLAMA_3),
    "qwen 2": byte_level(QWEN_2, normalizers.NFC()),
    "neox": byte_level(GPT_2, normalizers.NFC(), SPACES),
    "spaces": byte_level(GPT_2, None, [*SPACES, "#a", "#ab"]),
}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    def from_content(content, end_of_text=END_OF_TEXT):
        path = tmp_path_factory.mktemp("loaded") / "tokenizer.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return load_tokenizer(path, end_of_text)

    return from_content


@pytest.fixture(scope="module", params=KINDS)
def reference(request, load):
    return load(KINDS[request.param])


def assert_same(reference, text):
    (fast,), (expected,) = (
        make_encoder(reference, "tiktoken").encode([text]),
        reference.encode([text]),
    )
    assert fast.dtype == expected.dtype
    assert fast.tolist() == expected.tolist(), text


@settings(deadline=None, max_examples=150)
@given(
    text=st.lists(
        st.one_of(
            ANY_CHARACTERS,
            st.sampled_from(
                ["the", "rate", "of it's", "grün", "#ab", *SPACES, "\n", "\r", "'S", "12"]
            ),
            st.sampled_from(["<|endoftext|>", "e\u0301", "\u1100\u1161", "'ſ", "\u0085", "\u3000"]),
        )
    ).map("".join)
)
def test_any_text_has_the_ids_of_the_reference(reference, text):
    assert_same(reference, text)


@settings(deadline=None, max_examples=100)
@given(
    texts=st.lists(
        st.lists(
            st.one_of(
                ANY_CHARACTERS,
                st.sampled_from(
                    ["the", "rate", *SPACES, "#ab", "\n", "\u0301", "e\u0301", "'s", " " * 20_000]
                ),
            )
        ).map("".join)
    )
)
def test_texts_that_are_encoded_together_have_the_ids_of_each(reference, texts):
    """Whatever a text ends with and the next begins with; empty ones too."""
    fast, expected = make_encoder(reference, "tiktoken").encode(texts), reference.encode(texts)
    assert [ids.tolist() for ids in fast] == [ids.tolist() for ids in expected]


def test_hard_cases_have_the_ids_of_the_reference(reference):
    for text in _hard_cases(reference):
        assert_same(reference, text)
        assert_same(reference, unicodedata.normalize("NFD", text))


@pytest.mark.parametrize("blank", [" ", "\n", "\t", " \n", "\u3000"])
def test_a_million_blanks_do_not_stop_it(load, blank):
    """tiktoken gives up on them by itself."""
    reference = load(KINDS["gpt 2"])
    assert_same(reference, "x" + blank * (10**6 // len(blank)) + "x")


def test_ids_that_are_not_in_the_order_of_merging_are_mapped(load):
    content = json.loads(json.dumps(KINDS["gpt 2"]))
    vocabulary = content["model"]["vocab"]
    entries = sorted(vocabulary, key=lambda entry: (entry != "<|endoftext|>", entry[::-1]))
    content["model"]["vocab"] = {entry: number for number, entry in enumerate(entries)}
    reference = load(content)
    for text in _hard_cases(reference):
        assert_same(reference, text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["model"].update(ignore_merges=True), "sets ignore_merges"),
        (lambda c: c["model"].update(byte_fallback=True), "sets byte_fallback"),
        (lambda c: c["pre_tokenizer"].update(add_prefix_space=True), "splits text in a way"),
        (lambda c: c.update(pre_tokenizer=None), "splits text in a way"),
        (lambda c: c.update(normalizer={"type": "NFKC"}), "its normaliser is NFKC"),
        (lambda c: c["model"]["merges"].reverse(), "before it makes both"),
        (lambda c: c["added_tokens"][1].update(lstrip=True), "takes in what is round it"),
        (lambda c: c["added_tokens"][1].update(normalized=True), "looked for at another time"),
    ],
)
def test_what_tiktoken_would_not_follow_is_refused(load, change, reason):
    content = json.loads(json.dumps(KINDS["spaces"]))
    change(content)
    reference = load(content)
    with pytest.raises(DataError, match=reason):
        tiktoken_encoder(reference)
    choice = choose_encoder(reference, [], "auto")
    assert choice.name == "reference"
    assert choice.reason is not None
    assert reason in choice.reason
    with pytest.raises(DataError, match=reason):
        choose_encoder(reference, [], "tiktoken")


def test_an_entry_that_merging_does_not_reach_is_refused(load):
    """The pair (b, c) is merged first, so the entry of (ab, c) is never made from its own text."""
    content = json.loads(json.dumps(KINDS["gpt 2"]))
    size = len(content["model"]["vocab"])
    content["model"]["merges"] += [["x", "y"], ["q", "x"], ["qx", "y"]]
    content["model"]["vocab"] |= {"xy": size, "qx": size + 1, "qxy": size + 2}
    with pytest.raises(DataError, match="merging the bytes of 'qxy'"):
        tiktoken_encoder(load(content))


def test_an_end_of_text_that_merging_makes_is_refused(load):
    """The split gives no text this token whole, so loading it finds nothing wrong."""
    content = json.loads(json.dumps(KINDS["gpt 2"]))
    vocabulary = content["model"]["vocab"]
    content["model"]["merges"] += [["a", "."]]
    content["added_tokens"][0]["content"] = "a."
    content["model"]["vocab"] = {
        "a." if entry == "<|endoftext|>" else entry: number for entry, number in vocabulary.items()
    }
    with pytest.raises(DataError, match="is also that of a text"):
        tiktoken_encoder(load(content, "a."))


def test_the_choice_compares_the_text_itself(load, monkeypatch):
    """A fast encoder that is wrong on one character is found out by the documents that have it."""
    reference = load(KINDS["gpt 2"])
    fast = make_encoder(reference, "tiktoken")

    class WrongOnPilcrows:
        def encode(self, texts):
            return [
                ids[:-1] if "¶" in text else ids
                for text, ids in zip(texts, fast.encode(texts), strict=True)
            ]

    monkeypatch.setattr("rewarm.data.encoders.make_encoder", lambda *_: WrongOnPilcrows())
    good, bad = Document("a b", "a"), Document("a ¶ b", "b")
    assert choose_encoder(reference, [good], "auto").name == "tiktoken"
    choice = choose_encoder(reference, [good, bad], "auto")
    assert choice.name == "reference"
    assert "other ids than the reference" in str(choice.reason)
    assert choose_encoder(reference, [bad], "reference").reason is None


def test_a_broken_document_is_no_reason_to_choose_the_reference(load):
    def documents():
        yield Document("a", "a")
        raise DataError("row 7 is broken")

    with pytest.raises(DataError, match="row 7 is broken"):
        choose_encoder(load(KINDS["gpt 2"]), documents(), "auto")


def test_types_of_ids_follow_the_vocabulary(load):
    content = json.loads(json.dumps(KINDS["gpt 2"]))
    content["model"]["vocab"]["<|extra|>"] = 70_000
    assert make_encoder(load(content), "tiktoken").encode(["a"])[0].dtype == np.int32
