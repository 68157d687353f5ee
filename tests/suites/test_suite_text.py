"""The Markdown of suites: a row for each claim and arm, whatever their names hold."""

import re

from rewarm.suites.catalogue import find_suite
from rewarm.suites.orderings import ORDERINGS
from rewarm.suites.text import overview_text, result_text
from tests.suites.results import SUITE, arm, claim, result, usual


def rows(text):
    """Return the cells of every table row, as a reader of Markdown splits them."""
    return [
        re.split(r"(?<!\\) \| ", line.removeprefix("| ").removesuffix(" |"))
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]


def test_every_claim_and_every_arm_has_its_row():
    found = rows(result_text(SUITE, usual(), "replay.svg"))
    assert ["More replay forgets less.", "Table 2", "**held**"] in found
    assert any(row[0].startswith("More replay forgets less, weak shift.") for row in found)
    assert ["a less b", "-2.050", "-2.174 to -1.926", "≤ +0", "held"] in found
    assert [row[0] for row in found if row[1] == "3"] == ["0%", "5%", "union"]


def test_all_suites_in_short():
    text = overview_text([(SUITE, usual()), (find_suite("final"), None)])
    found = rows(text)
    assert text.startswith("Of 3 claims in 1 suite 1 held, 1 did not and 1 is undecided")
    assert [row[1][:3] for row in found[1 : 1 + len(ORDERINGS)]] == [f"({x})" for x in ORDERINGS]
    assert ["not run yet", f"(f) {ORDERINGS['f']}", "2 not run yet", "final"] in found
    assert [row[0] for row in found[-2:]] == ["[replay](replay.md)", "final"]


def test_names_stay_in_their_cells():
    nasty = "a|b <i> *c*"
    found = rows(
        result_text(
            SUITE,
            result([arm(nasty, 1, 3.0, 2.0)], [claim(nasty, [0.1], at_most=0.0, labels=(nasty,))]),
        )
    )
    assert {len(row) for row in found} == {3, 5, 6}
    assert sum(row[0] == r"a\|b &lt;i&gt; \*c\*" for row in found) == 3
