"""Segments joined end to end: a schedule, which is a function of the step and nothing else.

Step t is the t-th optimizer step of the stage, counted from 1. The step on a boundary belongs to the earlier
part, so the last step of a phase has exactly the phase's end value. After the end the last value holds for
ever. Cutting keeps the segments whole and only narrows what is used of them, so it never changes a value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from typing import Any, get_args

from rewarm.errors import ScheduleError
from rewarm.schedules.limits import check_steps
from rewarm.schedules.segments import Constant, Segment

_KINDS: dict[str, type[Segment]] = {kind.__name__: kind for kind in get_args(Segment)}


@dataclass(frozen=True)
class Part:
    """The part of a segment whose own time lies in (begin, end]."""

    segment: Segment
    """The whole segment; its curve depends on its whole length."""
    begin: int
    """Time in the segment after which the part begins."""
    end: int
    """Time in the segment of the part's last step."""

    def __post_init__(self) -> None:
        check_steps("Part.begin", self.begin)
        check_steps("Part.end", self.end)
        if not self.begin <= self.end <= self.segment.steps:
            raise ScheduleError(
                f"the part ({self.begin}, {self.end}] does not lie in its segment, which runs from 0 to "
                f"{self.segment.steps}. Give 0 ≤ begin ≤ end ≤ {self.segment.steps}."
            )

    @property
    def steps(self) -> int:
        """Length in optimizer steps."""
        return self.end - self.begin


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of a schedule, for display."""

    name: str
    """Shape: "linear", "cosine", "inverse-sqrt", "exponential", "1-sqrt", "reciprocal-sqrt", "constant"."""
    first_step: int
    """First optimizer step of the phase, counted from 1."""
    last_step: int
    """Last optimizer step of the phase, inclusive."""
    start_lr: float
    """Learning rate where the phase begins, just before its first step."""
    end_lr: float
    """Learning rate of its last step."""


@dataclass(frozen=True)
class Piecewise:
    """A learning-rate schedule: parts of segments, one after the other.

    Parts of zero length have no step and are passed over. Step 0, which no optimizer step uses, is the start
    value of the first part, or the end value of the parts of zero length before it; so a schedule of
    zero-length parts alone has the end value of its last part, for ever.

    Raises:
        ScheduleError: there is no part, or a negative step is asked for.

    >>> from rewarm.schedules.segments import Linear
    >>> schedule = Piecewise.of(Linear(0.0, 4e-4, 2), Linear(4e-4, 0.0, 2))
    >>> [schedule(step) for step in range(7)]
    [0.0, 0.0002, 0.0004, 0.0002, 0.0, 0.0, 0.0]
    """

    parts: tuple[Part, ...]
    """The parts in order, at least one."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise ScheduleError(
                "a schedule of no segments has no learning rate. Give at least one segment; "
                "Constant(lr, 0) holds one value for ever."
            )

    @staticmethod
    def of(*segments: Segment) -> "Piecewise":
        """Join whole segments end to end.

        Raises:
            ScheduleError: there is no segment.

        >>> Piecewise.of(Constant(1e-4, 5)).steps
        5
        """
        return Piecewise(tuple(_whole(segment) for segment in segments))

    def __call__(self, step: int) -> float:
        index, t = self._locate(step)
        return self.parts[index].segment(t)

    @property
    def steps(self) -> int:
        """Length in optimizer steps; the last value holds after that."""
        return sum(part.steps for part in self.parts)

    def until(self, step: int) -> "Piecewise":
        """Return the schedule cut after a step: equal up to it, and exactly so long.

        Beyond its end a schedule has held its last value, so `until` adds that stretch as a constant part.

        Raises:
            ScheduleError: the step is negative.

        >>> from rewarm.schedules.segments import Linear
        >>> Piecewise.of(Linear(0.0, 4e-4, 4)).until(2)(100)
        0.0002
        """
        index, t = self._locate(step)
        last = self.parts[index]
        kept = Piecewise((*self.parts[:index], Part(last.segment, last.begin, t)))
        return kept.then(Constant(self(step), step - self.steps)) if step > self.steps else kept

    def since(self, step: int) -> "Piecewise":
        """Return what is left after a step: `since(k)(t) == self(k + t)` for every t ≥ 0, to the last bit.

        Raises:
            ScheduleError: the step is negative.

        >>> from rewarm.schedules.segments import Linear
        >>> [Piecewise.of(Linear(0.0, 4e-4, 4)).since(1)(t) for t in (0, 1, 3, 100)]
        [0.0001, 0.0002, 0.0004, 0.0004]
        """
        index, t = self._locate(step)
        if step >= self.steps:
            return Piecewise.of(Constant(self(step), 0))
        first = self.parts[index]
        later = tuple(part for part in self.parts[index + 1 :] if part.steps)
        # On a boundary the first part is empty, and there to give step 0 its value.
        return Piecewise((Part(first.segment, t, first.end), *later))

    def then(self, *following: "Segment | Piecewise") -> "Piecewise":
        """Return this schedule with segments or schedules joined to its end; a jump is allowed.

        >>> from rewarm.schedules.segments import Linear
        >>> trunk = Piecewise.of(Constant(2e-4, 1000))
        >>> branch = trunk.until(600).then(Linear(trunk(600), 0.0, 100))
        >>> branch.steps, branch(650), branch(700)
        (700, 0.0001, 0.0)
        """
        parts = list(self.parts)
        for piece in following:
            parts.extend(piece.parts if isinstance(piece, Piecewise) else (_whole(piece),))
        return Piecewise(tuple(parts))

    def phases(self) -> list[Phase]:
        """Return the phases in order, without those of zero length.

        >>> from rewarm.schedules.segments import Linear
        >>> [phase.name for phase in Piecewise.of(Linear(0.0, 1.0, 5), Constant(1.0, 5)).phases()]
        ['linear', 'constant']
        """
        phases: list[Phase] = []
        before = 0
        for part in self.parts:
            if part.steps:
                phase = Phase(
                    name=part.segment.shape,
                    first_step=before + 1,
                    last_step=before + part.steps,
                    start_lr=part.segment(part.begin),
                    end_lr=part.segment(part.end),
                )
                phases.append(phase)
                before += part.steps
        return phases

    def to_json(self) -> list[dict[str, str | float | int]]:
        """Describe the schedule by JSON values: equal schedules have equal descriptions.

        Each part has its segment's class and fields, and `part_begin` and `part_end`, the time used of it.

        >>> Piecewise.of(Constant(1e-4, 5)).to_json()
        [{'segment': 'Constant', 'lr': 0.0001, 'steps': 5, 'part_begin': 0, 'part_end': 5}]
        """
        entries: list[dict[str, str | float | int]] = []
        for part in self.parts:
            entry: dict[str, str | float | int] = {"segment": type(part.segment).__name__}
            for field in fields(part.segment):
                value: float | int = getattr(part.segment, field.name)
                # 1 and 1.0 are equal rates, and must not make two descriptions.
                entry[field.name] = value if field.name == "steps" else float(value)
            entries.append(entry | {"part_begin": part.begin, "part_end": part.end})
        return entries

    @staticmethod
    def from_json(entries: Sequence[Mapping[str, str | float | int]]) -> "Piecewise":
        """Return the schedule that `to_json` described.

        Raises:
            ScheduleError: a segment is unknown, or its fields are not those of its class, or nonsense.

        >>> schedule = Piecewise.of(Constant(1e-4, 5))
        >>> Piecewise.from_json(schedule.to_json()) == schedule
        True
        """
        return Piecewise(tuple(_part(entry) for entry in entries))

    def _locate(self, step: int) -> tuple[int, int]:
        """Return the index of the part that gives a step, and the time in its segment."""
        if step < 0:
            raise ScheduleError(
                f"step = {step} is negative: the optimizer steps of a stage are counted from 1, and 0 is "
                f"the moment before the first. Give a step of 0 or more."
            )
        left = min(step, self.steps)
        if left == 0:
            num_empty = sum(1 for _ in takewhile(lambda part: part.steps == 0, self.parts))
            index = max(0, num_empty - 1)
            return index, self.parts[index].begin
        index = 0
        while left > self.parts[index].steps:
            left -= self.parts[index].steps
            index += 1
        return index, self.parts[index].begin + left


def _whole(segment: Segment) -> Part:
    return Part(segment, 0, segment.steps)


def _part(entry: Mapping[str, str | float | int]) -> Part:
    """Return the part that an entry of `to_json` described."""
    kind = _KINDS.get(str(entry.get("segment")))
    if kind is None:
        raise ScheduleError(
            f"{entry.get('segment')!r} is not a segment that this version knows, so the schedule cannot be "
            f"rebuilt. Known are: {', '.join(_KINDS)}."
        )
    names = [field.name for field in fields(kind)]
    expected = {"segment", *names, "part_begin", "part_end"}
    if set(entry) != expected:
        raise ScheduleError(
            f"a part with the keys {sorted(entry)} is not a {kind.__name__}, so the schedule cannot be "
            f"rebuilt. Needed are exactly: {sorted(expected)}."
        )
    values: dict[str, Any] = dict(entry)
    segment = kind(**{name: values[name] for name in names})
    return Part(segment, values["part_begin"], values["part_end"])
