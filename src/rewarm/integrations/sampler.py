"""A stage's data order as a torch sampler: new data with replay among it, for any DataLoader.

Its whole state is one position, counted over all ranks: how many samples it has yielded. A DataLoader with
workers asks for samples ahead of the training, so there the position is ahead too; see `set_position`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, final

from torch.utils.data import Sampler

from rewarm.errors import CheckpointError, DataError, MismatchError, RewarmError
from rewarm.replay import EpochOrder, Stream


@final
class ReplaySampler(Sampler[int]):
    """The samples of a stream, as indices into the concatenation of its sources' datasets.

    Iterating goes on from `position` and ends after the last sample; an iterator made after that yields
    nothing until `set_position`. Rank r of w yields positions r, r + w, r + 2·w, …: all ranks together read
    the same stream whatever their number.

    >>> from fractions import Fraction
    >>> from rewarm.replay import Mixture, NewData, Replay, Stream, Tape
    >>> english = NewData(Mixture.of({"english": 1}), {})
    >>> german = NewData(Mixture.of({"german": 1}), {})
    >>> tape = Tape(english, length=800)
    >>> stream = Stream(german, Replay(Fraction(1, 4), Mixture.of({"pretrain": 1}), {"pretrain": tape}))
    >>> sampler = ReplaySampler(stream, {"english": 1000, "german": 500}, seed=1, num_samples=8)
    >>> ["english" if index < 1000 else "german" for index in sampler]
    ['german', 'english', 'german', 'german', 'german', 'english', 'german', 'german']
    >>> sampler.position
    8
    """

    def __init__(
        self,
        stream: Stream,
        lengths: Mapping[str, int],
        *,
        seed: int,
        num_samples: int,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        """Make a sampler that stands at position 0.

        Args:
            stream: what comes at each position.
            lengths: number of samples in the dataset of each source, in the order in which the datasets
                are put together by `torch.utils.data.ConcatDataset`. Datasets that the stream does not
                read may be among them.
            seed: seed of the order within each source. Replay finds what an earlier stage has read if
                that stage had this seed and these lengths.
            num_samples: positions to yield, over all ranks; a multiple of `num_ranks`. It may be raised
                later: nothing that comes before depends on it.
            rank: which share of the positions is yielded, from 0.
            num_ranks: how many ranks share them.

        Raises:
            DataError: a source of the stream has no dataset, or an empty one.
            RewarmError: the ranks make no sense, or cannot share the samples evenly.
        """
        if not 0 <= rank < num_ranks:
            raise RewarmError(
                f"rank = {rank} is not one of num_ranks = {num_ranks} ranks, which count from 0, so there is "
                f"no share of the samples for it. Give the rank and the world size of this process."
            )
        _check_lengths(stream, lengths)
        self._stream = stream
        self._num_samples = num_samples
        self._rank = rank
        self._num_ranks = num_ranks
        self._orders: dict[str, EpochOrder] = {}
        self._offsets: dict[str, int] = {}
        end = 0
        for source, length in lengths.items():
            self._orders[source] = EpochOrder(seed=seed, name=source, length=length)
            self._offsets[source] = end
            end += length
        described = json.dumps([seed, list(lengths.items()), stream.to_json()], sort_keys=True)
        self._fingerprint = hashlib.sha256(described.encode()).hexdigest()
        self._check_even("num_samples", num_samples)
        self._position = 0

    @property
    def position(self) -> int:
        """Samples yielded so far by all ranks together, if they keep step; where the next one begins."""
        return self._position

    def __len__(self) -> int:
        """Return how many samples this rank yields from position 0; where it stands does not matter."""
        return self._num_samples // self._num_ranks

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's indices from the position on."""
        for position in range(self._position, self._num_samples, self._num_ranks):
            # Before the yield: a state taken while the caller holds this sample goes on after it.
            self._position = position + self._num_ranks
            draw = self._stream.at(position + self._rank)
            yield self._offsets[draw.source] + self._orders[draw.source](draw.place)

    def set_position(self, consumed: int) -> None:
        """Say how many samples were really trained on, by all ranks together.

        The sampler cannot know what a DataLoader's workers hold ready. With workers, call this with
        `optimizer steps · global batch` just before `state_dict`, or after `load_state_dict`, and after
        leaving a loop early. Without workers there is no need, nor with torchdata's StatefulDataLoader, which
        keeps with each batch the state that belongs to it. A loop that is running is not disturbed: it goes
        on where it was, and its next sample sets the position again.

        Args:
            consumed: the position, from 0 to `num_samples`; a multiple of the number of ranks.

        Raises:
            RewarmError: it lies beyond the last sample, or the ranks cannot share the rest evenly.
        """
        self._check_even("the position", consumed)
        if consumed > self._num_samples:
            raise RewarmError(
                f"the position {consumed:,} lies beyond the last of num_samples = {self._num_samples:,}, so "
                f"there is nothing to go on with. Raise num_samples, or check what was counted."
            )
        self._position = consumed

    def state_dict(self) -> dict[str, Any]:
        """Return the position, and a fingerprint of the stream, the lengths and the seed.

        It is the same on all ranks, and may be loaded on any other number of them.
        """
        return {"position": self._position, "fingerprint": self._fingerprint}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where a state was taken.

        Raises:
            CheckpointError: it is not the state of a sampler.
            MismatchError: it is the state of another stream, other lengths or another seed.
            RewarmError: its position does not fit the number of samples or ranks.
        """
        position, fingerprint = state_dict.get("position"), state_dict.get("fingerprint")
        if not isinstance(position, int) or not isinstance(fingerprint, str):
            raise CheckpointError(
                f"a sampler's state has a position and a fingerprint, this one has {sorted(state_dict)}, so it "
                f"does not say where to go on. Load what ReplaySampler.state_dict returned."
            )
        if fingerprint != self._fingerprint:
            raise MismatchError(
                f"the sampler's state at position {position:,} has the fingerprint {fingerprint[:12]}…, this "
                f"sampler {self._fingerprint[:12]}…: the stream, the lengths of the datasets or the seed "
                f"differ, and its position would stand for other samples. Make the sampler as it was made "
                f"then; to start a new stage, leave the state out."
            )
        self.set_position(position)

    def _check_even(self, what: str, count: int) -> None:
        """Refuse a count of samples that the ranks cannot share evenly: one would wait for the others."""
        if count < 0 or count % self._num_ranks:
            raise RewarmError(
                f"{what} = {count:,} is not a multiple of num_ranks = {self._num_ranks}, from 0 up, so some "
                f"ranks would have a sample more than others and wait for them for ever. Give a multiple; "
                f"whole steps of a global batch that {self._num_ranks} divides are."
            )


def _check_lengths(stream: Stream, lengths: Mapping[str, int]) -> None:
    """Refuse a stream that reads what is not there."""
    parts = [stream.new]
    if stream.replay is not None:
        parts += [stream.replay.tapes[tape].data for tape, _ in stream.replay.mixture.weights]
    for source in {source: None for data in parts for source, _ in data.mixture.weights}:
        if source not in lengths:
            raise DataError(
                f"the stream reads {source!r}, but lengths has only {', '.join(map(repr, lengths))}, so its "
                f"samples cannot be found. Name every source, in the order of the ConcatDataset."
            )
    for source, length in lengths.items():
        if length < 1:
            raise DataError(
                f"the dataset of {source!r} has {length} samples, so none can be read from it. Give "
                f"it some, or leave it out of lengths and of the ConcatDataset."
            )
