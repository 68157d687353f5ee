"""Measuring the overlap of a campaign: every validation set against every training source.

The index holds the validation text; the training text passes by once, whatever its size. Exact and near
duplicates are pairs of documents. N-grams are looked for in all training text, since a passage may be
anywhere.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from rewarm.data.datasets import PreparedData
from rewarm.data.overlap.counting import Counting, group, training_groups
from rewarm.data.overlap.decoding import decoder
from rewarm.data.overlap.index import (
    NGRAM_WORDS,
    SHINGLE_WORDS,
    ValidationIndex,
    build_index,
)
from rewarm.data.overlap.pool import scan_all
from rewarm.data.overlap.scan import Findings, add
from rewarm.data.progress import Progress
from rewarm.errors import CampaignError
from rewarm.runs.records import OverlapRecord

JACCARD = Fraction(4, 5)
"""Similarity from which on documents are near-duplicates, unless another is given."""
NGRAM_LIMIT = Fraction(1, 5)
"""Share of its n-grams in training text above which a document counts, unless another is given."""

OnProgress = Callable[[str, Progress], None]
"""Told the source and how far its reading is."""


def measure_overlap(
    data: PreparedData,
    *,
    jaccard: Fraction = JACCARD,
    ngram_limit: Fraction = NGRAM_LIMIT,
    workers: int = 1,
    on_progress: OnProgress | None = None,
) -> OverlapRecord:
    """Compare the validation text of a campaign with its training text.

    Args:
        data: the prepared tokens.
        jaccard: similarity of the sets of `SHINGLE_WORDS`-word runs of near-duplicates, in (0, 1].
        ngram_limit: share of its different `NGRAM_WORDS`-word runs above which a document counts, in [0, 1].
        workers: processes; the result does not depend on them.
        on_progress: told after each batch of training documents.

    Raises:
        CampaignError: a threshold out of range.
        DataError: damaged tokens.
        RewarmError: a worker died.
    """
    _check_share("similarity of near-duplicates", jaccard, is_allowed=0 < jaccard <= 1)
    _check_share("share of n-grams", ngram_limit, is_allowed=0 <= ngram_limit <= 1)
    decode = decoder(data.tokenizer)
    index = build_index(data.validation, decode, float(jaccard))
    findings = _read_training(data, index, workers, on_progress)
    groups = {
        train: group(index, {source: findings[source] for source in sources})
        for train, sources in training_groups(list(data.train)).items()
    }
    counting = Counting(index=index, groups=groups, ngram_limit=float(ngram_limit))
    fingerprints = data.fingerprints()
    return OverlapRecord(
        train=fingerprints["train"],
        validation=fingerprints["validation"],
        shingle_words=SHINGLE_WORDS,
        jaccard=float(jaccard),
        ngram_words=NGRAM_WORDS,
        ngram_limit=float(ngram_limit),
        counts=[counting.count(name, train) for name in data.validation for train in groups],
        found=[
            found
            for name, store in data.validation.items()
            for found in counting.found(name, store, decode)
        ],
    )


def _check_share(name: str, share: Fraction, *, is_allowed: bool) -> None:
    """Refuse a threshold that nothing or everything would pass."""
    if not is_allowed:
        raise CampaignError(
            f"a {name} of {float(share):g} is out of range: it is a part of a whole, written 80% or 0.8"
        )


def _read_training(
    data: PreparedData, index: ValidationIndex, workers: int, on_progress: OnProgress | None
) -> dict[str, Findings]:
    """Let all training text pass by."""
    findings = {source: Findings.none(index) for source in data.train}
    documents = dict.fromkeys(data.train, 0)
    tokens = dict.fromkeys(data.train, 0)
    for source, hits in scan_all(data.train, index, data.tokenizer, workers):
        add(findings[source], hits)
        documents[source] += hits.documents
        tokens[source] += hits.tokens
        if on_progress is not None:
            manifest = data.train[source].manifest
            token_bytes = np.dtype(manifest.dtype).itemsize
            progress = Progress(
                phase="compare",
                done_bytes=tokens[source] * token_bytes,
                total_bytes=manifest.tokens * token_bytes,
                documents=documents[source],
                tokens=tokens[source],
            )
            on_progress(source, progress)
    return findings
