"""Chunks of encoded text: taken over only if they are whole and of the same text."""

import random
from dataclasses import replace

import numpy as np
import pytest
import xxhash

from rewarm.data.chunks import ChunkedDocuments, ChunkText, encode_chunk
from rewarm.errors import DataError


@pytest.fixture
def chunk(tmp_path, sentences):
    texts = sentences(20, 3)
    return ChunkText(
        path=tmp_path / "chunk-00000000",
        texts=texts,
        text_hash=xxhash.xxh3_128_digest("".join(texts).encode()),
        text_bytes=len("".join(texts).encode()),
        read_bytes=77,
    )


def test_a_good_chunk_of_the_same_text_is_used_again(chunk, tokenizer):
    counts = encode_chunk(tokenizer, chunk)
    before = chunk.path.stat()
    assert encode_chunk(tokenizer, chunk) == counts
    assert chunk.path.stat().st_ino == before.st_ino
    assert (counts.documents, counts.text_bytes, counts.read_bytes) == (20, chunk.text_bytes, 77)
    assert counts.tokens == sum(map(len, tokenizer.encode_batch(chunk.texts)))


def test_a_chunk_of_another_text_is_made_anew(chunk, tokenizer):
    encode_chunk(tokenizer, chunk)
    other = replace(chunk, texts=["warm"], text_hash=xxhash.xxh3_128_digest(b"warm"))
    assert encode_chunk(tokenizer, other).documents == 1
    documents = ChunkedDocuments([chunk.path], tokenizer)
    assert [tokenizer.decode(ids[:-1]) for ids in documents.in_order(np.array([0]))] == ["warm"]


def test_a_damaged_chunk_is_made_anew(chunk, tokenizer):
    counts = encode_chunk(tokenizer, chunk)
    good = chunk.path.read_bytes()
    draw = random.Random(4)
    for _ in range(60):
        bit = draw.randrange(8 * len(good))
        content = bytearray(good)
        content[bit // 8] ^= 1 << bit % 8
        chunk.path.write_bytes(content)
        assert encode_chunk(tokenizer, chunk) == counts
        assert chunk.path.read_bytes() == good
    for size in (0, 10, 40, len(good) - 1):
        chunk.path.write_bytes(good[:size])
        assert encode_chunk(tokenizer, chunk) == counts
        assert chunk.path.read_bytes() == good
    chunk.path.write_bytes(good + b"\0")
    encode_chunk(tokenizer, chunk)
    assert chunk.path.read_bytes() == good


def test_documents_come_in_any_order_and_damage_is_found(chunk, tokenizer, monkeypatch):
    monkeypatch.setattr("rewarm.data.chunks._BATCH_DOCUMENTS", 7)
    second = replace(chunk, path=chunk.path.with_name("chunk-00000001"), texts=["warm", "again"])
    texts = []
    for each in (chunk, second):
        encode_chunk(tokenizer, each)
        texts += each.texts
    documents = ChunkedDocuments([chunk.path, second.path], tokenizer)
    assert len(documents) == 22
    order = np.array([21, 0, 20, *range(19, 0, -1)])
    found = [tokenizer.decode(ids[:-1]) for ids in documents.in_order(order)]
    assert found == [texts[number] for number in order]
    content = bytearray(second.path.read_bytes())
    content[-1] ^= 1
    second.path.write_bytes(content)
    list(documents.in_order(np.arange(21)))
    with pytest.raises(DataError, match="chunk-00000001: damaged"):
        list(documents.in_order(np.arange(22)))
