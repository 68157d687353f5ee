"""The manifest: any change is noticed, and it cannot lead out of its folder."""

import json
from dataclasses import replace

import pytest

from rewarm.data.manifest import sealed
from rewarm.data.shard_record import StoredFile
from rewarm.data.store import TokenStore, read_manifest
from rewarm.errors import DataError


@pytest.fixture
def manifest(tmp_path, write):
    return write(tmp_path, [[5, 6, 0], [7, 0]])


def test_a_manifest_comes_back_as_it_was_written(tmp_path, manifest):
    assert read_manifest(tmp_path) == manifest
    assert (manifest.tokens, manifest.documents, manifest.text_bytes) == (5, 2, 123)
    assert manifest.provenance == [{"file": "a.txt", "bytes": 123}]


def test_every_flipped_bit_is_found(tmp_path, manifest):
    path = tmp_path / "manifest.json"
    good = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for bit in range(8 * len(good)):
            file.seek(bit // 8)
            file.write(bytes([good[bit // 8] ^ 1 << bit % 8]))
            with pytest.raises(DataError, match=r"manifest\.json"):
                read_manifest(tmp_path)
            file.seek(bit // 8)
            file.write(good[bit // 8 : bit // 8 + 1])
    assert read_manifest(tmp_path) == manifest


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_manifest_that_is_cut_short_is_found(tmp_path, size):
    path = tmp_path / "manifest.json"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="damaged or changed by hand"):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_is_not_prepared(tmp_path):
    with pytest.raises(DataError, match="not prepared, or the preparation was stopped"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "name", ["../tokens.bin", "/etc/passwd", "..", ".", "", "a/../b", "a//b", "./a", "a\\b", "a\0b"]
)
def test_a_file_name_that_leads_out_of_the_folder_is_refused(tmp_path, manifest, name):
    (shard,) = manifest.shards
    files = [replace(shard.files[0], name=name), shard.files[1]]
    change = replace(manifest, shards=[replace(shard, files=files)])
    (tmp_path / "manifest.json").write_bytes(change.to_bytes())
    with pytest.raises(DataError, match="leads out of the folder"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vocabulary": True}, "`vocabulary` is True"),
        ({"end_of_text": 100}, "not in the vocabulary"),
        ({"tokenizer": ""}, "`tokenizer`"),
        ({"text_bytes": -1}, "`text_bytes` is -1"),
        ({"block_bytes": 12}, "multiple of 8"),
        ({"shards": []}, "`shards` is empty"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path, manifest, change, reason):
    """These have the right hash inside: they are wrong, not damaged."""
    (tmp_path / "manifest.json").write_bytes(replace(manifest, **change).to_bytes())
    with pytest.raises(DataError, match=reason):
        read_manifest(tmp_path)


FILE = StoredFile(name="c.bin", num_bytes=10, xxh3_128="0")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layout": "parquet"}, "`layout` is 'parquet'"),
        ({"dtype": "float32"}, "`dtype` is 'float32'"),
        ({"dtype": "int32"}, "tokens.bin does not fit"),
        ({"tokens": 4}, "tokens.bin does not fit"),
        ({"tokens": "5"}, "`tokens` is '5'"),
        ({"documents": 0}, "`documents` is 0"),
        ({"sequences": 0}, "`sequences` is 0"),
        ({"blocks": []}, "number of `blocks`"),
        ({"blocks": [1]}, "list of hashes"),
        ({"files": []}, "0 files do not make a shard of layout megatron"),
        ({"files": [FILE]}, "1 files do not make"),
        ({"files": [FILE] * 3}, "same name"),
        ({"layout": "npy"}, "2 files do not make a shard of layout npy"),
    ],
)
def test_a_shard_that_contradicts_itself_is_refused(tmp_path, manifest, change, reason):
    shards = [replace(manifest.shards[0], **change)]
    (tmp_path / "manifest.json").write_bytes(replace(manifest, shards=shards).to_bytes())
    with pytest.raises(DataError, match=reason):
        read_manifest(tmp_path)


def test_another_format_is_refused(tmp_path, manifest):
    content = {**json.loads(manifest.to_bytes()), "format": 3}
    del content["sha256"]
    (tmp_path / "manifest.json").write_bytes(sealed(content))
    with pytest.raises(DataError, match="format 3, this version of rewarm reads formats 1 and 2"):
        read_manifest(tmp_path)


# A store of format 1 of the documents [5, 6, 0] and [7, 0], as the version before wrote it, and the
# fingerprint that its checkpoints name.
FORMAT_1 = {
    "block_bytes": 67108864,
    "blocks": ["97afec6671cca377"],
    "document_seed": 7,
    "documents": 2,
    "dtype": "uint16",
    "end_of_text": 0,
    "files": {
        "tokens.bin": {"bytes": 10, "xxh3_128": "2b83f63240c1c4814513a0b2e3cd2853"},
        "tokens.idx": {"bytes": 82, "xxh3_128": "f2b637ce7360945cd7855f0760064815"},
    },
    "format": 1,
    "provenance": [{"bytes": 123, "file": "a.txt"}],
    "text_bytes": 123,
    "tokenizer": "f" * 64,
    "tokens": 5,
    "vocabulary": 100,
}
FINGERPRINT = "3dcaefe00d8af4d8259e6510115818f922625717e7b3b17a156ef4791aa73e6a"


def test_a_store_of_format_1_is_read_and_has_its_fingerprint(tmp_path, manifest):
    assert manifest.fingerprint == FINGERPRINT
    (tmp_path / "manifest.json").write_bytes(sealed(FORMAT_1))
    assert read_manifest(tmp_path) == manifest
    assert TokenStore.open(tmp_path).document(1).tolist() == [7, 0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"files": {}}, "`files` is not a table of tokens.bin and tokens.idx"),
        ({"files": []}, "`files`"),
        ({"files": {"tokens.bin": 1, "tokens.idx": 1}}, "a file is not"),
        ({"blocks": 1}, "`blocks` is 1"),
        ({"provenance": ["a"]}, "`provenance` is not a list of tables"),
        ({"shards": []}, "wrong keys: shards"),
        ({"documents": True}, "`documents` is True"),
    ],
)
def test_a_manifest_of_format_1_that_contradicts_itself_is_refused(tmp_path, change, reason):
    (tmp_path / "manifest.json").write_bytes(sealed({**FORMAT_1, **change}))
    with pytest.raises(DataError, match=reason):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "content", [b"[]", b"[" * 100_000, b"\xff", b"9" * 10_000, b'{"format":1}']
)
def test_other_json_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_the_fingerprint_is_of_the_tokens_and_not_of_where_they_are(tmp_path, manifest, write):
    again = write(tmp_path / "elsewhere", [[5, 6, 0], [7, 0]])
    assert again.fingerprint == manifest.fingerprint
    assert replace(manifest, provenance=[], text_bytes=1).fingerprint == manifest.fingerprint
    other = write(tmp_path / "other", [[7, 0], [5, 6, 0]])
    assert other.fingerprint != manifest.fingerprint
    assert replace(manifest, tokenizer="e").fingerprint != manifest.fingerprint
