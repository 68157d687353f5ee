"""The paper's orderings: each has claims, and comes to what they come to."""

import pytest

from rewarm.suites.catalogue import find_suite, suite_names
from rewarm.suites.orderings import ORDERINGS, ordering_table
from rewarm.suites.suite import Claim, Suite
from tests.suites.results import claim, result


def test_every_ordering_has_claims_and_every_claim_a_known_ordering():
    used = {claim.ordering for name in suite_names() for claim in find_suite(name).claims}
    assert used - {None} == set(ORDERINGS)


def suite(*orderings):
    claims = [
        Claim(text=f"{n}.", source="", differences=[], ordering=ordering)
        for n, ordering in enumerate(orderings)
    ]
    return Suite(name="one", question="?", source="", settings=lambda _: {}, claims=claims)


HELD, NOT, OPEN = [-0.2, -0.21, -0.19], [0.2, 0.21, 0.19], [0.2, -0.2, 0.0]


def judged(suite, *values):
    made = [
        claim(each.text, found, at_most=0.0).model_copy(update={"ordering": each.ordering})
        for each, found in zip(suite.claims, values, strict=False)
    ]
    return result([], made)


@pytest.mark.parametrize(
    ("values", "counts", "verdict"),
    [
        ((HELD, HELD), "2 held", "held"),
        ((HELD, NOT), "1 held, 1 not held", "not held"),
        ((HELD, OPEN), "1 held, 1 undecided", "undecided"),
        ((HELD,), "1 held, 1 not run yet", "undecided"),
        ((NOT,), "1 not held, 1 not run yet", "not held"),
        ((), "2 not run yet", "not run yet"),
    ],
)
def test_an_ordering_comes_to_what_its_claims_come_to(values, counts, verdict):
    one = suite("a", "a")
    first, *others = ordering_table([(one, judged(one, *values))]).rows
    assert first == [verdict, f"(a) {ORDERINGS['a']}", counts, "one"]
    assert {(row[0], *row[2:]) for row in others} == {("not run yet", "-", "-")}


def test_a_suite_without_results_waits_and_several_count_together():
    one, two = suite("c"), suite(None, "c")
    rows = ordering_table([(one, judged(one, HELD)), (two, None)]).rows
    assert rows[2] == ["undecided", f"(c) {ORDERINGS['c']}", "1 held, 1 not run yet", "one, one"]
