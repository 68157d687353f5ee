"""From what was found to the record: documents counted for each pair of texts, and listed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewarm.data.overlap.decoding import Decode
from rewarm.data.overlap.index import ValidationIndex
from rewarm.data.overlap.scan import Findings
from rewarm.data.store import TokenStore
from rewarm.runs.records import ALL_TRAINING, OverlapCount, OverlapFound

_BEGINNING = 100
"""Characters by which a document can be recognised."""
_LONGEST_CHARACTER = 4
"""Bytes, and so tokens, that a character has at most."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """What all validation documents have in common with some sources together."""

    sources: Mapping[str, Findings]
    """What was found in each of them."""
    exact: NDArray[np.bool_]
    """(documents,), whether it has the words of a training document."""
    near: NDArray[np.bool_]
    """(documents,), whether it has a near-duplicate, and no exact one."""
    ngrams: NDArray[np.int64]
    """(documents,), how many of its different n-grams the sources have."""
    shares: NDArray[np.float64]
    """(documents,), the same as a share; 0 for a document too short for an n-gram."""


def training_groups(sources: Sequence[str]) -> dict[str, list[str]]:
    """Return what validation text is compared with: sources, datasets with domains, all of it.

    >>> training_groups(["old", "web/news", "web/talk"])  # doctest: +NORMALIZE_WHITESPACE
    {'old': ['old'], 'web/news': ['web/news'], 'web/talk': ['web/talk'],
     'web': ['web/news', 'web/talk'], '*': ['old', 'web/news', 'web/talk']}
    """
    groups = {source: [source] for source in sources}
    for source in sources:
        dataset = source.split("/")[0]
        members = [each for each in sources if each.split("/")[0] == dataset]
        if len(members) > 1:
            groups[dataset] = members
    if list(sources) not in groups.values():
        groups[ALL_TRAINING] = list(sources)
    return groups


def group(index: ValidationIndex, sources: Mapping[str, Findings]) -> Group:
    """Return what is in any of some sources."""
    is_found = np.any([findings.ngrams >= 0 for findings in sources.values()], axis=0)
    documents = len(index.tokens)
    ngrams = np.bincount(index.ngrams.owners[is_found[index.ngram_places]], minlength=documents)
    exact, near = np.zeros((2, documents), np.bool_)
    for findings in sources.values():
        exact[list(findings.exact)] = True
        near[list(findings.near)] = True
    return Group(
        sources=sources,
        exact=exact,
        near=near & ~exact,
        ngrams=ngrams,
        shares=ngrams / np.maximum(index.ngrams.counts, 1),
    )


@dataclass(frozen=True, kw_only=True)
class Counting:
    """Everything that was found, by group."""

    index: ValidationIndex
    """What was looked for."""
    groups: Mapping[str, Group]
    """By name; a group comes after those that it contains."""
    ngram_limit: float
    """Share of n-grams above which a document counts."""

    def count(self, validation: str, train: str) -> OverlapCount:
        """Count one validation set against one group."""
        documents, found = self.index.numbers[validation], self.groups[train]
        over = found.shares[documents] > self.ngram_limit
        concerned = found.exact[documents] | found.near[documents] | over
        tokens = self.index.tokens[documents]
        ngrams = int(self.index.ngrams.counts[documents].sum())
        return OverlapCount(
            validation=validation,
            train=train,
            documents=len(tokens),
            tokens=int(tokens.sum()),
            exact=int(found.exact[documents].sum()),
            near=int(found.near[documents].sum()),
            ngram=int(over.sum()),
            ngram_share=int(found.ngrams[documents].sum()) / max(ngrams, 1),
            concerned_documents=int(concerned.sum()),
            concerned_tokens=int(tokens[concerned].sum()),
        )

    def found(self, validation: str, store: TokenStore, decode: Decode) -> Iterator[OverlapFound]:
        """Yield the documents of one validation set that are concerned, in order."""
        numbers = self.index.numbers[validation]
        for number in range(numbers.start, numbers.stop):
            document = number - numbers.start
            for pair in self._pairs(number):
                (text,) = decode([store.document(document)[: _BEGINNING * _LONGEST_CHARACTER]])
                yield OverlapFound(
                    validation=validation,
                    document=document,
                    begins=text[:_BEGINNING],
                    train=pair.train,
                    train_document=pair.train_document,
                    train_source=pair.train_source,
                    kind=pair.kind,
                    value=pair.value,
                )

    def _pairs(self, number: int) -> Iterator["_Pair"]:
        """Yield what was found of one document."""
        over: list[set[str]] = []
        for train, found in self.groups.items():
            if len(found.sources) == 1:
                yield from _duplicate(number, train, found)
            sources = set(found.sources)
            # Of groups over the limit only those are named of which no part is over it alone.
            if found.shares[number] > self.ngram_limit and not any(o <= sources for o in over):
                over.append(sources)
                source, document = self._most(number, found)
                yield _Pair(train, source, document, "ngram", float(found.shares[number]))

    def _most(self, number: int, found: Group) -> tuple[str, int]:
        """Return the training document that was the first to have the most of a document's n-grams."""
        start, stop = self.index.ngrams.bounds[number : number + 2]
        places = self.index.ngram_places[start:stop]
        best, most = ("", -1), 0
        for source, findings in found.sources.items():
            seen = findings.ngrams[places]
            documents, counts = np.unique(seen[seen >= 0], return_counts=True)
            if counts.max(initial=0) > most:
                best, most = (source, int(documents[counts.argmax()])), int(counts.max())
        return best


@dataclass(frozen=True)
class _Pair:
    """One finding; the fields are those of `OverlapFound`."""

    train: str
    train_source: str
    train_document: int
    kind: Literal["exact", "near", "ngram"]
    value: float


def _duplicate(number: int, source: str, found: Group) -> Iterator[_Pair]:
    """Yield the exact or else the nearest duplicate that a source has of a document."""
    findings = found.sources[source]
    if found.exact[number]:
        yield _Pair(source, source, findings.exact[number], "exact", 1.0)
    elif found.near[number]:
        similarity, document = findings.near[number]
        yield _Pair(source, source, document, "near", similarity)
