"""Suites' results in Markdown: the claims with their verdicts, what they rest on, every arm; all in short."""

from collections.abc import Iterator, Sequence

from rewarm.report.panel_tables import Table, arm_table
from rewarm.report.wording import markdown_text
from rewarm.suites.orderings import ordering_table
from rewarm.suites.panels import panels
from rewarm.suites.results import SuiteResult
from rewarm.suites.suite import Suite
from rewarm.suites.tables import difference_table
from rewarm.suites.verdict import suite_sentence, suites_sentence


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
            *_table(difference_table(result), "| --- | ---: | ---: | ---: | --- |"),
            *(line for panel in panels(result) for line in _table(arm_table(panel))),
        ]
    )


def overview_text(found: Sequence[tuple[Suite, SuiteResult | None]]) -> str:
    """Return what all suites came to together: the sentence, the orderings, and a line for each suite."""
    return "\n".join(
        [
            suites_sentence([result for _, result in found if result is not None]),
            "",
            *_table(ordering_table(found), "| --- | --- | --- | --- |"),
            "| suite | question | verdicts |",
            "| --- | --- | --- |",
            *(_suite_line(suite, result) for suite, result in found),
            "",
        ]
    )


def _suite_line(suite: Suite, result: SuiteResult | None) -> str:
    name = suite.name if result is None else f"[{suite.name}]({suite.name}.md)"
    verdicts = "not run yet" if result is None else suite_sentence(result)
    return f"| {name} | {markdown_text(suite.question)} | {markdown_text(verdicts)} |"


def _claims(result: SuiteResult) -> Iterator[str]:
    yield "| claim | paper | here |"
    yield "| --- | --- | --- |"
    for claim in result.claims:
        yield f"| {markdown_text(claim.text)} | {markdown_text(claim.source)} | **{claim.verdict}** |"
    for text in result.open:
        yield f"| {markdown_text(text)} | | not run yet |"
    yield ""


def _table(table: Table, rule: str | None = None) -> Iterator[str]:
    """Yield a table; numbers stand to the right where no other rule is given."""
    yield _row(table.columns)
    yield rule or f"| --- |{' ---: |' * (len(table.columns) - 1)}"
    for row in table.rows:
        yield _row(row)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"
