"""Models of the Hugging Face hub: downloading what a campaign names, and opening what is here.

From the hub come the configuration, the safetensors files and the tokenizer; never a pickle, never code. The
hub's own client keeps them in its cache. What the cache has is taken as it is, without asking the hub.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rewarm.campaign import LoadedCampaign
from rewarm.campaign.hub import (
    CONFIG,
    INDEX,
    NO_COMMITS,
    SINGLE,
    TOKENIZER,
    HubName,
    commit_of,
    hub_name,
    local_path,
    missing_files,
    model_folder,
    model_names,
    tokenizer_file,
)
from rewarm.errors import CheckpointError, RewarmError
from rewarm.storage import storage_errors

WANTED = (CONFIG, "*.safetensors", INDEX, TOKENIZER, "tokenizer_config.json")
"""Files of a model that are taken from the hub; nothing else is."""

UNWANTED = ("*/*", "consolidated*.safetensors")
"""Of these, what is not: files in folders, and the same weights once more in another library's names."""


def download(loaded: LoadedCampaign) -> LoadedCampaign:
    """Get what a campaign names and the cache has not: its models and its tokenizer.

    Returns:
        The campaign with the commit of everything that it names on the hub, so that all that follows is of
        the same commit, whatever the hub does meanwhile.

    Raises:
        CheckpointError: something is neither here nor to be had.
        StorageError: the disk is full or refuses to write.
    """
    commits = dict(loaded.commits)
    for name in model_names(loaded):
        download_model(name, loaded.root, commits)
        _settle(commits, name, loaded.root)
    tokenizer = loaded.campaign.tokenizer.from_
    if tokenizer is not None:
        _download_tokenizer(tokenizer, loaded.root, commits)
        _settle(commits, tokenizer, loaded.root)
    return replace(loaded, commits=commits)


def check_here(loaded: LoadedCampaign) -> None:
    """Refuse a campaign one of whose models or whose tokenizer is not on this machine.

    Raises:
        CheckpointError: which file is missing, and how to get it.
    """
    for name in model_names(loaded):
        local_model_folder(name, loaded.root, loaded.commits)
    tokenizer = loaded.campaign.tokenizer.from_
    if tokenizer is not None and tokenizer_file(tokenizer, loaded.root, loaded.commits) is None:
        raise _not_here(tokenizer, loaded.root, loaded.commits, [TOKENIZER])


def local_model_folder(name: str, root: Path, commits: Mapping[str, str] = NO_COMMITS) -> Path:
    """Return the folder of a model that is on this machine; nothing is downloaded.

    Args:
        name: as a campaign writes it in `model.from`.
        root: folder that a relative path starts from.
        commits: the commit that a name stands for, where that is settled.

    Returns:
        A folder for `open_folder`; of a model of the hub the one in the client's cache.

    Raises:
        CheckpointError: there is no such folder, and no such model in the cache.
    """
    folder = model_folder(name, root, commits)
    if folder is None:
        raise _not_here(name, root, commits, _missing(hub_name(name, root, commits)))
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder. Give a local Hugging Face model folder, or a model of the hub as "
            '"organisation/name".'
        )
    return folder


def download_model(name: str, root: Path, commits: Mapping[str, str] = NO_COMMITS) -> Path:
    """Return the folder of a model, after downloading what the cache has not.

    Args:
        name: as a campaign writes it in `model.from`.
        root: folder that a relative path starts from.
        commits: the commit that a name stands for, where that is settled.

    Raises:
        CheckpointError: there is no such folder, and no such model that could be got.
        StorageError: the disk is full or refuses to write.
    """
    found = hub_name(name, root, commits)
    if found is None or model_folder(name, root, commits) is not None:
        return local_model_folder(name, root, commits)
    folder = _download(found, local_path(name, root), WANTED)
    if missing := missing_files(folder):
        raise CheckpointError(
            f"model {found}: the hub did not give {_listed(missing)}. Without it there is nothing to train: "
            "weights are read as safetensors, never as a pickle. If the model has it, run the same command "
            "again; if not, take another model, or convert it where you trust it and give the folder."
        )
    return folder


def _download_tokenizer(name: str, root: Path, commits: Mapping[str, str]) -> None:
    found = hub_name(name, root, commits)
    if found is None or found.cached(TOKENIZER) is not None:
        return
    folder = _download(found, local_path(name, root), (TOKENIZER,))
    if not (folder / TOKENIZER).exists():
        raise CheckpointError(
            f"model {found}: the hub did not give its {TOKENIZER}, which turns the text into tokens. If the "
            "model has it, run the same command again; if not, write it with transformers and give the file."
        )


def _settle(commits: dict[str, str], name: str, root: Path) -> None:
    """Note the commit of what is now in the cache."""
    commit = commit_of(name, root, commits)
    if commit is not None:
        commits[name] = commit


def _download(name: HubName, place: Path, files: Sequence[str]) -> Path:
    """Get files of a model of the hub, and turn what goes wrong into what to do."""
    # Here, since a campaign that names nothing on the hub does not need it.
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with storage_errors(Path(constants.HF_HUB_CACHE), 0):
            # Said here as well: without it some versions ask the hub although they were forbidden to.
            found = snapshot_download(
                name.repository,
                revision=name.revision,
                allow_patterns=list(files),
                ignore_patterns=list(UNWANTED),
                local_files_only=constants.HF_HUB_OFFLINE,
            )
        return Path(found)
    except RewarmError:
        raise
    except GatedRepoError as error:
        raise CheckpointError(
            f"model {name}: the hub gives it only to those who have accepted its terms. Accept them on its "
            "page, log in with `hf auth login`, and run the same command again."
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"model {name}: the hub has no such model, or a private one, and {place} is no folder here. "
            "Correct the name; for a private model log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"model {name}: the hub has the model but not this revision. Give a branch, tag or commit that "
            "its page lists."
        ) from error
    except LocalEntryNotFoundError as error:
        missing = [TOKENIZER] if tuple(files) == (TOKENIZER,) else _missing(name)
        raise CheckpointError(
            f"model {name}: the hub's cache on this machine has not {_listed(missing)}, the hub cannot be "
            f"reached ({_first_line(error)}), and {place} is no folder here. Get it once with a network: "
            f"`{_command(name)}`; or give a local folder."
        ) from error
    except Exception as error:
        # The client lets through what its HTTP library raises, and that differs between versions.
        raise CheckpointError(
            f"model {name}: cannot be got from the hub ({type(error).__name__}: {_first_line(error)}). Run "
            f"the same command again, or get it with `{_command(name)}`."
        ) from error


def _not_here(
    name: str, root: Path, commits: Mapping[str, str], missing: Sequence[str]
) -> CheckpointError:
    found = hub_name(name, root, commits)
    assert found is not None, "a path is missing as a path"
    return CheckpointError(
        f"model {found}: the hub's cache on this machine has not {_listed(missing)}, and "
        f"{local_path(name, root)} is no folder here. Get it with `rewarm prepare`, or on this machine with "
        f"`{_command(found)}`; or correct the name."
    )


def _missing(name: HubName | None) -> list[str]:
    """Return what the cache has not of a model."""
    config = None if name is None else name.cached(CONFIG)
    return [CONFIG, SINGLE] if config is None else missing_files(config.parent)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _command(name: HubName) -> str:
    revision = "" if name.revision is None else f" --revision {name.revision}"
    return f"hf download {name.repository}{revision}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
