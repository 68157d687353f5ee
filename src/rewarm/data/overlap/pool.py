"""All training documents against the index, in this process or in several.

Tasks are runs of documents; what they find comes back in the order of the documents, so that the result
depends on the tokens alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rewarm.data.overlap.decoding import Decode, decoder
from rewarm.data.overlap.index import ValidationIndex, batches
from rewarm.data.overlap.scan import Hits, scan
from rewarm.data.pool import applied
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import Tokenizer, load_tokenizer
from rewarm.errors import DataError

_TASK_TOKENS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class _Task:
    """Some documents of a store."""

    source: str
    folder: Path
    fingerprint: str
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
    found = applied(
        _scan_in_worker,
        tasks,
        workers,
        begin=_begin,
        begin_with=(index, tokenizer.path, tokenizer.end_of_text_token),
        if_killed=f"One of the {workers} comparing processes was ended from outside, most likely for want of "
        "memory. Run the same command again with fewer workers.",
    )
    for task, several in zip(tasks, found, strict=True):
        for hits in several:
            yield task.source, hits


def _tasks(source: str, store: TokenStore) -> Iterator[_Task]:
    """Cut a store into runs of documents of about equal size."""
    documents = max(1, store.documents * _TASK_TOKENS // store.tokens)
    for first in range(0, store.documents, documents):
        last = min(first + documents, store.documents)
        yield _Task(
            source=source,
            folder=store.place,
            fingerprint=store.manifest.fingerprint,
            first=first,
            last=last,
        )


@dataclass(frozen=True)
class _Worker:
    """What a worker process keeps."""

    index: ValidationIndex
    decode: Decode
    stores: dict[Path, TokenStore]


_workers: list[_Worker] = []
"""The one of this process; a pool has no other way to give its processes something to keep."""


def _begin(index: ValidationIndex, tokenizer: Path, end_of_text: str) -> None:
    """Keep in a worker what all its tasks need."""
    _workers.append(_Worker(index, decoder(load_tokenizer(tokenizer, end_of_text)), {}))


def _scan_in_worker(task: _Task) -> list[Hits]:
    """Look for the validation text in some documents."""
    (worker,) = _workers
    if task.folder not in worker.stores:
        worker.stores[task.folder] = TokenStore.open(task.folder)
    store = worker.stores[task.folder]
    if store.manifest.fingerprint != task.fingerprint:
        raise DataError(
            f"{task.folder}: changed while it was read, so the result would be of no one text. Run the same "
            "command again when it has settled."
        )
    return [
        scan(batch, worker.index) for batch in batches(store, worker.decode, task.first, task.last)
    ]
