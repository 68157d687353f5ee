"""What is measured: documents, questions, free answers and prompts, each as items and the metrics over them."""

import math
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rewarm.errors import DataError
from rewarm.evaluation.generation import Continuation, go_on
from rewarm.evaluation.items import AnswerItem, DocumentItem, PromptItem, QuestionItem
from rewarm.evaluation.requests import Request, document_requests, encode_context, encode_pairs
from rewarm.evaluation.rows import Ask, Document, Question
from rewarm.evaluation.scoring import Reader, Score, score

OnDone = Callable[[int, int], None]
"""Told how many requests are done, and of how many."""

ANSWER_TOKENS = 32
"""Tokens of a free answer at most."""
PROMPT_TOKENS = 40
"""Tokens that a prompt is continued by at most."""

GERMAN_PROMPTS = (
    "Eine typisch deutsche Mahlzeit ist",
    "Döner ist besser als Poutine weil",
    "Das Pferd isst keinen Gurkensalat.",
    "Handy ist ein deutsches Wort",
    "Der Eiersollbruchstellenverursacher ist",
)
"""Those of the paper (A.4, Table 8). Not a measurement: a model that knows no German drifts off topic."""

_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = str.maketrans("", "", string.punctuation + "‘’´`")


def read_all(
    reader: Reader, documents: Sequence[Document], task: str, on_done: OnDone
) -> list[DocumentItem]:
    """Return the log-likelihood of each document."""
    read = read_texts(reader, [each.text for each in documents], on_done)
    return [
        DocumentItem(
            task=task,
            id=document.id,
            domain=document.domain,
            nats=nats,
            bytes=len(document.text.encode()),
            tokens=tokens,
        )
        for document, (nats, tokens) in zip(documents, read, strict=True)
    ]


def read_texts(reader: Reader, texts: Sequence[str], on_done: OnDone) -> list[tuple[float, int]]:
    """Return -ln p of each text in nats, read in windows (`document_requests`), and how many tokens it has."""
    windows = [
        list(document_requests(reader.tokenizer, text, reader.context_length)) for text in texts
    ]
    scores = iter(score_all(reader, [request for each in windows for request in each], on_done))
    return [
        (
            -math.fsum(next(scores).log_likelihood for _ in requests),
            sum(len(request.continuation) for request in requests),
        )
        for requests in windows
    ]


def choose_all(
    reader: Reader, questions: Sequence[Question], task: str, on_done: OnDone
) -> list[QuestionItem]:
    """Return what each question's choices score: each behind the context and a space.

    Raises:
        DataError: a choice has no token of its own, or more than the model reads at once.
    """
    requests = encode_pairs(
        reader.tokenizer,
        [(each.context, f" {choice}") for each in questions for choice in each.choices],
    )
    names = [
        f"{task}, {each.id}, choice {n}" for each in questions for n in range(len(each.choices))
    ]
    for name, request in zip(names, requests, strict=True):
        check_length(name, len(request.continuation), reader.context_length)
    pairs = iter(zip(requests, score_all(reader, requests, on_done), strict=True))
    items: list[QuestionItem] = []
    for question in questions:
        own = [next(pairs) for _ in question.choices]
        items.append(
            QuestionItem(
                task=task,
                id=question.id,
                answer=question.answer,
                nats=[-found.log_likelihood for _, found in own],
                greedy=[found.is_greedy for _, found in own],
                characters=[len(choice) for choice in question.choices],
                bytes=[len(choice.encode()) for choice in question.choices],
                truncated=any(r.is_truncated(reader.context_length) for r, _ in own),
            )
        )
    return items


def answer_all(reader: Reader, asks: Sequence[Ask], task: str, on_done: OnDone) -> list[AnswerItem]:
    """Return how the model answers each question, and whether that is one of the right answers."""
    stops = [ask.stop for ask in asks]
    said = go_on_from(reader, [ask.context for ask in asks], ANSWER_TOKENS, stops, on_done)
    return [
        AnswerItem(
            task=task,
            id=ask.id,
            said=found.text,
            right=normalised(found.text) in {normalised(answer) for answer in ask.answers},
            truncated=found.is_truncated,
        )
        for ask, found in zip(asks, said, strict=True)
    ]


def continue_all(
    reader: Reader, prompts: Sequence[str], task: str, on_done: OnDone
) -> list[PromptItem]:
    """Return how the model continues each prompt."""
    said = go_on_from(reader, prompts, PROMPT_TOKENS, [() for _ in prompts], on_done)
    return [
        PromptItem(task=task, id=str(number), prompt=prompt, continuation=found.text)
        for number, (prompt, found) in enumerate(zip(prompts, said, strict=True), start=1)
    ]


def normalised(answer: str) -> str:
    """Return an answer as exact match compares it, as SQuAD and TriviaQA do.

    Lower case; without ASCII punctuation and the quotes ‘’´`; without the words a, an and the; words one space
    apart. Articles of other languages stay. Where nothing would be left, the words stay as they are.

    >>> normalised(" The  Brandenburg Gate."), normalised("A")
    ('brandenburg gate', 'a')
    """
    lower = answer.lower()
    words = lower.translate(_PUNCTUATION).split()
    return " ".join(word for word in words if word not in _ARTICLES) or " ".join(lower.split())


def score_all(reader: Reader, requests: Sequence[Request], on_done: OnDone) -> list[Score]:
    """Return the score of each request; see `score`."""
    return score(reader, requests, _Counter(len(requests), on_done))


def go_on_from(
    reader: Reader,
    texts: Sequence[str],
    num_tokens: int,
    stops: Sequence[Sequence[str]],
    on_done: OnDone,
) -> list[Continuation]:
    """Return how the model goes on from each text; see `go_on`."""
    contexts = [encode_context(reader.tokenizer, text) for text in texts]
    counter = _Counter(len(texts), on_done)
    return go_on(reader, contexts, num_tokens=num_tokens, stops=stops, on_done=counter)


@dataclass
class _Counter:
    """Adds up what is done."""

    total: int
    on_done: OnDone
    done: int = 0

    def __call__(self, count: int) -> None:
        self.done += count
        self.on_done(self.done, self.total)


def check_length(name: str, tokens: int, context_length: int) -> None:
    """Refuse a continuation that cannot be scored.

    Args:
        name: of it, for the message.
        tokens: how many it has.
        context_length: tokens that the model reads at once.

    Raises:
        DataError: it has none, or more than are read at once.
    """
    if tokens == 0:
        raise DataError(
            f"{name}: has no token of its own; the tokenizer joins it with the context, so nothing is left to "
            "score. Change the row, or remove it."
        )
    if tokens > context_length:
        raise DataError(
            f"{name}: has {tokens:,} tokens and the model reads {context_length:,} at once, so it cannot be "
            "scored whole. Remove the row, or evaluate with a longer --context if the model allows it."
        )
