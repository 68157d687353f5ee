"""Parts of a dataset as they are written: read, refused with what to write, and given to domains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rewarm.campaign.datasets import Dataset
from rewarm.campaign.parts import Split, SplitPart, TokenRange, TokenSpan
from rewarm.replay import SourcePart

SPLIT, RANGE = TypeAdapter(Split), TypeAdapter(TokenRange)
FILES = {"train": ["a.jsonl"], "validation": ["v.jsonl"]}


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_a_split_is_read_as_it_is_written(number, more):
    part = SplitPart(number, number + more)
    assert SPLIT.validate_python(str(part)) == part
    assert SPLIT.dump_python(part) == str(part)


@given(st.integers(0, 10**15), st.none() | st.integers(1, 10**15))
def test_a_range_is_read_as_it_is_written(start, length):
    span = TokenSpan(start, None if length is None else start + length)
    assert RANGE.validate_python(str(span)) == span
    assert RANGE.dump_python(span) == str(span)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0 to 100B tokens", TokenSpan(0, 10**11)),
        ("100B to 200B tokens", TokenSpan(10**11, 2 * 10**11)),
        ("100B tokens to 200B tokens", TokenSpan(10**11, 2 * 10**11)),
        ("1.5M tokens to end", TokenSpan(1_500_000, None)),
    ],
)
def test_ranges_as_people_write_them(text, span):
    assert RANGE.validate_python(text) == span


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100B tokens", "is not a range"),
        ("0 to 100B", "is not a range"),
        ("100B to end", "is not a range"),
        ("5 to 5 tokens", "has nothing in it"),
        ("5 steps to 9 tokens", "is not a quantity|is in steps"),
        ("5 tokens to 9 steps", "is in steps"),
        (100, "is not a range"),
    ],
)
def test_what_is_no_range_is_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        RANGE.validate_python(text)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "1", "1/3/5", "a/b", "-1/3", 0.5])
def test_what_is_no_part_of_a_split_is_refused(text):
    with pytest.raises(ValidationError, match=r"counted from 1|is not a part of a split"):
        SPLIT.validate_python(text)


def test_a_dataset_says_which_part_is_read():
    dataset = Dataset.model_validate(
        FILES | {"range": "10 to 90 tokens", "split": "2/3", "use": "20 tokens"}
    )
    assert dataset.part == SourcePart(
        start_token=10, end_token=90, piece=1, num_pieces=3, use_tokens=20
    )
    assert Dataset.model_validate(FILES).part == SourcePart()


def test_domains_take_order_split_and_limit_from_their_dataset_unless_they_have_their_own():
    web, law = {"train": ["w"], "weight": 1}, {"train": ["l"], "weight": 1, "split": "1/2"}
    law |= {"order": "shuffled", "max_epochs": 3}
    dataset = Dataset.model_validate(
        {
            "validation": ["v.jsonl"],
            "domains": {"web": web, "law": law},
            "order": "blocks",
            "split": "2/2",
            "max_epochs": 1,
        }
    )
    leaves = {leaf: text for leaf, (text, _) in dataset.leaves("data").items()}
    found = {leaf: (text.order, str(text.split), text.max_epochs) for leaf, text in leaves.items()}
    assert found == {"data/web": ("blocks", "2/2", 1), "data/law": ("shuffled", "1/2", 3)}


@pytest.mark.parametrize("key", ["range", "use"])
def test_tokens_of_several_domains_are_not_one_range(key):
    value = {"range": "0 to 9 tokens", "use": "9 tokens"}[key]
    domain = {"train": ["w"], "weight": 1}
    with pytest.raises(ValidationError, match="give them to the domains"):
        Dataset.model_validate({"validation": ["v"], "domains": {"web": domain}, key: value})
    Dataset.model_validate({"validation": ["v"], "domains": {"web": domain | {key: value}}})


@pytest.mark.parametrize("limit", [0, -1, "1", True])
def test_a_limit_of_epochs_is_a_number_above_zero(limit):
    with pytest.raises(ValidationError):
        Dataset.model_validate(FILES | {"max_epochs": limit})
    assert Dataset.model_validate(FILES | {"max_epochs": 1.5}).max_epochs == 1.5
