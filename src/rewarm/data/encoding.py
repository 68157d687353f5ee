"""Encodes chunks of text: tiktoken in threads, the reference in other processes.

tiktoken works on a whole chunk outside of Python, so threads are as fast as processes and need
neither a start nor copies of text and tokenizer. The reference hands out its ids as Python lists,
which one thread at a time can take.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path

from rewarm.data.chunks import ChunkCounts, ChunkText, encode_chunk
from rewarm.data.encoders import EncoderName, make_encoder
from rewarm.data.pool import applied, applied_by_threads
from rewarm.data.tokenizer import Tokenizer, load_tokenizer
from rewarm.errors import DataError


def encode_chunks(
    chunks: Iterable[ChunkText], tokenizer: Tokenizer, encoder: EncoderName, workers: int
) -> Iterator[ChunkCounts]:
    """Encode chunks and yield what each added, in their order.

    Args:
        chunks: read as far ahead as the workers need, two for each.
        tokenizer: the reference; each process loads its file and checks the fingerprint.
        encoder: what encodes.
        workers: threads or processes; 1 encodes in this thread, the reference with threads of its
            own.

    Raises:
        DataError: the encoder has other ids than the reference.
        StorageError: the disk is full or refuses to write.
        RewarmError: a worker died.
    """
    if workers < 1:
        raise DataError(f"{workers} workers can do nothing; give 1 or more.")
    encode = partial(encode_chunk, tokenizer, make_encoder(tokenizer, encoder))
    chunks = iter(chunks)
    first = list(islice(chunks, 2))
    chunks = chain(first, chunks)
    # Starting processes takes longer than encoding a single chunk.
    if workers == 1 or len(first) < 2:
        yield from map(encode, chunks)
        return
    if encoder == "tiktoken":
        yield from applied_by_threads(encode, chunks, workers)
        return
    identity = (tokenizer.path, tokenizer.end_of_text_token, tokenizer.fingerprint)
    yield from applied(
        partial(_encode_in_worker, identity),
        chunks,
        workers,
        if_killed=f"One of the {workers} encoding processes was ended from outside, most likely for want of "
        "memory. What is finished is kept: run the same command again with fewer workers.",
    )


def _encode_in_worker(identity: tuple[Path, str, str], chunk: ChunkText) -> ChunkCounts:
    """Encode a chunk with the reference, in another process."""
    tokenizer = _same_tokenizer(*identity)
    return encode_chunk(tokenizer, tokenizer, chunk)


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
