"""Encodes chunks of text, in this process or in a pool of others.

The processes are spawned, never forked. They end when this process closes its end of a pipe, and
the system closes it when this process dies in whatever way: none of them outlives it.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from rewarm.data.chunks import ChunkCounts, ChunkText, encode_chunk
from rewarm.data.encoders import EncoderName, make_encoder
from rewarm.data.tokenizer import Tokenizer, load_tokenizer
from rewarm.errors import DataError, RewarmError

_WAITING_PER_WORKER = 2


def encode_chunks(
    chunks: Iterable[ChunkText], tokenizer: Tokenizer, encoder: EncoderName, workers: int
) -> Iterator[ChunkCounts]:
    """Encode chunks and yield what each added, in their order.

    Args:
        chunks: read as far ahead as the workers need, two for each.
        tokenizer: the reference; each worker loads its file and checks the fingerprint.
        encoder: what encodes.
        workers: processes; 1 encodes in this one, the reference with threads of its own.

    Raises:
        DataError: the encoder has other ids than the reference.
        StorageError: the disk is full or refuses to write.
        RewarmError: a worker died.
    """
    if workers < 1:
        raise DataError(f"{workers} workers can do nothing; give 1 or more.")
    if workers == 1:
        for chunk in chunks:
            yield encode_chunk(tokenizer, make_encoder(tokenizer, encoder), chunk)
        return
    identity = (tokenizer.path, tokenizer.end_of_text_token, tokenizer.fingerprint, encoder)
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(reader,)
    )
    try:
        yield from _in_pool(pool, chunks, identity, workers * _WAITING_PER_WORKER)
        pool.shutdown()
    except BrokenProcessPool as error:
        raise RewarmError(
            f"One of the {workers} encoding processes was ended from outside, most likely for want"
            " of memory. What is finished is kept: run the same command again with fewer workers."
        ) from error
    finally:
        writer.close()
        pool.shutdown(cancel_futures=True)
        reader.close()


_Identity = tuple[Path, str, str, EncoderName]
"""Of an encoder: the tokenizer's file, its end of text, its fingerprint, and which encoder."""


def _in_pool(
    pool: ProcessPoolExecutor, chunks: Iterable[ChunkText], identity: _Identity, num_waiting: int
) -> Iterator[ChunkCounts]:
    """Keep a bounded number of chunks in the pool and yield the results in order."""
    waiting: deque[Future[ChunkCounts]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(_encode_in_worker, identity, chunk))
        if len(waiting) >= num_waiting:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_worker(reader: Connection) -> None:
    """Leave Ctrl-C to the parent, use one thread, and end when the parent lets go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, args=(reader,), daemon=True).start()


def _end_with_parent(reader: Connection) -> None:
    """Wait for the other end of the pipe to close, and end this process at once."""
    reader.poll(None)
    os._exit(1)


def _encode_in_worker(identity: _Identity, chunk: ChunkText) -> ChunkCounts:
    """Encode a chunk in a worker."""
    *same, encoder = identity
    tokenizer = _same_tokenizer(*same)
    return encode_chunk(tokenizer, make_encoder(tokenizer, encoder), chunk)


@lru_cache(maxsize=1)
def _same_tokenizer(path: Path, end_of_text: str, fingerprint: str) -> Tokenizer:
    """Load the tokenizer once a worker, and see that it is the parent's."""
    tokenizer = load_tokenizer(path, end_of_text)
    if tokenizer.fingerprint != fingerprint:
        raise DataError(
            f"{path}: changed while it was in use, so the ids would be mixed. Run the same command"
            " again."
        )
    return tokenizer
