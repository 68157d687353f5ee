"""The datasets of a campaign on disk: where their tokens lie, preparing them, opening them.

prepared/<campaign>/tokenizer.json
prepared/<campaign>/<dataset>/validation/         and train/, or for domains
prepared/<campaign>/<dataset>/<domain>/train/
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rewarm.campaign import Campaign, Text
from rewarm.campaign.hub import NO_COMMITS, hub_name, tokenizer_file
from rewarm.data.documents import TextFiles, TextSource
from rewarm.data.given_tokens import check_apart, open_given, open_training
from rewarm.data.prepare import prepare_split
from rewarm.data.progress import Progress
from rewarm.data.python_sources import PythonCode, PythonDocs
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from rewarm.data.windows import Windows
from rewarm.errors import DataError
from rewarm.replay import derive_key

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
    train: Mapping[str, Windows]
    """Training tokens by source: `dataset`, or `dataset/domain`."""
    validation: Mapping[str, TokenStore]
    """Validation tokens by dataset."""

    def fingerprints(self) -> dict[str, dict[str, str]]:
        """Return the fingerprint of every split."""
        return {
            "train": {name: store.fingerprint for name, store in self.train.items()},
            "validation": {n: store.fingerprint for n, store in self.validation.items()},
        }


def train_folder(prepared: Path, source: str) -> Path:
    """Return where the training tokens of a source lie."""
    return prepared / source / "train"


def validation_folder(prepared: Path, dataset: str) -> Path:
    """Return where the validation tokens of a dataset lie."""
    return prepared / dataset / "validation"


def prepare_campaign(
    campaign: Campaign,
    root: Path,
    prepared: Path,
    *,
    workers: int,
    on_progress: OnProgress | None = None,
    commits: Mapping[str, str] = NO_COMMITS,
) -> PreparedData:
    """Make the tokenizer and the tokens of a campaign, or find them made.

    Args:
        campaign: the campaign.
        root: folder that the campaign's paths are relative to.
        prepared: folder to put tokens in.
        workers: processes that encode.
        on_progress: told how far each split is.
        commits: the commit that a name of the hub stands for, where that is settled.

    Raises:
        DataError: text that cannot be read, an empty dataset.
        MismatchError: tokens that exist were made from something else.
        StorageError: the disk is full.
    """
    _check_files(campaign, root)
    check_apart(campaign, root)
    tokenizer = _tokenizer(campaign, root, prepared, commits)
    for name, source, folder in _splits(campaign, root, prepared):
        prepare_split(
            source,
            folder,
            tokenizer,
            document_seed=derive_key(DOCUMENT_SEED, name) % 2**32,
            workers=workers,
            on_progress=(lambda p, name=name: on_progress(name, p)) if on_progress else None,
        )
    return open_campaign(campaign, root, prepared, commits)


def open_campaign(
    campaign: Campaign, root: Path, prepared: Path, commits: Mapping[str, str] = NO_COMMITS
) -> PreparedData:
    """Open the tokens of a campaign; the arguments are those of `prepare_campaign`.

    Raises:
        DataError: a split is not prepared, or damaged.
        MismatchError: a split was made with another tokenizer.
    """
    tokenizer = load_tokenizer(
        tokenizer_path(campaign, root, prepared, commits), campaign.tokenizer.end_of_text
    )
    made_by = tokenizer.fingerprint
    return PreparedData(
        tokenizer=tokenizer,
        train={
            leaf: TokenStore.open(train_folder(prepared, leaf), tokenizer=made_by)
            if text.train_tokens is None
            else open_training(text, root, tokenizer)
            for leaf, (text, _) in campaign.leaves().items()
        },
        validation={
            name: TokenStore.open(validation_folder(prepared, name), tokenizer=made_by)
            if dataset.validation_tokens is None
            else open_given(root / dataset.validation_tokens, tokenizer)
            for name, dataset in campaign.data.items()
        },
    )


def text_source(text: Text, root: Path, split: str) -> TextSource:
    """Return where the text of a dataset or domain comes from."""
    if text.source == "python-docs":
        return PythonDocs("train" if split == "train" else "validation")
    if text.source == "python-code":
        return PythonCode("train" if split == "train" else "validation")
    return TextFiles(tuple(text.train), root, text.text)


def _splits(
    campaign: Campaign, root: Path, prepared: Path
) -> Iterator[tuple[str, TextSource, Path]]:
    """Yield each split that is prepared from text: its name, its text and its folder."""
    for leaf, (text, _) in campaign.leaves().items():
        if text.train_tokens is not None:
            continue
        yield f"{leaf} train", text_source(text, root, "train"), train_folder(prepared, leaf)
    for name, dataset in campaign.data.items():
        if dataset.validation_tokens is not None:
            continue
        source: TextSource
        if dataset.validation:
            source = TextFiles(tuple(dataset.validation), root, dataset.text)
        else:
            source = text_source(dataset, root, "validation")
        yield f"{name} validation", source, validation_folder(prepared, name)


def _check_files(campaign: Campaign, root: Path) -> None:
    """Refuse, before any work, files that are missing or are both trained and validated on.

    Raises:
        DataError: which, and what to do.
    """
    training = {
        file.resolve(): leaf
        for leaf, (text, _) in campaign.leaves().items()
        for file in TextFiles(tuple(text.train), root).files().values()
    }
    for name, dataset in campaign.data.items():
        for label, file in TextFiles(tuple(dataset.validation), root).files().items():
            if file.resolve() in training:
                raise DataError(
                    f"data.{name}.validation: {label} is also training text of {training[file.resolve()]}, so "
                    "its loss would not show what was learnt or forgotten. Take it out of one of them."
                )


def tokenizer_path(
    campaign: Campaign, root: Path, prepared: Path, commits: Mapping[str, str] = NO_COMMITS
) -> Path:
    """Return where the `tokenizer.json` of a campaign is, or will be once it is trained.

    Raises:
        DataError: it is on the hub and not downloaded.
    """
    given = campaign.tokenizer.from_
    if given is None:
        return prepared / "tokenizer.json"
    path = tokenizer_file(given, root, commits)
    if path is None:
        raise DataError(
            f"tokenizer.from: the tokenizer.json of {hub_name(given, root, commits)} is not in the hub's cache "
            "on this machine, and no such file is here. `rewarm prepare` downloads it; or correct the name."
        )
    return path


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
        for text, _ in campaign.data[name].leaves(name).values():
            for document in text_source(text, root, "train").documents():
                yield document.text
