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


def test_the_table_of_the_arms_says_what_was_lost_and_what_it_cost():
    def made(name, seed, old, new, **more):
        one = arm(name, seed, old, new, tokens=3000 if name == "union" else 1000)
        return one.model_copy(update={"before": {"d0": 4.0 + seed / 100, "strong": 7.0}} | more)

    arms = []
    for seed in (1, 2):
        update = {"forgetting": 0.5, "adaptation": 3.0}
        arms.append(made("replay", seed, 4.5, 4.0, **update))
        arms.append(made("union", seed, 4.2, 3.8, is_reference=True, is_union=True))
    found = rows(result_text(SUITE, result(arms)))
    start = next(place for place, row in enumerate(found) if row[0] == "before the update")
    assert found[start - 1][2:] == [
        *("loss d0", "loss strong", "average", "forgetting", "adaptation", "to union"),
        *("update tokens", "compute ratio"),
    ]
    before, replay, union = found[start : start + 3]
    assert before[1:5] == ["2", "4.015 ± 0.005", "7.000 ± 0.000", "5.508 ± 0.002"]
    assert before[5:] == ["-"] * 5
    assert replay[5:] == [
        *("+0.500 ± 0.000", "+3.000 ± 0.000", "+0.250 ± 0.000"),
        *("1,000", "0.33"),
    ]
    assert union[5:] == ["-", "-", "-", "3,000", "1.00"]
