"""The manifest: any change is noticed, and it cannot lead out of its folder."""

from dataclasses import replace

import pytest

from rewarm.data.store import StoredFile, read_manifest
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
    "name", ["../tokens.bin", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\0b"]
)
def test_a_file_name_that_leads_out_of_the_folder_is_refused(tmp_path, manifest, name):
    files = {name: StoredFile(num_bytes=10, xxh3_128="0")}
    (tmp_path / "manifest.json").write_bytes(replace(manifest, files=files).to_bytes())
    with pytest.raises(DataError, match="leads out of the folder"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2, this version of rewarm reads format 1"),
        ({"vocabulary": 70_000}, "`dtype` does not fit"),
        ({"vocabulary": True}, "`vocabulary` is True"),
        ({"end_of_text": 100}, "not in the vocabulary"),
        ({"documents": 0}, "`documents` is 0"),
        ({"documents": 3}, "tokens.idx does not fit"),
        ({"documents": 6}, "fewer tokens"),
        ({"tokens": 4}, "tokens.bin does not fit"),
        ({"tokens": "5"}, "`tokens` is '5'"),
        ({"tokenizer": ""}, "`tokenizer`"),
        ({"block_bytes": 6}, "multiple of 4"),
        ({"blocks": []}, "number of `blocks`"),
        ({"blocks": [1]}, "list of hashes"),
        ({"files": {}}, "`files` names"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path, manifest, change, reason):
    """These have the right hash inside: they are wrong, not damaged."""
    (tmp_path / "manifest.json").write_bytes(replace(manifest, **change).to_bytes())
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
