"""The ranks of a job: joining them, small messages among them, and finding out who is missing.

Messages go as JSON through tensors of bytes; nothing is pickled. What is decided by all is decided from the
same numbers on all, so that no rank takes another turn than the others.
"""

import json
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from rewarm.errors import RankLostError, RewarmError

_R = TypeVar("_R")

STORE = "REWARM_STORE"
"""Environment variable with host and port of the supervisor's store; torchrun has ways of its own."""

_PATIENCE = timedelta(days=7)
"""How long ranks wait for one that has work of its own, such as preparing tokens."""

_GRACE_SECONDS = 3.0
"""How long a rank that has noticed a loss waits for others to notice it too."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """One rank and its ways to talk to the others."""

    rank: int = 0
    """Its number, from 0."""
    size: int = 1
    """How many there are."""
    local_rank: int = 0
    """Its number on its machine."""
    local_size: int = 1
    """How many there are on its machine."""
    timeout: timedelta | None = None
    """How long to wait for another rank in a message before it counts as lost."""
    store: Store | None = None
    """What all can read and write."""
    words: dist.ProcessGroup | None = None
    """For small messages; a rank that does not answer in time counts as lost."""
    waiting: dist.ProcessGroup | None = None
    """For long waits."""
    saving: dist.ProcessGroup | None = None
    """For the thread that writes checkpoints, whose messages would get mixed up with the others'."""

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that keeps the records."""
        return self.rank == 0

    def gather(self, value: Any, group: dist.ProcessGroup | None = None) -> list[Any]:  # noqa: ANN401
        """Give a JSON value to all, and get the values of all, by rank.

        Args:
            value: what this rank says.
            group: `words` if not given.

        Raises:
            RankLostError: another rank did not answer.
        """
        if self.size == 1:
            return [value]
        group = group or self.words
        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with self.naming_the_lost():
            dist.all_gather(lengths, torch.tensor([said.numel()]), group=group)
            longest = max(int(length) for length in lengths)
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: said.numel()] = said
            heard = [torch.zeros_like(padded) for _ in range(self.size)]
            dist.all_gather(heard, padded, group=group)
        return [
            json.loads(bytes(text[: int(length)].tolist()))
            for text, length in zip(heard, lengths, strict=True)
        ]

    def sum(self, numbers: Tensor) -> Tensor:
        """Add up a small tensor over all ranks, in place; all get the same.

        Args:
            numbers: on the CPU or the rank's device.
        """
        if self.size > 1:
            dist.all_reduce(numbers)
        return numbers

    def first_alone(
        self, work: Callable[[], _R], group: dist.ProcessGroup | None = None
    ) -> _R | None:
        """Let the first rank do something, and all others wait for it.

        Args:
            work: what the first rank does.
            group: over which to tell; `waiting` if not given, so however long it takes.

        Returns:
            What the work returned, on the first rank; None on the others.

        Raises:
            RewarmError: what the first rank raised, on every rank.
        """
        return self.together(work if self.is_first else lambda: None, group or self.waiting)

    def together(self, work: Callable[[], _R], group: dist.ProcessGroup | None) -> _R:
        """Do something that may fail, and fail on all ranks if it failed on one.

        Args:
            work: what this rank does.
            group: over which to tell.

        Returns:
            What the work of this rank returned.

        Raises:
            Exception: its own, whatever it is.
            RewarmError: if it did not fail itself, that of the lowest rank that did; of an error that is none
                of ours its name and words.
        """
        try:
            done = work()
        except Exception as error:
            with suppress(RankLostError):  # what comes first is why this rank fails
                self.gather([type(error).__name__, str(error)], group)
            raise
        failures = [(rank, told) for rank, told in enumerate(self.gather(None, group)) if told]
        if failures:
            rank, (kind, message) = failures[0]
            raise _error(kind, message, rank)
        return done

    def leave(self) -> None:
        """Part from the others when all is done."""
        if self.size > 1:
            dist.destroy_process_group()

    @contextmanager
    def naming_the_lost(self) -> Generator[None]:
        """Turn the failure of a message among all into an error that says which ranks are missing.

        Raises:
            RankLostError: another rank did not answer.
        """
        try:
            yield
        except Exception as error:
            if self.size > 1 and _is_lost_connection(error):
                raise self._lost(error) from error
            raise

    def _lost(self, error: Exception) -> RankLostError:
        """Say which ranks are missing: those that leave no word of having noticed a loss themselves."""
        reason = " ".join(str(error).split())[:200]
        try:
            missing = ", ".join(f"rank {rank}" for rank in self._without_word())
        except (dist.DistError, RuntimeError) as gone:
            missing = f"the machine of the first rank, which does not answer ({str(gone)[:80]})"
        return RankLostError(
            f"rank {self.rank} got no answer from another rank. Dead or hanging: "
            f"{missing or 'none, so it is the network between them'} ({reason}). The last checkpoint is good, "
            "and the same command goes on from there."
        )

    def _without_word(self) -> list[int]:
        """Leave word that this rank has noticed a loss, and return those that leave none for a while."""
        assert self.store is not None, "only a rank among several can lose one"
        self.store.set(f"noticed/{self.rank}", "")
        deadline = time.monotonic() + _GRACE_SECONDS
        while True:
            silent = [
                rank for rank in range(self.size) if not self.store.check([f"noticed/{rank}"])
            ]
            if not silent or time.monotonic() > deadline:
                return silent
            time.sleep(0.1)


ALONE = Ranks()
"""The only rank there is."""


def join_ranks(device_type: str, timeout_seconds: int) -> Ranks:
    """Join the ranks that the environment speaks of, as torchrun and `--ranks` set it; else be the only one.

    Args:
        device_type: `cpu` or `cuda`.
        timeout_seconds: how long to wait for another rank in a message of all.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    timeout = timedelta(seconds=timeout_seconds)
    if not dist.is_initialized():
        store, rank = _meet(size, timeout)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo",
            store=PrefixStore("ranks", store),
            rank=rank,
            world_size=size,
            timeout=timeout,
        )
    else:
        store, rank = dist.distributed_c10d._get_default_store(), dist.get_rank()
    return Ranks(
        rank=rank,
        size=size,
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        timeout=timeout,
        store=store,
        words=new_group(backend="gloo", timeout=timeout),
        waiting=new_group(backend="gloo", timeout=_PATIENCE),
        saving=new_group(backend="gloo", timeout=_PATIENCE),
    )


def _meet(size: int, timeout: timedelta) -> tuple[Store, int]:
    """Return the store at which the ranks meet, and the number of this one."""
    if STORE in os.environ:
        host, port = os.environ[STORE].rsplit(":", 1)
        store = TCPStore(host, int(port), size, is_master=False, timeout=timeout)
        return store, int(os.environ["RANK"])
    store, rank, _ = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    return store, rank


def new_group(
    ranks: list[int] | None = None,
    *,
    backend: str | None = None,
    timeout: timedelta | None = None,
) -> dist.ProcessGroup:
    """Make a group of ranks; all ranks call this, also those that are not in it.

    Args:
        ranks: all of them if None.
        backend: that of the job if None.
        timeout: that of the backend if None.
    """
    group = dist.new_group(ranks, backend=backend, timeout=timeout)
    return cast(dist.ProcessGroup, group)  # a number stands for a group that this rank is not in


def _is_lost_connection(error: Exception) -> bool:
    """Return whether an error says that another rank did not answer."""
    if isinstance(error, dist.DistError):
        return True
    marks = ("gloo", "NCCL", "Connection closed by peer", "Timed out waiting")
    return type(error) is RuntimeError and any(mark in str(error) for mark in marks)


def _error(kind: str, message: str, rank: int) -> RewarmError:
    """Make the error of another rank anew, by the name of its class."""
    kinds = {k.__name__: k for k in (RewarmError, *RewarmError.__subclasses__())}
    if kind not in kinds:
        return RewarmError(
            f"rank {rank} ended with {kind}: {message}. What it printed has the traceback. After the cause is "
            "mended, the same command goes on from the last checkpoint."
        )
    found = kinds[kind]
    if found.__init__ is not RewarmError.__init__:  # one that takes more than words
        found = RewarmError
    return found(f"rank {rank}: {message}")
