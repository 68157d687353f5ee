"""The folder of a model that a campaign names: a local one, or one got from the Hugging Face hub.

From the hub come the configuration, the safetensors files and the tokenizer; never a pickle, never code. The
hub's own client keeps them in its cache, and uses what is there when there is no network.
"""

import re
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from rewarm.errors import CheckpointError, RewarmError
from rewarm.storage import storage_errors

WANTED = (
    "config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
"""Files that are taken from the hub; nothing else is."""

_SCHEME = "hf://"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ID = re.compile(rf"(?P<name>{_PART}/{_PART})(@(?P<revision>[^@\s]+))?")
_EXPLICIT_ID = re.compile(rf"(?P<name>({_PART}/)?{_PART})(@(?P<revision>[^@\s]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def local_model_folder(name: str, root: Path) -> Path:
    """Return the folder of a model, after getting it from the hub if it is not a local one.

    A folder that exists is taken. Otherwise `organisation/name`, with `@revision` behind it if wanted, is a
    model of the hub; `hf://` in front says so whatever folders there are.

    Args:
        name: as a campaign writes it in `model.from`.
        root: folder that a relative path starts from.

    Returns:
        A folder for `open_folder`; of a model of the hub the one in the client's cache.

    Raises:
        CheckpointError: there is no such folder, and no such model that could be got.
        StorageError: the disk is full or refuses to write.
    """
    folder = root / Path(name).expanduser()
    if not name.startswith(_SCHEME) and folder.is_dir():
        return folder
    repository = hub_id(name)
    if repository is None:
        raise CheckpointError(
            f"{folder}: no such folder. Give a local Hugging Face model folder, or a model of the hub as "
            '"organisation/name".'
        )
    return _download(*repository, folder)


def hub_id(name: str) -> tuple[str, str | None] | None:
    """Return the hub's name of a model and the revision asked for; None if it can only be a path.

    >>> hub_id("EleutherAI/pythia-410m")
    ('EleutherAI/pythia-410m', None)
    >>> hub_id("hf://gpt2@607a30d")
    ('gpt2', '607a30d')
    >>> hub_id("../models/mine") is None
    True
    """
    if name.startswith(_SCHEME):
        found = _EXPLICIT_ID.fullmatch(name.removeprefix(_SCHEME))
    else:
        found = _ID.fullmatch(name)
    return None if found is None else (found["name"], found["revision"])


def revision_of(folder: Path) -> str | None:
    """Return the commit that a folder of the hub's cache holds; None for any other folder.

    >>> revision_of(Path("hub/models--a--b/snapshots") / ("0" * 40)) == "0" * 40
    True
    >>> revision_of(Path("models/mine")) is None
    True
    """
    is_snapshot = folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name)
    return folder.name if is_snapshot else None


def _download(name: str, revision: str | None, folder: Path) -> Path:
    """Get a model of the hub, and turn what goes wrong into what to do."""
    asked = name if revision is None else f"{name} at revision {revision}"
    try:
        with storage_errors(folder, 0):
            # Said here as well: without it some versions ask the hub although they were forbidden to.
            found = snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(WANTED),
                local_files_only=constants.HF_HUB_OFFLINE,
            )
        return Path(found)
    except RewarmError:
        raise
    except GatedRepoError as error:
        raise CheckpointError(
            f"model {asked}: the hub gives it only to those who have accepted its terms. Accept them on its "
            "page, log in with `hf auth login`, and run the same command again."
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"model {asked}: the hub has no such model, or a private one, and {folder} is no folder here. "
            "Correct the name; for a private model log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"model {asked}: the hub has the model but not this revision. Give a branch, tag or commit that "
            "its page lists."
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"model {asked}: is not in the hub's cache on this machine, and the hub cannot be reached "
            f"({_first_line(error)}), nor is {folder} a folder here. Get it once with a network "
            "(`hf download`), or give a local folder."
        ) from error
    except Exception as error:
        # The client lets through what its HTTP library raises, and that differs between versions.
        raise CheckpointError(
            f"model {asked}: cannot be got from the hub ({type(error).__name__}: {_first_line(error)}). Run "
            "the same command again, or get it with `hf download` and give the folder."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
