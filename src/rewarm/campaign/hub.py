"""What `from` names in a campaign: a folder or file here, or a model of the Hugging Face hub.

Nothing here uses a network. A model of the hub is looked for in the cache of the hub's own client, which is
imported only when a name is one of the hub; `rewarm.models.hub` downloads.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from rewarm.campaign.campaign import Campaign
from rewarm.campaign.load import LoadedCampaign

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"

NO_COMMITS: Mapping[str, str] = MappingProxyType({})
"""Every name means what it means now."""

_SCHEME = "hf://"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ID = re.compile(rf"(?P<name>{_PART}/{_PART})(@(?P<revision>[^@\s]+))?")
_EXPLICIT_ID = re.compile(rf"(?P<name>({_PART}/)?{_PART})(@(?P<revision>[^@\s]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubName:
    """A model of the hub, and which state of it."""

    repository: str
    """`organisation/name`."""
    revision: str | None
    """Branch, tag or commit; None is the default branch."""

    def __str__(self) -> str:
        if self.revision is None:
            return self.repository
        return f"{self.repository} at revision {self.revision}"

    def cached(self, file: str) -> Path | None:
        """Return where the cache on this machine has a file of it; None if it has not."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repository, file, revision=self.revision)
        return Path(found) if isinstance(found, str) else None


def hub_id(name: str) -> HubName | None:
    """Return what a name means on the hub; None if it can only be a path.

    >>> str(hub_id("EleutherAI/pythia-410m"))
    'EleutherAI/pythia-410m'
    >>> str(hub_id("hf://gpt2@607a30d"))
    'gpt2 at revision 607a30d'
    >>> hub_id("../models/mine") is None and hub_id("base/tokenizer.json") is None
    True
    """
    if name.startswith(_SCHEME):
        found = _EXPLICIT_ID.fullmatch(name.removeprefix(_SCHEME))
    else:
        found = _ID.fullmatch(name)
    # The hub has no such names, and a revision with ".." could lead out of the cache.
    if found is None or ".." in name or "--" in found["name"]:
        return None
    if found["name"].endswith((".json", ".git", "-", ".")):
        return None
    return HubName(repository=found["name"], revision=found["revision"])


def local_path(name: str, root: Path) -> Path:
    """Return the path that a name stands for if it is one.

    >>> local_path("models/mine", Path("work")).as_posix()
    'work/models/mine'
    """
    return root / Path(name).expanduser()


def hub_name(name: str, root: Path, commits: Mapping[str, str] = NO_COMMITS) -> HubName | None:
    """Return the model of the hub that a name stands for; None if it stands for something here.

    What is here is taken. Otherwise `organisation/name`, with `@revision` behind it if wanted, is a model of
    the hub; `hf://` in front says so whatever is here.

    Args:
        name: as a campaign writes it.
        root: folder that a relative path starts from.
        commits: the commit that a name stands for, where that is settled.
    """
    if not name.startswith(_SCHEME) and local_path(name, root).exists():
        return None
    found = hub_id(name)
    return found and replace(found, revision=commits.get(name, found.revision))


def model_folder(name: str, root: Path, commits: Mapping[str, str] = NO_COMMITS) -> Path | None:
    """Return the folder of a model: the local one, or the complete one in the cache.

    Args:
        name: `model.from`.
        root: folder that a relative path starts from.
        commits: the commit that a name stands for, where that is settled.

    Returns:
        None for a model of the hub that the cache has not or has only a part of.
    """
    found = hub_name(name, root, commits)
    if found is None:
        return local_path(name, root)
    config = found.cached(CONFIG)
    return None if config is None or missing_files(config.parent) else config.parent


def tokenizer_file(name: str, root: Path, commits: Mapping[str, str] = NO_COMMITS) -> Path | None:
    """Return the `tokenizer.json` that a name stands for: itself, or that of a local or cached model.

    Args:
        name: `tokenizer.from`.
        root: folder that a relative path starts from.
        commits: the commit that a name stands for, where that is settled.

    Returns:
        None if it is on the hub and not in the cache.
    """
    found = hub_name(name, root, commits)
    if found is not None:
        return found.cached(TOKENIZER)
    path = local_path(name, root)
    return path / TOKENIZER if path.is_dir() else path


def missing_files(folder: Path) -> list[str]:
    """Return the names of the files that a model folder would need and does not have."""
    wanted = [CONFIG, *(weight_files(folder) or [SINGLE])]
    return [name for name in wanted if not (folder / name).exists()]


def weight_files(folder: Path) -> list[str]:
    """Return the names of the weights files that a model folder is read from; none if it has none.

    An index that cannot be read names none: reading the model says what is wrong with it.
    """
    if not (folder / INDEX).exists():
        return [SINGLE] if (folder / SINGLE).exists() else []
    try:
        content = cast(dict[str, Any], json.loads((folder / INDEX).read_bytes()))
        names = {str(name) for name in content["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted(name for name in names if Path(name).name == name)


def revision_of(folder: Path) -> str | None:
    """Return the commit that a folder of the hub's cache holds; None for any other folder.

    >>> revision_of(Path("hub/models--a--b/snapshots") / ("0" * 40)) == "0" * 40
    True
    >>> revision_of(Path("models/mine")) is None
    True
    """
    is_snapshot = folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name)
    return folder.name if is_snapshot else None


def commit_of(name: str, root: Path, commits: Mapping[str, str] = NO_COMMITS) -> str | None:
    """Return the commit that a name stands for on this machine; None for what is local or not in the cache.

    Args:
        name: `model.from` or `tokenizer.from`.
        root: folder that a relative path starts from.
        commits: the commit that a name stands for, where that is settled.
    """
    found = hub_name(name, root, commits)
    file = None if found is None else found.cached(CONFIG) or found.cached(TOKENIZER)
    return None if file is None else revision_of(file.parent)


def model_names(loaded: LoadedCampaign) -> list[str]:
    """Return `model.from` of a campaign and its arms, each once."""
    campaigns: list[Campaign] = [loaded.campaign, *loaded.arms.values()]
    names = (campaign.model.from_ for campaign in campaigns)
    return list(dict.fromkeys(name for name in names if name is not None))


def from_names(loaded: LoadedCampaign) -> list[str]:
    """Return every `model.from` and the `tokenizer.from`, each once."""
    tokenizer = loaded.campaign.tokenizer.from_
    return list(dict.fromkeys([*model_names(loaded), *([tokenizer] if tokenizer else [])]))
