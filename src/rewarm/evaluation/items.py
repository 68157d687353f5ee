"""One record for each item that was measured: a line of `items.jsonl.gz`. Comparisons pair them by id."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from rewarm.runs.records import Record


class DocumentItem(Record):
    """How likely a document is."""

    kind: Literal["document"] = "document"
    task: str
    """Name of the task."""
    id: str
    """Of the document."""
    domain: str | None
    """What it belongs to."""
    nats: float
    """-ln p of all its tokens."""
    bytes: int
    """Of its text as UTF-8."""
    tokens: int
    """Tokens scored: all it has."""


class QuestionItem(Record):
    """How likely the choices of a question are."""

    kind: Literal["question"] = "question"
    task: str
    """Name of the task."""
    id: str
    """Of the question."""
    answer: int
    """The right choice, from 0."""
    nats: list[float]
    """-ln p of each choice."""
    greedy: list[bool]
    """Whether greedy decoding would give it."""
    characters: list[int]
    """Of each choice."""
    bytes: list[int]
    """Of each choice as UTF-8."""
    truncated: bool
    """Whether the beginning of the context was not read for some choice."""

    @property
    def is_right(self) -> bool:
        """Whether the likeliest choice is the right one; of equal ones the first counts."""
        return _least(self.nats) == self.answer

    @property
    def is_right_by_characters(self) -> bool:
        """As `is_right`, by the log-likelihood for each character."""
        return self._is_right_for_each(self.characters)

    @property
    def is_right_by_bytes(self) -> bool:
        """As `is_right`, by the log-likelihood for each byte."""
        return self._is_right_for_each(self.bytes)

    @property
    def gold_nats(self) -> float:
        """-ln p of the right choice."""
        return self.nats[self.answer]

    @property
    def gold_bytes(self) -> int:
        """Bytes of the right choice and of the space before it, which is scored too."""
        return self.bytes[self.answer] + 1

    def _is_right_for_each(self, lengths: Sequence[int]) -> bool:
        pairs = zip(self.nats, lengths, strict=True)
        each = [nats / length if length else math.inf for nats, length in pairs]
        return _least(each) == self.answer


class AnswerItem(Record):
    """What a model answered."""

    kind: Literal["answer"] = "answer"
    task: str
    """Name of the task."""
    id: str
    """Of the question."""
    said: str
    """The model's answer."""
    right: bool
    """Whether it is one of the right ones, normalised."""
    truncated: bool
    """Whether the beginning of the context was not read."""


class ShareItem(Record):
    """How far an item counts as right, where that is not yes or no, or more than one choice is right."""

    kind: Literal["share"] = "share"
    task: str
    """Name of the task."""
    id: str
    """Of the item."""
    share: float
    """From 0, wrong, to 1, right."""
    truncated: bool
    """Whether the beginning of the context was not read."""


class PromptItem(Record):
    """How a model goes on from a prompt."""

    kind: Literal["prompt"] = "prompt"
    task: str
    """Name of the task."""
    id: str
    """Its number."""
    prompt: str
    """The prompt."""
    continuation: str
    """What the model added."""


Item = DocumentItem | QuestionItem | AnswerItem | ShareItem | PromptItem
"""An item of any kind."""

ITEM: TypeAdapter[Item] = TypeAdapter(Annotated[Item, Field(discriminator="kind")])
"""Reads a line."""


def _least(values: Sequence[float]) -> int:
    return min(range(len(values)), key=lambda index: values[index])
