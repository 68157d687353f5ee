"""The campaign: everything that is to be done, as one frozen value, with all defaults.

A campaign file is a way to write it down (`rewarm.campaign.load`); the plan says what it comes to.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from rewarm.campaign.parts import Split, TokenRange
from rewarm.campaign.presets import PRESETS
from rewarm.campaign.quantities import (
    BatchSize,
    Budget,
    Length,
    Number,
    Part,
    Quantity,
    RowLimit,
    SequenceCount,
    Share,
    TokenCount,
    Weight,
    parse_quantity,
    shares_of,
)
from rewarm.campaign.schedule import Schedule
from rewarm.replay import OrderKind, SourcePart

Packing = Literal["cut", "best-fit"]
"""How documents become sequences."""
BASE = "base"
"""`after = "base"`: the stage starts from the base model (or from random weights)."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Positive = Annotated[int, Field(ge=1, strict=True)]
NotNegative = Annotated[int, Field(ge=0, strict=True)]
Beta = Annotated[Number, Field(ge=0, lt=1)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _known_preset(value: object) -> object:
    """Name the presets there are when one is not known."""
    if value not in PRESETS:
        raise ValueError(f"{value!r} is not a preset; there are {', '.join(PRESETS)}")
    return value


class Model(_Table):
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


class TrainTokenizer(_Table):
    """A byte-level BPE to be trained on some of the datasets."""

    on: Annotated[list[Name], Field(min_length=1)]
    """Datasets whose training text it is trained on."""
    vocabulary: Annotated[int, Field(ge=257, strict=True)]
    """Entries: 256 bytes, the end of text, and the merges."""


class Tokenizer(_Table):
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


class HuggingFace(_Table):
    """A Hugging Face dataset: a folder here, or one of the hub, which is streamed."""

    from_: str = Field(alias="from")
    """Folder (saved by `save_to_disk`, or with files as the hub has them); or a dataset of the hub:
    `organisation/name`, with `@revision` behind it if wanted."""
    config: str | None = None
    """Name of the configuration; the default one if not given."""
    split: str = "train"
    """The split that is trained on."""
    validation_split: str | None = None
    """A split to validate on."""


class HeldOut(_Table):
    """Validation text that is held out of the training text by a hash, whatever the files and their order."""

    fraction: Part
    """Share of the documents, or of the groups, that is held out."""
    by: Literal["document", "group"] = "document"
    """What is held out together: all copies of one text, or all rows with one value of `group`."""
    group: str | None = None
    """Column of the group, such as the page or the author; a dot leads into a nested one."""
    salt: str = "rewarm"
    """Another salt holds out other text."""

    @model_validator(mode="after")
    def _group_is_named(self) -> "HeldOut":
        if (self.by == "group") != (self.group is not None):
            raise ValueError('by = "group" and group = "COLUMN" go together; give both or neither')
        return self


class IndexMaps(_Table):
    """The order in which another trainer read a dataset: index maps of GPT-NeoX or Megatron-core."""

    documents: str
    """The document index, `…_doc_idx.npy` or `…-document_index.npy`, relative to the campaign file."""
    samples: str
    """The sample index, `…_sample_idx.npy` or `…-sample_index.npy`."""
    shuffle: str
    """The shuffle index, `…_shuffle_idx.npy` or `…-shuffle_index.npy`."""
    consumed: SequenceCount
    """How many samples that run has read of this dataset, such as `"1_000_000 sequences"`."""


class Text(_Table):
    """Where the training text of a dataset, or of a domain of one, comes from."""

    train: list[str] = []
    """Files with training text, wildcards allowed, relative to the campaign file; or addresses
    (`s3://bucket/*.parquet`). What is read is in [data.md](data.md)."""
    source: Literal["python-docs", "python-code"] | None = None
    """A built-in source instead of files: the standard library's documentation, or its code."""
    hugging_face: HuggingFace | None = None
    """A Hugging Face dataset instead of files."""
    train_tokens: str | None = None
    """Tokens that are there already, instead of text: the manifest that `rewarm adopt` wrote, or a folder
    with one; relative to the campaign file."""
    index_maps: IndexMaps | None = None
    """With train_tokens and `order = "sequential"`: the order in which a run elsewhere has read them, for a
    replay in true order."""
    text: str = "text"
    """Column (or key in JSON lines) of the text, of training and validation files; a dot leads into a nested
    one."""
    tokens: TokenCount | None = None
    """How many tokens the whole text has, so that a plan can be made before it is prepared."""
    order: OrderKind = "shuffled"
    """Order of the sequences in each epoch. shuffled: as a whole. blocks: blocks of 1,024 neighbours shuffled,
    and each within, for disks that are slow at random access. sequential: as stored, for text that is shuffled
    already. Domains have the order of their dataset unless they name one."""
    range: TokenRange | None = None
    """Only this part of the tokens, as they are stored: `"0 to 100B tokens"` or `"100B tokens to end"`."""
    split: Split | None = None
    """Only this part of the range, at random: `"1/3"`. The parts of a text share no sequence and are all of it,
    whatever the seed and whatever the datasets are called that name them; its tokens are prepared once.
    Domains have the split of their dataset unless they name one."""
    use: TokenCount | None = None
    """Only so many tokens, at random, of what range and split leave."""
    max_epochs: Annotated[Number, Field(gt=0)] | None = None
    """How often it may be read as new data on the way from the base model to the end of any stage; if that is
    more, nothing is trained. Without a limit it begins again after each epoch, and the plan says so. Domains
    have the limit of their dataset unless they name one."""

    @property
    def part(self) -> SourcePart:
        """Which part of the text is read: of the range the split, of the split so much as is used."""
        return SourcePart(
            start_token=self.range.start if self.range else 0,
            end_token=self.range.end if self.range else None,
            piece=self.split.number - 1 if self.split else 0,
            num_pieces=self.split.of if self.split else 1,
            use_tokens=int(self.use.amount) if self.use else None,
        )

    @property
    def num_origins(self) -> int:
        """Return how many of the places that text or tokens can come from are given."""
        origins = (self.train, self.source, self.hugging_face, self.train_tokens)
        return [bool(origin) for origin in origins].count(True)


_INHERITED = ("order", "split", "max_epochs")
"""What the domains of a dataset take from it."""


def _as_list(value: object) -> object:
    """Read one name as a list of it."""
    return [value] if isinstance(value, str) else value


class Domain(Text):
    """A part of a dataset that is read with a weight of its own."""

    weight: Weight
    """Relative weight among the dataset's domains (paper Table 1: sampling percentages)."""
    rows: Annotated[list[str], BeforeValidator(_as_list)] = []
    """Values of the dataset's `domain_column` whose rows are this domain, instead of text of its own."""

    @model_validator(mode="after")
    def _has_text(self) -> "Domain":
        if self.num_origins + bool(self.rows) != 1:
            raise ValueError(
                "give one of train (files), source (a built-in one), hugging_face, train_tokens and rows"
            )
        return self


def _kind_of_validation(value: object) -> str:
    return "<table>" if isinstance(value, dict | HeldOut) else "<files>"


class Dataset(Text):
    """A dataset: training text, whole or in domains, and text to validate on."""

    validation: Annotated[
        Annotated[list[str], Tag("<files>")] | Annotated[HeldOut, Tag("<table>")],
        Discriminator(_kind_of_validation),
    ] = []
    """Files with validation text, or a table: what to hold out of the training text. Required, unless `source`
    is given: a built-in source has its own."""
    validation_tokens: str | None = None
    """Tokens to validate on that are there already, instead of text; as train_tokens."""
    domain_column: str | None = None
    """Column that says which domain a row is of; each domain then names its `rows`."""
    max_bad_rows: RowLimit = 0
    """How many rows of each split may be left out because they cannot be used: a number, or a share such as
    "0.1%". They are counted and reported. With 0 the first one is an error."""
    domains: dict[Name, Domain] = {}
    """Domains with their weights, instead of train; or by the rows of train, with `domain_column`."""

    @model_validator(mode="after")
    def _has_text(self) -> "Dataset":
        if self.domains and (self.range or self.use):
            raise ValueError(
                "range and use count tokens of one text, and here are several; give them to the domains"
            )
        if self.domain_column is None:
            if self.num_origins + bool(self.domains) != 1:
                raise ValueError(
                    "give one of train (files), source (a built-in one), hugging_face, train_tokens and "
                    "domains"
                )
            if any(domain.rows for domain in self.domains.values()):
                raise ValueError("a domain with rows needs domain_column: which column to look in")
        elif (self.train == []) == (self.hugging_face is None) or not self.domains:
            raise ValueError("domain_column needs train or hugging_face, and domains with rows")
        self._check_rows()
        self._check_validation()
        self._check_index_maps()
        return self

    def _check_rows(self) -> None:
        values = [value for domain in self.domains.values() for value in domain.rows]
        if twice := {value for value in values if values.count(value) > 1}:
            raise ValueError(f"{sorted(twice)[0]!r} stands in rows of a domain more than once")
        if self.domain_column is None:
            return
        for name, domain in self.domains.items():
            if not domain.rows or "text" in domain.model_fields_set:
                raise ValueError(
                    f"with domain_column, domain {name!r} names its rows; the files and the column of the "
                    "text stand with the dataset"
                )

    def _check_validation(self) -> None:
        origin = self.hugging_face
        has_split = origin is not None and origin.validation_split is not None
        if self.validation_tokens is not None and (self.validation or has_split):
            raise ValueError("give either validation_tokens or text to validate on, not both")
        has_own = self.source is not None or has_split or self.validation_tokens is not None
        if not self.validation and not has_own:
            raise ValueError(
                "validation is missing: without it neither learning nor forgetting is seen"
            )
        if self.validation and has_split:
            raise ValueError("give either validation or hugging_face.validation_split, not both")
        built_in = any(text.source for text in (self, *self.domains.values()))
        if isinstance(self.validation, HeldOut) and built_in:
            raise ValueError("a built-in source holds out modules of its own; leave validation out")
        given = any(text.train_tokens for text in (self, *self.domains.values()))
        if isinstance(self.validation, HeldOut) and given:
            raise ValueError(
                "validation is held out of text, and train_tokens are tokens; give validation_tokens"
            )

    def _check_index_maps(self) -> None:
        for text, _ in self.leaves("").values():
            if text.index_maps is None:
                continue
            if text.train_tokens is None:
                raise ValueError(
                    "index_maps say the order of tokens that are there; give train_tokens"
                )
            if text.order != "sequential":
                raise ValueError(
                    'index_maps are the order in which a run read; give order = "sequential" with them, or '
                    "leave them out"
                )

    def leaves(self, name: str) -> dict[str, tuple[Text, Fraction]]:
        """Return the parts that are read separately, with their shares: `name`, or `name/domain` each."""
        if not self.domains:
            return {name: (self, Fraction(1))}
        total = sum((domain.weight for domain in self.domains.values()), Fraction(0))
        return {
            f"{name}/{d}": (self._complete(domain), domain.weight / total)
            for d, domain in self.domains.items()
        }

    def identity_of(self, text: Text) -> dict[str, Any]:
        """Return what decides the text of the dataset or of one of its domains, and nothing of how it is read.

        What is not asked for is left out, as it is in the keys of older stages.
        """
        words = text.model_dump(mode="json", include={"train", "source", "text"})
        more = {
            "hugging_face": {"from_", "config", "split"},
            "train_tokens": True,
            "index_maps": True,
            "rows": True,
        }
        words |= text.model_dump(mode="json", include=more, exclude_defaults=True)
        if self.domain_column is not None:
            table = {"train": True, "text": True, "domain_column": True} | more
            words["of"] = self.model_dump(mode="json", include=table)
        if isinstance(self.validation, HeldOut):
            words["held_out"] = self.validation.model_dump(mode="json")
        return words

    def _complete(self, domain: Domain) -> Domain:
        """Give a domain what it does not name itself."""
        names = [name for name in _INHERITED if name not in domain.model_fields_set]
        return domain.model_copy(update={name: getattr(self, name) for name in names})


class History(_Table):
    """What the base model is declared to have seen before this campaign."""

    tokens: TokenCount
    """How many tokens."""
    proxy: bool = False
    """Whether the dataset only stands in for the base model's real, unavailable data."""


class Optimizer(_Table):
    """AdamW, as in the paper (Table 13 and the authors' configurations)."""

    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """Decay rates of the two moments."""
    eps: Annotated[Number, Field(gt=0)] = 1e-8
    """Added to the denominator."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.1
    """Decoupled weight decay, on matrices only."""
    clip_norm: Annotated[Number, Field(gt=0)] = 1.0
    """Largest global norm of the gradient."""


class Training(_Table):
    """How the steps are carried out."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the matrix products; weights and optimizer state are fp32. fp16 scales the loss."""
    micro_batch: Positive | None = None
    """Sequences that go through the model at once, on each rank that has data of its own; must divide its
    part of the batch. Default: as many as make at most 16,384 tokens."""
    documents: Literal["joined", "isolated"] = "joined"
    """What a token may look back at: all that stands before it in its sequence, as in the paper; or its own
    document alone, where positions are counted anew in each. Keep what the base model was trained with."""
    packing: Packing = "cut"
    """How training documents become sequences. cut: end to end, and cut wherever a sequence ends, as in the
    paper. best-fit: no document that fits is cut; sequences then end with up to a few tokens of nothing, which
    are counted as read but not trained on (0.1% of our corpora). Validation text is cut in any case."""
    not_finite: Literal["stop", "skip", "rewind"] = "stop"
    """After a loss or gradient that is not finite, which never reaches the weights: end; leave the batch
    out; or go back to the newest checkpoint and leave the batch out when it comes again."""
    deterministic: Literal["same-layout", "world-invariant"] = "same-layout"
    """What has the same bits: a resumed run on the same number of ranks; or any number of ranks, where all
    gradients are added in one order (to verify with: fp32 on CPUs, every rank holds the whole model, their
    number is a power of two, and `training.micro_batch` is given)."""


class Parallel(_Table):
    """How the work is spread over ranks, one process for each device.

    It changes results by rounding alone, so a run may go on with another spread.
    """

    tensor: Positive | Literal["auto"] = "auto"
    """Ranks over which the matrices of each block are split."""
    pipeline: Positive | Literal["auto"] = "auto"
    """Ranks over which the blocks are laid, end to end."""
    shard: Positive | Literal["auto"] = "auto"
    """Ranks over which weights, gradients and optimizer state are sharded (FSDP2). Where there are more for
    the data than that, the others hold copies (HSDP); 1 means that every one has a copy."""
    reshard: bool | Literal["auto"] = "auto"
    """Whether gathered weights are let go between forward and backward: less memory, more traffic (ZeRO-3);
    without, they are kept until the step is done (the nearest to ZeRO-1)."""
    pipeline_schedule: Literal["1f1b", "interleaved"] = "1f1b"
    """Order of the micro-batches in the pipeline; interleaved gives each rank several runs of blocks."""
    stages_per_rank: Positive | Literal["auto"] = "auto"
    """Runs of blocks on each rank of a pipeline: 1, or 2 and more where it is interleaved."""
    activation_checkpointing: Literal["auto", "none", "selective", "full"] = "auto"
    """What the backward pass computes again instead of keeping: nothing, all but the matrix products of a
    block, or whole blocks."""
    compile: bool = False
    """Whether each block is compiled by torch.compile."""
    device_memory: Annotated[Number, Field(gt=0)] = 80.0
    """Memory of a device in GB (10^9 bytes), nine tenths of which "auto" may fill by the estimate."""
    timeout: Positive = 600
    """Seconds without an answer after which a rank counts as lost."""

    @model_validator(mode="after")
    def _stages_fit_the_schedule(self) -> "Parallel":
        stages, kind = self.stages_per_rank, self.pipeline_schedule
        if stages != "auto" and (stages > 1) != (kind == "interleaved"):
            raise ValueError(
                f"stages_per_rank = {stages} does not go with the schedule {kind}: 1f1b has 1, interleaved "
                "2 or more"
            )
        return self


class Evaluation(_Table):
    """When and on what the validation loss is measured, and the prompts that are continued."""

    every: Length = parse_quantity("5%")
    """Distance between evaluations; one more comes at step 0 of every stage."""
    sequences: Positive = 128
    """Validation sequences of each dataset, the same at every evaluation."""
    final_steps: NotNegative = 100
    """The final loss is the mean over the last so many steps, which no stage may be shorter than (0: the last
    step alone) …"""
    final_every: Positive = 10
    """… sampled every so many steps (paper section 6.2)."""
    max_overlap: Share | None = None
    """Largest share of a validation set's documents that may be training text as well, as `rewarm overlap`
    measures it; training does not begin above it, nor before it is measured. No limit by default."""
    prompts: list[str] = []
    """Texts that the finished model of every stage continues."""
    prompt_tokens: Positive = 48
    """How many tokens it adds."""


class Checkpoints(_Table):
    """When the state is saved and how many states are kept."""

    every: Length = parse_quantity("10%")
    """Distance between checkpoints; the end of a stage always has one, and where others branch off."""
    keep: Positive | Literal["all"] = 2
    """How many of the newest stay, or "all"; stage ends and branch points stay in any case."""
    keep_every: Length | None = None
    """Distance of checkpoints that stay for good, to branch off from later; none by default."""
    in_background: bool = True
    """Whether a checkpoint is written while training goes on, which then waits for a copy in memory alone."""


def _adds_up(weights: dict[str, Fraction]) -> dict[str, Fraction]:
    """Refuse shares that do not add up to 1."""
    shares_of(weights)
    return weights


def _replay_table(value: object) -> object:
    """Read `replay = "5%"` as `replay = { share = "5%" }`."""
    return value if isinstance(value, dict | Replay) else {"share": value}  # pyright: ignore[reportUnknownVariableType]


class Replay(_Table):
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


class Stage(_Table):
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


class Campaign(_Table):
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

    def token_owner(self, leaf: str) -> str:
        """Return whose tokens a part of a text is read from: those of the first that has the same text.

        So parts of one text are parts of the same tokens, and these are prepared once. A whole text has tokens
        of its own.
        """
        if self.leaves()[leaf][0].part == SourcePart():
            return leaf
        wanted = self.identity_of(leaf)
        return next(name for name in self.leaves() if self.identity_of(name) == wanted)

    def identity_of(self, leaf: str) -> dict[str, Any]:
        """Return what decides the text of a part that is read separately; see `Dataset.identity_of`."""
        return self.data[leaf.partition("/")[0]].identity_of(self.leaves()[leaf][0])

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
