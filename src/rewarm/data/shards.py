"""A split prepared in parts, by several processes or machines, and put together without copying.

<split>/shard-00002-of-00008/     a store of its own, of the second of eight parts of the text
<split>/manifest.json             written by merging; its shards are the files of those stores

Documents are permuted within each shard.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

from rewarm.data.documents import TextSource
from rewarm.data.manifest import MANIFEST, Manifest
from rewarm.data.prepare import finished_split
from rewarm.data.shard_record import ShardRecord
from rewarm.data.split_report import SplitReport, read_report, write_report
from rewarm.data.tokenizer import Tokenizer
from rewarm.errors import DataError
from rewarm.storage import held, write_whole


class ShardNumber(NamedTuple):
    """Which of how many shards."""

    number: int
    """From 1 to `of`."""
    of: int
    """How many there are."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `2/8` means.

        Raises:
            DataError: it is not such a text.

        >>> ShardNumber.parse("2/8")
        ShardNumber(number=2, of=8)
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise DataError(
                f"--shard {text}: is not one shard of several. Write 2/8 for the second of eight."
            )
        return cls(int(number), int(of))


def shard_folder(folder: Path, shard: ShardNumber) -> Path:
    """Return where a shard of a split lies.

    >>> shard_folder(Path("train"), ShardNumber(2, 8)).as_posix()
    'train/shard-00002-of-00008'
    """
    return folder / f"shard-{shard.number:05d}-of-{shard.of:05d}"


def check_merged(folder: Path) -> None:
    """Check that no shards wait in the folder of a split: preparing it whole would do their work again.

    Raises:
        DataError: there are shards, and no manifest over them.
    """
    shards = sorted(folder.glob("shard-*-of-*"))
    if not shards or (folder / MANIFEST).exists():
        return
    of = int(shards[0].name.rpartition("-")[2])
    raise DataError(
        f"{folder}: holds shards that are not put together, {shards[0].name} first; preparing all of the text"
        f" would do their work again. Run `rewarm prepare --merge {of}`, or delete them."
    )


def merge_shards(
    source: TextSource, folder: Path, tokenizer: Tokenizer, *, document_seed: int, of: int
) -> Manifest:
    """Write the manifest of a split over its shards; return at once if it is there already.

    Args:
        source: the text of the whole split.
        folder: where the split lies, with its shards in it.
        tokenizer: what encoded them.
        document_seed: what their documents' order was drawn with.
        of: how many shards there are.

    Raises:
        DataError: a shard is missing or damaged, or the text cannot be cut into so many.
        MismatchError: a shard, or what is there already, was made from something else.
        StorageError: the disk is full or refuses to write.
    """
    finished = finished_split(source, folder, tokenizer, document_seed=document_seed)
    if finished is not None:
        return finished
    manifests: dict[Path, Manifest] = {}
    for shard in (ShardNumber(number, of) for number in range(1, of + 1)):
        part = source.part(*shard)
        place = shard_folder(folder, shard)
        made = finished_split(part, place, tokenizer, document_seed=document_seed)
        if made is None:
            raise DataError(
                f"{place}: is missing or not finished, so the split would lack its text. Run"
                f" `rewarm prepare --shard {shard.number}/{of}`, then merge again."
            )
        manifests[place] = made
    merged = replace(
        next(iter(manifests.values())),
        text_bytes=sum(manifest.text_bytes or 0 for manifest in manifests.values()),
        provenance=source.describe(),
        shards=[
            _below(place.name, shard)
            for place, manifest in manifests.items()
            for shard in manifest.shards
        ],
    )
    with held(folder / ".lock", "is preparing this folder. Wait until it has ended."):
        reports = [report for place in manifests if (report := read_report(place)) is not None]
        write_report(folder, SplitReport.joined(reports))
        write_whole(folder / MANIFEST, merged.to_bytes())
    return merged


def _below(name: str, shard: ShardRecord) -> ShardRecord:
    """Return the record of a shard whose files lie in a folder below."""
    files = [replace(file, name=f"{name}/{file.name}") for file in shard.files]
    return replace(shard, files=files)
