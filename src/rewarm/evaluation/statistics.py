"""How sure a measurement is: standard errors, paired differences, and what they can show.

Whatever is compared was measured on the same documents, the same questions or the same seeds, so every
comparison here is paired. Intervals are two-sided, 95 %.

Sources: the ratio estimator of survey sampling (Cochran, "Sampling Techniques", chapter 6); Miller, "Adding
Error Bars to Evals" (arXiv 2411.00640); McNemar 1947 in its exact form; Holm 1979.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
"""How many of all intervals hold the true value."""


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
    return _estimate(value, error, len(n))


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
    return _estimate(float(x.mean()), error, len(x))


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
    return _estimate(value, error, sum(each.count for each in estimates))


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
    """Return the two-sided p-value of a true value of zero, by Student's t."""
    if estimate.standard_error == 0:
        return 1.0 if estimate.value == 0 else 0.0
    if math.isnan(estimate.standard_error):
        return 1.0
    t = abs(estimate.value) / estimate.standard_error
    return float(2 * stats.t.sf(t, estimate.count - 1))


def smallest_visible(standard_error: float, *, power: float = 0.8) -> float:
    """Return the smallest true difference that a comparison finds with this probability.

        (z₀.₉₇₅ + z_power)·SE

    Args:
        standard_error: of the difference.
        power: the probability, in (½, 1).

    >>> round(smallest_visible(0.0041) * 100, 1)  # paired, HellaSwag's 10,042 questions: in points
    1.1
    """
    return float(stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(power)) * standard_error


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
    """Return Wilson's interval of an accuracy, which stays in [0, 1] and holds near its ends."""
    found = stats.binomtest(right, questions).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def _array(values: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError("there is nothing to estimate from")
    return x


def _estimate(value: float, error: float, count: int) -> Estimate:
    half = math.nan if count < 2 else error * float(stats.t.ppf((1 + LEVEL) / 2, count - 1))
    return Estimate(
        value=value, standard_error=error, low=value - half, high=value + half, count=count
    )
