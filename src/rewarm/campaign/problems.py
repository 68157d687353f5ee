# Raw TOML has no types to be strict about.
# pyright: basic
"""Turning validation errors into lines that say where, what, and what was probably meant."""

import difflib
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rewarm.campaign.campaign import Campaign
from rewarm.campaign.lines import KeyPath
from rewarm.campaign.overrides import Table
from rewarm.campaign.references import Problem
from rewarm.campaign.schedule import Schedule


def validation_problems(error: ValidationError, raw: Table) -> list[Problem]:
    """Return where in the raw campaign each mistake is, and what it is."""
    found: list[Problem] = []
    for entry in error.errors():
        # The tag of a union that is told apart by a function; no key looks like it.
        location = tuple(part for part in entry["loc"] if not str(part).startswith("<"))
        path = _raw_location(location, raw)
        message = entry["msg"].removeprefix("Value error, ")
        if entry["type"] == "extra_forbidden":
            message = _unknown_key(str(location[-1]), _keys_at(location[:-1]))
        elif entry["type"] == "missing":
            message = "is missing"
        elif entry["type"] in ("union_tag_invalid", "union_tag_not_found"):
            message = _unknown_kind(entry["input"])
        elif entry["type"] in ("model_type", "model_attributes_type", "dict_type"):
            message = f"must be a table, not {entry['input']!r}"
        found.append((path, message))
    return found


def said(path: KeyPath, raw: Table) -> str:
    """Write a place as people say it, the way `--set` takes it.

    >>> said(("stage", 0, "budget"), {"stage": [{"name": "pretrain"}]})
    'stages.pretrain.budget'
    """
    parts = list(path)
    if len(parts) > 1 and parts[0] == "stage" and isinstance(parts[1], int):
        stage: object = raw["stage"][parts[1]] if parts[1] < len(raw["stage"]) else None
        name = stage.get("name", parts[1]) if isinstance(stage, dict) else parts[1]
        parts[:2] = ["stages", name]
    return ".".join(str(part) for part in parts)


def _raw_location(location: tuple[str | int, ...], raw: Table) -> KeyPath:
    """Leave out what is not a key: the tag of a union, the name of a validator."""
    path: list[str | int] = []
    place: Any = raw
    for number, part in enumerate(location):
        if _holds(place, part):
            place = place[part]
            path.append(part)
        elif number == len(location) - 1 and isinstance(place, dict) and isinstance(part, str):
            path.append(part)
    return tuple(path)


def _holds(place: object, part: str | int) -> bool:
    """Return whether a table has this key, or a list this many entries."""
    if isinstance(place, list):
        return isinstance(part, int) and part < len(place)
    return isinstance(place, dict) and part in place


def _keys_at(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that a table may have."""
    kind: Any = Campaign
    for part in location:
        kind = _inside(kind, part)
    models = [k for k in _members(kind) if isinstance(k, type) and issubclass(k, BaseModel)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _inside(kind: Any, part: str | int) -> Any:  # noqa: ANN401  (types are values here)
    """Return the type of one part of a type: a field, an entry, a member of a union."""
    for member in _members(kind):
        if isinstance(member, type) and issubclass(member, BaseModel):
            for name, field in member.model_fields.items():
                if part == (field.alias or name):
                    return field.annotation
            tag = member.model_fields.get("kind")
            if tag is not None and part in get_args(tag.annotation):
                return member
        elif get_origin(member) in (dict, list):
            return get_args(member)[-1]
    return kind


def _members(kind: Any) -> list[Any]:  # noqa: ANN401
    """Return the members of a union, without annotations."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [m for part in get_args(kind) for m in _members(part)]
    return [kind]


def _unknown_kind(schedule: dict[str, Any]) -> str:
    kinds = [get_args(k.model_fields["kind"].annotation)[0] for k in _members(Schedule)]
    if "kind" not in schedule:
        return f"kind is missing; there are {', '.join(kinds)}"
    near = difflib.get_close_matches(str(schedule["kind"]), kinds, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kinds)}"
    return f"there is no kind {schedule['kind']!r} of schedule; {hint}"


def _unknown_key(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(known)}"
    return f"unknown key; {hint}"
