"""What lm-evaluation-harness writes down of an item (a sample), as an item of ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rewarm.errors import CampaignError, DataError
from rewarm.evaluation.harness.language_model import HarnessModel
from rewarm.evaluation.harness.task import HarnessTask
from rewarm.evaluation.items import AnswerItem, DocumentItem, Item, QuestionItem, ShareItem

_SHARES = ("acc", "exact_match")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An item that a model was asked."""

    task: str
    """Name of the task as it is reported."""
    id: str
    """Of the item there."""
    values: Mapping[str, Any]
    """What the harness writes down."""
    member: HarnessTask
    """The harness's task that it is of."""
    model: HarnessModel
    """The model that was asked."""

    @property
    def is_truncated(self) -> bool:
        """Whether the beginning of the context was not read."""
        return (self.member.task_name, self.values["doc_id"]) in self.model.truncated


def item_of(kind: str, sample: Sample) -> Item:
    """Return a sample as an item.

    Args:
        kind: of its task.
        sample: the sample.

    Raises:
        CampaignError: it has no result that fits here.
        DataError: its right answer is none of its choices.
    """
    return _ITEMS[kind](sample)


def _question(sample: Sample) -> QuestionItem:
    values, member = sample.values, sample.member
    choices = member.doc_to_choice(values["doc"])
    # Where the choices are contexts, the target is the text behind them, and is what is scored.
    answer = member.doc_to_text(values["doc"]) if member.multiple_input else values["target"]
    if isinstance(answer, str):
        answer = choices.index(answer) if answer in choices else -1
    if not 0 <= answer < len(choices):
        raise DataError(
            f"{sample.task}, item {sample.id}: its right answer ({values['target']!r}) is none of its "
            f"{len(choices)} choices. Correct the row, or remove it."
        )
    delimiter = member.config.target_delimiter
    scored = [text.removeprefix(delimiter) for _, text in values["arguments"][: len(choices)]]
    scores = [score for score, *_ in values["resps"][: len(choices)]]
    item = QuestionItem(
        task=sample.task,
        id=sample.id,
        answer=answer,
        nats=[-log_likelihood for log_likelihood, _ in scores],
        greedy=[is_greedy for _, is_greedy in scores],
        characters=[len(text) for text in scored],
        bytes=[len(text.encode()) for text in scored],
        truncated=sample.is_truncated,
    )
    assert item.is_right == bool(values.get("acc", item.is_right))
    return item


def _answer(sample: Sample) -> AnswerItem:
    return AnswerItem(
        task=sample.task,
        id=sample.id,
        said=sample.values["filtered_resps"][0],
        right=_share(sample) == 1,
        truncated=sample.is_truncated,
    )


def _document(sample: Sample) -> DocumentItem:
    (text,) = sample.values["arguments"][0]
    ((log_likelihood,),) = sample.values["resps"]
    return DocumentItem(
        task=sample.task,
        id=sample.id,
        domain=None,
        nats=-log_likelihood,
        bytes=len(text.encode()),
        tokens=sample.model.num_tokens(text),
    )


def _shared(sample: Sample) -> ShareItem:
    return ShareItem(
        task=sample.task, id=sample.id, share=_share(sample), truncated=sample.is_truncated
    )


_ITEMS: Mapping[str, Callable[[Sample], Item]] = {
    "questions": _question,
    "generate": _answer,
    "documents": _document,
    "shares": _shared,
}


def _share(sample: Sample) -> float:
    """Return how far an item counts as right."""
    for metric in _SHARES:
        if metric in sample.values:
            return float(sample.values[metric])
    raise CampaignError(
        f"{sample.task}: is measured by {', '.join(sample.values['metrics'])}, and here an item is right, "
        f"wrong or in between ({' or '.join(_SHARES)}). Leave it out, or use the harness's own command."
    )
