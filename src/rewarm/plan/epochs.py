"""How often the data is read: epochs of each source by the end of each stage, and what is too much.

Sizes come from outside: prepared if they are known, declared if not.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from rewarm.campaign.campaign import Campaign
from rewarm.campaign.datasets import Text
from rewarm.campaign.settings import Packing
from rewarm.errors import CampaignError
from rewarm.plan.plan import Plan
from rewarm.plan.stage import StagePlan

NumWindows = Callable[[str, int, Packing], int | None]
"""Sequences in the whole text of a source at a sequence length and a packing; None if not known."""


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """How much of a source was read as new data by the end of a stage."""

    sequences: int
    """Sequences read, from the base model on and with its declared history."""
    num_sequences: int
    """Sequences in one epoch."""
    limit: float | None
    """The most epochs that the campaign allows."""

    @property
    def times(self) -> Fraction:
        """Epochs."""
        return Fraction(self.sequences, self.num_sequences)


def declared_tokens(campaign: Campaign) -> dict[str, int]:
    """Return the tokens that the campaign declares, by source, and by dataset where it has domains."""
    texts: dict[str, Text] = {name: text for name, (text, _) in campaign.leaves().items()}
    texts |= campaign.data
    return {name: int(text.tokens.amount) for name, text in texts.items() if text.tokens}


def in_tokens(tokens: Mapping[str, int]) -> NumWindows:
    """Return the numbers of sequences that follow from numbers of tokens: (tokens - 1) div L.

    Those of whole documents follow from their lengths, and are about as many.
    """
    return lambda source, length, _: (tokens[source] - 1) // length if source in tokens else None


def epochs_of(stage: StagePlan, num_windows: NumWindows) -> dict[str, Epochs]:
    """Return the epochs of each source by the end of a stage, and of each dataset over all its domains.

    Args:
        stage: the stage.
        num_windows: sizes of the sources; also of a dataset with domains, if its domains' are not known.

    Returns:
        By `dataset` or `dataset/domain`; what is of unknown size is missing.

    Raises:
        DataError: a part of a source is less than one sequence, or more than there is.
    """
    read = stage.read_as_new()
    found: dict[str, Epochs] = {}
    for name, dataset in stage.campaign.data.items():
        leaves = dataset.leaves(name)
        sizes = {leaf: _size(stage, leaf, text, num_windows) for leaf, (text, _) in leaves.items()}
        texts = {leaf: text for leaf, (text, _) in leaves.items()}
        if dataset.domains:
            known = [size for size in sizes.values() if size is not None]
            whole = sum(known) if len(known) == len(sizes) else None
            sizes[name] = whole or _size(stage, name, dataset, num_windows)
            texts[name] = dataset
        for source, size in sizes.items():
            parts = leaves if source == name else {source}
            sequences = sum(read.get(part, 0) for part in parts)
            if size is not None:
                limit = texts[source].max_epochs
                found[source] = Epochs(sequences=sequences, num_sequences=size, limit=limit)
    return found


def _size(stage: StagePlan, source: str, text: Text, num_windows: NumWindows) -> int | None:
    """Return the sequences in one epoch of a source: those of its part."""
    length = stage.sequence_length
    there = num_windows(source, length, stage.campaign.training.packing)
    return None if there is None else text.part.windows(source, there, length).length


def epoch_warnings(plan: Plan, num_windows: NumWindows) -> list[str]:
    """Return what repeats: sources read more than once, and replay that comes round again."""
    found: list[str] = []
    for stage in plan.stages:
        for source, epochs in _new_in(stage, num_windows):
            if epochs.times > 1:
                found.append(f"{stage.folder} reads {source} up to epoch {float(epochs.times):.2f}")
        for name, count in stage.stream.tape_counts(stage.steps * stage.batch_sequences).items():
            assert stage.stream.replay is not None, "only a replay has tapes"
            times = Fraction(count, stage.stream.replay.tapes[name].length)
            if times > 1:
                found.append(
                    f"{stage.folder} replays what {name} read {float(times):.1f} times over"
                )
    return found


def check_epochs(plan: Plan, num_windows: NumWindows) -> None:
    """Refuse a plan that reads a source more often than the campaign allows, as far as sizes are known.

    Raises:
        CampaignError: which stages and sources, and by how much.
        DataError: a part of a source is less than one sequence, or more than there is.
    """
    found: list[str] = []
    for stage in plan.stages:
        for source, epochs in _new_in(stage, num_windows):
            if epochs.limit is not None and epochs.times > epochs.limit:
                name = f"data.{source.replace('/', '.domains.')}"
                found.append(
                    f"stage {stage.folder} needs {epochs.sequences * stage.sequence_length:,} tokens of {name} "
                    f"by its end = {float(epochs.times):.4g} epochs of its "
                    f"{epochs.num_sequences * stage.sequence_length:,}; {name}.max_epochs is {epochs.limit:g}"
                )
    if found:
        lines = "\n".join(found)
        raise CampaignError(
            f"{lines}\nGive more data, raise the limit, or lower the budget of these stages."
        )


def _new_in(stage: StagePlan, num_windows: NumWindows) -> Iterator[tuple[str, Epochs]]:
    """Yield the epochs of what a stage itself reads as new."""
    sources = stage.stream.new.mixture.shares
    datasets = {source.partition("/")[0] for source in sources}
    for source, epochs in epochs_of(stage, num_windows).items():
        if source in sources or source in datasets:
            yield source, epochs
