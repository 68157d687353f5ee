"""The datasets of a campaign on disk: where their tokens lie, preparing them, opening them.

prepared/<campaign>/tokenizer.json
prepared/<campaign>/<dataset>/validation/         and train/, or for domains
prepared/<campaign>/<dataset>/<domain>/train/

Parts of one text are read from one store, that of the first dataset which names the text.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from rewarm.campaign import Campaign
from rewarm.campaign.hub import NO_COMMITS
from rewarm.campaign.settings import Packing
from rewarm.data.campaign_text import (
    SplitText,
    campaign_text,
    check_disjoint,
    pattern_problems,
    training_text,
)
from rewarm.data.documents import MissingTextError, TextSource, read_documents
from rewarm.data.encoders import EncoderChoice, Wanted
from rewarm.data.given_tokens import check_apart, open_given, open_index_map
from rewarm.data.index_map import IndexMap
from rewarm.data.manifest import MANIFEST
from rewarm.data.manifest_file import read_manifest
from rewarm.data.packed import PackedStore
from rewarm.data.prepare import prepare_split
from rewarm.data.prepared import (
    measured_overlap,
    tokenizer_path,
    train_folder,
    train_places,
    validation_folder,
    validation_places,
)
from rewarm.data.progress import Progress
from rewarm.data.rejects import Rejects, is_over
from rewarm.data.shards import ShardNumber, check_merged, merge_shards, shard_folder
from rewarm.data.source_reader import WindowStore
from rewarm.data.sources.text_files import TextFiles
from rewarm.data.split_report import read_report
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from rewarm.errors import DataError, MismatchError
from rewarm.replay import derive_key
from rewarm.runs.records import OverlapRecord

DOCUMENT_SEED = 1234
"""Documents are permuted once, when they are written. The campaign's seed then orders the sequences, so that
campaigns with different seeds share their tokens."""

OnProgress = Callable[[str, Progress], None]
"""Told the name of the split and how far it is."""


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """The tokens of a campaign, opened."""

    tokenizer: Tokenizer
    """The tokenizer that made them."""
    train: Mapping[str, TokenStore]
    """Training tokens by source: `dataset`, or `dataset/domain`."""
    validation: Mapping[str, TokenStore]
    """Validation tokens by dataset."""
    index_maps: Mapping[str, IndexMap] = field(default_factory=dict[str, IndexMap])
    """The order of a run elsewhere, for the sources that are read in one."""
    overlap: OverlapRecord | None = None
    """How much of the validation text is training text, if that was measured on these very tokens."""

    def num_windows(self, source: str, sequence_length: int, packing: Packing) -> int | None:
        """Return the sequences in the whole text of a source; None for what is no source."""
        windows = self.windows(packing).get(source)
        return None if windows is None else windows.num_windows(sequence_length)

    def windows(self, packing: Packing) -> Mapping[str, WindowStore]:
        """Return what is trained on, by source: the tokens, or the index map that says their order."""
        return self._packed if packing == "best-fit" else {**self.train, **self.index_maps}

    @cached_property
    def _packed(self) -> dict[str, PackedStore]:
        """The tokens in rows of whole documents, each packed once."""
        return {source: PackedStore(store) for source, store in self.train.items()}

    def fingerprints(self) -> dict[str, dict[str, str]]:
        """Return the fingerprint of every split."""
        return {
            "train": {n: each.fingerprint for n, each in {**self.train, **self.index_maps}.items()},
            "validation": {name: store.fingerprint for name, store in self.validation.items()},
        }


def split_folder(prepared: Path, split: SplitText) -> Path:
    """Return where the tokens of a split lie."""
    if split.side == "train":
        return train_folder(prepared, split.owner)
    return validation_folder(prepared, split.name)


def prepare_campaign(  # noqa: PLR0913 - keyword-only, and each is an option of its own
    campaign: Campaign,
    root: Path,
    prepared: Path,
    *,
    workers: int,
    encoder: Wanted = "auto",
    shard: ShardNumber | None = None,
    on_progress: OnProgress | None = None,
    on_note: Callable[[str], None] | None = None,
    commits: Mapping[str, str] = NO_COMMITS,
) -> None:
    """Make the tokenizer and the tokens of a campaign, or find them made.

    Args:
        campaign: the campaign.
        root: folder that the campaign's paths are relative to.
        prepared: folder to put tokens in.
        workers: threads or processes that encode.
        encoder: which encoder to use; the tokens do not depend on it.
        shard: the one shard of all training text to make. Validation text is small and is made
            whole with the first.
        on_progress: told how far each split is.
        on_note: told what a user should look at, in a sentence.
        commits: the commit that a name of the hub stands for, where that is settled.

    Raises:
        DataError: text that cannot be read, an empty dataset, shards that are not merged.
        MismatchError: tokens that exist were made from something else, or with more rows left out.
        StorageError: the disk is full.
    """
    splits = _present(campaign, root, prepared, on_note)
    check_disjoint(splits)
    check_apart(campaign, root)
    tokenizer = _tokenizer(campaign, root, prepared, commits)
    for split, source, folder in _work(splits, prepared, shard):
        title = _title(split)
        newer = _newer_files(split, folder)

        def say_encoder(choice: EncoderChoice, title: str = title) -> None:
            if choice.reason is not None and on_note:
                on_note(f"{title}: encoded without the fast encoder: {choice.reason}")

        prepare_split(
            source,
            folder,
            tokenizer,
            document_seed=_document_seed(split),
            workers=workers,
            encoder=encoder,
            on_encoder=say_encoder,
            rejects=Rejects(split.max_bad_rows),
            on_progress=(lambda p, title=title: on_progress(title, p)) if on_progress else None,
        )
        _check_left_out(split, folder)
        if newer and on_note:
            on_note(
                f"{title}: {', '.join(newer)} was written to after its tokens were prepared and has the same "
                f"size. If its text was changed, delete {folder} to prepare it anew."
            )


def _work(
    splits: list[SplitText], prepared: Path, shard: ShardNumber | None
) -> Iterator[tuple[SplitText, TextSource, Path]]:
    """Yield each split, or the shard of it that is asked for, with its text and its folder."""
    for split in splits:
        if split.owner != split.name:
            continue
        folder = split_folder(prepared, split)
        if shard is None or (split.side == "validation" and shard.number == 1):
            check_merged(folder)
            yield split, split.source, folder
        elif split.side == "train":
            yield split, split.source.part(*shard), shard_folder(folder, shard)


def _title(split: SplitText) -> str:
    return f"{split.name} {split.side}"


def _document_seed(split: SplitText) -> int:
    return derive_key(DOCUMENT_SEED, _title(split)) % 2**32


def merge_campaign(
    campaign: Campaign,
    root: Path,
    prepared: Path,
    *,
    of: int,
    commits: Mapping[str, str] = NO_COMMITS,
) -> None:
    """Put the shards of every training split together, without copying.

    Args:
        campaign: the campaign.
        root: folder that the campaign's paths are relative to.
        prepared: folder that the tokens are in.
        of: how many shards there are.
        commits: the commit that a name of the hub stands for, where that is settled.

    Raises:
        DataError: a shard is missing or damaged.
        MismatchError: a shard was made from something else, or with another tokenizer.
        StorageError: the disk is full.
    """
    tokenizer = _tokenizer(campaign, root, prepared, commits)
    for split in campaign_text(campaign, root):
        if split.side == "train" and split.owner == split.name:
            merge_shards(
                split.source,
                split_folder(prepared, split),
                tokenizer,
                document_seed=_document_seed(split),
                of=of,
            )


def _present(
    campaign: Campaign, root: Path, prepared: Path, on_note: Callable[[str], None] | None
) -> list[SplitText]:
    """Return the splits whose text is there; the others' tokens must be.

    Raises:
        MissingTextError: neither text nor tokens are there; every pattern without files is named.
    """
    present: list[SplitText] = []
    for split in campaign_text(campaign, root):
        try:
            split.source.describe()
        except MissingTextError as missing:
            if not _was_made_from_it(split, split_folder(prepared, split)):
                problems = pattern_problems(campaign, root) or [str(missing)]
                raise MissingTextError("\n".join(problems)) from missing
            if on_note:
                on_note(
                    f"{_title(split)}: its tokens are used as they were prepared; whether its text "
                    f"is still the same cannot be told: {missing}"
                )
        else:
            present.append(split)
    return present


def _was_made_from_it(split: SplitText, folder: Path) -> bool:
    """Say whether tokens are there that were made from what a split asks for, as far as names tell.

    Another pattern that matches nothing is a mistake in the campaign, and no reason to take older tokens.
    """
    if not (folder / MANIFEST).exists():
        return False
    if not isinstance(split.source, TextFiles):
        return True
    names = [str(entry.get("file")) for entry in read_manifest(folder).provenance]
    # `**/` stands for no folder as well, which fnmatch does not know.
    patterns = [
        Path(p).as_posix().replace("**/", "*") for p in split.source.patterns if "://" not in p
    ]
    return all(any(fnmatch(name, pattern) for name in names) for pattern in patterns)


def _newer_files(split: SplitText, folder: Path) -> list[str]:
    """Return the first files that were written to after their tokens were prepared."""
    if not isinstance(split.source, TextFiles) or not (folder / MANIFEST).exists():
        return []
    prepared_at = (folder / MANIFEST).stat().st_mtime
    files = split.source.files().values()
    return [file.name for file in files if file.modified and file.modified > prepared_at][:3]


def _check_left_out(split: SplitText, folder: Path) -> None:
    """Refuse tokens that were prepared with more bad rows left out than may be now.

    Raises:
        MismatchError: how many, and what to do.
    """
    report = read_report(folder)
    if report is not None and is_over(split.max_bad_rows, report.num_left_out, report.rows):
        raise MismatchError(
            f"{folder}: was prepared with {report.num_left_out:,} of {report.rows:,} rows left out, more than "
            f"max_bad_rows lets be. Allow as many, or correct the text and delete that folder."
        )


def open_campaign(
    campaign: Campaign, root: Path, prepared: Path, commits: Mapping[str, str] = NO_COMMITS
) -> PreparedData:
    """Open the tokens of a campaign; the arguments are those of `prepare_campaign`.

    Raises:
        CheckpointError: the record of the overlap is damaged.
        DataError: a split is not prepared, or damaged.
        MismatchError: a split was made with another tokenizer.
    """
    tokenizer = load_tokenizer(
        tokenizer_path(campaign, root, prepared, commits), campaign.tokenizer.end_of_text
    )
    places = train_places(campaign, root, prepared)
    stores = {place: open_given(place, tokenizer) for place in dict.fromkeys(places.values())}
    train = {leaf: stores[place] for leaf, place in places.items()}
    return PreparedData(
        tokenizer=tokenizer,
        train=train,
        validation={
            name: open_given(place, tokenizer)
            for name, place in validation_places(campaign, root, prepared).items()
        },
        index_maps={
            leaf: open_index_map(text.index_maps, root, train[leaf])
            for leaf, (text, _) in campaign.leaves().items()
            if text.index_maps is not None
        },
        overlap=measured_overlap(campaign, root, prepared),
    )


def _tokenizer(
    campaign: Campaign, root: Path, prepared: Path, commits: Mapping[str, str]
) -> Tokenizer:
    """Load the tokenizer, or train it if that is asked for and not done yet."""
    path = tokenizer_path(campaign, root, prepared, commits)
    training = campaign.tokenizer.train
    if training is None or path.exists():
        tokenizer = load_tokenizer(path, campaign.tokenizer.end_of_text)
    else:
        tokenizer = train_tokenizer(
            _training_text(campaign, root),
            vocabulary=training.vocabulary,
            path=path,
            end_of_text=campaign.tokenizer.end_of_text,
        )
    if training is not None and tokenizer.vocabulary != training.vocabulary:
        raise DataError(
            f"{path}: has {tokenizer.vocabulary:,} entries, the campaign asks for "
            f"{training.vocabulary:,}. Remove {prepared} to prepare anew, or correct tokenizer.train."
        )
    return tokenizer


def _training_text(campaign: Campaign, root: Path) -> Iterator[str]:
    assert campaign.tokenizer.train is not None, "only called to train"
    for name in campaign.tokenizer.train.on:
        for split in training_text(name, campaign.data[name], root):
            for document in read_documents(split.source, Rejects(split.max_bad_rows)):
                yield document.text
