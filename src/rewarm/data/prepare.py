"""Prepares one split of a dataset: text to tokens, in a permuted order, in a token store.

Two passes. The first encodes chunks of text into files in `.partial`; a rerun after any stop takes
them over. The second writes the documents in their final order. The bytes depend on the text, the
tokenizer and the seed alone; not on workers or stops. Needs twice the disk space of the tokens.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rewarm.data.chunks import ChunkedDocuments, ChunkText
from rewarm.data.documents import TextSource, read_documents
from rewarm.data.encoders import EncoderChoice, EncoderName, Wanted, choose_encoder
from rewarm.data.encoding import encode_chunks
from rewarm.data.files import make_folder
from rewarm.data.index import token_dtype
from rewarm.data.manifest import MANIFEST
from rewarm.data.order import document_order
from rewarm.data.pieces import cut_documents
from rewarm.data.progress import Progress, ProgressCallback
from rewarm.data.rejects import Rejects
from rewarm.data.split_patterns import can_be_cut
from rewarm.data.split_report import SplitReport, write_report
from rewarm.data.store import Manifest, TokenStore, write_store
from rewarm.data.tokenizer import Tokenizer
from rewarm.errors import DataError, MismatchError
from rewarm.storage import held, storage_errors, write_whole

__all__ = ["Progress", "prepare_split"]

CHUNK_BYTES = 1 << 22
"""Text of a chunk: it is full once it has this many bytes, 4 MiB."""

_PARTIAL = ".partial"
_RECIPE = "recipe.json"
_SHOWN_DIFFERENCES = 5


@dataclass(frozen=True, kw_only=True)
class _Recipe:
    """What the bytes of a store depend on, as far as it shows without reading the text."""

    provenance: Sequence[Mapping[str, Any]]
    tokenizer: str
    end_of_text: int
    document_seed: int


def prepare_split(  # noqa: PLR0913 - keyword-only, and each is an option of its own
    source: TextSource,
    folder: Path,
    tokenizer: Tokenizer,
    *,
    document_seed: int,
    workers: int,
    encoder: Wanted = "auto",
    on_encoder: Callable[[EncoderChoice], None] | None = None,
    rejects: Rejects | None = None,
    on_progress: ProgressCallback | None = None,
) -> Manifest:
    """Make the token store of one split; return at once if it is there already.

    Args:
        source: the text.
        folder: where the store goes; made if it is missing.
        tokenizer: what encodes the text.
        document_seed: what the documents' order is drawn with, in [0, 2⁶⁴).
        workers: threads or processes that encode; 1 encodes in this thread.
        encoder: which encoder to use; the ids do not depend on it.
        on_encoder: told which is used, if there is anything to encode.
        rejects: how many bad rows may be left out, and where they are counted; none if not given.
        on_progress: called after each chunk, then while the store is written.

    Returns:
        The manifest of the finished store.

    Raises:
        DataError: text that cannot be used, with its file and line; or the finished store is
            damaged.
        MismatchError: the finished store was made from other files, or with another tokenizer or
            seed.
        StorageError: the disk is full or refuses to write; a rerun goes on from there.
        LockedError: another process is preparing this folder.
    """
    recipe = _recipe(source, tokenizer, document_seed)
    finished = _finished(folder, recipe)
    if finished is not None and not (folder / _PARTIAL).exists():
        return finished
    make_folder(folder)
    with held(folder / ".lock", "is preparing this folder. Wait until it has ended."):
        # Another process may have finished it before this one got the lock.
        finished = _finished(folder, recipe)
        if finished is None:
            _keep_or_clear(folder / _PARTIAL, recipe)
            report = on_progress or _say_nothing
            rejects = rejects or Rejects()
            sample = source.documents(Rejects(rejects.limit))
            chosen = choose_encoder(tokenizer, sample, encoder)
            if on_encoder is not None:
                on_encoder(chosen)
            encoded = _encode(
                _chunks(source, folder / _PARTIAL, tokenizer, rejects),
                source.num_bytes(),
                tokenizer,
                chosen.name,
                workers,
                report,
            )
            if _recipe(source, tokenizer, document_seed) != recipe:
                raise DataError(
                    f"{folder}: the source changed while it was read, so the tokens would be of"
                    " no one text. Run the same command again when it has settled."
                )
            # First: a manifest ends the work.
            write_report(folder, encoded.report(rejects, chosen))
            finished = _write(folder, encoded, tokenizer, recipe, report)
        _remove(folder / _PARTIAL)
        return finished


def _say_nothing(progress: Progress) -> None:
    """Take the place of a progress callback that nobody gave."""


def _recipe(source: TextSource, tokenizer: Tokenizer, document_seed: int) -> _Recipe:
    """Return what a store of this source is made from, as it looks after a trip through JSON."""
    return _Recipe(
        provenance=json.loads(json.dumps(source.describe())),
        tokenizer=tokenizer.fingerprint,
        end_of_text=tokenizer.end_of_text,
        document_seed=document_seed,
    )


def finished_split(
    source: TextSource, folder: Path, tokenizer: Tokenizer, *, document_seed: int
) -> Manifest | None:
    """Return the manifest of a split that is prepared; None if it is not. Arguments as above.

    Raises:
        DataError: the store is damaged.
        MismatchError: it was made from other files, or with another tokenizer or seed.
    """
    return _finished(folder, _recipe(source, tokenizer, document_seed))


def _finished(folder: Path, recipe: _Recipe) -> Manifest | None:
    """Return the manifest of a finished store of this recipe; None if there is no store."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = TokenStore.open(folder).manifest
    differences = [*_differences(manifest, recipe)]
    if differences:
        raise MismatchError(
            f"{folder}: was prepared from something else: {'; '.join(differences)}. Delete that"
            " folder to prepare it anew, or go back to what it was prepared from."
        )
    return manifest


def _differences(manifest: Manifest, recipe: _Recipe) -> Iterator[str]:
    """Yield what differs between a finished store and what is asked for."""
    made, asked = (
        {json.dumps(entry, sort_keys=True): None for entry in each.provenance}
        for each in (manifest, recipe)
    )
    changes = [f"now without {entry}" for entry in made if entry not in asked]
    changes += [f"now with {entry}" for entry in asked if entry not in made]
    if changes:
        more = len(changes) - _SHOWN_DIFFERENCES
        yield ", ".join(changes[:_SHOWN_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")
    elif [*made] != [*asked]:
        yield "the same text in another order"
    for name in ("tokenizer", "end_of_text", "document_seed"):
        old, new = getattr(manifest, name), getattr(recipe, name)
        if old != new:
            yield f"{name} was {str(old)[:20]}, now {str(new)[:20]}"


def _keep_or_clear(partial: Path, recipe: _Recipe) -> None:
    """Leave the chunks of a stopped preparation if they are of this recipe, else throw them away."""
    content = json.dumps({"chunk_bytes": CHUNK_BYTES, **asdict(recipe)}, sort_keys=True).encode()
    path = partial / _RECIPE
    if path.exists() and path.read_bytes() == content:
        return
    _remove(partial)
    make_folder(partial)
    write_whole(path, content)


def _remove(partial: Path) -> None:
    """Remove the folder of chunks, if it is there."""
    if partial.exists():
        with storage_errors(partial, 0):
            shutil.rmtree(partial)


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """What the first pass leaves to the second."""

    chunks: list[Path]
    documents: int
    tokens: int
    text_bytes: int

    def report(self, rejects: Rejects, encoder: EncoderChoice) -> SplitReport:
        """Return what the text came to."""
        return SplitReport.of(
            rejects,
            documents=self.documents,
            tokens=self.tokens,
            text_bytes=self.text_bytes,
            encoder=encoder.name,
            why_not_faster=encoder.reason,
        )


def _encode(
    chunks: Iterator[ChunkText],
    total_bytes: int | None,
    tokenizer: Tokenizer,
    encoder: EncoderName,
    workers: int,
    on_progress: ProgressCallback,
) -> _Encoded:
    """Encode all text into chunk files."""
    paths: list[Path] = []

    def noted() -> Iterator[ChunkText]:
        for chunk in chunks:
            paths.append(chunk.path)
            yield chunk

    documents = tokens = text_bytes = 0
    for counts in encode_chunks(noted(), tokenizer, encoder, workers):
        documents += counts.documents
        tokens += counts.tokens
        text_bytes += counts.text_bytes
        on_progress(
            Progress(
                phase="encode",
                done_bytes=text_bytes if total_bytes is None else counts.read_bytes,
                total_bytes=total_bytes,
                documents=documents,
                tokens=tokens,
            )
        )
    return _Encoded(
        chunks=paths,
        documents=documents,
        tokens=tokens,
        text_bytes=text_bytes,
    )


def _chunks(
    source: TextSource, partial: Path, tokenizer: Tokenizer, rejects: Rejects
) -> Iterator[ChunkText]:
    """Cut the text of a source into chunks; where depends on the text alone."""
    contents: list[bytes] = []
    ends: list[bool] = []
    num_bytes = read_bytes = number = 0

    def full() -> ChunkText:
        return ChunkText(
            path=partial / f"chunk-{number:08d}",
            content=b"".join(contents),
            sizes=[len(content) for content in contents],
            ends=ends,
            read_bytes=read_bytes,
        )

    is_cuttable = can_be_cut(tokenizer.content)
    for piece in cut_documents(read_documents(source, rejects), can_be_cut=is_cuttable):
        contents.append(piece.text.encode())
        ends.append(piece.ends)
        num_bytes += len(contents[-1])
        read_bytes = piece.read_bytes
        if num_bytes >= CHUNK_BYTES:
            yield full()
            contents, ends, num_bytes = [], [], 0
            number += 1
    if contents:
        yield full()


def _write(
    folder: Path,
    encoded: _Encoded,
    tokenizer: Tokenizer,
    recipe: _Recipe,
    on_progress: ProgressCallback,
) -> Manifest:
    """Write the documents in their final order."""
    documents = ChunkedDocuments(encoded.chunks, tokenizer)
    total_bytes = encoded.tokens * token_dtype(tokenizer.vocabulary).itemsize
    return write_store(
        folder,
        documents.in_order(document_order(recipe.document_seed, len(documents))),
        vocabulary=tokenizer.vocabulary,
        end_of_text=tokenizer.end_of_text,
        tokenizer=tokenizer.fingerprint,
        document_seed=recipe.document_seed,
        text_bytes=encoded.text_bytes,
        provenance=recipe.provenance,
        on_progress=lambda written: on_progress(replace(written, total_bytes=total_bytes)),
    )
