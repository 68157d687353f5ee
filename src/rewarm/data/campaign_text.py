"""Where the text of each split of a campaign comes from."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from rewarm.campaign import Campaign, Dataset, Domain, HeldOut, Text
from rewarm.data.documents import Joined, TextSource
from rewarm.data.python_sources import PythonCode, PythonDocs
from rewarm.data.sources.files import find_files
from rewarm.data.sources.hash_split import HashSide, Side
from rewarm.data.sources.hugging_face import HuggingFaceDataset
from rewarm.data.sources.rows import DomainRows, Selection
from rewarm.data.sources.text_files import TextFiles
from rewarm.errors import DataError


@dataclass(frozen=True, kw_only=True)
class SplitText:
    """One split, as text."""

    name: str
    """The dataset, or `dataset/domain`."""
    side: Side
    """Trained or validated on."""
    source: TextSource
    """Its documents."""
    max_bad_rows: int | Fraction
    """How many of its rows may be left out."""
    owner: str
    """Whose tokens it is read from: its own, or those of another part of the same text."""


def campaign_text(campaign: Campaign, root: Path) -> Iterator[SplitText]:
    """Yield every split: the training text of each source, then the validation text of each dataset.

    What is given as tokens has no text.

    Args:
        campaign: the campaign.
        root: folder that its paths are relative to.
    """
    owners = campaign.token_owners()
    for name, dataset in campaign.data.items():
        for split in training_text(name, dataset, root):
            yield replace(split, owner=owners[split.name])
    for name, dataset in campaign.data.items():
        if dataset.validation_tokens is not None:
            continue
        yield SplitText(
            name=name,
            side="validation",
            source=_validation_source(dataset, root),
            max_bad_rows=dataset.max_bad_rows,
            owner=name,
        )


def training_text(name: str, dataset: Dataset, root: Path) -> Iterator[SplitText]:
    """Yield the training text of a dataset, or of each of its domains."""
    for leaf, (text, _) in dataset.leaves(name).items():
        if text.train_tokens is not None:
            continue
        yield SplitText(
            name=leaf,
            side="train",
            source=_source(dataset, text, root, "train"),
            max_bad_rows=dataset.max_bad_rows,
            owner=leaf,
        )


def _validation_source(dataset: Dataset, root: Path) -> TextSource:
    origin = dataset.hugging_face
    if isinstance(dataset.validation, HeldOut):
        if dataset.domains and dataset.domain_column is None:
            domains = dataset.domains.values()
            return Joined(tuple(_source(dataset, text, root, "validation") for text in domains))
        return _source(dataset, dataset, root, "validation")
    if dataset.validation:
        return TextFiles(tuple(dataset.validation), root, Selection(text=dataset.text))
    if origin is not None:
        assert origin.validation_split is not None, "the campaign asks for validation text"
        whole = _source(dataset, dataset, root, "validation")
        assert isinstance(whole, HuggingFaceDataset), "it has that origin"
        selection = Selection(text=dataset.text)  # rows of every domain
        return replace(whole, split=origin.validation_split, selection=selection)
    return _source(dataset, dataset, root, "validation")


def _source(dataset: Dataset, text: Text, root: Path, side: Side) -> TextSource:
    """Return the text of a dataset or of one of its domains, on one side."""
    if text.source == "python-docs":
        return PythonDocs(side)
    if text.source == "python-code":
        return PythonCode(side)
    origin = text if dataset.domain_column is None else dataset
    selection = Selection(
        text=origin.text, domain=_domain_rows(dataset, text), side=_side(dataset, side)
    )
    if origin.hugging_face is None:
        return TextFiles(tuple(origin.train), root, selection)
    return HuggingFaceDataset(
        name=origin.hugging_face.from_,
        root=root,
        config=origin.hugging_face.config,
        split=origin.hugging_face.split,
        selection=selection,
    )


def _domain_rows(dataset: Dataset, text: Text) -> DomainRows | None:
    """Return which rows a domain takes; those of all domains for the dataset itself."""
    if dataset.domain_column is None:
        return None
    listed = frozenset(value for domain in dataset.domains.values() for value in domain.rows)
    wanted = frozenset(text.rows) if isinstance(text, Domain) else listed
    return DomainRows(column=dataset.domain_column, wanted=wanted, listed=listed)


def _side(dataset: Dataset, side: Side) -> HashSide | None:
    held_out = dataset.validation
    if not isinstance(held_out, HeldOut):
        return None
    return HashSide(fraction=held_out.fraction, salt=held_out.salt, group=held_out.group, side=side)


def pattern_problems(campaign: Campaign, root: Path) -> list[str]:
    """Say which patterns match no file here, or one that cannot be read, each with its key.

    Addresses are not looked at: that would need a network.
    """
    patterns: dict[str, list[str]] = {}
    for name, dataset in campaign.data.items():
        patterns[f"data.{name}.train"] = dataset.train
        for domain, text in dataset.domains.items():
            patterns[f"data.{name}.domains.{domain}.train"] = text.train
        if not isinstance(dataset.validation, HeldOut):
            patterns[f"data.{name}.validation"] = dataset.validation
    problems: list[str] = []
    for key, given in patterns.items():
        for pattern in given:
            try:
                if "://" not in pattern:
                    find_files((pattern,), root)
            except DataError as error:
                problems.append(f"{key}: {error}")
    return problems


def check_disjoint(splits: list[SplitText]) -> None:
    """Refuse text that is both trained and validated on, as far as the files' names tell.

    Raises:
        DataError: which, and what to do.
    """
    training = [
        (identity, split.name, side)
        for split in splits
        if split.side == "train"
        for identity, (_, side) in _places(split.source).items()
    ]
    for split in splits:
        if split.side == "train":
            continue
        places = _places(split.source)
        for identity, name, trained in training:
            if identity not in places:
                continue
            label, validated = places[identity]
            if validated is None or trained != replace(validated, side="train"):
                raise DataError(
                    f"data.{split.name}.validation: {label} is also training text of {name}, so its loss "
                    "would not show what was learnt or forgotten. Take it out of one of them."
                )


def _places(source: TextSource) -> dict[str, tuple[str, HashSide | None]]:
    """Return where a source reads: by what identifies the place, its name and which side is taken."""
    match source:
        case TextFiles():
            side = source.selection.side
            return {file.identity: (name, side) for name, file in source.files().items()}
        case HuggingFaceDataset():
            label = f"{source.name} ({source.config or 'default'}, {source.split})"
            return {label: (label, source.selection.side)}
        case Joined():
            return {key: place for each in source.sources for key, place in _places(each).items()}
        case _:
            return {}
