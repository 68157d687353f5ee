"""What suites came to, in sentences."""

from collections import Counter
from collections.abc import Sequence

from rewarm.report.wording import list_text
from rewarm.suites.results import ClaimResult, SuiteResult
from rewarm.suites.tables import asked_text, interval_text


def suites_sentence(results: Sequence[SuiteResult]) -> str:
    """Say how many claims held in all suites together, over how many seeds and at which size."""
    claims = [claim for result in results for claim in result.claims]
    waiting = sum(len(result.open) for result in results)
    if not claims:
        return f"No claim can be judged yet{f': {_waiting(waiting)}' if waiting else ''}."
    suites = _number(sum(1 for result in results if result.claims), "suite")
    rest = f"; {_waiting(waiting)}" if waiting else ""
    return f"Of {_number(len(claims), 'claim')} in {suites} {_counted(claims)}, {_over(results)}{rest}."


def suite_sentence(result: SuiteResult) -> str:
    """Say how many claims of a suite held, and of those that did not what was found."""
    if not result.claims:
        return f"No claim can be judged yet: {_waiting(len(result.open))}."
    failed = [_failure(claim) for claim in result.claims if claim.verdict == "not held"]
    rest = [f"{_waiting(len(result.open)).capitalize()}."] if result.open else []
    counted = f"Of {_number(len(result.claims), 'claim')} {_counted(result.claims)}."
    named = [f"Did not hold: {list_text(failed)}."] if failed else []
    return " ".join([counted, *named, *rest])


def _failure(claim: ClaimResult) -> str:
    """Return a claim that did not hold with what was found instead."""
    first, *others = [each for each in claim.differences if each.verdict == "not held"]
    more = f", and {len(others)} more" if others else ""
    found = f"{first.label}: {interval_text(first)}, asked {asked_text(first)}{more}"
    return f"“{claim.text.rstrip('.')}” ({found})"


def _counted(claims: Sequence[ClaimResult]) -> str:
    """Return how many claims there are of each verdict.

    >>> from rewarm.suites.results import ClaimResult
    >>> _counted([ClaimResult(text="", source="", verdict="undecided", differences=[])])
    '1 is undecided'
    """
    counts = Counter(claim.verdict for claim in claims)
    held, failed, undecided = counts["held"], counts["not held"], counts["undecided"]
    parts = [
        *([f"{held} held"] if held else []),
        *([f"{failed} did not"] if failed and held else []),
        *([f"{failed} did not hold"] if failed and not held else []),
        *([f"{undecided} {'is' if undecided == 1 else 'are'} undecided"] if undecided else []),
    ]
    return list_text(parts)


def _over(results: Sequence[SuiteResult]) -> str:
    numbers = sorted({len(result.seeds) for result in results})
    span = _number(numbers[-1], "seed")
    seeds = span if len(numbers) == 1 else f"{numbers[0]} to {span}"
    tiers = list(dict.fromkeys(result.tier for result in results))
    return f"over {seeds} at tier{'s' if len(tiers) > 1 else ''} {list_text(tiers)}"


def _waiting(count: int) -> str:
    return f"{_number(count, 'claim')} wait{'s' if count == 1 else ''} for runs"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
