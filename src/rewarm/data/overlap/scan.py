"""One look at some training documents: what of the validation text is in them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rewarm.data.overlap.hash_set import rising
from rewarm.data.overlap.index import NGRAM_WORDS, SHINGLE_WORDS, Batch, ValidationIndex
from rewarm.data.overlap.words import Words


@dataclass
class Findings:
    """What of the validation text was found in one training source so far."""

    ngrams: NDArray[np.int64]
    """(different n-grams of the validation text,), the first training document that has it, or -1."""
    exact: dict[int, int] = field(default_factory=dict)
    """By validation document the first training document with the same words in the same order."""
    near: dict[int, tuple[float, int]] = field(default_factory=dict)
    """By validation document the highest Jaccard similarity of a near-duplicate, and its first document."""

    @classmethod
    def none(cls, index: ValidationIndex) -> "Findings":
        """Return what is found before anything was looked at."""
        return cls(ngrams=np.full(len(index.ngram_set.values), -1, np.int64))


@dataclass(frozen=True, kw_only=True)
class Hits:
    """What one batch of training documents has; documents are numbered as in their store."""

    tokens: int
    """Tokens looked at."""
    documents: int
    """Documents looked at."""
    ngrams: NDArray[np.int64]
    """Which n-grams of the index, each once …"""
    ngram_documents: NDArray[np.int64]
    """… and the first document that has it."""
    exact: list[tuple[int, int]]
    """Pairs of a validation document and a training document."""
    near: list[tuple[int, int, float]]
    """The same with their Jaccard similarity."""


def scan(batch: Batch, index: ValidationIndex) -> Hits:
    """Look for the validation text in a batch."""
    hashes, bounds = batch.words.ngrams(NGRAM_WORDS)
    where, found = index.ngram_set.find(hashes)
    ngrams, first = np.unique(found, return_index=True)
    owners = np.searchsorted(bounds, where[first], side="right") - 1
    documents = len(batch.words.bounds) - 1
    return Hits(
        tokens=batch.tokens,
        documents=documents,
        ngrams=ngrams,
        ngram_documents=owners + batch.first,
        exact=[
            (validation, place + batch.first)
            for place in range(documents)
            for validation in index.digests.get(batch.words.digest(place) or b"", ())
        ],
        near=[
            (validation, place + batch.first, similarity)
            for validation, place, similarity in _near(batch.words, index)
        ],
    )


def add(findings: Findings, hits: Hits) -> None:
    """Take over what a batch has; batches come in the order of their documents."""
    is_new = findings.ngrams[hits.ngrams] < 0
    findings.ngrams[hits.ngrams[is_new]] = hits.ngram_documents[is_new]
    for validation, document in hits.exact:
        findings.exact.setdefault(validation, document)
    for validation, document, similarity in hits.near:
        if similarity > findings.near.get(validation, (0.0, 0))[0]:
            findings.near[validation] = (similarity, document)


def _near(words: Words, index: ValidationIndex) -> list[tuple[int, int, float]]:
    """Return the near-duplicates: validation document, place in the batch, Jaccard similarity."""
    hashes, bounds = words.ngrams(SHINGLE_WORDS)
    runs: dict[int, NDArray[np.uint64]] = {}
    found: list[tuple[int, int, float]] = []
    for place, validation in _candidates(hashes, bounds, index):
        if place not in runs:
            runs[place] = rising(hashes[bounds[place] : bounds[place + 1]])
        similarity = jaccard(runs[place], index.shingles.of(validation), index.jaccard)
        if similarity >= index.jaccard:
            found.append((validation, place, similarity))
    return found


def _candidates(
    hashes: NDArray[np.uint64], bounds: NDArray[np.int64], index: ValidationIndex
) -> list[tuple[int, int]]:
    """Return pairs of a place in the batch and a validation document that could be near-duplicates."""
    where, sign = index.signs.find(hashes)
    places = np.searchsorted(bounds, where, side="right") - 1
    starts, counts = index.sign_bounds[sign], np.diff(index.sign_bounds)[sign]
    behind = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    validation = index.signs_of[np.repeat(starts, counts) + behind]
    documents = len(index.tokens)
    pairs, signs = np.unique(np.repeat(places, counts) * documents + validation, return_counts=True)
    # A sign that is repeated counts each time, which makes more candidates but misses none.
    likely = pairs[signs >= index.signs_needed[pairs % documents]]
    return [divmod(pair, documents) for pair in likely.tolist()]


def jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64], least: float) -> float:
    """Return how much of two sets both have, |a ∩ b| / |a ∪ b|; 0 where it cannot reach `least`.

    Args:
        a: rising, each once.
        b: the same.
        least: in (0, 1].

    >>> jaccard(np.array([1, 2, 3], np.uint64), np.array([2, 3, 4], np.uint64), 0.1)
    0.5
    """
    if min(len(a), len(b)) < least * max(len(a), len(b)):
        return 0.0
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)
