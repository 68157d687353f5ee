"""The datasets of a campaign: where text or tokens come from, in which domains, and which part is read how."""

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from rewarm.campaign.parts import Split, TokenRange
from rewarm.campaign.quantities import Number, Part, RowLimit, SequenceCount, TokenCount, Weight
from rewarm.campaign.table import Name, Table
from rewarm.replay import OrderKind, SourcePart


class HuggingFace(Table):
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


class HeldOut(Table):
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


class IndexMaps(Table):
    """The order in which another trainer read a dataset: index maps of GPT-NeoX or Megatron-core."""

    documents: str
    """The document index, `…_doc_idx.npy` or `…-document_index.npy`, relative to the campaign file."""
    samples: str
    """The sample index, `…_sample_idx.npy` or `…-sample_index.npy`."""
    shuffle: str
    """The shuffle index, `…_shuffle_idx.npy` or `…-shuffle_index.npy`."""
    consumed: SequenceCount
    """How many samples that run has read of this dataset, such as `"1_000_000 sequences"`."""


class Text(Table):
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
