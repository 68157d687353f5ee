"""What a folder holds, in words, and whether every file of it is what its hashes say."""

from collections.abc import Iterator
from pathlib import Path

import orjson

from rewarm.data.manifest import MANIFEST, read_manifest
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import load_tokenizer
from rewarm.engine.manifest import verify
from rewarm.errors import CampaignError
from rewarm.runs.files import read_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.records import RunRecord, StageResult

_CHECKPOINT_MANIFEST = "MANIFEST.json"


def token_stores(folder: Path) -> list[Path]:
    """Return every token store in a folder."""
    return sorted(path.parent for path in folder.rglob(MANIFEST))


def checkpoints(folder: Path) -> list[Path]:
    """Return every checkpoint in a folder."""
    return sorted(path.parent for path in folder.rglob(_CHECKPOINT_MANIFEST))


def verify_all(folder: Path) -> Iterator[tuple[Path, str]]:
    """Check the hashes of every token store and checkpoint in a folder.

    Yields:
        Each folder that is intact, and what it is.

    Raises:
        CampaignError: there is nothing to verify.
        DataError: a token store is damaged.
        CheckpointError: a checkpoint is damaged.
    """
    stores, saved = token_stores(folder), checkpoints(folder)
    if not stores and not saved:
        raise CampaignError(
            f"{folder}: holds neither tokens nor checkpoints, so there is nothing to verify"
        )
    for path in stores:
        store = TokenStore.open(path)
        store.verify()
        yield path, f"tokens: {store.tokens:,} in {store.documents:,} documents"
    for path in saved:
        manifest = verify(path)
        size = sum(file.num_bytes for file in manifest.files.values())
        yield path, f"checkpoint: {len(manifest.files)} files, {size:,} bytes"


def describe(folder: Path) -> Iterator[str]:
    """Say in lines what a run, a token store or a checkpoint holds.

    Raises:
        CampaignError: it is none of them.
    """
    if (folder / "plan.json").exists():
        yield from _describe_run(RunFolder(folder))
    elif (folder / _CHECKPOINT_MANIFEST).exists():
        yield from _describe_checkpoint(folder)
    elif stores := token_stores(folder):
        for path in stores:
            yield from _describe_store(path)
    else:
        raise CampaignError(f"{folder}: is no run, no checkpoint, and holds no prepared tokens")


def _describe_run(run: RunFolder) -> Iterator[str]:
    record = read_record(run.plan, RunRecord)
    yield f"run {record.name}: {len(record.arms)} arms, {len(record.stages)} stages, seed {record.seed}"
    for stage in record.stages:
        folder = run.stage(stage.folder)
        if folder.result.exists():
            final = read_record(folder.result, StageResult).final
            state = "finished: " + ", ".join(f"{name} {loss:.3f}" for name, loss in final.items())
        else:
            saved = checkpoints(folder.checkpoints)
            state = f"at {saved[-1].name}" if saved else "not begun"
        yield f"  {stage.folder}  {stage.steps:,} steps  {state}"
        yield f"    {stage.schedule_text}"


def _describe_checkpoint(folder: Path) -> Iterator[str]:
    manifest = verify(folder)
    state = orjson.loads((folder / "state.json").read_bytes())
    yield f"checkpoint {folder.name}, intact"
    for name, file in manifest.files.items():
        yield f"  {name}  {file.num_bytes:,} bytes  sha256 {file.sha256}"
    for key, value in state.items():
        yield f"  {key}: {value}"


def _describe_store(folder: Path) -> Iterator[str]:
    manifest = read_manifest(folder)
    per_token = manifest.text_bytes / manifest.tokens
    yield (
        f"{folder}: {manifest.tokens:,} tokens ({manifest.dtype}), {manifest.documents:,} documents, "
        f"{per_token:.2f} bytes of text per token"
    )
    yield f"  tokenizer {manifest.tokenizer[:16]}…, fingerprint {manifest.fingerprint[:16]}…"
    found = next(
        (p / "tokenizer.json" for p in folder.parents if (p / "tokenizer.json").exists()), None
    )
    if found is not None:
        text = load_tokenizer(found).decode(TokenStore.open(folder).document(0)[:48])
        yield f"  begins: {text!r}"
