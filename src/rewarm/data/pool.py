"""A function applied to many things by other processes or threads, in bounded memory and in order.

The processes are spawned, never forked. They end when this process closes its end of a pipe, and
the system closes it when this process dies in whatever way: none of them outlives it. Threads start
at once and share what is loaded, but work side by side only while they are outside of Python.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from rewarm.errors import RewarmError

_WAITING_PER_WORKER = 2
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def applied(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int,
    *,
    begin: Callable[..., None] | None = None,
    begin_with: tuple[Any, ...] = (),
    if_killed: str,
) -> Iterator[_Result]:
    """Yield what a function returns for each item, in their order.

    Args:
        work: what the workers do; it, the items and the results must be picklable.
        items: read as far ahead as the workers need, two for each.
        workers: processes, at least 1.
        begin: called once in each worker before all work.
        begin_with: its arguments.
        if_killed: what to tell a user when the system has ended a worker.

    Raises:
        RewarmError: a worker died.
    """
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(reader, begin, begin_with),
    )
    try:
        yield from _in_order(pool, work, items, workers)
        pool.shutdown()
    except BrokenProcessPool as error:
        raise RewarmError(if_killed) from error
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


def applied_by_threads(
    work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Iterator[_Result]:
    """Yield what a function returns for each item, in their order.

    Args:
        work: what the threads do, all of them at the same time.
        items: read as far ahead as the threads need, two for each.
        workers: threads, at least 1.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        yield from _in_order(pool, work, items, workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: Executor, work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Iterator[_Result]:
    """Yield the results in the order of the items, with some of them under way."""
    waiting: deque[Future[_Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= workers * _WAITING_PER_WORKER:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_worker(
    reader: Connection, begin: Callable[..., None] | None, begin_with: tuple[Any, ...]
) -> None:
    """Leave Ctrl-C to the parent, use one thread, and end when the parent lets go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, args=(reader,), daemon=True).start()
    if begin is not None:
        begin(*begin_with)


def _end_with_parent(reader: Connection) -> None:
    """Wait for the other end of the pipe to close, and end this process at once."""
    reader.poll(None)
    os._exit(1)
