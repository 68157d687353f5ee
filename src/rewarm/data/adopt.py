"""Token files of others, adopted where they lie: counted, hashed, and described by a manifest beside them.

Nothing is copied and no file is touched. With the manifest they are a token store like any other.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from rewarm.data.files import map_plain_file
from rewarm.data.hashed_tokens import highest_id, ids_within
from rewarm.data.layouts.contents import Contents, OpenedFile
from rewarm.data.layouts.reading import read_contents
from rewarm.data.layouts.recognise import REMEDY, FoundShard, recognise
from rewarm.data.manifest import ADOPTED_SUFFIX, Manifest
from rewarm.data.manifest_file import read_manifest
from rewarm.data.progress import Progress, ProgressCallback
from rewarm.data.shard_record import INTEGERS, ShardRecord, StoredFile
from rewarm.data.tokenizer import Tokenizer
from rewarm.data.writer import BLOCK_BYTES
from rewarm.errors import DataError, MismatchError
from rewarm.storage import write_whole


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What adopting came to."""

    path: Path
    """The manifest."""
    manifest: Manifest
    """Its content."""
    is_new: bool
    """Whether it was written now; the same one may have been there."""
    ends: int
    """How often the end-of-text id occurs."""


def adopt(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    *,
    dtype: str | None = None,
    out: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> Adopted:
    """Write the manifest of token files that others have written.

    Args:
        paths: the files, prefixes of pairs or folders, in the order in which they are read as one.
        tokenizer: what made the ids; its end of text parts the documents of flat files.
        dtype: type of the ids of flat files, which do not say it.
        out: the manifest; the folder that has all files, and what their names begin with, by default.
        on_progress: called after each block.

    Raises:
        DataError: files that are not what they seem, ids outside the vocabulary, or no end of text
            where only that parts the documents.
        MismatchError: there is another manifest already.
        StorageError: the manifest cannot be written.
    """
    found = recognise([Path(os.path.abspath(path)) for path in paths])  # noqa: PTH100 - keeps links
    _check_dtype(found, dtype)
    path = _manifest_path(found, out)
    total_bytes = sum(each.files[0].stat().st_size for each in found)
    done_bytes = documents = done_tokens = ends = 0

    def report(num_bytes: int) -> None:
        if on_progress is not None:
            on_progress(
                Progress(
                    phase="adopt",
                    done_bytes=done_bytes + num_bytes,
                    total_bytes=total_bytes,
                    documents=documents,
                    tokens=done_tokens,
                )
            )

    shards: list[ShardRecord] = []
    for each in found:
        record, num_ends = _record(each, path.parent, tokenizer, dtype, report)
        shards.append(record)
        done_bytes += record.files[0].num_bytes
        documents += record.documents
        done_tokens += record.tokens
        ends += num_ends
    if ends == 0 and any(record.layout in ("flat", "npy") for record in shards):
        raise DataError(
            f"{path.parent}: the end-of-text id {tokenizer.end_of_text} occurs nowhere, so where"
            " documents end is not known. Name the tokenizer that made the ids, and its end of text"
            " with --end-of-text."
        )
    manifest = Manifest(
        vocabulary=tokenizer.vocabulary,
        end_of_text=tokenizer.end_of_text,
        tokenizer=tokenizer.fingerprint,
        document_seed=None,
        text_bytes=None,
        provenance=[],
        block_bytes=BLOCK_BYTES,
        shards=shards,
    )
    is_new = not path.exists()
    if is_new:
        write_whole(path, manifest.to_bytes())
    elif (before := read_manifest(path)) != manifest:
        raise MismatchError(
            f"{path}: is the manifest of something else: {'; '.join(_differences(before, manifest))}."
            " Give another with --out; or delete it if it is not needed any more, which ends the runs"
            " that read it."
        )
    return Adopted(path=path, manifest=manifest, is_new=is_new, ends=ends)


def _check_dtype(found: Sequence[FoundShard], dtype: str | None) -> None:
    """Refuse a type that is missing, not needed, or none."""
    flat = next((each.files[0] for each in found if each.layout == "flat"), None)
    if flat is not None and dtype is None:
        raise DataError(
            f"{flat}: is a flat file, which does not say the type of its ids. Name it, such as"
            " --dtype uint16; or if it is one of a pair, bring its .idx beside it."
        )
    if dtype is not None and dtype not in INTEGERS:
        raise DataError(f"--dtype {dtype}: is not one of {', '.join(INTEGERS)}.")
    if dtype is not None and flat is None:
        raise DataError(
            f"--dtype {dtype}: the files say the type of their ids themselves. Leave it out."
        )


def _manifest_path(found: Sequence[FoundShard], out: Path | None) -> Path:
    """Return where the manifest goes: beside the files, or in a folder above them."""
    files = [file for each in found for file in each.files]
    if out is None:
        folder = Path(os.path.commonpath([file.parent for file in files]))
        stems = [each.files[0].name.removesuffix(each.files[0].suffix) for each in found]
        stem = stems[0]
        if len(stems) > 1:
            shared = os.path.commonprefix(stems)  # noqa: RUF071 - of names, letter by letter
            stem = shared.rstrip("-_.0123456789") or folder.name or "tokens"
        return folder / (stem + ADOPTED_SUFFIX)
    path = Path(os.path.abspath(out))  # noqa: PTH100 - keeps links
    if not path.name.endswith(ADOPTED_SUFFIX):
        raise DataError(f"--out {out}: must end in {ADOPTED_SUFFIX}, by which it is known.")
    outside = next((file for file in files if not file.is_relative_to(path.parent)), None)
    if outside is not None:
        raise DataError(
            f"--out {out}: {outside} lies outside its folder, and a manifest names only what lies in"
            " its own. Put it into a folder that has all the files."
        )
    return path


def _record(
    found: FoundShard,
    folder: Path,
    tokenizer: Tokenizer,
    dtype: str | None,
    report: Callable[[int], None],
) -> tuple[ShardRecord, int]:
    """Return what the manifest says of a shard, and how often the end-of-text id occurs in it."""
    files = [
        OpenedFile(path=path, data=map_plain_file(folder, _name(path, folder), REMEDY))
        for path in found.files
    ]
    contents = read_contents(found.layout, files, dtype)
    if contents.tokens == 0:
        raise DataError(f"{files[0].path}: holds no tokens. Leave it out.")
    ends, blocks, whole = 0, list[str](), xxhash.xxh3_128()
    for block, num_ends, num_bytes in _blocks(files[0], contents, tokenizer):
        blocks.append(xxhash.xxh3_64_hexdigest(block))
        whole.update(block)
        ends += num_ends
        report(num_bytes)
    last = np.frombuffer(files[0].data[-contents.dtype.itemsize :], contents.dtype)[0]
    parted = ends + int(last != tokenizer.end_of_text)  # the last document ends with the file
    hashes = [whole.hexdigest(), *(xxhash.xxh3_128_hexdigest(file.data) for file in files[1:])]
    record = ShardRecord(
        layout=found.layout,
        dtype=contents.dtype.name,
        tokens=contents.tokens,
        documents=contents.num_documents or parted,
        sequences=contents.num_sequences or parted,
        files=[
            StoredFile(name=_name(file.path, folder), num_bytes=len(file.data), xxh3_128=digest)
            for file, digest in zip(files, hashes, strict=True)
        ],
        blocks=blocks,
    )
    return record, ends


def _name(path: Path, folder: Path) -> str:
    """Return how a manifest in a folder names a file."""
    return path.relative_to(folder).as_posix()


def _blocks(
    tokens: OpenedFile, contents: Contents, tokenizer: Tokenizer
) -> Iterator[tuple[memoryview, int, int]]:
    """Yield each block, how often the end of text occurs in it, and the bytes up to its end.

    Raises:
        DataError: an id is outside the vocabulary.
    """
    ids = np.frombuffer(tokens.data, contents.dtype, offset=contents.first_byte)
    for start in range(0, len(tokens.data), BLOCK_BYTES):
        stop = min(start + BLOCK_BYTES, len(tokens.data))
        here = ids_within(ids, contents.first_byte, start, stop)
        if (highest := highest_id(here)) >= tokenizer.vocabulary:
            raise DataError(
                f"{tokens.path}: holds the id {highest} between bytes {start:,} and {stop:,}, outside"
                f" the vocabulary of {tokenizer.vocabulary:,} entries. Name the tokenizer that made"
                " the ids, and for a flat file the type that it was written in."
            )
        yield tokens.data[start:stop], int(np.count_nonzero(here == tokenizer.end_of_text)), stop


def _differences(before: Manifest, now: Manifest) -> Iterator[str]:
    """Yield what differs between two manifests."""
    for name in ("tokenizer", "vocabulary", "end_of_text", "tokens", "documents"):
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            yield f"{name} {str(old)[:20]}, now {str(new)[:20]}"
    old_files, new_files = (
        [file for shard in each.shards for file in shard.files] for each in (before, now)
    )
    changed = [file.name for file in new_files if file not in old_files]
    changed += [f"without {file.name}" for file in old_files if file not in new_files]
    if changed:
        yield "other files or content: " + ", ".join(changed[:3])
    elif old_files != new_files:
        yield "the files are in another order"
