"""The overlap: it finds what is planted, and agrees with a comparison of plain word lists."""

import random
import unicodedata
from fractions import Fraction

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from rewarm.data.datasets import PreparedData
from rewarm.data.overlap.counting import training_groups
from rewarm.data.overlap.decoding import decoder
from rewarm.data.overlap.hash_set import HashSet
from rewarm.data.overlap.index import build_index
from rewarm.data.overlap.measure import measure_overlap
from rewarm.data.overlap.words import hash_words
from rewarm.data.store import TokenStore, write_store
from rewarm.data.tokenizer import load_tokenizer
from rewarm.errors import CampaignError, DataError
from rewarm.runs.records import ALL_TRAINING

ANY_TEXT = st.text(
    st.one_of(st.sampled_from("ab cD.,'-\n\t¶ßΣé日本กา"), st.characters(exclude_categories=["Cs"])),
    max_size=40,
)


def is_unspaced(letter):
    name = unicodedata.name(letter, "")
    return name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "MYANMAR", "KHMER"))


def plain_words(text):
    """The words of a text, letter by letter."""
    written = ""
    for letter in text.lower():
        if unicodedata.category(letter)[0] in ("L", "M", "N"):
            written += f" {letter} " if is_unspaced(letter) else letter
        elif letter.isspace():
            written += " "
    return written.split()


def runs(words, length):
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def prose(seed, words=200):
    """Made-up text with a few common words, so that short runs of them repeat."""
    draw = random.Random(seed)
    common = ["the", "of", "and", "to", "in", "a", "is", "that", "it"]
    rare = ["".join(draw.choices("bcdfgklmnprstaeiou", k=5)) for _ in range(60)]
    return " ".join(draw.choice(common if draw.random() < 0.6 else rare) for _ in range(words))


def changed(text, share, seed=0):
    """The text with a share of its words replaced."""
    words = text.split()
    for place in random.Random(seed).sample(range(len(words)), round(share * len(words))):
        words[place] = f"new{place}"
    return " ".join(words)


@pytest.fixture
def data(tmp_path, tokenizer):
    """Make prepared data from texts: training by source, validation by dataset."""
    made = []

    def make(train, validation, tokenizer=tokenizer):
        made.append(None)
        folder = tmp_path / str(len(made))

        def store(name, texts):
            write_store(
                folder / name,
                tokenizer.encode_batch(texts),
                vocabulary=tokenizer.vocabulary,
                end_of_text=tokenizer.end_of_text,
                tokenizer=tokenizer.fingerprint,
                document_seed=1,
                text_bytes=sum(len(text.encode()) for text in texts),
                provenance=[],
            )
            return TokenStore.open(folder / name)

        return PreparedData(
            tokenizer=tokenizer,
            train={name: store(f"train/{name}", texts) for name, texts in train.items()},
            validation={name: store(f"valid/{name}", texts) for name, texts in validation.items()},
        )

    return make


def found(record, *, train=None):
    """What was found: (document, kind) by validation set and training text."""
    return {
        (f.validation, f.document, f.train, f.train_document, f.kind)
        for f in record.found
        if train in (None, f.train)
    }


@given(st.lists(ANY_TEXT, min_size=2, max_size=5), st.integers(1, 4))
def test_texts_have_equal_hashes_where_their_words_are_equal(texts, length):
    """The hashes of a batch against word lists made letter by letter."""
    words = hash_words(texts)
    lists = [plain_words(text) for text in texts]
    assert np.diff(words.bounds).tolist() == [len(each) for each in lists]
    hashes, bounds = words.ngrams(length)
    by_hash = {}
    for place, each in enumerate(lists):
        of_text = hashes[bounds[place] : bounds[place + 1]].tolist()
        expected = [tuple(each[i : i + length]) for i in range(len(each) - length + 1)]
        assert len(of_text) == len(expected)
        for value, run in zip(of_text, expected, strict=True):
            assert by_hash.setdefault(value, run) == run
        assert (words.digest(place) is None) == (not each)
    assert len(by_hash) == len(set(by_hash.values()))


def test_case_and_punctuation_do_not_count_and_letters_do():
    same, other = "Don't STOP, at well-known Straße!", "dont stop\nat  wellknown straße"
    a, b, c = (hash_words([text]).digest(0) for text in (same, other, "dont stop at wellknown"))
    assert a == b != c


@given(st.sets(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_the_set_finds_its_members_and_nothing_else(members, others):
    values = np.array(sorted(members), np.uint64)
    asked = np.array([*others, *members, *[m ^ 1 for m in members]], np.uint64)
    where, which = HashSet.of(values).find(asked)
    assert asked[where].tolist() == values[which].tolist()
    assert where.tolist() == [i for i, each in enumerate(asked.tolist()) if each in members]


@given(st.lists(st.integers(0, 299), min_size=1, max_size=50))
def test_the_table_decodes_as_the_library_does(tokenizer, ids):
    ids = np.array([each for each in ids if each != tokenizer.end_of_text], np.uint16)
    (text,) = decoder(tokenizer)([np.append(ids, tokenizer.end_of_text)])
    assert text == tokenizer.decode(ids)


def test_added_tokens_are_decoded_as_the_library_does(tmp_path):
    """GPT-NeoX has runs of spaces among its added tokens, which are no letters for bytes."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    backend.add_tokens(["   ", "naïve", "日本"])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    ids = np.array([1, 2, 3, 1], np.uint16)
    assert decoder(tokenizer)([ids]) == [tokenizer.decode(ids)]


def test_a_tokenizer_of_another_kind_is_left_to_the_library(tmp_path, data):
    vocabulary = {f"w{i}": i for i in range(400)}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["<|endoftext|>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    texts = [" ".join(f"w{i}" for i in range(first, first + 60)) for first in (0, 100, 200)]
    made = data(
        {"a": texts[:2]}, {"a": texts[1:]}, tokenizer=load_tokenizer(tmp_path / "tokenizer.json")
    )
    assert found(measure_overlap(made)) == {("a", 0, "a", 1, "exact"), ("a", 0, "a", 1, "ngram")}


def test_what_is_planted_is_found_and_nothing_else(data):
    clean = [prose(seed) for seed in range(12)]
    train = [prose(100 + seed) for seed in range(30)]
    passage = " ".join(clean[4].split()[50:90])
    train[3] = clean[0]
    train[7] = clean[1].upper().replace(" ", " , ") + "!"
    train[9] = changed(clean[2], 0.02)
    train[11] = changed(clean[3], 0.05)
    train[13] = f"{train[13]} {passage} {prose(500, 30)}"
    other = [prose(200 + seed) for seed in range(5)] + [clean[0]]
    record = measure_overlap(data({"a": train, "b": other}, {"a": clean, "b": [prose(300)]}))
    assert found(record, train="a") == {
        ("a", 0, "a", 3, "exact"),
        ("a", 0, "a", 3, "ngram"),
        ("a", 1, "a", 7, "exact"),
        ("a", 1, "a", 7, "ngram"),
        ("a", 2, "a", 9, "near"),
        ("a", 2, "a", 9, "ngram"),
        # One word in twenty leaves too few runs of five for a near-duplicate, and enough runs of 13.
        ("a", 3, "a", 11, "ngram"),
    }
    assert found(record, train="b") == {("a", 0, "b", 5, "exact"), ("a", 0, "b", 5, "ngram")}
    counts = {(c.validation, c.train): c for c in record.counts}
    assert set(counts) == {(v, t) for v in "ab" for t in ("a", "b", ALL_TRAINING)}
    whole = counts["a", ALL_TRAINING]
    assert (whole.exact, whole.near, whole.ngram, whole.concerned_documents) == (2, 1, 4, 4)
    assert whole.documents == 12
    assert counts["b", ALL_TRAINING].concerned_documents == 0
    # The passage of 40 words is 28 runs of 188, below the limit; a lower one finds it.
    lower = measure_overlap(data({"a": train}, {"a": clean}), ngram_limit=Fraction(1, 10))
    assert ("a", 4, "a", 13, "ngram") in found(lower)
    assert found(lower) - found(record, train="a") == {("a", 4, "a", 13, "ngram")}


def brute_force(train, validation, jaccard, limit):
    """Compare every document with every other as sets of tuples of words."""
    all_runs = set().union(*(runs(plain_words(text), 13) for text in train))
    result = []
    for number, text in enumerate(validation):
        words = plain_words(text)
        mine = runs(words, 13)
        share = len(mine & all_runs) / len(mine) if mine else 0.0
        exact = [i for i, t in enumerate(train) if words and plain_words(t) == words]
        best = 0.0
        for other in train:
            a, b = runs(words, 5), runs(plain_words(other), 5)
            best = max(best, len(a & b) / len(a | b) if a and b else 0.0)
        if exact:
            result.append((number, "exact", exact[0], 1.0))
        elif best >= jaccard:
            result.append((number, "near", None, best))
        if share > limit:
            result.append((number, "ngram", None, share))
    return result


@pytest.mark.parametrize("jaccard", ["1/2", "4/5", "1"])
@pytest.mark.parametrize("seed", range(2))
def test_it_agrees_with_brute_force(seed, jaccard, data):
    """Texts of all lengths from 0 words on, with changed copies, pieces of others and repetitions."""
    draw = random.Random(seed)
    base = [prose(draw.random(), draw.choice([1, 4, 5, 6, 13, 20, 80])) for _ in range(25)]
    validation = [*base[:15], "...", "short one", base[3]]
    train = [*base[12:], "!!", "Short: one"]
    for text in validation[:12]:
        kind = draw.randrange(4)
        words = text.split()
        if kind == 0:
            train.append(changed(text, draw.choice([0.01, 0.03, 0.1]), seed))
        elif kind == 1:
            train.append(text + " " + text)
        elif kind == 2:
            half = len(words) // 2
            train += [prose(1) + " " + " ".join(words[:half]), " ".join(words[half:])]
    draw.shuffle(train)
    record = measure_overlap(data({"a": train}, {"a": validation}), jaccard=Fraction(jaccard))
    measured = [
        (f.document, f.kind, f.train_document if f.kind == "exact" else None, f.value)
        for f in record.found
    ]
    expected = brute_force(train, validation, float(Fraction(jaccard)), 0.2)
    assert measured == expected
    assert expected  # there is something to find


def test_the_result_does_not_depend_on_the_workers(data):
    texts = [prose(seed) for seed in range(6)]
    made = data({"a": [*texts[:3], changed(texts[3], 0.02)], "b": texts[4:]}, {"a": texts})
    assert measure_overlap(made, workers=2) == measure_overlap(made, workers=1)


def test_a_passage_spread_over_sources_is_found_in_all_of_them_together(data):
    words = prose(1).split()
    made = data(
        {"web/a": [" ".join(words[:45])], "web/b": [" ".join(words[100:145])]},
        {"web": [" ".join(words)]},
    )
    record = measure_overlap(made)
    assert [(f.train, f.kind) for f in record.found] == [("web", "ngram")]
    assert [(c.train, c.ngram) for c in record.counts] == [("web/a", 0), ("web/b", 0), ("web", 1)]


def test_documents_are_recognised_by_how_they_begin(data):
    texts = [prose(1), prose(2), "𒀀" * 150, "short"]
    record = measure_overlap(data({"a": texts[1:]}, {"a": texts}))
    begins = {f.document: f.begins for f in record.found}
    assert begins == {number: texts[number][:100] for number in (1, 2, 3)}


def test_a_split_of_different_documents_has_no_overlap(data):
    texts = [prose(seed) for seed in range(40)]
    held_out = [text for text in texts if hash_words([text]).hashes[0] % 4 == 0]
    kept = [text for text in texts if text not in held_out]
    record = measure_overlap(data({"a": kept}, {"a": held_out}))
    assert held_out
    assert (record.found, record.counts[0].ngram_share) == ([], 0.0)


@pytest.mark.parametrize("wrong", [{"jaccard": Fraction(0)}, {"ngram_limit": Fraction(3, 2)}])
def test_a_threshold_out_of_range_is_refused(wrong, data):
    with pytest.raises(CampaignError, match="out of range"):
        measure_overlap(data({"a": ["one two"]}, {"a": ["three"]}), **wrong)


def test_workers_that_could_do_nothing_are_refused(data):
    with pytest.raises(DataError, match="0 workers"):
        measure_overlap(data({"a": ["one two"]}, {"a": ["three"]}), workers=0)


def test_near_duplicates_have_the_signs_that_are_needed(data, tokenizer):
    """The filter before the true Jaccard lets none of them go."""
    texts = [prose(seed, 6 + seed) for seed in range(30)]
    made = data({"a": texts}, {"a": texts})
    index = build_index(made.validation, decoder(tokenizer), 0.8)
    counts = np.bincount(index.signs_of, minlength=len(texts))
    assert (index.signs_needed <= counts).all()
    can_lack = np.floor(index.shingles.counts * Fraction(1, 5)).astype(int)
    assert (counts - can_lack >= index.signs_needed).all()


def test_a_near_duplicate_that_lacks_the_rarest_runs_is_found(data):
    """40 of 50 runs are in common, just enough; the ten missing ones are the first to be looked for."""
    words = [f"w{i}" for i in range(54)]
    start = " ".join(words[:44])
    record = measure_overlap(data({"a": [start]}, {"a": [" ".join(words), start + " end"]}))
    near = {f.document: f.value for f in record.found if f.kind == "near"}
    assert near == {0: 40 / 50, 1: 40 / 41}


def test_the_first_document_is_named_as_any_other(data):
    text = prose(1)
    record = measure_overlap(data({"a": [text, prose(2)]}, {"a": [text]}))
    assert found(record) == {("a", 0, "a", 0, "exact"), ("a", 0, "a", 0, "ngram")}


def test_a_single_source_is_all_there_is():
    assert training_groups(["a"]) == {"a": ["a"]}
