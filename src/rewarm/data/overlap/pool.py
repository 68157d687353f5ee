"""All training documents against the index, in this process or in several.

Tasks are runs of documents; what they find comes back in the order of the documents, so that the result
depends on the tokens alone.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from rewarm.data.overlap.decoding import Decode, decoder
from rewarm.data.overlap.index import ValidationIndex, batches
from rewarm.data.overlap.scan import Hits, scan
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import Tokenizer, load_tokenizer
from rewarm.errors import DataError, RewarmError

_TASK_TOKENS = 1 << 20
_WAITING_PER_WORKER = 2


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Some documents of a store."""

    source: str
    folder: Path
    first: int
    last: int


def scan_all(
    stores: Mapping[str, TokenStore], index: ValidationIndex, tokenizer: Tokenizer, workers: int
) -> Iterator[tuple[str, Hits]]:
    """Yield what each batch of training documents has, with its source, in order.

    Args:
        stores: the training tokens by source.
        index: what to look for; every worker has a copy.
        tokenizer: what made the tokens.
        workers: processes; 1 works in this one.

    Raises:
        DataError: a store is damaged, or changed meanwhile.
        RewarmError: a worker died.
    """
    if workers < 1:
        raise DataError(f"{workers} workers can do nothing; give 1 or more.")
    tasks = [task for source, store in stores.items() for task in _tasks(source, store)]
    if workers == 1:
        decode = decoder(tokenizer)
        for task in tasks:
            store = stores[task.source]
            for batch in batches(store, decode, task.first, task.last):
                yield task.source, scan(batch, index)
        return
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(reader, index, tokenizer.path, tokenizer.end_of_text_token),
    )
    waiting: deque[tuple[_Task, Future[list[Hits]]]] = deque()
    try:
        for task in tasks:
            fingerprint = stores[task.source].manifest.fingerprint
            waiting.append((task, pool.submit(_scan_in_worker, task, fingerprint)))
            if len(waiting) >= workers * _WAITING_PER_WORKER:
                yield from _finished(*waiting.popleft())
        while waiting:
            yield from _finished(*waiting.popleft())
        pool.shutdown()
    except BrokenProcessPool as error:
        raise RewarmError(
            f"One of the {workers} comparing processes was ended from outside, most likely for want of "
            "memory. Run the same command again with fewer workers."
        ) from error
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


def _tasks(source: str, store: TokenStore) -> Iterator[_Task]:
    """Cut a store into runs of documents of about equal size."""
    documents = max(1, store.documents * _TASK_TOKENS // store.tokens)
    for first in range(0, store.documents, documents):
        last = min(first + documents, store.documents)
        yield _Task(source=source, folder=store.place, first=first, last=last)


def _finished(task: _Task, future: Future[list[Hits]]) -> Iterator[tuple[str, Hits]]:
    """Wait for a task and yield what it found."""
    for hits in future.result():
        yield task.source, hits


@dataclass(frozen=True)
class _Worker:
    """What a worker process keeps."""

    index: ValidationIndex
    decode: Decode
    stores: dict[Path, TokenStore]


_workers: list[_Worker] = []
"""The one of this process; a pool has no other way to give its processes something to keep."""


def _start_worker(
    reader: Connection, index: ValidationIndex, tokenizer: Path, end_of_text: str
) -> None:
    """Leave Ctrl-C to the parent, end when the parent lets go, and keep the index."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, args=(reader,), daemon=True).start()
    _workers.append(_Worker(index, decoder(load_tokenizer(tokenizer, end_of_text)), {}))


def _end_with_parent(reader: Connection) -> None:
    """Wait for the other end of the pipe to close, and end this process at once."""
    reader.poll(None)
    os._exit(1)


def _scan_in_worker(task: _Task, fingerprint: str) -> list[Hits]:
    """Look for the validation text in some documents."""
    (worker,) = _workers
    if task.folder not in worker.stores:
        worker.stores[task.folder] = TokenStore.open(task.folder)
    store = worker.stores[task.folder]
    if store.manifest.fingerprint != fingerprint:
        raise DataError(
            f"{task.folder}: changed while it was read, so the result would be of no one text. Run the same "
            "command again when it has settled."
        )
    return [
        scan(batch, worker.index) for batch in batches(store, worker.decode, task.first, task.last)
    ]
