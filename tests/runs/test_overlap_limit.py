"""The limit on the overlap: what is let through, what is refused, and in which words."""

from fractions import Fraction

import pytest

from rewarm.errors import DataError
from rewarm.runs.overlap import check_overlap, overlap_note, overlap_text, worst
from rewarm.runs.records import OverlapCount, OverlapRecord


def record(*concerned):
    """A record of validation sets with 200 documents each, of which some are concerned."""
    return OverlapRecord(
        train={"a": "1"},
        validation={f"v{i}": "2" for i in range(len(concerned))},
        shingle_words=5,
        jaccard=0.8,
        ngram_words=13,
        ngram_limit=0.2,
        counts=[
            OverlapCount(
                validation=f"v{i}",
                train="a",
                documents=200,
                tokens=1000,
                exact=number,
                near=0,
                ngram=0,
                ngram_share=0.0,
                concerned_documents=number,
                concerned_tokens=5 * number,
            )
            for i, number in enumerate(concerned)
        ],
        found=[],
    )


@pytest.mark.parametrize(
    ("measured", "limit"),
    [(None, None), (record(200), None), (record(2, 1), Fraction(1, 100)), (record(0), Fraction(0))],
)
def test_no_limit_and_a_limit_that_is_kept_let_everything_through(measured, limit):
    check_overlap(measured, limit)


def test_a_set_over_the_limit_is_refused_with_its_name_and_what_to_do():
    with pytest.raises(
        DataError, match=r"3 of 200 validation documents of v1 \(1.50%\)"
    ) as refused:
        check_overlap(record(2, 3), Fraction(1, 100))
    assert "evaluation.max_overlap allows 1.00%" in str(refused.value)
    assert "Take the documents" in str(refused.value)


def test_a_limit_without_a_measurement_is_refused():
    with pytest.raises(DataError, match=r"not measured for the tokens.*`rewarm overlap FILE`"):
        check_overlap(None, Fraction(1, 2))


def test_the_worst_set_is_the_one_with_the_largest_share():
    assert worst(record(1, 5, 2)).validation == "v1"


def test_the_note_says_what_training_would_be_refused_for():
    assert overlap_note(record(3), Fraction(1, 100)).startswith(
        "training would be refused: 3 of 200"
    )
    assert overlap_note(record(3), None) == overlap_text(record(3))
    assert "looks better than it is" in overlap_text(record(3))
    assert overlap_text(record(0)) == "no validation document is also training text"
