"""The models that are evaluated: a Hugging Face folder, read as untrusted data."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from transformers import PreTrainedConfig, PreTrainedModel

from rewarm.data.tokenizer import Tokenizer, load_tokenizer
from rewarm.errors import CampaignError, CheckpointError
from rewarm.models.folder import load_folder, open_folder, weight_files


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A model to evaluate, on the CPU in float32."""

    name: str
    """What to call it, and its folder of results."""
    place: str
    """Where it was read from."""
    model: PreTrainedModel
    """The model."""
    tokenizer: Tokenizer
    """Its tokenizer."""
    context_length: int
    """Tokens that it reads at once."""
    weights: Mapping[str, str]
    """SHA-256 of its weights files, by file."""


def open_model(
    folder: Path, *, end_of_text: str | None = None, context_length: int | None = None
) -> Evaluated:
    """Load a model and its tokenizer from a Hugging Face folder; nothing is downloaded.

    Args:
        folder: with `config.json`, safetensors and `tokenizer.json`.
        end_of_text: name of the end-of-text token; that of `eos_token_id` in `config.json` if None.
        context_length: tokens to read at once; what `config.json` has if None.

    Raises:
        CheckpointError: the folder cannot be used, or does not say what its end of text is.
        CampaignError: more tokens at once than the model can, or nobody says how many.
        DataError: its tokenizer cannot be used.
    """
    config = open_folder(folder).config
    context_length = checked_context(str(folder), config, context_length)
    path = folder / "tokenizer.json"
    tokenizer = load_tokenizer(path, end_of_text or _end_of_text(folder, config))
    if tokenizer.vocabulary > config.vocab_size:
        raise CheckpointError(
            f"{path}: has {tokenizer.vocabulary:,} entries, the model's embedding only {config.vocab_size:,} "
            "rows, so some tokens have no vector. Put the model's own tokenizer there."
        )
    return Evaluated(
        name=folder.resolve().name,
        place=str(folder),
        model=load_folder(folder),
        tokenizer=tokenizer,
        context_length=context_length,
        weights={file.name: _sha256(file) for file in weight_files(folder)},
    )


def checked_context(place: str, config: PreTrainedConfig, asked: int | None) -> int:
    """Return how many tokens a model reads at once.

    Args:
        place: the model, for messages.
        config: of the model.
        asked: as many as are wanted; as many as it can if None.

    Raises:
        CampaignError: more than it can, or nobody says how many.
    """
    most: int | None = getattr(config, "max_position_embeddings", None)
    if asked is None and most is None:
        raise CampaignError(
            f"{place}: its config.json has no max_position_embeddings, so how much it reads at once is not "
            "known. Say it with --context."
        )
    if asked is not None and most is not None and asked > most:
        raise CampaignError(
            f"--context {asked}: {place} reads at most {most:,} tokens at once, and would make nonsense of "
            "the rest. Ask for fewer."
        )
    found = asked or most
    assert found is not None
    return found


def _end_of_text(folder: Path, config: PreTrainedConfig) -> str:
    """Return the name of the token that the configuration ends a text with."""
    number = getattr(config, "eos_token_id", None)
    path = folder / "tokenizer.json"
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
        # The library raises plain `Exception` for a file that is missing or that it does not understand.
        raise CheckpointError(
            f"{path}: is not there or is no tokenizer.json ({error}), so no text can be given to the model. "
            "Put the model's own there."
        ) from error
    name = backend.id_to_token(number) if isinstance(number, int) else None
    if name is None:
        raise CheckpointError(
            f"{folder}: eos_token_id in config.json is {number!r}, which is no token of {path.name} there; it "
            "stands before a text without context and ends what the model writes. Name it with --end-of-text."
        )
    return name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
