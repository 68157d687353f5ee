"""A suite's result in Markdown: the claims with their verdicts, what they rest on, and every arm."""

from collections.abc import Iterator, Sequence

from rewarm.report.wording import markdown_text
from rewarm.suites.panels import panels
from rewarm.suites.results import SuiteResult
from rewarm.suites.suite import Suite
from rewarm.suites.tables import Table, arm_table, difference_table


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
