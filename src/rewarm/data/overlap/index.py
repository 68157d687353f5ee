"""What is looked for: the documents of all validation sets, as hashes.

It is all that must be in memory: about 80 bytes for each word of the validation text, and for each training
source 8 more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewarm.data.overlap.decoding import Decode
from rewarm.data.overlap.hash_set import HashSet, rising
from rewarm.data.overlap.words import Words, hash_words
from rewarm.data.store import TokenStore

NGRAM_WORDS = 13
"""Words of the runs whose share is measured (Brown et al. 2020, appendix C)."""
SHINGLE_WORDS = 5
"""Words of the runs of which near-duplicates have most in common (Lee et al. 2022, section 4.2)."""
BATCH_TOKENS = 1 << 18
"""Tokens that are looked at together; a longer document is one batch."""

_ROUNDING = 1e-9
"""Keeps 0.8 of 5 at 4, where the product of the floats is a little more."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some documents of a store, one after the other."""

    first: int
    """Number of the first."""
    tokens: int
    """Their tokens, end-of-text ids included."""
    words: Words
    """Their words."""


def batches(store: TokenStore, decode: Decode, first: int, last: int) -> Iterator[Batch]:
    """Yield the documents `first` to `last - 1` of a store.

    Raises:
        DataError: the store is damaged.
    """
    waiting: list[NDArray[np.integer]] = []
    tokens = 0
    for number in range(first, last):
        waiting.append(store.document(number))
        tokens += len(waiting[-1])
        if tokens >= BATCH_TOKENS or number == last - 1:
            words = hash_words(decode(waiting))
            yield Batch(first=number + 1 - len(waiting), tokens=tokens, words=words)
            waiting, tokens = [], 0


@dataclass(frozen=True, kw_only=True)
class Runs:
    """For each document its different runs of words, as one array after the other."""

    hashes: NDArray[np.uint64]
    """(runs,), rising within a document."""
    bounds: NDArray[np.int64]
    """(documents + 1,), where each document's begin, and the end."""

    def of(self, document: int) -> NDArray[np.uint64]:
        """Return the runs of one document."""
        return self.hashes[self.bounds[document] : self.bounds[document + 1]]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(documents,), how many runs each has."""
        return np.diff(self.bounds)

    @property
    def owners(self) -> NDArray[np.int64]:
        """(runs,), the document of each."""
        return np.repeat(np.arange(len(self.bounds) - 1), self.counts)


@dataclass(frozen=True, kw_only=True)
class ValidationIndex:
    """The documents of all validation sets, numbered through."""

    numbers: Mapping[str, slice]
    """For each set the numbers of its documents."""
    tokens: NDArray[np.int64]
    """(documents,), tokens of each, the end-of-text id included."""
    digests: Mapping[bytes, Sequence[int]]
    """Which documents have these words."""
    ngrams: Runs
    """The different runs of `NGRAM_WORDS` words of each document."""
    ngram_set: HashSet
    """All of them."""
    ngram_places: NDArray[np.int64]
    """(runs,), where each of `ngrams` is in `ngram_set`."""
    shingles: Runs
    """The different runs of `SHINGLE_WORDS` words of each document."""
    signs: HashSet
    """Those shingles of which a near-duplicate has many; see `build_index`."""
    signs_of: NDArray[np.int64]
    """(signs with repetitions,), documents by the sign that they have, in the order of `signs.values`."""
    sign_bounds: NDArray[np.int64]
    """(signs + 1,), where in `signs_of` the documents of each sign begin, and the end."""
    signs_needed: NDArray[np.int64]
    """(documents,), how many of a document's signs a near-duplicate has, at least."""
    jaccard: float
    """What part of all shingles of two near-duplicates both have, at least."""


def build_index(
    stores: Mapping[str, TokenStore], decode: Decode, jaccard: float
) -> ValidationIndex:
    """Make the index of validation sets.

    Near-duplicates are found exactly, not by MinHash, which misses some and needs checking all the same. Of
    m different shingles a near-duplicate lacks at most a = m - ⌈jaccard·m⌉. So of any a + k of them it has k.
    The signs of a document are its a + k rarest, with k = a where there are as many.

    Args:
        stores: the validation tokens of each set.
        decode: ids to text.
        jaccard: in (0, 1].

    Raises:
        DataError: a store is damaged.

    Source: Chaudhuri, Ganti, Kaushik, "A Primitive Operator for Similarity Joins in Data Cleaning", 2006.
    """
    numbers: dict[str, slice] = {}
    tokens: list[int] = []
    digests: dict[bytes, list[int]] = {}
    ngrams: list[NDArray[np.uint64]] = []
    shingles: list[NDArray[np.uint64]] = []
    for name, store in stores.items():
        numbers[name] = slice(len(tokens), len(tokens) + store.documents)
        for batch in batches(store, decode, 0, store.documents):
            for place in range(len(batch.words.bounds) - 1):
                digest = batch.words.digest(place)
                if digest is not None:
                    digests.setdefault(digest, []).append(len(tokens))
                tokens.append(len(store.document(batch.first + place)))
            ngrams += distinct(batch.words, NGRAM_WORDS)
            shingles += distinct(batch.words, SHINGLE_WORDS)
    all_ngrams, all_shingles = _joined(ngrams), _joined(shingles)
    ngram_set = HashSet.of(all_ngrams.hashes)
    can_lack = all_shingles.counts - np.ceil(all_shingles.counts * jaccard - _ROUNDING).astype(int)
    needed = np.maximum(np.minimum(can_lack, all_shingles.counts - can_lack), 1)
    signs, documents = _rarest(all_shingles, can_lack + needed)
    sign_set = HashSet.of(signs)
    return ValidationIndex(
        numbers=numbers,
        tokens=np.array(tokens, np.int64),
        digests=digests,
        ngrams=all_ngrams,
        ngram_set=ngram_set,
        ngram_places=np.searchsorted(ngram_set.values, all_ngrams.hashes),
        shingles=all_shingles,
        signs=sign_set,
        signs_of=documents,
        sign_bounds=np.append(np.searchsorted(signs, sign_set.values), len(signs)),
        signs_needed=needed,
        jaccard=jaccard,
    )


def distinct(words: Words, length: int) -> list[NDArray[np.uint64]]:
    """Return for each document its different runs of words, rising."""
    hashes, bounds = words.ngrams(length)
    return [rising(hashes[first:last]) for first, last in pairwise(bounds.tolist())]


def _joined(parts: Sequence[NDArray[np.uint64]]) -> Runs:
    """Lay the runs of all documents end to end."""
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return Runs(
        hashes=np.concatenate([np.empty(0, np.uint64), *parts]),
        bounds=np.concatenate(([0], ends)),
    )


def _rarest(
    shingles: Runs, counts: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the rarest shingles of all documents, rising, and the document of each."""
    values = np.sort(shingles.hashes)
    documents_with = np.searchsorted(values, shingles.hashes, "right") - np.searchsorted(
        values, shingles.hashes
    )
    by_rarity = np.lexsort((documents_with, shingles.owners))
    rank = np.arange(len(by_rarity)) - np.repeat(shingles.bounds[:-1], shingles.counts)
    chosen = by_rarity[rank < np.repeat(counts, shingles.counts)]
    by_hash = chosen[np.argsort(shingles.hashes[chosen], kind="stable")]
    return shingles.hashes[by_hash], shingles.owners[by_hash]
