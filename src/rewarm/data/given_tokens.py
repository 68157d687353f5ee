"""The tokens of a campaign that are there already, instead of text to prepare."""

from pathlib import Path

from rewarm.campaign import Campaign, IndexMaps
from rewarm.data.index_map import IndexMap, IndexMapFiles
from rewarm.data.manifest import ADOPTED_SUFFIX, TOKENS, manifest_path
from rewarm.data.manifest_file import read_manifest
from rewarm.data.store import TokenStore
from rewarm.data.tokenizer import Tokenizer
from rewarm.errors import DataError, MismatchError


def open_given(place: Path, tokenizer: Tokenizer) -> TokenStore:
    """Open tokens for a campaign, prepared or adopted.

    Args:
        place: their manifest, or its folder.
        tokenizer: the tokenizer of the campaign.

    Raises:
        DataError: not there, or damaged.
        MismatchError: made with another tokenizer, or another end of text.
    """
    store = TokenStore.open(place, tokenizer=tokenizer.fingerprint)
    if store.manifest.end_of_text != tokenizer.end_of_text:
        raise MismatchError(
            f"{place}: its documents end with the id {store.manifest.end_of_text}, the campaign's with"
            f" {tokenizer.end_of_text} ({tokenizer.end_of_text_token}). Set tokenizer.end_of_text to the"
            " token that it was made with."
        )
    return store


def open_index_map(maps: IndexMaps, root: Path, store: TokenStore) -> IndexMap:
    """Open the index maps of a campaign over the tokens that they are of.

    Raises:
        DataError: not there, damaged, or not of these tokens.
    """
    files = IndexMapFiles(
        documents=root / maps.documents, samples=root / maps.samples, shuffle=root / maps.shuffle
    )
    return IndexMap.open(store, files, consumed=int(maps.consumed.amount))


def pair_prefix(place: Path) -> Path:
    """Return where tokens lie as a Megatron pair, without `.bin` and `.idx`, for other trainers.

    Raises:
        DataError: they do not lie in one such pair.
    """
    path = manifest_path(place)
    if not path.exists() and not path.name.endswith(ADOPTED_SUFFIX):  # as it will be prepared
        return place / Path(TOKENS).stem
    shards = read_manifest(place).shards
    if [shard.layout for shard in shards] != ["megatron"]:
        layouts = ", ".join(sorted({shard.layout for shard in shards}))
        raise DataError(
            f"{place}: lies in {len(shards)} shards of layout {layouts}; another trainer needs one"
            " Megatron pair for each source. Make each pair a source of its own."
        )
    return (path.parent / shards[0].files[0].name).with_suffix("")


def check_apart(campaign: Campaign, root: Path) -> None:
    """Refuse tokens that are both trained and validated on.

    Raises:
        DataError: which, and what to do.
    """
    training = {
        manifest_path(root / text.train_tokens).resolve(): leaf
        for leaf, (text, _) in campaign.leaves().items()
        if text.train_tokens is not None
    }
    for name, dataset in campaign.data.items():
        if dataset.validation_tokens is None:
            continue
        leaf = training.get(manifest_path(root / dataset.validation_tokens).resolve())
        if leaf is not None:
            raise DataError(
                f"data.{name}.validation_tokens: {dataset.validation_tokens} are also the training"
                f" tokens of {leaf}, so their loss would not show what was learnt or forgotten. Take"
                " them out of one of them."
            )
