"""What a folder holds, in words, and whether every file of it is what its hashes say."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from rewarm.data.adopt import Adopted
from rewarm.data.manifest import ADOPTED_SUFFIX, MANIFEST, manifest_path
from rewarm.data.manifest_file import read_manifest
from rewarm.data.shard_record import ShardRecord
from rewarm.data.split_report import read_report
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import load_tokenizer
from rewarm.engine.manifest import MANIFEST as CHECKPOINT_MANIFEST
from rewarm.engine.manifest import Manifest, read, verify
from rewarm.engine.retention import saved_steps
from rewarm.errors import CampaignError, CheckpointError, RewarmError
from rewarm.runs.files import read_record, read_records
from rewarm.runs.folder import RunFolder, StageFolder
from rewarm.runs.records import EventRecord, RunRecord, StageRecord, StageResult
from rewarm.runs.steps import steps_text
from rewarm.training.status import clock

_PLACE = ("ranks", "layout", "micro_batch")
_SHOWN_TOKENS = 48
_SHOWN_SHARDS = 5


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A token store or a checkpoint, compared with its hashes."""

    path: Path
    """Its folder."""
    what: str
    """What it is and how large; empty if it is damaged."""
    damage: RewarmError | None = None
    """What is wrong with it."""


def token_stores(folder: Path) -> list[Path]:
    """Return every token store in a folder; or the one whose manifest is named instead."""
    if folder.is_file():
        is_manifest = folder.name == MANIFEST or folder.name.endswith(ADOPTED_SUFFIX)
        return [folder] if is_manifest else []
    prepared = (path.parent for path in folder.rglob(MANIFEST))
    return sorted([*prepared, *folder.rglob(f"*{ADOPTED_SUFFIX}")])


def checkpoints(folder: Path) -> list[Path]:
    """Return every checkpoint in a folder, also those that have lost their manifest."""
    with_manifest = {path.parent for path in folder.rglob(CHECKPOINT_MANIFEST)}
    of_stages = {path for path in folder.glob("stages/*/checkpoints/step-*") if path.is_dir()}
    return sorted(with_manifest | of_stages)


def verify_all(folders: Sequence[Path]) -> Iterator[Checked]:
    """Check the hashes of every token store and checkpoint in some folders, whatever is wrong with others.

    Raises:
        CampaignError: there is nothing to verify in one of them; nothing was checked.
    """
    found = [(folder, token_stores(folder), checkpoints(folder)) for folder in folders]
    for folder, stores, saved in found:
        if not stores and not saved:
            raise CampaignError(
                f"{folder}: holds neither tokens nor checkpoints, so there is nothing to verify"
            )
    for _, stores, saved in found:
        for path in stores:
            yield _checked(path, _verify_store)
        for path in saved:
            yield _checked(path, _verify_checkpoint)


def _checked(path: Path, check: Callable[[Path], str]) -> Checked:
    try:
        return Checked(path=path, what=check(path))
    except RewarmError as error:
        return Checked(path=path, what="", damage=error)


def _verify_store(path: Path) -> str:
    store = TokenStore.open(path)
    store.verify()
    read_report(store.place)
    return f"tokens: {store.tokens:,} in {store.documents:,} documents"


def _verify_checkpoint(path: Path) -> str:
    manifest = verify(path)
    return f"checkpoint: {len(manifest.files)} files, {manifest.num_bytes:,} bytes"


def describe(folder: Path) -> Iterator[str]:
    """Say in lines what a run, a token store or a checkpoint holds.

    Raises:
        CampaignError: it is none of them.
    """
    if (folder / "plan.json").exists():
        yield from _describe_run(RunFolder(folder))
    elif (folder / CHECKPOINT_MANIFEST).exists() or (folder / "state.json").exists():
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
        yield f"  {stage.folder}  {stage.steps:,} steps  {_progress(run.stage(stage.folder), stage)}"
        yield f"    {stage.schedule_text}"
        yield from _restarts(run.stage(stage.folder))
        yield from _damaged(run.stage(stage.folder))


def _restarts(folder: StageFolder) -> Iterator[str]:
    """Say how often the ranks were started afresh in a stage, and why the last time."""
    found = [
        event for event in read_records(folder.events, EventRecord) if event.kind == "restarted"
    ]
    if found:
        times = "once" if len(found) == 1 else f"{len(found):,} times"
        yield f"    restarted {times}, the last time at {found[-1].at}: {found[-1].message}"


def _progress(folder: StageFolder, stage: StageRecord) -> str:
    """Say how far a stage is: its losses, or its newest checkpoint."""
    if folder.result.exists():
        result = read_record(folder.result, StageResult)
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in result.final.items())
        without = f"; {steps_text(result.left_out)} left out" if result.left_out else ""
        return f"finished: {losses}{without}"
    saved = saved_steps(folder.checkpoints)
    whole = [step for step in saved if _damage(folder.checkpoint(step)) is None]
    if not whole:
        begun = f"begun, no {'intact ' if saved else ''}checkpoint{'' if saved else ' yet'}"
        return begun if folder.record.exists() else "not begun"
    manifest = folder.checkpoint(whole[-1]) / CHECKPOINT_MANIFEST
    age = clock(time.time() - manifest.stat().st_mtime)
    return f"at step {whole[-1]:,} ({whole[-1] / stage.steps:.0%}), saved {age} ago"


def _damaged(folder: StageFolder) -> Iterator[str]:
    """Name the checkpoints of a stage that are seen to be damaged, and what is wrong with each."""
    for step in saved_steps(folder.checkpoints):
        if (damage := _damage(folder.checkpoint(step))) is not None:
            yield f"    damaged: {damage}"


def _damage(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint as far as its sizes tell; its hashes would take too long."""
    try:
        for name, file in read(checkpoint / CHECKPOINT_MANIFEST).files.items():
            num_bytes = (checkpoint / name).stat().st_size
            if num_bytes != file.num_bytes:
                return f"{checkpoint / name}: it has {num_bytes:,} bytes, {file.num_bytes:,} were written"
    except CheckpointError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or checkpoint}: cannot be read ({error.strerror})"
    return None


def _describe_checkpoint(folder: Path) -> Iterator[str]:
    manifest = verify(folder)
    state: dict[str, Any] = orjson.loads((folder / "state.json").read_bytes())
    yield f"checkpoint {folder.name}, intact"
    place = StageFolder(folder.parent.parent).record
    stage = read_record(place, StageRecord) if place.exists() else None
    if stage is not None and stage.key != state["stage"]:
        stage = None
    yield from _describe_progress(state, stage)
    machine: dict[str, Any] = state["machine"]
    ranks = machine.get("ranks", 1)
    layout = f" ({machine['layout']})" if ranks > 1 and "layout" in machine else ""
    micro_batch = f", micro-batch {machine['micro_batch']:,}" if "micro_batch" in machine else ""
    yield f"  written on: {ranks:,} {'rank' if ranks == 1 else 'ranks'}{layout}{micro_batch}"
    others = {name: value for name, value in machine.items() if name not in _PLACE}
    yield f"  machine: {', '.join(f'{name} {value}' for name, value in others.items())}"
    yield f"  rewarm: {state['rewarm']}"
    yield f"  tokenizer: {state['tokenizer']}"
    for source, fingerprint in state["data"].items():
        yield f"  data {source}: {fingerprint}"
    yield from _describe_files(manifest)


def _describe_progress(state: Mapping[str, Any], stage: StageRecord | None) -> Iterator[str]:
    """Say how far training was; tokens need the stage's record, which lies beside the checkpoints."""
    left_out = state.get("left_out", [])
    yield f"  stage: {stage.folder if stage else 'of another folder'}, key {state['stage']}"
    yield f"  step: {state['step']:,}" + (f" of {stage.steps:,}" if stage else "")
    if left_out:
        yield f"  left out: {steps_text(left_out)}, not finite and not trained on"
    for title, name in (("in this stage", "read"), ("since the base model", "ledger")):
        counts = state[name]
        parts = [
            f"{source} {new:,} new" + (f" and {again:,} replayed" if again else "")
            for source, (new, again) in counts.items()
        ]
        sequences = sum(new + again for new, again in counts.values())
        tokens = f" ({sequences * stage.sequence_length:,} tokens)" if stage else ""
        yield f"  read {title}: {', '.join(parts) or 'nothing'} sequences{tokens}"
    value, good_steps = state.get("loss_scale", [1.0, 0])
    if value != 1:
        yield f"  loss scale: {value:,.0f}, unchanged for {good_steps:,} steps"


def _describe_files(manifest: Manifest) -> Iterator[str]:
    """Name the files, and the hash by which the result knows the weights."""
    yield f"  weights: sha256 {manifest.digest('model')}"
    for name, file in manifest.files.items():
        yield f"    {name}  {file.num_bytes:,} bytes  sha256 {file.sha256}"


def _describe_store(place: Path) -> Iterator[str]:
    manifest = read_manifest(place)
    text = ""
    if manifest.text_bytes is not None:
        text = f", {manifest.text_bytes / manifest.tokens:.2f} bytes of text per token"
    yield (
        f"{place}: {manifest.tokens:,} tokens ({manifest.dtype}), {manifest.documents:,} documents{text}"
    )
    path = manifest_path(place)
    report = read_report(path.parent) if path.name == MANIFEST else None
    yield from (f"  {line}" for line in (report.left_out_lines() if report else ()))
    yield f"  tokenizer {manifest.tokenizer[:16]}…, fingerprint {manifest.fingerprint[:16]}…"
    if path.name != MANIFEST:
        yield from _describe_shards(manifest.shards)
    found = next(
        (p / "tokenizer.json" for p in path.parents if (p / "tokenizer.json").exists()), None
    )
    if found is not None:
        tokenizer = load_tokenizer(found)
        if tokenizer.fingerprint == manifest.tokenizer:
            yield f"  begins: {tokenizer.decode(TokenStore.open(place).document(0)[:_SHOWN_TOKENS])!r}"


def _describe_shards(shards: Sequence[ShardRecord]) -> Iterator[str]:
    """Name the shards of adopted files, all or the first and the last."""
    hidden = len(shards) - 2 * _SHOWN_SHARDS
    for number, shard in enumerate(shards):
        if hidden <= 0 or not _SHOWN_SHARDS <= number < _SHOWN_SHARDS + hidden:
            yield (
                f"    {shard.files[0].name}  {shard.layout}, {shard.dtype}, {shard.tokens:,} tokens,"
                f" {shard.documents:,} documents"
            )
        elif number == _SHOWN_SHARDS:
            yield f"    … {hidden:,} more"


def adopted_lines(adopted: Adopted) -> Iterator[str]:
    """Say in lines what adopting came to, and what to do with it."""
    manifest = adopted.manifest
    yield f"{'wrote' if adopted.is_new else 'unchanged'} {adopted.path}"
    yield from _describe_store(adopted.path)
    yield f"  the end-of-text id {manifest.end_of_text} occurs {adopted.ends:,} times"
    if adopted.ends < manifest.documents:
        yield "  so not every document ends with it; those that do not run into the next"
    yield f'next: train_tokens = "{adopted.path}" in a dataset of a campaign'


def adopted_json(adopted: Adopted) -> str:
    """Return the same as JSON."""
    manifest = adopted.manifest
    content = {
        "manifest": str(adopted.path),
        "is_new": adopted.is_new,
        "tokens": manifest.tokens,
        "documents": manifest.documents,
        "vocabulary": manifest.vocabulary,
        "end_of_text": manifest.end_of_text,
        "end_of_text_occurs": adopted.ends,
        "tokenizer": manifest.tokenizer,
        "fingerprint": manifest.fingerprint,
        "shards": [
            {
                **shard.to_json(),
                "files": [file.name for file in shard.files],
                "blocks": len(shard.blocks),
            }
            for shard in manifest.shards
        ],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()
