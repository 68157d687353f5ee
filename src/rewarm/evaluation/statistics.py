"""How sure a measurement is: standard errors, paired differences, and what they can show.

Whatever is compared was measured on the same documents, the same questions or the same seeds, so every
comparison here is paired. Intervals are two-sided, 95 %.

Sources: the ratio estimator of survey sampling (Cochran, "Sampling Techniques", chapter 6); Miller, "Adding
Error Bars to Evals" (arXiv 2411.00640); McNemar 1947 in its exact form; Holm 1979; of errors in parts Cochran
and Cox, "Experimental Designs" (1950).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

LEVEL = 0.95
"""How many of all intervals hold the true value."""


_LEAST_P = 1e-100
"""What is below is zero."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the independent parts of a squared standard error."""

    variance: float
    """What it adds to the square."""
    freedom: float
    """Degrees of freedom that it was estimated with."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and how far it may be off."""

    value: float
    """The value."""
    standard_error: float
    """Its standard error; NaN where one observation cannot tell."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    count: int
    """How many documents, questions or seeds it rests on."""
    parts: tuple[Part, ...]
    """Of the squared standard error; one, unless both items and seeds are in it."""

    @property
    def is_significant(self) -> bool:
        """Whether the interval of a difference leaves zero out; False where there is no interval."""
        return self.low > 0 or self.high < 0


def ratio(numerators: ArrayLike, denominators: ArrayLike) -> Estimate:
    """Estimate a ratio of sums, such as bits per byte: r = Σ nᵢ / Σ bᵢ over documents i.

        SE(r) = √( N/(N-1) · Σ (nᵢ - r·bᵢ)² ) / Σ bᵢ

    A mean of the documents' ratios would give a short document the weight of a long one. For the difference
    of two models on the same documents, give the differences of their numerators.

    Args:
        numerators: nᵢ, such as the bits of each document.
        denominators: bᵢ > 0, such as its bytes.

    Raises:
        ValueError: nothing to estimate from, or the lengths differ.

    >>> bits_per_byte = ratio([8.0, 12.0, 10.0], [4, 6, 5])
    >>> bits_per_byte.value, bits_per_byte.standard_error
    (2.0, 0.0)
    """
    n, b = _array(numerators), _array(denominators)
    if len(n) != len(b):
        raise ValueError(f"{len(n)} numerators do not go with {len(b)} denominators")
    value = float(n.sum() / b.sum())
    error = math.nan
    if len(n) > 1:
        spread = float(np.square(n - value * b).sum())
        error = math.sqrt(len(n) / (len(n) - 1) * spread) / float(b.sum())
    return estimate_of(value, error, len(n))


def mean(values: ArrayLike) -> Estimate:
    """Estimate a mean, such as an accuracy over questions or a loss over seeds, by Student's t.

    For the difference of two models on the same questions, or of two arms on the same seeds, give the
    differences.

    Raises:
        ValueError: nothing to estimate from.

    >>> mean([0.9, 1.0, 1.1]).value
    1.0
    """
    x = _array(values)
    error = float(x.std(ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return estimate_of(float(x.mean()), error, len(x))


def estimate_of(value: float, standard_error: float, count: int) -> Estimate:
    """Return an estimate from its standard error, with an interval by Student's t.

    Args:
        value: what was estimated.
        standard_error: of it; NaN where that is not known.
        count: how many observations it rests on.
    """
    part = Part(variance=standard_error**2, freedom=count - 1)
    found = _in_parts(value, (part,), count)
    return replace(found, standard_error=standard_error)  # and not the root of its square


def macro_average(estimates: Sequence[Estimate]) -> Estimate:
    """Estimate the plain mean of k independent values, such as bits per byte by domain.

        SE = √( Σ SEₖ² ) / k

    NaN where one of them has no standard error.

    Raises:
        ValueError: nothing to estimate from.

    >>> macro_average([mean([1.0, 3.0]), mean([4.0, 4.0])]).value
    3.0
    """
    value = float(_array([each.value for each in estimates]).mean())
    error = math.sqrt(sum(each.standard_error**2 for each in estimates)) / len(estimates)
    return estimate_of(value, error, sum(each.count for each in estimates))


def over_seeds(seeds: Sequence[float], items: Estimate) -> Estimate:
    """Estimate a mean over seeds of what was measured on the same items, with the errors of both.

        SE² = s²(seeds) / k + SE²(items)

    What a seed changes item by item is in both parts, so the error is a little too large where items matter
    more than seeds.

    The interval and the p-value weigh Student's t of each part by its variance (Cochran and Cox). Degrees of
    freedom after Welch and Satterthwaite would be too many: where three seeds differ little by chance, they
    are taken for certain. Simulated, two seeds of one recipe were then "significant" up to 13 times in 100,
    three up to 8 times, where these weights give 6 and 5.

    Args:
        seeds: the value of each of k seeds, such as a paired difference.
        items: their mean, with its error over items.

    Returns:
        `items` itself if there is one seed, which says nothing of others.

    >>> over_seeds([0.0, 2.0], ratio([1.0, 1.0], [1, 1])).standard_error
    1.0
    """
    if len(seeds) == 1:
        return items
    error = mean(seeds).standard_error
    parts = (Part(variance=error**2, freedom=len(seeds) - 1), *items.parts)
    return _in_parts(items.value, parts, items.count)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the exact two-sided p-value of two models being right equally often on the same questions.

    Of the questions that one alone gets right, each is as likely the first's as the second's if they are
    equally good: a binomial test with p = ½.

    Args:
        first: whether the first model is right, by question.
        second: whether the second one is.

    >>> mcnemar([True] * 6 + [False], [False] * 6 + [False])
    0.03125
    """
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being many: below α, they are wrong together with probability ≤ α.

    In increasing order, p₍ᵢ₎ is multiplied by how many are not smaller, and never falls below the one before.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def p_value(estimate: Estimate) -> float:
    """Return the two-sided p-value of a true value of zero, by Student's t; its parts as in `over_seeds`."""
    if estimate.standard_error == 0:
        return 1.0 if estimate.value == 0 else 0.0
    if math.isnan(estimate.standard_error):
        return 1.0
    t, parts = abs(estimate.value) / estimate.standard_error, estimate.parts
    if len(parts) == 1:
        return float(2 * stats.t.sf(t, parts[0].freedom))
    if t > _critical(parts, _LEAST_P / 2):
        return 0.0
    found = optimize.root_scalar(
        lambda log_p: _critical(parts, math.exp(log_p) / 2) - t, bracket=(math.log(_LEAST_P), 0)
    )
    return math.exp(found.root)


def smallest_visible(parts: Sequence[Part], *, power: float = 0.8) -> float:
    """Return the smallest true difference that a comparison finds with this probability.

        (t₀.₉₇₅ + t_power)·SE

    Args:
        parts: of the difference's squared standard error.
        power: the probability, in (½, 1).

    >>> hellaswag = Part(variance=0.0041**2, freedom=10_041)  # paired, its 10,042 questions
    >>> round(smallest_visible([hellaswag]) * 100, 1)  # in points
    1.1
    """
    t = _critical(parts, (1 - LEVEL) / 2) + _critical(parts, 1 - power)
    return t * math.sqrt(sum(part.variance for part in parts))


def accuracy_difference_error(questions: int, *, accuracy: float, correlation: float) -> float:
    """Return the standard error to expect of a paired difference of two accuracies.

        √( 2·p·(1-p)·(1-ρ) / n )

    Args:
        questions: n.
        accuracy: p, about that of both models.
        correlation: ρ of being right, question by question; 0 is the unpaired comparison.
    """
    return math.sqrt(2 * accuracy * (1 - accuracy) * (1 - correlation) / questions)


def wilson(right: int, questions: int) -> tuple[float, float]:
    """Return Wilson's interval of an accuracy, which stays in [0, 1] and holds near its ends.

    (p + z²/2n ± z·√(p·(1-p)/n + z²/4n²)) / (1 + z²/n)
    """
    p, share = right / questions, float(special.ndtri((1 + LEVEL) / 2)) ** 2 / questions
    half = math.sqrt(share * p * (1 - p) + share**2 / 4)
    low, high = ((p + share / 2 + side * half) / (1 + share) for side in (-1, 1))
    return max(0.0, low), min(1.0, high)


def _array(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError("there is nothing to estimate from")
    return x


def _in_parts(value: float, parts: tuple[Part, ...], count: int) -> Estimate:
    error = math.sqrt(sum(part.variance for part in parts))
    half = _critical(parts, (1 - LEVEL) / 2) * error if error else 0.0
    return Estimate(
        value=value,
        standard_error=error,
        low=value - half,
        high=value + half,
        count=count,
        parts=parts,
    )


def _critical(parts: Sequence[Part], tail: float) -> float:
    """Return what is exceeded with this probability, in standard errors: each part's t by its variance."""
    whole = sum(part.variance for part in parts)
    each = [part.variance / whole * -special.stdtrit(part.freedom, tail) for part in parts]
    return float(sum(each))
