"""How arms and datasets look in the figures: the same arm has the same colour everywhere.

Nothing is told by colour alone: an arm has a symbol too, a dataset has a line style.
"""

from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("#0077bb", "#ee7733", "#009988", "#ee3377", "#33bbee", "#cc3311", "#aa4499")
"""Paul Tol's "vibrant" scheme without its grey, and a purple: safe for the colour-blind."""
SHARED_COLOUR = "#888888"
"""For stages that belong to several arms."""
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "star",
    "hexagon",
    "pentagon",
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SHADES = ("#7f8fa6", "#c9b458", "#8fbf9f", "#b48ead", "#9fb7d9", "#c98f6b")


@dataclass(frozen=True)
class ArmStyle:
    """The look of an arm."""

    colour: str
    """Hexadecimal colour."""
    symbol: str
    """Plotly's name of the symbol."""


SHARED = ArmStyle(SHARED_COLOUR, "circle")
"""The look of a stage that belongs to several arms."""


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """Give each arm its look, by its place.

    There are 63 different pairs of colour and symbol before they repeat.

    Args:
        arms: names, in the order in which the campaign has them.

    >>> arm_styles(["a", "b"])["b"]
    ArmStyle(colour='#ee7733', symbol='square')
    """
    return {
        arm: ArmStyle(COLOURS[place % len(COLOURS)], SYMBOLS[place % len(SYMBOLS)])
        for place, arm in enumerate(arms)
    }


def dash(place: int) -> str:
    """Return the line style of the dataset in this place of the campaign's order."""
    return DASHES[place % len(DASHES)]


def shade(place: int) -> str:
    """Return the fill of the dataset in this place of the campaign's order."""
    return _SHADES[place % len(_SHADES)]
