"""The data order of a stage: position in, (source, index, replayed or new) out.

A position is a sequence of the stage, counted from 0. The whole state of the data pipeline is that one
number; batch sizes, ranks and budgets only decide which positions are asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from rewarm.replay.ledger import Count
from rewarm.replay.mixture import Mixture, Split
from rewarm.replay.permutation import Permutation, derive_key

_permutation = lru_cache(maxsize=256)(Permutation)
"""Permutations that are asked for at one position after the other, with the keys of their rounds."""


class Draw(NamedTuple):
    """One sequence to read."""

    source: str
    """A dataset, or a domain of one (`dataset/domain`)."""
    place: int
    """Which sequence of the source, in the order of reading; beyond one epoch it goes on counting."""
    replayed: bool
    """Whether it is re-read from an earlier stage."""


@dataclass(frozen=True)
class NewData:
    """The new data of a stage: a mixture of sources, each read on from where earlier stages stopped."""

    mixture: Mixture
    """The sources and their exact shares."""
    starts: Mapping[str, int]
    """For each source the index at which this stage begins; 0 where missing."""
    begin: int = 0
    """Position in the mixture at which it begins: above 0 where a stage goes on with another's data."""

    def at(self, position: int) -> tuple[str, int]:
        """Return (source, index) of a position among the new data."""
        source, place = self.mixture.at(self.begin + position)
        return source, self.starts.get(source, 0) + place

    def counts(self, length: int) -> dict[str, int]:
        """Return how many of the first `length` sequences come from each source."""
        before, after = self.mixture.counts(self.begin), self.mixture.counts(self.begin + length)
        return {source: after[source] - before[source] for source in after}

    def to_json(self) -> dict[str, Any]:
        """Describe everything that decides what comes at a position."""
        weights = [[name, str(weight)] for name, weight in self.mixture.weights]
        return {"weights": weights, "starts": dict(self.starts), "begin": self.begin}


@dataclass(frozen=True)
class Tape:
    """What an earlier stage read as new data, to be read again; never more than it really read."""

    data: NewData
    """The earlier stage's new data."""
    length: int
    """How many sequences of it were read, at least 1."""
    cursor: int = 0
    """Where this stage's replay begins: where the last replay of the tape stopped."""
    shuffle_seed: int | None = None
    """None replays in the order of reading; a seed reshuffles each source within what was read."""
    name: str = ""
    """The stage's or dataset's name."""

    def at(self, index: int) -> tuple[str, int]:
        """Return (source, index) of the n-th replayed sequence; past the end it begins again."""
        lap, position = divmod(self.cursor + index, self.length)
        source, place = self.data.at(position)
        if self.shuffle_seed is None:
            return source, place
        first, order = self.reshuffled(source, lap)
        return source, first + order(place - first)

    def reshuffled(self, source: str, lap: int) -> tuple[int, Permutation]:
        """Return the first place of a source that was read, and the order of what was read in a lap."""
        assert self.shuffle_seed is not None, "a tape without a seed is replayed as it was read"
        first, length = self._read[source]
        return first, _permutation(length, derive_key(self.shuffle_seed, self.name, source, lap))

    @cached_property
    def _read(self) -> dict[str, tuple[int, int]]:
        """First place and number of the sequences that were read of each source."""
        before, read = self.data.mixture.counts(self.data.begin), self.data.counts(self.length)
        return {
            source: (self.data.starts.get(source, 0) + before[source], length)
            for source, length in read.items()
        }

    def counts(self, length: int) -> dict[str, int]:
        """Return how many of the first `length` replayed sequences come from each source."""
        before, after = self._prefix(self.cursor), self._prefix(self.cursor + length)
        return {source: after[source] - before[source] for source in after}

    def to_json(self, name: str) -> dict[str, Any]:
        """Describe everything that decides what comes at a place; `name` is what the replay calls the tape."""
        described = {
            "data": self.data.to_json(),
            "length": self.length,
            "cursor": self.cursor,
            "shuffle_seed": self.shuffle_seed,
        }
        # The tape's own name counts where it is part of a key, and is mostly the one that the replay has.
        own = self.shuffle_seed is not None and self.name != name
        return described | ({"name": self.name} if own else {})

    def _prefix(self, end: int) -> dict[str, int]:
        laps, rest = divmod(end, self.length)
        whole, part = self.data.counts(self.length), self.data.counts(rest)
        return {source: laps * whole[source] + part[source] for source in whole}


@dataclass(frozen=True)
class Replay:
    """Which share of a stage is replayed, and from which tapes in which proportion."""

    share: Fraction
    """Share of the stage's sequences, in (0, 1)."""
    mixture: Mixture
    """Names and weights of the tapes."""
    tapes: Mapping[str, Tape]
    """The tapes by name."""


@dataclass(frozen=True)
class Stream:
    """A stage's sequences: new data, and replay spread evenly among it.

    The replay's share is exact at every position (within half a sequence, `Split`), and the tapes' and
    sources' shares within it (`Mixture`).

    >>> english = NewData(Mixture.of({"english": 1}), {})
    >>> german = NewData(Mixture.of({"german": 1}), {})
    >>> replay = Replay(Fraction(1, 4), Mixture.of({"pretrain": 1}), {"pretrain": Tape(english, 100)})
    >>> [Stream(german, replay).at(position) for position in range(2)]
    [Draw(source='german', place=0, replayed=False), Draw(source='english', place=0, replayed=True)]
    >>> Stream(german, replay).counts(1000)["english"]
    Count(new=0, replayed=250)

    Source: paper section 4.2 (compute-equivalent replay) and A.1.
    """

    new: NewData
    """The new data."""
    replay: Replay | None = None
    """The replay, if any."""
    begin: int = 0
    """Position at which the stage begins: above 0 where it goes on with another stage's data."""
    split: Split = field(init=False, repr=False, compare=False)
    """What is replayed (its first stream) and what is new."""

    def __post_init__(self) -> None:
        share = self.replay.share if self.replay else Fraction(0)
        object.__setattr__(self, "split", Split(share))

    def since(self, position: int) -> "Stream":
        """Return what follows after so many sequences; its position n is this one's k + n."""
        return replace(self, begin=self.begin + position)

    def at(self, position: int) -> Draw:
        """Return the sequence to read at a position, counted from 0."""
        is_replayed, index = self.split.at(self.begin + position)
        if not is_replayed or self.replay is None:
            source, place = self.new.at(index)
            return Draw(source, place, False)
        tape, index = self.replay.mixture.at(index)
        source, place = self.replay.tapes[tape].at(index)
        return Draw(source, place, True)

    def num_new(self, length: int) -> int:
        """Return how many of the first `length` sequences are new data."""
        return length - self._num_replayed(length)

    def new_data(self) -> NewData:
        """Return the new data from where the stage begins, as a later stage may replay it."""
        return replace(self.new, begin=self.new.begin + self.begin - self.split.count(self.begin))

    def tape_counts(self, length: int) -> dict[str, int]:
        """Return how many of the first `length` sequences come from each tape."""
        if self.replay is None:
            return {}
        first = self.split.count(self.begin)
        before = self.replay.mixture.counts(first)
        after = self.replay.mixture.counts(first + self._num_replayed(length))
        return {tape: after[tape] - before[tape] for tape in after}

    def tape_cursors(self, length: int) -> dict[str, int]:
        """Return where each tape stands after the first `length` sequences.

        A tape to which the mixture gives no weight stays where it is.
        """
        if self.replay is None:
            return {}
        drawn = self.replay.mixture.counts(self.split.count(self.begin + length))
        return {n: tape.cursor + drawn.get(n, 0) for n, tape in self.replay.tapes.items()}

    def counts(self, length: int) -> dict[str, Count]:
        """Return the ledger of the first `length` sequences, by source, in constant time."""
        new = self.new_data().counts(self.num_new(length))
        found = {source: Count(new=count) for source, count in new.items()}
        cursors = self.tape_cursors(0)
        for name, count in self.tape_counts(length).items():
            assert self.replay is not None, "only a replay has tapes"
            tape = replace(self.replay.tapes[name], cursor=cursors[name])
            for source, replayed in tape.counts(count).items():
                found[source] = found.get(source, Count()) + Count(replayed=replayed)
        return found

    def to_json(self) -> dict[str, Any]:
        """Describe everything that decides what comes at a position, but for the orders within the sources."""
        described: dict[str, Any] = {"new": self.new.to_json(), "begin": self.begin}
        if self.replay is not None:
            tapes = self.replay.tapes
            described |= {
                "share": str(self.replay.share),
                "replay": [[name, str(weight)] for name, weight in self.replay.mixture.weights],
                "tapes": {name: tape.to_json(name) for name, tape in tapes.items()},
            }
        return described

    def _num_replayed(self, length: int) -> int:
        return self.split.count(self.begin + length) - self.split.count(self.begin)
