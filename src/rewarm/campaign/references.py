# Raw TOML has no types to be strict about.
# pyright: basic
"""Checks across a raw campaign: names that must exist, stages that must have something to stand on.

They read the file's raw tables, so that they report together with the mistakes inside single values.
"""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, cast

from rewarm.campaign.campaign import BASE
from rewarm.campaign.lines import KeyPath

Problem = tuple[KeyPath, str]


def reference_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Yield each broken reference: where it stands, and what is wrong."""
    datasets = list(_table(raw.get("data")))
    for position, name in enumerate(
        _list(_table(_table(raw.get("tokenizer")).get("train")).get("on"))
    ):
        if name not in datasets:
            yield ("tokenizer", "train", "on", position), _unknown("dataset", name, datasets)
        elif _has_tokens(_table(_table(raw.get("data"))[name])):
            yield (
                ("tokenizer", "train", "on", position),
                f"{name!r} has tokens, not text; a tokenizer that they were made with is there: "
                "name it with tokenizer.from",
            )
    for name in _table(raw.get("history")):
        if name not in datasets:
            yield ("history", name), _unknown("dataset", name, datasets)
    yield from _gate_problems(raw, datasets)
    yield from _stage_problems(raw, datasets)


def _has_tokens(dataset: dict[str, Any]) -> bool:
    """Return whether a dataset, or a domain of it, is given as tokens."""
    parts = [dataset, *map(_table, _table(dataset.get("domains")).values())]
    return any("train_tokens" in part for part in parts)


def _gate_problems(raw: dict[str, Any], datasets: list[str]) -> Iterator[Problem]:
    """Yield datasets and stages that the gate names and that do not exist."""
    gate = _table(raw.get("gate"))
    for kind in ("max_forgetting", "max_loss"):
        for name in _table(gate.get(kind)):
            if name not in datasets:
                yield ("gate", kind, name), _unknown("dataset", name, datasets)
    stages = [*(_table(stage).get("name") for stage in _list(raw.get("stage"))), BASE]
    for number, task in enumerate(_list(gate.get("task"))):
        against = _table(task).get("against")
        if against is not None and against not in stages:
            yield ("gate", "task", number, "against"), _unknown("stage", against, stages)


def _stage_problems(raw: dict[str, Any], datasets: list[str]) -> Iterator[Problem]:
    names: list[str] = []
    for number, entry in enumerate(_list(raw.get("stage"))):
        stage = _table(entry)
        place = ("stage", number)
        name, after = stage.get("name"), stage.get("after")
        if name in names:
            yield (*place, "name"), f"there is another stage {name!r}; names must differ"
        if name == BASE:
            yield (*place, "name"), f"{BASE!r} means the base model; choose another name"
        if after is not None and after not in (BASE, *names):
            yield (*place, "after"), _unknown("earlier stage", after, [*names, BASE])
        is_root = after == BASE or (after is None and number == 0)
        yield from _data_problems(stage, place, datasets)
        yield from _root_problems(stage, place, is_root=is_root, history=bool(raw.get("history")))
        if isinstance(name, str):
            names.append(name)


def _data_problems(stage: dict[str, Any], place: KeyPath, datasets: list[str]) -> Iterator[Problem]:
    """Yield datasets that do not exist, and replay without data to put it among."""
    for dataset in _table(stage.get("data")):
        if dataset not in datasets:
            yield (*place, "data", dataset), _unknown("dataset", dataset, datasets)
    for dataset in _table(_table(stage.get("replay")).get("weights")):
        if dataset not in datasets:
            yield (*place, "replay", "weights", dataset), _unknown("dataset", dataset, datasets)
    if "data" not in stage and "replay" in stage:
        yield (
            (*place, "replay"),
            "a stage without data goes on with the data and the replay of the stage before; give data too",
        )


def _root_problems(
    stage: dict[str, Any], place: KeyPath, *, is_root: bool, history: bool
) -> Iterator[Problem]:
    """Yield what a stage asks of a parent that it does not have."""
    if not is_root:
        return
    if "at" in stage:
        yield (
            (*place, "at"),
            "the stage starts from the base model, which has no steps to branch off at",
        )
    if "data" not in stage:
        yield place, "the first stage needs data; there is none before it to go on with"
    if "schedule" not in stage:
        yield place, "the first stage needs a schedule; there is none before it to carry on"
    if _table(stage.get("schedule")).get("kind") == "anneal":
        yield (*place, "schedule"), "there is no earlier rate to anneal from; choose another kind"
    if stage.get("optimizer") == "keep":
        yield (*place, "optimizer"), "the base model has no optimizer state to keep"
    replay = stage.get("replay", 0)
    share = _table(replay).get("share", 0) if isinstance(replay, dict) else replay
    if not _is_zero(share) and not history:
        yield (
            (*place, "replay"),
            "nothing has been seen yet that could be replayed; set it to 0, or declare what the base "
            'model has seen: [history.NAME] tokens = "300B tokens"',
        )


def _is_zero(share: object) -> bool:
    """Return whether a share is 0, however written."""
    return share == 0 or (isinstance(share, str) and not share.strip(" 0.%"))


def _unknown(kind: str, name: object, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
    return f"there is no {kind} {name!r}; {hint}"


def _table(value: object) -> dict[str, Any]:
    """Return the value if it is a table; what else it may be is reported by the validation."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []
