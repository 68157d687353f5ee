"""The figures of a page: one function for each, marked with its title, how to read it and where it stands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import plotly.graph_objects as go

from rewarm.report.html import Figure
from rewarm.report.loading import Run
from rewarm.report.styles import ArmStyle

Subject = TypeVar("Subject")
"""What a figure is of: a run, the arms of a suite."""
Draw = Callable[[Subject, Mapping[str, ArmStyle]], go.Figure]
"""A function from a subject and the look of every arm to a figure."""


@dataclass(frozen=True, kw_only=True)
class _Entry(Generic[Subject]):
    """One figure of the gallery; its fields are the arguments of `Gallery.figure`."""

    draw: Draw[Subject]
    title: str
    caption: str
    place: str
    note: str
    when: Callable[[Subject], bool]


class Gallery(Generic[Subject]):
    """The figures of one kind of page.

    A page shows them in the order in which they are defined, each in its place. So a new figure is one
    function, and nothing else changes.

    Args:
        places: the places that the page has for figures.
    """

    def __init__(self, *places: str) -> None:
        self._places = places
        self._entries: list[_Entry[Subject]] = []

    def figure(
        self,
        *,
        title: str,
        caption: str,
        place: str,
        note: str = "",
        when: Callable[[Subject], bool],
    ) -> Callable[[Draw[Subject]], Draw[Subject]]:
        """Mark a function as a figure of the page; it can still be called as before.

        Args:
            title: shown above the figure.
            caption: how to read it, in one sentence.
            place: where on the page it stands.
            note: small print below it.
            when: says whether there is something to show of a subject.

        Raises:
            ValueError: the page has no such place, so the figure would never be seen.

        >>> gallery = Gallery[list[float]]("top")
        >>> @gallery.figure(title="Losses", caption="Less is better.", place="top", when=bool)
        ... def losses(values, styles):
        ...     return go.Figure(go.Scatter(y=values), {"height": 200})
        >>> [figure.id for figure in gallery.drawn("run0", [2.0, 1.5], {})["top"]]
        ['run0-losses']
        >>> gallery.drawn("run0", [], {})
        {'top': []}
        """
        if place not in self._places:
            raise ValueError(f"the page has no place {place!r}; it has {', '.join(self._places)}")

        def mark(draw: Draw[Subject]) -> Draw[Subject]:
            entry = _Entry(
                draw=draw, title=title, caption=caption, place=place, note=note, when=when
            )
            self._entries.append(entry)
            return draw

        return mark

    def drawn(
        self, anchor: str, subject: Subject, styles: Mapping[str, ArmStyle]
    ) -> dict[str, Sequence[Figure]]:
        """Draw the figures that have something to show, by place.

        Args:
            anchor: prefix of their identifiers; the name of the function follows.
            subject: what they are of.
            styles: the look of every arm.
        """
        shown = [entry for entry in self._entries if entry.when(subject)]
        return {
            place: [
                _drawn(entry, anchor, subject, styles) for entry in shown if entry.place == place
            ]
            for place in self._places
        }


RUN_FIGURES = Gallery[Run]("arms", "data", "stages", "speed")
"""The figures of a run: below the table of the arms and the audit of the data, above the table of the stages,
below the samples."""


def _drawn(
    entry: _Entry[Subject], anchor: str, subject: Subject, styles: Mapping[str, ArmStyle]
) -> Figure:
    return Figure(
        id=f"{anchor}-{entry.draw.__name__}",
        title=entry.title,
        caption=entry.caption,
        drawing=entry.draw(subject, styles),
        note=entry.note,
    )
