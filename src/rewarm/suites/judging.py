"""Whether claims hold, from several seeds: interval against bounds, and "undecided" where the two overlap."""

from collections.abc import Collection, Mapping

from rewarm.evaluation.statistics import Estimate, mean
from rewarm.suites.results import ClaimResult, DifferenceResult, Verdict
from rewarm.suites.suite import Claim, Difference, Outcomes


def judge(claim: Claim, seeds: Mapping[int, Outcomes]) -> ClaimResult:
    """Judge a claim.

    It held if all its differences are within their bounds with their whole 95 % interval, and did not hold
    if one of them lies outside with its whole interval. Everything else is undecided.

    Args:
        claim: the claim.
        seeds: the outcomes of each seed; all of them have the arms that the claim speaks of.
    """
    found = [_measure(difference, seeds) for difference in claim.differences]
    return ClaimResult(
        text=claim.text,
        source=claim.source,
        verdict=verdict_of_all([difference.verdict for difference in found]),
        differences=found,
        ordering=claim.ordering,
    )


def verdict_of_all(verdicts: Collection[Verdict]) -> Verdict:
    """Return what several verdicts come to together: one that did not hold decides, as does no other alone.

    >>> verdict_of_all(["held", "not held", "undecided"]), verdict_of_all(["held", "undecided"])
    ('not held', 'undecided')
    """
    if "not held" in verdicts:
        return "not held"
    return "held" if set(verdicts) == {"held"} else "undecided"


def verdict_of(estimate: Estimate, at_least: float, at_most: float) -> Verdict:
    """Return where an interval lies: within bounds, outside of them, or across one.

    >>> verdict_of(mean([0.1, 0.11, 0.12]), 0.0, 1.0)
    'held'
    >>> verdict_of(mean([0.1, 0.11, 0.12]), 0.5, 1.0)
    'not held'
    >>> verdict_of(mean([0.1]), 0.0, 1.0)  # one seed has no interval
    'undecided'
    """
    if at_least <= estimate.low and estimate.high <= at_most:
        return "held"
    if estimate.high < at_least or estimate.low > at_most:
        return "not held"
    return "undecided"


def _measure(difference: Difference, seeds: Mapping[int, Outcomes]) -> DifferenceResult:
    values = {seed: difference.value(outcomes) for seed, outcomes in seeds.items()}
    estimate = mean(list(values.values()))
    return DifferenceResult(
        label=difference.label,
        by_seed={str(seed): value for seed, value in values.items()},
        mean=estimate.value,
        low=None if len(values) < 2 else estimate.low,
        high=None if len(values) < 2 else estimate.high,
        at_least=_bound(difference.at_least),
        at_most=_bound(difference.at_most),
        verdict=verdict_of(estimate, difference.at_least, difference.at_most),
    )


def _bound(value: float) -> float | None:
    return None if value in (float("inf"), float("-inf")) else value
