"""The data order as a torch sampler: the same stream for any ranks, workers and stops."""

from fractions import Fraction

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from rewarm.errors import CheckpointError, DataError, MismatchError, RewarmError
from rewarm.integrations.sampler import ReplaySampler
from rewarm.replay import EpochOrder, Mixture, NewData, Replay, Stream, Tape

LENGTHS = {"english": 50, "unread": 7, "german": 30}
NUM_SAMPLES = 96
OLD = NewData(Mixture.of({"english": 1}), {})
# From 3.12 on Python warns of a fork in a process with threads; a DataLoader forks, and torch has threads.
workers = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


def update(share: Fraction = Fraction(1, 4), **tape: int) -> Stream:
    """German with English replayed from a tape that is 40 long."""
    tapes = {"pretrain": Tape(OLD, 40, name="pretrain", **tape)}
    german = NewData(Mixture.of({"german": 1}), {})
    return Stream(german, Replay(share, Mixture.of({"pretrain": 1}), tapes))


def make(stream: Stream | None = None, **given) -> ReplaySampler:
    arguments = {"lengths": LENGTHS, "seed": 3, "num_samples": NUM_SAMPLES} | given
    return ReplaySampler(stream or update(), **arguments)


def dataset() -> ConcatDataset:
    """Each sample is its own index in the concatenation."""
    samples = torch.arange(sum(LENGTHS.values())).split(list(LENGTHS.values()))
    return ConcatDataset([TensorDataset(part) for part in samples])


def loader(sampler: ReplaySampler, num_workers: int, batch_size: int = 4) -> DataLoader:
    return DataLoader(dataset(), batch_size, sampler=sampler, num_workers=num_workers)


def batches(some: DataLoader) -> list[list[int]]:
    return [batch.tolist() for (batch,) in some]


def flat(some: list[list[int]]) -> list[int]:
    return [index for batch in some for index in batch]


def test_it_yields_the_stream_as_indices_into_the_concatenation():
    orders = {n: EpochOrder(seed=3, name=n, length=length) for n, length in LENGTHS.items()}
    offsets = {"english": 0, "unread": 50, "german": 57}
    expected = []
    for position in range(NUM_SAMPLES):
        draw = update().at(position)
        expected.append(offsets[draw.source] + orders[draw.source](draw.place))
    assert list(make()) == expected
    assert sum(index < 50 for index in expected) == NUM_SAMPLES // 4
    assert not any(50 <= index < 57 for index in expected)


def test_replay_reads_what_an_earlier_stages_sampler_read():
    before = list(make(Stream(OLD), num_samples=40))
    replayed = [index for index in make() if index < 50]
    assert replayed == before[: len(replayed)]


@workers
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_gets_the_stream_with_and_without_workers(num_workers):
    sampler = make()
    found = batches(loader(sampler, num_workers))
    assert flat(found) == list(make())
    assert {len(batch) for batch in found} == {4}
    assert sampler.position == NUM_SAMPLES


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_all_ranks_together_read_the_same_stream(num_ranks):
    samplers = [make(rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    parts = [list(sampler) for sampler in samplers]
    assert [index for turn in zip(*parts, strict=True) for index in turn] == list(make())
    assert {len(part) for part in parts} == {len(sampler) for sampler in samplers}
    assert {sampler.position for sampler in samplers} == {NUM_SAMPLES}


def test_more_samples_change_nothing_before_them():
    assert list(make(num_samples=500))[:NUM_SAMPLES] == list(make())


@pytest.mark.parametrize("stop", [0, 1, 5, 24])
def test_stopped_and_resumed_equals_never_stopped(stop):
    sampler = make()
    running = iter(loader(sampler, num_workers=0))
    seen = [next(running)[0].tolist() for _ in range(stop)]
    resumed = make()
    resumed.load_state_dict(sampler.state_dict())
    assert seen + batches(loader(resumed, num_workers=0)) == batches(loader(make(), 0))


@workers
def test_with_workers_the_position_that_was_trained_on_is_the_users_to_say():
    """The state is ahead by what the workers hold ready, until it is told; the loop goes on undisturbed."""
    sampler = make()
    running = iter(loader(sampler, num_workers=2))
    seen = flat([next(running)[0].tolist() for _ in range(3)])
    assert sampler.state_dict()["position"] > 12
    sampler.set_position(12)
    state = sampler.state_dict()
    assert seen + flat([batch.tolist() for (batch,) in running]) == list(make())
    resumed = make()
    resumed.load_state_dict(state)
    assert seen + flat(batches(loader(resumed, num_workers=0))) == list(make())


def test_a_state_taken_with_a_batch_in_hand_goes_on_after_it():
    """What loaders rely on that keep a state with every batch that they ask for in advance."""
    sampler, states, seen = make(), [], []
    for index in sampler:
        seen.append(index)
        states.append(sampler.state_dict())
    for count, state in enumerate(states, start=1):
        resumed = make()
        resumed.load_state_dict(state)
        assert seen[:count] + list(resumed) == seen


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (2, 3), (8, 6)])
def test_the_number_of_ranks_may_change_at_a_stop(before, after):
    """The position counts over all ranks; 48 is a whole number of turns for both."""
    samplers = [make(rank=rank, num_ranks=before) for rank in range(before)]
    running = [iter(sampler) for sampler in samplers]
    seen = [next(one) for _ in range(48 // before) for one in running]
    states = [sampler.state_dict() for sampler in samplers]
    assert all(state == states[0] for state in states)
    resumed = [make(rank=rank, num_ranks=after) for rank in range(after)]
    for sampler in resumed:
        sampler.load_state_dict(states[0])
    rest = [index for turn in zip(*resumed, strict=True) for index in turn]
    assert seen + rest == list(make())


def test_iterating_goes_on_from_the_position_and_an_exhausted_sampler_is_empty():
    sampler = make()
    first = [index for _, index in zip(range(10), sampler, strict=False)]
    assert first + list(sampler) == list(make())
    assert (list(sampler), len(sampler)) == ([], NUM_SAMPLES)
    sampler.set_position(0)
    assert list(sampler) == list(make())


OTHERS = {
    "seed": lambda: make(seed=4),
    "lengths": lambda: make(lengths=LENGTHS | {"german": 31}),
    "order of the datasets": lambda: make(lengths=dict(reversed(LENGTHS.items()))),
    "share": lambda: make(update(Fraction(1, 5))),
    "cursor of a tape": lambda: make(update(cursor=1)),
    "order of a tape": lambda: make(update(shuffle_seed=1)),
    "beginning": lambda: make(update().since(1)),
    "no replay": lambda: make(Stream(update().new)),
    "where the new data begins": lambda: make(Stream(NewData(update().new.mixture, {"german": 5}))),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_state_of_another_stream_is_refused(other):
    state = make().state_dict()
    with pytest.raises(MismatchError, match="would stand for other samples"):
        OTHERS[other]().load_state_dict(state)
    make().load_state_dict(state)


def test_a_longer_sampler_and_other_ranks_take_the_same_state():
    sampler = make()
    sampler.set_position(24)
    longer = make(num_samples=960, rank=2, num_ranks=4)
    longer.load_state_dict(sampler.state_dict())
    assert longer.position == 24


@pytest.mark.parametrize("state", [{}, {"position": 4}, {"position": "4", "fingerprint": "00"}])
def test_what_is_not_a_samplers_state_is_refused(state):
    with pytest.raises(CheckpointError, match="has a position and a fingerprint"):
        make().load_state_dict(state)
    make().load_state_dict(make().state_dict())


def test_a_position_beyond_the_samples_is_refused():
    with pytest.raises(RewarmError, match="97 lies beyond the last of num_samples = 96"):
        make().set_position(97)
    make().set_position(96)


@pytest.mark.parametrize("position", [-2, 7])
def test_a_position_that_the_ranks_do_not_share_is_refused(position):
    with pytest.raises(RewarmError, match="is not a multiple of num_ranks = 2"):
        make(num_ranks=2).set_position(position)
    make(num_ranks=2).set_position(8)


def test_samples_that_the_ranks_cannot_share_evenly_are_refused():
    with pytest.raises(RewarmError, match="num_samples = 96 is not a multiple of num_ranks = 5"):
        make(num_ranks=5)
    make(num_ranks=5, num_samples=95)


@pytest.mark.parametrize(("rank", "num_ranks"), [(-1, 2), (2, 2), (0, 0)])
def test_a_rank_outside_the_world_is_refused(rank, num_ranks):
    with pytest.raises(RewarmError, match="is not one of num_ranks"):
        make(rank=rank, num_ranks=num_ranks)
    make(rank=1, num_ranks=2)


@pytest.mark.parametrize("missing", ["english", "german"])
def test_a_source_without_a_dataset_is_refused(missing):
    lengths = {name: length for name, length in LENGTHS.items() if name != missing}
    with pytest.raises(DataError, match=f"reads '{missing}', but lengths has only"):
        make(lengths=lengths)
    make(lengths=lengths | {missing: 1})


def test_an_empty_dataset_is_refused():
    with pytest.raises(DataError, match="'unread' has 0 samples"):
        make(lengths=LENGTHS | {"unread": 0})
