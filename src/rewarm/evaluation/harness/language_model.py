"""A model as lm-evaluation-harness asks it: the requests and scores of our own evaluations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lm_eval.api.instance import Instance  # pyright: ignore[reportMissingImports]  # an extra
from lm_eval.api.model import LM  # pyright: ignore[reportMissingImports]

from rewarm.errors import CampaignError
from rewarm.evaluation import tasks
from rewarm.evaluation.evaluate import OnProgress
from rewarm.evaluation.requests import encode_pairs
from rewarm.evaluation.scoring import Reader

_MOST_TOKENS = 256
"""Tokens that are written where a task does not say how many: as many as the harness takes."""
_KNOWN = {"until", "max_gen_toks", "do_sample", "temperature"}


class HarnessModel(LM):
    """A model for `lm_eval.evaluate` and `lm_eval.simple_evaluate`.

    Args:
        reader: the model, on its device.
        on_progress: told of a kind of requests how many are done, and of how many.
    """

    def __init__(self, reader: Reader, on_progress: OnProgress) -> None:
        super().__init__()
        self.truncated: set[tuple[str, int]] = set()
        """Task and number of each item whose context's beginning was not read."""
        self._reader = reader
        self._on_progress = on_progress

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Score continuations behind their contexts.

        Returns:
            For each ln p and whether greedy decoding would give it.

        Raises:
            DataError: a continuation has no token of its own, or more than the model reads at once.
        """
        length = self._reader.context_length
        encoded = encode_pairs(self._reader.tokenizer, [each.args for each in requests])
        for asked, request in zip(requests, encoded, strict=True):
            name = f"{asked.task_name}, item {asked.doc_id}, choice {asked.idx}"
            tasks.check_length(name, len(request.continuation), length)
            if request.is_truncated(length):
                self.truncated.add((asked.task_name, asked.doc_id))
        found = tasks.score_all(self._reader, encoded, self._told("choices"))
        return [(each.log_likelihood, each.is_greedy) for each in found]

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        """Return ln p of whole texts, read in windows."""
        texts = [each.args[0] for each in requests]
        return [-nats for nats, _ in tasks.read_texts(self._reader, texts, self._told("texts"))]

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """Go on from contexts, the likeliest token each time, until a text that ends the answer.

        Raises:
            CampaignError: a task wants tokens drawn at random, or leaves no room for the question.
        """
        wanted = [_generation(each, self._reader.context_length) for each in requests]
        said: dict[int, str] = {}
        for most in sorted({each.num_tokens for each in wanted}):
            own = [n for n, each in enumerate(wanted) if each.num_tokens == most]
            texts, stops = [requests[n].args[0] for n in own], [wanted[n].stops for n in own]
            told = self._told(f"answers of up to {most} tokens")
            found = tasks.go_on_from(self._reader, texts, most, stops, told)
            for n, each in zip(own, found, strict=True):
                said[n] = each.text
                if each.is_truncated:
                    self.truncated.add((requests[n].task_name, requests[n].doc_id))
        return [said[n] for n in range(len(requests))]

    def num_tokens(self, text: str) -> int:
        """Return how many tokens a text has."""
        (tokens,) = self._reader.tokenizer.encode([text])
        return len(tokens)

    def _told(self, kind: str) -> tasks.OnDone:
        return partial(self._on_progress, f"lm-evaluation-harness, {kind}")


@dataclass(frozen=True, kw_only=True)
class _Generation:
    stops: Sequence[str]
    num_tokens: int


def _generation(request: Instance, context_length: int) -> _Generation:
    """Return what a task wants written."""
    asked: Mapping[str, Any] = request.args[1]
    until = asked.get("until", [])
    most = asked.get("max_gen_toks", _MOST_TOKENS)
    if not _KNOWN.issuperset(asked) or asked.get("do_sample") or asked.get("temperature"):
        raise CampaignError(
            f"{request.task_name}: generates with {dict(asked)}, but here only the likeliest "
            f"token is taken, up to a number of tokens ({sorted(_KNOWN)}). Leave this task out."
        )
    if most >= context_length:
        raise CampaignError(
            f"{request.task_name}: writes up to {most} tokens and the model reads {context_length:,} at once, "
            "so nothing would be left for the question. Leave this task out, or evaluate with a longer "
            "--context if the model allows it."
        )
    stops = [until] if isinstance(until, str) else [*until]
    return _Generation(stops=[each for each in stops if each], num_tokens=most)
