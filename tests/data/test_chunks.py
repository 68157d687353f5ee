"""Chunks of encoded text: taken over only if they are whole and of the same text."""

import random
from dataclasses import replace

import numpy as np
import pytest

from rewarm.data import chunks
from rewarm.data.chunks import ChunkedDocuments, ChunkText
from rewarm.data.encoders import make_encoder
from rewarm.errors import DataError


def chunk_of(path, texts, ends=None):
    contents = [text.encode() for text in texts]
    return ChunkText(
        path=path,
        content=b"".join(contents),
        sizes=[len(content) for content in contents],
        ends=ends or [True] * len(texts),
        read_bytes=77,
    )


def encode_chunk(tokenizer, chunk):
    return chunks.encode_chunk(tokenizer, make_encoder(tokenizer, "tiktoken"), chunk)


def whole(documents):
    for document in documents:
        yield document if isinstance(document, np.ndarray) else np.concatenate([*document])


@pytest.fixture
def chunk(tmp_path, sentences):
    return chunk_of(tmp_path / "chunk-00000000", sentences(20, 3))


def test_a_good_chunk_of_the_same_text_is_used_again(chunk, tokenizer):
    counts = encode_chunk(tokenizer, chunk)
    before = chunk.path.stat()
    assert encode_chunk(tokenizer, chunk) == counts
    assert chunk.path.stat().st_ino == before.st_ino
    text_bytes = len(chunk.content)
    assert (counts.documents, counts.text_bytes, counts.read_bytes) == (20, text_bytes, 77)
    assert counts.tokens == sum(map(len, tokenizer.encode_batch(chunk.texts())))


def test_a_chunk_of_another_text_is_made_anew(chunk, tokenizer):
    encode_chunk(tokenizer, chunk)
    other = chunk_of(chunk.path, ["warm"])
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


def test_the_same_text_with_other_borders_is_another_text(chunk):
    sizes = [*chunk.sizes[1:], chunk.sizes[0]]
    others = [replace(chunk, sizes=sizes), replace(chunk, ends=[True] * 19 + [False])]
    assert chunk.text_hash() not in [other.text_hash() for other in others]


@pytest.mark.parametrize("window_bytes", [1, 100, 1 << 20])
def test_documents_come_in_any_order_and_damage_is_found(
    chunk, tokenizer, monkeypatch, window_bytes
):
    """The last document begins in the second chunk, fills the third and ends in the fourth."""
    monkeypatch.setattr("rewarm.data.chunks._WINDOW_BYTES", window_bytes)
    ends = [[True, False], [False], [True, True]]
    parts = [["warm", "again and"], [" again and again"], [" old", "new"]]
    paths = [chunk.path]
    encode_chunk(tokenizer, chunk)
    for number, (end, part) in enumerate(zip(ends, parts, strict=True), 1):
        paths.append(chunk.path.with_name(f"chunk-{number:08d}"))
        encode_chunk(tokenizer, chunk_of(paths[-1], part, end))
    texts = [*chunk.texts(), "warm", "again and again and again old", "new"]
    documents = ChunkedDocuments(paths, tokenizer)
    assert len(documents) == 23
    order = np.array([22, 0, 21, *range(20, 0, -1)])
    found = []
    for ids in whole(documents.in_order(order)):
        assert (ids == tokenizer.end_of_text).tolist() == [False] * (len(ids) - 1) + [True]
        found.append(tokenizer.decode(ids[:-1]))
    assert found == [texts[number] for number in order]
    content = bytearray(paths[-1].read_bytes())
    content[-1] ^= 1
    paths[-1].write_bytes(content)
    list(whole(documents.in_order(np.arange(21))))
    with pytest.raises(DataError, match="chunk-00000003: damaged"):
        list(whole(documents.in_order(np.arange(23))))


class Wrong:
    """An encoder that gives other ids."""

    def encode(self, texts):
        return [np.zeros(3, np.uint16) for _ in texts]


def test_other_ids_than_the_reference_are_noticed_in_every_chunk(chunk, tokenizer):
    with pytest.raises(DataError, match=r"has other ids.*--encoder reference"):
        chunks.encode_chunk(tokenizer, Wrong(), chunk)
    assert not chunk.path.exists()
