"""What a measured overlap comes to, in a sentence, and against the limit of a campaign."""

from fractions import Fraction

from rewarm.errors import DataError
from rewarm.runs.records import ALL_TRAINING, OverlapCount, OverlapRecord

_HOW_TO_MEASURE = "`rewarm overlap FILE` measures it"


def worst(record: OverlapRecord) -> OverlapCount:
    """Return the row with the largest share of documents concerned.

    Validation text is compared with all training text, whichever dataset it belongs to.
    """
    return max(record.counts, key=concerned_share)


def concerned_share(count: OverlapCount) -> float:
    """Return the share of a validation set's documents that are also training text, in [0, 1]."""
    return count.concerned_documents / count.documents


def overlap_text(record: OverlapRecord | None) -> str:
    """Say in a sentence how much of the validation text is training text.

    >>> overlap_text(None)
    'how much of the validation text is training text is not measured; `rewarm overlap FILE` measures it'
    """
    if record is None:
        return (
            f"how much of the validation text is training text is not measured; {_HOW_TO_MEASURE}"
        )
    count = worst(record)
    if count.concerned_documents == 0:
        return "no validation document is also training text"
    return f"{_finding(count)}, so its loss looks better than it is"


def check_overlap(record: OverlapRecord | None, limit: Fraction | None) -> None:
    """Refuse to go on where a limit is set and is exceeded, or nobody knows whether it is.

    Args:
        record: what was measured on the very tokens that are used; None if nothing was.
        limit: the largest share of a validation set's documents that may be concerned; None for no limit.

    Raises:
        DataError: the reason, and what to do.
    """
    if limit is None:
        return
    allowed = f"evaluation.max_overlap allows {float(limit):.2%}"
    if record is None:
        raise DataError(
            f"{allowed} of a validation set's documents to be also training text, but this is not measured "
            f"for the tokens as they are now. {_HOW_TO_MEASURE}; or take the limit out of the campaign."
        )
    check_share(record, limit, allowed)


def overlap_note(record: OverlapRecord | None, limit: Fraction | None) -> str:
    """Say what `check_overlap` would refuse, or else what `overlap_text` says."""
    try:
        check_overlap(record, limit)
    except DataError as error:
        return f"training would be refused: {error}"
    return overlap_text(record)


def check_share(record: OverlapRecord, limit: Fraction, allowed: str) -> None:
    """Refuse an overlap above a limit; `allowed` says whose limit it is.

    Raises:
        DataError: the reason, and what to do.
    """
    count = worst(record)
    if Fraction(count.concerned_documents, count.documents) > limit:
        raise DataError(
            f"{_finding(count)}; {allowed}. Its loss would show what was learnt by heart. Take the documents "
            "that overlap.json lists out of the validation text (or their like out of the training text) and "
            "prepare it anew, or raise the limit."
        )


def _finding(count: OverlapCount) -> str:
    """Say how much of a validation set is in some training text."""
    return (
        f"{count.concerned_documents:,} of {count.documents:,} validation documents of {count.validation} "
        f"({concerned_share(count):.2%}) are also in {training_text(count.train)}"
    )


def training_text(name: str) -> str:
    """Name some training text in words.

    >>> training_text("web/news"), training_text(ALL_TRAINING)
    ('the training text of web/news', 'the training text')
    """
    return "the training text" if name == ALL_TRAINING else f"the training text of {name}"
