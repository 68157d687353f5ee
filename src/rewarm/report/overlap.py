"""How much of the validation text is training text, as a table for the page and the terminal."""

from rich.table import Table

from rewarm.report.wording import count_text, printable, share_text
from rewarm.runs.overlap import concerned_share
from rewarm.runs.records import ALL_TRAINING, OverlapCount, OverlapRecord


def overlap_columns(record: OverlapRecord) -> list[str]:
    """Return the titles of the columns of `overlap_rows`."""
    return [
        "validation",
        "training text",
        "documents",
        "exact",
        "near",
        f"> {share_text(record.ngram_limit)} of {record.ngram_words}-grams",
        f"{record.ngram_words}-grams found",
        "any of the three",
        "tokens in these",
    ]


def overlap_rows(record: OverlapRecord) -> list[list[str]]:
    """Return a row for each validation set and training text."""
    return [_row(count) for count in record.counts]


def _row(count: OverlapCount) -> list[str]:
    """Write one row."""
    return [
        printable(count.validation),
        "all" if count.train == ALL_TRAINING else printable(count.train),
        f"{count.documents:,}",
        f"{count.exact:,}",
        f"{count.near:,}",
        f"{count.ngram:,}",
        share_text(count.ngram_share),
        f"{count.concerned_documents:,} ({share_text(concerned_share(count))})",
        f"{count_text(count.concerned_tokens)} ({share_text(count.concerned_tokens / count.tokens)})",
    ]


def overlap_caption(record: OverlapRecord) -> str:
    """Say in sentences what the columns mean."""
    n, limit = record.ngram_words, share_text(record.ngram_limit)
    return (
        "Validation documents that are also training text. Exact: the same words in the same order, whatever "
        f"their case and punctuation. Near: their sets of {record.shingle_words}-word runs have a Jaccard "
        f"similarity of {record.jaccard:g} or more. {n}-grams: more than {limit} of the document's different "
        f"runs of {n} words are somewhere in the training text."
    )


def overlap_table(record: OverlapRecord) -> Table:
    """Return the table for the terminal."""
    table = Table()
    for title in overlap_columns(record):
        left = title in ("validation", "training text")
        table.add_column(title, justify="left" if left else "right", overflow="fold")
    for row in overlap_rows(record):
        table.add_row(*row)
    return table
