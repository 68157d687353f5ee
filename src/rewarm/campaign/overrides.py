# Raw TOML has no types to be strict about.
# pyright: basic
"""Changes to a campaign before it is validated: `--set` on the command line, and the arms of a file.

A path names a value as people say it: `stages.update.replay`, `optimizer.eps`. Stages are found by name.
"""

import difflib
import tomllib
from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from itertools import pairwise
from typing import Any

from rewarm.errors import CampaignError

Table = dict[str, Any]


def parse_override(text: str) -> tuple[str, object]:
    """Read one `--set path=value`; the value is TOML, or else a plain text.

    Raises:
        CampaignError: there is no `=`.

    >>> parse_override("stages.update.replay=25%"), parse_override("seed=7")
    (('stages.update.replay', '25%'), ('seed', 7))
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise CampaignError(
            f"--set {text}: write it as path=value, for example stages.update.replay=25%"
        )
    try:
        parsed: object = tomllib.loads(f"value = {value}", parse_float=Decimal)["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return path.strip(), parsed


def with_overrides(raw: Table, overrides: Mapping[str, object]) -> Table:
    """Return the raw campaign with values replaced.

    Raises:
        CampaignError: a path names a stage that does not exist, or goes through a value that is no table.
    """
    changed = deepcopy(raw)
    for path, value in overrides.items():
        _replace(changed, path, value)
    return changed


def raw_path(raw: Table, path: str) -> tuple[str | int, ...]:
    """Return where a dotted path leads in the raw campaign (`stages.update` is `("stage", 1)`).

    Raises:
        CampaignError: there is no stage of that name.
    """
    first, *rest = path.split(".")
    if first not in ("stages", "stage"):
        return (first, *rest)
    names = _stage_names(raw)
    if not rest or rest[0] not in names:
        near = difflib.get_close_matches(rest[0] if rest else "", names, n=1)
        hint = (
            f"did you mean {near[0]!r}?" if near else f"the stages are {', '.join(names) or 'none'}"
        )
        raise CampaignError(f"{path}: there is no stage {rest[0] if rest else ''!r}; {hint}")
    return ("stage", names.index(rest[0]), *rest[1:])


def _stage_names(raw: Table) -> list[str]:
    """Return the names of the stages; what else a stage may be is reported by the validation."""
    stages = raw.get("stage")
    tables = stages if isinstance(stages, list) else []
    return [str(stage.get("name", "")) if isinstance(stage, dict) else "" for stage in tables]


def _replace(raw: Table, path: str, value: object) -> None:
    where = raw_path(raw, path)
    place: Any = raw
    for step, inside in pairwise(where):
        inner: Any = place[step] if isinstance(step, int) else place.setdefault(step, {})
        if not isinstance(inner, list if isinstance(inside, int) else dict):
            raise CampaignError(
                f"{path}: {step!r} is {inner!r}, not a table; replace it as a whole"
            )
        place = inner
    place[where[-1]] = value
