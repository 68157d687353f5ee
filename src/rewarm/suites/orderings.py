"""The paper's orderings: what of it a small model can repeat, and the claims of the suites that speak of each.

Absolute losses are those of a size and of its data. An ordering, such as "more replay forgets less", can be
looked for at any size.
"""

from collections.abc import Sequence
from typing import get_args

from rewarm.report.panel_tables import Table
from rewarm.suites.judging import verdict_of_all
from rewarm.suites.results import SuiteResult, Verdict
from rewarm.suites.suite import Suite

ORDERINGS = {
    "a": "Forgetting falls with every step of replay; up to 10 % of it costs at most 0.02 on the new data.",
    "b": "1 % of replay removes two thirds of the forgetting (weak shift), half of it (strong).",
    "c": "Re-warmed and re-decayed learns more of the new data than constant min_lr and constant max_lr.",
    "d": "Re-warming on the same data raises the loss, more for a higher peak.",
    "e": "A trunk with annealed branches ends where cosines of the same tokens do.",
    "f": "An update with replay ends on average within 0.02 of retraining on everything.",
    "g": "What is replayed of each dataset is exactly its share of all that was seen (Equation 5).",
}
"""Each ordering by its letter, in a sentence."""


def ordering_table(found: Sequence[tuple[Suite, SuiteResult | None]]) -> Table:
    """Return each ordering with what the claims that are part of it came to.

    An ordering held if all its claims held, and did not hold if one did not. It is undecided until all are
    judged.

    Args:
        found: suites with their results; None where nothing is finished.
    """
    return Table(
        columns=["here", "ordering of the paper", "claims", "suites"],
        rows=[_row(letter, text, found) for letter, text in ORDERINGS.items()],
    )


def _row(letter: str, text: str, found: Sequence[tuple[Suite, SuiteResult | None]]) -> list[str]:
    judged: list[Verdict] = []
    waiting = 0
    suites: list[str] = []
    for suite, result in found:
        asked = {claim.text for claim in suite.claims if claim.ordering == letter}
        done = [] if result is None else [c for c in result.claims if c.ordering == letter]
        if asked or done:
            suites.append(suite.name)
        judged.extend(claim.verdict for claim in done)
        waiting += len(asked - {claim.text for claim in done})
    counts = {state: judged.count(state) for state in get_args(Verdict)} | {"not run yet": waiting}
    return [
        _verdict(judged, waiting),
        f"({letter}) {text}",
        ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "-",
        ", ".join(suites) or "-",
    ]


def _verdict(judged: Sequence[Verdict], waiting: int) -> str:
    """Return what the claims of an ordering come to; one that waits leaves open whether all held."""
    if not judged:
        return "not run yet"
    verdict = verdict_of_all(judged)
    return "undecided" if waiting and verdict == "held" else verdict
