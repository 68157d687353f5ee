"""From several runs to panels: which arms of different runs are seeds of one arm, and what each is called.

Two arms are the same one if they have the same name and were trained alike: the same stages, data and
settings, whatever the seed. Where that leaves two runs of one seed with different weights, something differs
that no record tells, and each run stands for itself.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from rewarm.report.arms import ArmRow, arm_rows
from rewarm.report.lineage import line
from rewarm.report.loading import Run
from rewarm.report.panels import SAME, Measured, Panel, SeededArm
from rewarm.report.wording import list_text

_DECIDES_WEIGHTS = ("model", "optimizer", "training", "history")
"""Tables of a campaign that decide what is learnt, beside stages, data and seed."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms of several runs that can be set beside each other."""

    panel: Panel
    """The arms, each over its seeds."""
    without_replay: Mapping[str, str]
    """For an arm with replay the one that differs in this alone, by label."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One finished arm of one run."""

    run: Run
    run_name: str
    row: ArmRow
    weights_sha256: str
    recipe: str
    """How it was trained, whatever the seed."""
    recipe_but_replay: str
    """The same without what it replayed."""


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Return the finished arms of several runs, those with the same validation text together.

    Args:
        runs: in the order in which they are shown.
    """
    together: dict[tuple[object, ...], list[_Entry]] = defaultdict(list)
    for run, name in zip(runs, run_names(runs), strict=True):
        prints = run.resolved.data.get("validation", {}) if run.resolved is not None else {}
        tokenizer = run.resolved.tokenizer if run.resolved is not None else ""
        for row in arm_rows(run):
            entry = _entry(run, name, row)
            together[(*row.final, *prints.values(), tokenizer)].append(entry)
    return [_comparison(entries) for entries in together.values() if entries[0].row.final]


def run_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of the run folders; those of one name are numbered."""
    seen: dict[str, int] = {}
    names: list[str] = []
    for run in runs:
        seen[run.name] = seen.get(run.name, 0) + 1
        names.append(run.name if seen[run.name] == 1 else f"{run.name} ({seen[run.name]})")
    return names


def _entry(run: Run, run_name: str, row: ArmRow) -> _Entry:
    last = run.stages[run.record.arms[row.arm][-1]].result
    assert last is not None, "the arms that have a row are finished"
    return _Entry(
        run=run,
        run_name=run_name,
        row=row,
        weights_sha256=last.weights_sha256,
        recipe=_recipe(run, row.arm, with_replay=True),
        recipe_but_replay=_recipe(run, row.arm, with_replay=False),
    )


def _recipe(run: Run, arm: str, *, with_replay: bool) -> str:
    """Write down what decides an arm's weights beside the seed."""
    stages: list[dict[str, Any]] = []
    for span in line(run, run.record.arms[arm][-1]):
        record = span.stage.record
        stages.append(
            record.model_dump(
                include={"shares", "batch_sequences", "sequence_length", "schedule", "optimizer"}
            )
            | {"steps": span.steps}
            | (
                record.model_dump(include={"replay_share", "replay_mode", "replay_from"})
                if with_replay
                else {}
            )
        )
    rest: list[object] = [run.record.parameters]
    if run.resolved is not None:
        resolved = run.resolved
        rest += [resolved.tokenizer, resolved.data.get("train")]
        rest += [resolved.campaign.get(table) for table in _DECIDES_WEIGHTS]
        rest.append(
            {
                path: value
                for path, value in resolved.arms.get(arm, {}).items()
                if path.partition(".")[0] in _DECIDES_WEIGHTS
            }
        )
    return json.dumps([stages, rest], sort_keys=True)


def _comparison(entries: Sequence[_Entry]) -> Comparison:
    """Put the arms of one panel together."""
    groups = [group for of_name in _by(entries, _arm).values() for group in _groups(of_name)]
    order = {id(entry): place for place, entry in enumerate(entries)}
    named = sorted(
        zip(_labels(groups), groups, strict=True), key=lambda pair: order[id(pair[1][0])]
    )
    shown = _merged(named)
    bases = {group[0].recipe_but_replay: label for label, group in shown if _is_base(group[0].row)}
    datasets = list(entries[0].row.final)
    return Comparison(
        panel=Panel(
            title=list_text(datasets),
            datasets=datasets,
            arms=[_seeded(label, group, entries) for label, group in shown],
        ),
        without_replay={
            label: bases[group[0].recipe_but_replay]
            for label, group in shown
            if group[0].row.replay_share > 0 and group[0].recipe_but_replay in bases
        },
    )


def _merged(
    named: Sequence[tuple[str, Sequence[_Entry]]],
) -> list[tuple[str, Sequence[_Entry]]]:
    """Put arms of several names that are the same models together, under all their names."""
    found: dict[frozenset[tuple[int, str]], tuple[list[str], Sequence[_Entry]]] = {}
    for label, group in named:
        models = frozenset((entry.run.record.seed, entry.weights_sha256) for entry in group)
        found.setdefault(models, ([], group))[0].append(label)
    return [(SAME.join(labels), group) for labels, group in found.values()]


def _is_base(row: ArmRow) -> bool:
    return row.replay_share == 0 and row.mean_forgetting is not None


def _arm(entry: _Entry) -> str:
    return entry.row.arm


def _by(entries: Sequence[_Entry], key: Callable[[_Entry], str]) -> dict[str, list[_Entry]]:
    """Sort entries into groups, by the order of the first of each."""
    groups: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return groups


def _groups(entries: Sequence[_Entry]) -> list[list[_Entry]]:
    """Return the entries of one name, those that are seeds of one arm together."""
    found: list[list[_Entry]] = []
    for alike in _by(entries, lambda entry: entry.recipe).values():
        # What one run has taken over from another is one measurement, not two.
        once: dict[tuple[int, str], _Entry] = {}
        for entry in alike:
            once.setdefault((entry.run.record.seed, entry.weights_sha256), entry)
        found_once = list(once.values())
        are_seeds = len({seed for seed, _ in once}) == len(once)
        found.extend([found_once] if are_seeds else [[entry] for entry in found_once])
    return found


def _labels(groups: Sequence[Sequence[_Entry]]) -> list[str]:
    """Name each group: by its arm, and where that is not enough by settings, or else by runs."""
    names = [group[0].row.arm for group in groups]
    is_one_name = len(set(names)) == 1
    labels = list(names)
    for name in dict.fromkeys(names):
        places = [place for place, other in enumerate(names) if other == name]
        of_name = [groups[place] for place in places]
        texts = _points(of_name)
        if len(set(texts)) < len(texts):
            texts = _run_texts(of_name)
        for place, text in zip(places, texts, strict=True):
            if text:
                labels[place] = text if is_one_name else f"{name}, {text}"
    return labels


def _points(groups: Sequence[Sequence[_Entry]]) -> list[str]:
    """Return for each group the `--set` values that not all of them have, such as `replay=5%`."""
    settings = [
        set.intersection(*(set(_settings(entry.run)) for entry in group)) for group in groups
    ]
    common = set.intersection(*settings)
    paths = {setting.partition("=")[0] for found in settings for setting in found - common}
    is_enough = len({path.rpartition(".")[2] for path in paths}) == len(paths)
    texts: list[str] = []
    for group, found in zip(groups, settings, strict=True):
        parts: list[str] = []
        for setting in _settings(group[0].run):
            path, _, value = setting.partition("=")
            if setting in found - common:
                parts.append(f"{path.rpartition('.')[2] if is_enough else path}={value}")
        texts.append(", ".join(parts))
    return texts


def _settings(run: Run) -> list[str]:
    """Return the `--set` values of a run but its name and its seed."""
    found = run.resolved.settings if run.resolved is not None else []
    return [s for s in found if s.partition("=")[0].strip() not in ("name", "seed")]


def _run_texts(groups: Sequence[Sequence[_Entry]]) -> list[str]:
    """Name each group by its runs: by what their names begin with, if that tells the groups apart."""
    names = [[entry.run_name for entry in group] for group in groups]
    short = [_beginning(of_group) for of_group in names]
    is_enough = all(short) and len(set(short)) == len(short)
    return short if is_enough else [list_text(of_group) for of_group in names]


def _beginning(names: Sequence[str]) -> str:
    """Return the words that all names begin with; of one name all of it.

    >>> _beginning(["news-small-1", "news-small-2"])
    'news-small'
    """
    words = zip(*(name.split("-") for name in names), strict=False)
    return "-".join(same[0] for same in takewhile(lambda each: len(set(each)) == 1, words))


def _seeded(label: str, group: Sequence[_Entry], entries: Sequence[_Entry]) -> SeededArm:
    """Turn the entries of one arm into an arm of a panel."""
    row = group[0].row
    return SeededArm(
        label=label,
        seeds=[_measured(entry, entries) for entry in group],
        replay_share=row.replay_share,
        is_reference=row.is_reference,
        is_union=row.is_union,
    )


def _measured(entry: _Entry, entries: Sequence[_Entry]) -> Measured:
    row = entry.row
    union = _union_average(entry, entries)
    return Measured(
        seed=entry.run.record.seed,
        source=entry.run_name,
        final=row.final,
        before=row.before,
        update_tokens=row.update_tokens,
        update_flops=row.update_flops,
        weights_sha256=entry.weights_sha256,
        forgetting=row.mean_forgetting,
        adaptation=row.adaptation,
        union_gap=None if union is None else _average(row) - union,
    )


def _union_average(entry: _Entry, entries: Sequence[_Entry]) -> float | None:
    """Return the average of the union arm of the same run, or else of the only one of the same seed."""
    unions = [e for e in entries if e.row.is_union and e.run.record.seed == entry.run.record.seed]
    own = [e for e in unions if e.run is entry.run] or unions
    averages = {e.weights_sha256: _average(e.row) for e in own}
    return next(iter(averages.values())) if len(averages) == 1 else None


def _average(row: ArmRow) -> float:
    return sum(row.final.values()) / len(row.final)
