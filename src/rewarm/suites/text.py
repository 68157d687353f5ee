"""A suite's result in Markdown: the claims with their verdicts, what they rest on, and every arm."""

from collections import defaultdict
from collections.abc import Iterator

from rewarm.evaluation.statistics import mean
from rewarm.suites.results import ArmResult, DifferenceResult, SuiteResult
from rewarm.suites.suite import Suite


def result_text(suite: Suite, result: SuiteResult, figure: str | None = None) -> str:
    """Return the whole section of a suite, with its figure if it has one."""
    seeds = ", ".join(str(seed) for seed in result.seeds)
    size = "" if result.parameters is None else f", {result.parameters:,} parameters"
    return "\n".join(
        [
            f"## {suite.name}",
            "",
            f"{suite.question} ({suite.source}.)",
            "",
            f"Tier {result.tier}{size}; seeds {seeds}.",
            "",
            *([f"![{suite.question}]({figure})", ""] if figure else []),
            *_claims(result),
            *_differences(result),
            *_arms(result),
        ]
    )


def _claims(result: SuiteResult) -> Iterator[str]:
    yield "| claim | paper | here |"
    yield "| --- | --- | --- |"
    for claim in result.claims:
        yield f"| {claim.text} | {claim.source} | **{claim.verdict}** |"
    for text in result.open:
        yield f"| {text} | | not run yet |"
    yield ""


def _differences(result: SuiteResult) -> Iterator[str]:
    yield "| what the claims rest on | mean | 95 % interval | asked | |"
    yield "| --- | ---: | ---: | ---: | --- |"
    for claim in result.claims:
        for difference in claim.differences:
            cells = [
                difference.label,
                f"{difference.mean:+.3f}",
                _interval(difference),
                _asked(difference),
                difference.verdict,
            ]
            yield f"| {' | '.join(cells)} |"
    yield ""


def _interval(difference: DifferenceResult) -> str:
    if difference.low is None or difference.high is None:
        return "one seed"
    return f"{difference.low:+.3f} to {difference.high:+.3f}"


def _asked(difference: DifferenceResult) -> str:
    low, high = difference.at_least, difference.at_most
    if low is not None and high is not None:
        return f"{low:+.3g} to {high:+.3g}"
    return f"≥ {low:+.3g}" if low is not None else f"≤ {high:+.3g}"


def _arms(result: SuiteResult) -> Iterator[str]:
    """Yield one table for each setting, for settings differ in their datasets."""
    settings: dict[str, dict[str, list[ArmResult]]] = defaultdict(lambda: defaultdict(list))
    for arm in result.arms:
        settings[arm.setting][arm.arm].append(arm)
    for setting, arms in settings.items():
        datasets = list(next(iter(arms.values()))[0].final)
        titles = [f"loss {name}" for name in datasets]
        yield f"| {setting} | seeds | {' | '.join(titles)} | average | update tokens |"
        yield f"| --- | ---: |{' ---: |' * len(titles)} ---: | ---: |"
        for name, of_seeds in arms.items():
            cells = [_with_error([a.final[d] for a in of_seeds]) for d in datasets]
            averages = [sum(a.final.values()) / len(a.final) for a in of_seeds]
            tokens = of_seeds[0].update_tokens
            yield (
                f"| {name} | {len(of_seeds)} | {' | '.join(cells)} | {_with_error(averages)} | {tokens:,} |"
            )
        yield ""


def _with_error(values: list[float]) -> str:
    """Return a mean with its standard error over seeds."""
    estimate = mean(values)
    if len(values) < 2:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ± {estimate.standard_error:.3f}"
