"""Where the tokens of a campaign lie, and what is known of them without opening any.

`rewarm plan` needs no more than this, so nothing here loads numpy or a tokenizer.
"""

from collections.abc import Mapping
from pathlib import Path

from rewarm.campaign import Campaign
from rewarm.campaign.hub import NO_COMMITS, hub_name, tokenizer_file
from rewarm.data.manifest import Manifest, manifest_path
from rewarm.data.manifest_file import read_manifest
from rewarm.data.overlap.kept import kept_overlap, overlap_file
from rewarm.errors import DataError
from rewarm.runs.records import OverlapRecord


def train_folder(prepared: Path, source: str) -> Path:
    """Return where the training tokens of a source lie if they are its own (`Campaign.token_owners`)."""
    return prepared / source / "train"


def validation_folder(prepared: Path, dataset: str) -> Path:
    """Return where the validation tokens of a dataset lie."""
    return prepared / dataset / "validation"


def train_places(campaign: Campaign, root: Path, prepared: Path) -> dict[str, Path]:
    """Return where the training tokens of each source are: a folder, or a manifest."""
    owners = campaign.token_owners()
    return {
        source: train_folder(prepared, owners[source])
        if text.train_tokens is None
        else root / text.train_tokens
        for source, (text, _) in campaign.leaves().items()
    }


def validation_places(campaign: Campaign, root: Path, prepared: Path) -> dict[str, Path]:
    """Return where the validation tokens of each dataset are: a folder, or a manifest."""
    return {
        name: validation_folder(prepared, name)
        if dataset.validation_tokens is None
        else root / dataset.validation_tokens
        for name, dataset in campaign.data.items()
    }


def train_manifests(campaign: Campaign, root: Path, prepared: Path) -> dict[str, Manifest]:
    """Return the manifest of each source whose training tokens are there."""
    return {
        source: read_manifest(place)
        for source, place in train_places(campaign, root, prepared).items()
        if manifest_path(place).exists()
    }


def bytes_per_token(manifests: Mapping[str, Manifest]) -> dict[str, float]:
    """Return the bytes of text (UTF-8) per token of each dataset.

    Args:
        manifests: the training tokens by source; the domains of a dataset count together. Tokens
            whose text nobody knows are left out.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for source, manifest in manifests.items():
        if manifest.text_bytes is None:
            continue
        dataset = source.partition("/")[0]
        text_bytes, tokens = sizes.get(dataset, (0, 0))
        sizes[dataset] = (text_bytes + manifest.text_bytes, tokens + manifest.tokens)
    return {dataset: text_bytes / tokens for dataset, (text_bytes, tokens) in sizes.items()}


def measured_overlap(campaign: Campaign, root: Path, prepared: Path) -> OverlapRecord | None:
    """Return the overlap that was measured on a campaign's tokens as they are now; see `kept_overlap`."""
    return kept_overlap(
        overlap_file(prepared),
        train=train_places(campaign, root, prepared),
        validation=validation_places(campaign, root, prepared),
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
