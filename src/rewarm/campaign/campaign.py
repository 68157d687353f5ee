"""The campaign: everything that is to be done, as one frozen value, with all defaults.

A campaign file is a way to write it down (`rewarm.campaign.load`); the plan says what it comes to.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from rewarm.campaign.datasets import Dataset, Text
from rewarm.campaign.gate import Gate
from rewarm.campaign.presets import PRESETS
from rewarm.campaign.quantities import (
    BatchSize,
    Budget,
    Length,
    Quantity,
    Share,
    TokenCount,
    Weight,
    shares_of,
)
from rewarm.campaign.schedule import Schedule
from rewarm.campaign.settings import Checkpoints, Evaluation, Optimizer, Parallel, Training
from rewarm.campaign.table import Name, NotNegative, Positive, Table
from rewarm.replay import SourcePart

BASE = "base"
"""`after = "base"`: the stage starts from the base model (or from random weights)."""


def _known_preset(value: object) -> object:
    """Name the presets there are when one is not known."""
    if value not in PRESETS:
        raise ValueError(f"{value!r} is not a preset; there are {', '.join(PRESETS)}")
    return value


class Model(Table):
    """What is trained: a preset with random weights, or a Hugging Face causal LM, from a folder or the hub."""

    preset: Annotated[str, BeforeValidator(_known_preset)] | None = None
    """Name of a size."""
    from_: str | None = Field(default=None, alias="from")
    """Folder of a Hugging Face causal language model (config.json and safetensors), or a model of the hub:
    `organisation/name`, with `@revision` behind it if wanted; `hf://` in front if a folder has that name."""
    vocabulary: Positive | None = None
    """Rows of the embedding; the tokenizer's number of entries if not given. Only with a preset."""

    @model_validator(mode="after")
    def _one_of(self) -> "Model":
        if (self.preset is None) == (self.from_ is None):
            raise ValueError(
                "give either preset (random weights) or from (a model folder or a model of the hub), not both"
            )
        if self.from_ is not None and self.vocabulary is not None:
            raise ValueError("vocabulary comes from the model folder; leave it out")
        return self


class TrainTokenizer(Table):
    """A byte-level BPE to be trained on some of the datasets."""

    on: Annotated[list[Name], Field(min_length=1)]
    """Datasets whose training text it is trained on."""
    vocabulary: Annotated[int, Field(ge=257, strict=True)]
    """Entries: 256 bytes, the end of text, and the merges."""


class Tokenizer(Table):
    """The tokenizer of all datasets: a `tokenizer.json`, or one to be trained."""

    from_: str | None = Field(default=None, alias="from")
    """A `tokenizer.json`, or the folder or the name on the hub of a model that has one."""
    train: TrainTokenizer | None = None
    """How to train one."""
    end_of_text: str = "<|endoftext|>"
    """The token that ends every document."""

    @model_validator(mode="after")
    def _one_of(self) -> "Tokenizer":
        if (self.train is None) == (self.from_ is None):
            raise ValueError("give either from (a tokenizer.json) or train, not both")
        return self


class History(Table):
    """What the base model is declared to have seen before this campaign."""

    tokens: TokenCount
    """How many tokens."""
    proxy: bool = False
    """Whether the dataset only stands in for the base model's real, unavailable data."""


def _adds_up(weights: dict[str, Fraction]) -> dict[str, Fraction]:
    """Refuse shares that do not add up to 1."""
    shares_of(weights)
    return weights


def _replay_table(value: object) -> object:
    """Read `replay = "5%"` as `replay = { share = "5%" }`."""
    return value if isinstance(value, dict | Replay) else {"share": value}  # pyright: ignore[reportUnknownVariableType]


class Replay(Table):
    """Which share of a stage is re-read from what earlier stages have seen."""

    share: Share
    """Share of the stage's sequences."""
    mode: Literal["compute-equivalent", "additive"] = "compute-equivalent"
    """Whether replay takes the place of new tokens (same budget) or comes on top (larger budget)."""
    order: Literal["as-seen", "shuffled"] = "as-seen"
    """The order of the earlier stage, or reshuffled within what it read."""
    start: Literal["continue", "beginning"] = "continue"
    """Go on where the last replay stopped, or begin again at the first sequence."""
    weights: dict[Name, Weight] = {}
    """Weights of the datasets in the replay; the composition of all that was seen if not given."""


class Stage(Table):
    """One pre-training on one mixture."""

    name: Name
    """Unique within the campaign."""
    data: Annotated[dict[Name, Weight], Field(min_length=1), AfterValidator(_adds_up)] | None = None
    """Shares of the datasets (they add up to 1), or proportions in whole numbers. Without it the stage goes
    on with the data of the stage before, replay included."""
    budget: Budget
    """How much to train, replay included (unless it is additive)."""
    replay: Annotated[Replay, BeforeValidator(_replay_table)] = Replay(share=Fraction(0))
    """Share of replay; needs data."""
    schedule: Schedule | None = None
    """Learning-rate schedule; without one the stage carries on that of the stage before."""
    after: Name | None = None
    """Stage that it starts from; the one before it in the file if not given; "base" is the base model."""
    at: Length | None = None
    """Where in that stage it branches off; its end if not given."""
    optimizer: Literal["reset", "keep"] = "reset"
    """Whether the optimizer state is carried over (the paper resets it)."""


class Campaign(Table):
    """A whole campaign."""

    name: Name
    """Names the run folder."""
    seed: NotNegative = 1234
    """Decides the initial weights and the order of all data."""
    sequence_length: Positive
    """Tokens in a sequence."""
    batch: BatchSize
    """Size of the global batch: sequences, or tokens that make whole sequences."""
    model: Model
    """What is trained."""
    tokenizer: Tokenizer
    """How text becomes tokens."""
    data: Annotated[dict[Name, Dataset], Field(min_length=1)]
    """The datasets."""
    history: dict[Name, History] = {}
    """What the base model has seen, by dataset."""
    optimizer: Optimizer = Optimizer()
    """The optimizer."""
    training: Training = Training()
    """How steps are carried out."""
    parallel: Parallel = Parallel()
    """How they are spread over ranks."""
    evaluation: Evaluation = Evaluation()
    """What is measured."""
    checkpoints: Checkpoints = Checkpoints()
    """What is kept."""
    gate: Gate | None = None
    """What a new checkpoint may lose."""
    stages: Annotated[list[Stage], Field(min_length=1, alias="stage")]
    """The stages, in the file `[[stage]]`."""

    @field_validator("batch")
    @classmethod
    def _whole_sequences(cls, batch: Quantity, info: ValidationInfo) -> Quantity:
        length: int | None = info.data.get("sequence_length")
        if length and batch.unit == "tokens" and batch.amount % length:
            below = int(batch.amount // length)
            nearest = f'"{below} sequences" or "{below + 1} sequences"' if below else '"1 sequence"'
            raise ValueError(
                f"{str(batch)!r} is not a whole number of sequences of {length} tokens; write {nearest}"
            )
        return batch

    @field_validator("training")
    @classmethod
    def _divides_the_batch(cls, training: Training, info: ValidationInfo) -> Training:
        batch: Quantity | None = info.data.get("batch")
        length: int | None = info.data.get("sequence_length")
        if batch and length and training.micro_batch is not None:
            sequences = _sequences(batch, length)
            if sequences % training.micro_batch:
                raise ValueError(
                    f"micro_batch = {training.micro_batch} does not divide the batch of {sequences} sequences"
                )
        return training

    @model_validator(mode="after")
    def _maps_are_of_windows(self) -> "Campaign":
        mapped = [leaf for leaf, (text, _) in self.leaves().items() if text.index_maps is not None]
        if mapped and self.training.packing == "best-fit":
            raise ValueError(
                f"data.{mapped[0].replace('/', '.domains.')}.index_maps say which windows a run elsewhere has "
                'read, and training.packing = "best-fit" has none; leave one of them out'
            )
        return self

    @property
    def batch_sequences(self) -> int:
        """Sequences in a global batch."""
        return _sequences(self.batch, self.sequence_length)

    @property
    def batch_tokens(self) -> int:
        """Tokens in a global batch."""
        return self.batch_sequences * self.sequence_length

    @property
    def micro_batch_sequences(self) -> int:
        """Sequences that go through the model at once where one rank has the whole batch."""
        if self.training.micro_batch is not None:
            return self.training.micro_batch
        return max(self.micro_batches(self.batch_sequences))

    def micro_batches(self, sequences: int) -> list[int]:
        """Return the sizes that a rank may choose from: divisors of its sequences of at most 16,384 tokens.

        A single sequence may be longer.
        """
        most = max(1, 16_384 // self.sequence_length)
        return [n for n in range(1, min(most, sequences) + 1) if sequences % n == 0]

    def leaves(self) -> dict[str, tuple[Text, Fraction]]:
        """Return every part of a dataset that is read separately, with its share of the dataset."""
        found: dict[str, tuple[Text, Fraction]] = {}
        for name, dataset in self.data.items():
            found.update(dataset.leaves(name))
        return found

    def token_owners(self) -> dict[str, str]:
        """Return whose tokens each text is read from: a part's are those of the first that has the same text.

        So parts of one text are parts of the same tokens, and these are prepared once. A whole text has tokens
        of its own.
        """
        leaves = self.leaves()
        parts = {leaf for leaf, (text, _) in leaves.items() if text.part != SourcePart()}
        owners = {leaf: leaf for leaf in leaves}
        first_with: dict[bytes, str] = {}
        for leaf, (text, _) in leaves.items() if parts else ():
            identity = orjson.dumps(self.identity_of(leaf, text), option=orjson.OPT_SORT_KEYS)
            first = first_with.setdefault(identity, leaf)
            if leaf in parts:
                owners[leaf] = first
        return owners

    def identity_of(self, leaf: str, text: Text) -> dict[str, Any]:
        """Return what decides the text of a part that is read separately; see `Dataset.identity_of`."""
        return self.data[leaf.partition("/")[0]].identity_of(text)

    def parent_of(self, stage: Stage) -> Stage | None:
        """Return the stage that a stage starts from; None for the base model."""
        index = self.stages.index(stage)
        if stage.after == BASE or (stage.after is None and index == 0):
            return None
        if stage.after is None:
            return self.stages[index - 1]
        return next(other for other in self.stages if other.name == stage.after)

    def shares(self, stage: Stage) -> dict[str, Fraction]:
        """Return the exact share of each dataset among the new data of a stage."""
        if stage.data is not None:
            return shares_of(stage.data)
        parent = self.parent_of(stage)
        assert parent is not None, "the references were checked: a first stage has data"
        return self.shares(parent)

    def lineage(self, stage: Stage) -> list[Stage]:
        """Return the stages from the base model to this one, first to last."""
        parent = self.parent_of(stage)
        return [*(self.lineage(parent) if parent else []), stage]


def _sequences(batch: Quantity, sequence_length: int) -> int:
    """Return how many sequences a batch has."""
    amount = int(batch.amount)
    return amount if batch.unit == "sequences" else amount // sequence_length


def leaf_weights(campaign: Campaign, shares: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """Spread the shares of datasets over the parts that are read separately."""
    return {
        leaf: share * part
        for dataset, share in shares.items()
        for leaf, (_, part) in campaign.data[dataset].leaves(dataset).items()
    }
