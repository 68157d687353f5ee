"""From a campaign file to a campaign: strict, and with every mistake named at once.

Each problem is one line: file and line, key path, what is wrong and what was probably meant.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from rewarm.campaign.arms import BASELINES
from rewarm.campaign.campaign import Campaign
from rewarm.campaign.lines import KeyPath, key_lines, nearest_line
from rewarm.campaign.overrides import Table, parse_override, raw_path, with_overrides
from rewarm.campaign.problems import said, validation_problems
from rewarm.campaign.references import reference_problems
from rewarm.errors import CampaignError

MAIN = "main"
"""Name of the only arm of a campaign without arms."""

_RUN_WIDE = (
    "name",
    "tokenizer",
    "data",
    "history",
    "evaluation",
    "checkpoints",
    "parallel",
    "gate",
)
"""What an arm cannot change: the arms of a run share their tokens, and are measured alike."""


@dataclass(frozen=True, kw_only=True)
class LoadedCampaign:
    """A campaign file, read."""

    path: Path
    """The file."""
    root: Path
    """Folder that relative paths inside it are relative to: the file's own, unless said otherwise."""
    settings: tuple[str, ...]
    """The `--set` overrides, as given."""
    text: str
    """Its content as it was given."""
    campaign: Campaign
    """The base campaign, with the `--set` overrides."""
    arms: Mapping[str, Campaign]
    """The variants to run; the base campaign itself, as `main`, if the file names none."""
    overrides: Mapping[str, Mapping[str, object]]
    """What each arm changes."""
    origins: Mapping[str, str]
    """For each value that was written: `file:line` or `--set`. The others are defaults."""
    commits: Mapping[str, str] = field(default_factory=dict[str, str])
    """For each `from` that names a model of the hub, as written: the commit that it stands for, if settled."""


def load_campaign(
    path: Path, overrides: Sequence[str] = (), *, root: Path | None = None
) -> LoadedCampaign:
    """Read and check a campaign file.

    Args:
        path: the TOML file.
        overrides: `path=value` each, as given to `--set`.
        root: folder that relative paths inside it are relative to; the file's own if not given.

    Raises:
        CampaignError: the file cannot be read, or has mistakes; all of them are in the message.
    """
    raw, text = _read(path)
    lines = key_lines(text)
    arms = raw.pop("arms", {})
    changes = dict(parse_override(override) for override in overrides)
    changed = {raw_path(raw, key) for key in changes}
    raw = with_overrides(raw, changes)

    def place(where: KeyPath) -> str:
        if any(where[: len(key)] == key for key in changed):
            return "--set"
        line = nearest_line(lines, where)
        return f"{path}:{line}" if line else f"{path}"

    mistakes = _arm_mistakes(arms)
    campaign, found = _validate(raw)
    found += _gate_mistakes(campaign, arms)
    mistakes += [(where, f"{said(where, raw)}: {text}") for where, text in found]
    variants: dict[str, Campaign] = {}
    if campaign is not None and not mistakes:
        variants, mistakes = _make_arms(raw, arms)
    if campaign is None or mistakes:
        mistakes.sort(key=lambda mistake: nearest_line(lines, mistake[0]) or 0)
        problems = [f"{place(where)}: {text}" for where, text in mistakes]
        raise CampaignError("\n".join(dict.fromkeys(problems)))
    return LoadedCampaign(
        path=path,
        root=path.parent if root is None else root,
        settings=tuple(overrides),
        text=text,
        campaign=campaign,
        arms=variants or {MAIN: campaign},
        overrides=arms or {MAIN: {}},
        origins={said(where, raw): place(where) for where in _leaves(raw)},
    )


def _read(path: Path) -> tuple[Table, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
    except FileNotFoundError as error:
        folder = path.parent if path.parent.is_dir() else Path()
        near = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.toml")], n=1)
        hint = (
            f"did you mean {folder / near[0]}?"
            if near
            else "`rewarm init` writes one to start from."
        )
        raise CampaignError(f"{path}: there is no such campaign file; {hint}") from error
    except IsADirectoryError as error:
        raise CampaignError(
            f"{path}: is a folder and cannot be read; give the campaign file in it"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CampaignError(f"{path}: cannot be read as UTF-8 text ({error}).") from error
    try:
        return tomllib.loads(text, parse_float=Decimal), text
    except tomllib.TOMLDecodeError as error:
        raise CampaignError(f"{path}: not valid TOML: {error}") from error


def _validate(raw: Table) -> tuple[Campaign | None, list[tuple[KeyPath, str]]]:
    """Return the campaign, or None, and every mistake in it."""
    mistakes = list(reference_problems(raw))
    try:
        return Campaign.model_validate(raw), mistakes
    except ValidationError as error:
        return None, validation_problems(error, raw) + mistakes


def _arm_mistakes(arms: object) -> list[tuple[KeyPath, str]]:
    """Return what is wrong with the form of the arms."""
    if not isinstance(arms, dict):
        return [(("arms",), "arms: must be a table of arms, each a table of changes")]
    found: list[tuple[KeyPath, str]] = []
    for name, changes in cast(dict[str, object], arms).items():
        if not isinstance(changes, dict):
            found.append(
                (("arms", name), f"arms.{name}: must be a table of changes, such as {{ seed = 2 }}")
            )
            continue
        for path in cast(dict[str, object], changes):
            if path.split(".")[0] in _RUN_WIDE:
                text = f"arms.{name}: {path} is the same for the whole run, so that arms can be compared"
                found.append((("arms", name), text + "; use another campaign for it"))
        baseline = cast(dict[str, object], changes).get("baseline")
        if baseline is not None and baseline not in BASELINES:
            text = (
                f"arms.{name}: there is no baseline {baseline!r}; there are {', '.join(BASELINES)}"
            )
            found.append((("arms", name), text))
    return found


def _gate_mistakes(campaign: Campaign | None, arms: object) -> list[tuple[KeyPath, str]]:
    """Return the arms that the gate is for and that do not exist."""
    gated = campaign.gate.arms if campaign is not None and campaign.gate is not None else []
    there = list(cast(dict[str, object], arms)) if isinstance(arms, dict) else []
    return [
        (("gate", "arms"), f"there is no arm {name!r}; there are: {', '.join(there or [MAIN])}")
        for name in gated
        if name not in (there or [MAIN])
    ]


def _make_arms(
    raw: Table, arms: dict[str, dict[str, Any]]
) -> tuple[dict[str, Campaign], list[tuple[KeyPath, str]]]:
    """Return the campaign of each arm: the overrides first, then the baseline."""
    made: dict[str, Campaign] = {}
    mistakes: list[tuple[KeyPath, str]] = []
    for name, changes in arms.items():
        try:
            overrides = {path: value for path, value in changes.items() if path != "baseline"}
            varied = with_overrides(raw, overrides)
            campaign, found = _validate(varied)
            mistakes += [
                (("arms", name), f"arms.{name}: {said(w, varied)}: {text}") for w, text in found
            ]
            if campaign is not None:
                baseline = BASELINES.get(changes.get("baseline"))  # pyright: ignore
                made[name] = baseline(campaign) if baseline else campaign
        except CampaignError as error:
            mistakes.append((("arms", name), f"arms.{name}: {error}"))
    return made, mistakes


def _leaves(value: Any, path: KeyPath = ()) -> list[KeyPath]:  # noqa: ANN401  (raw TOML)
    """Return the path of every value that is no table."""
    if isinstance(value, dict):
        table = cast(dict[str, Any], value)
        return [leaf for key, inner in table.items() for leaf in _leaves(inner, (*path, key))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [
            leaf
            for n, inner in enumerate(cast(list[Any], value))
            for leaf in _leaves(inner, (*path, n))
        ]
    return [path]
