"""How numbers and names are written for people.

Names and texts come from files of other people: whatever is not printable is replaced here, and each
output (HTML, Markdown, figures, terminal) escapes what is special to it.
"""

from html import escape

_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def count_text(count: float) -> str:
    """Write a count with three digits and a unit.

    >>> [count_text(n) for n in (512, 65_536, 999_700, 2_260_992, 300e9)]
    ['512', '65.5k', '1M', '2.26M', '300B']
    """
    for size, unit in _SCALES:
        if count >= size * 0.9995:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"


def flops_text(flops: float) -> str:
    """Write a number of FLOPs; 0 means that it is not known.

    >>> flops_text(7.3e20), flops_text(0.0)
    ('7.30e20', '-')
    """
    return f"{flops:.2e}".replace("e+", "e") if flops > 0 else "-"


def loss_text(loss: float | None) -> str:
    """Write a loss with three decimals; a dash for none.

    >>> loss_text(2.3456), loss_text(None)
    ('2.346', '-')
    """
    return "-" if loss is None else f"{loss:.3f}"


def change_text(change: float | None) -> str:
    """Write a change of a loss with its sign, never a negative zero.

    >>> change_text(0.27), change_text(-0.0001), change_text(-0.012), change_text(None)
    ('+0.270', '0.000', '-0.012', '-')
    """
    if change is None:
        return "-"
    if is_zero(change):
        return "0.000"
    return f"{change:+.3f}"


def is_zero(change: float) -> bool:
    """Say whether a change of a loss disappears in three decimals.

    >>> is_zero(0.0004), is_zero(-0.0006)
    (True, False)
    """
    return float(f"{abs(change):.3f}") == 0.0


def share_text(share: float) -> str:
    """Write a share as a percentage, with as many decimals as it needs, at most two.

    >>> [share_text(share) for share in (0.0, 0.005, 0.25, 1 / 3)]
    ['0%', '0.5%', '25%', '33.33%']
    """
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"


def list_text(names: list[str], most: int | None = None) -> str:
    """Join names with commas and a final "and".

    Args:
        names: what to join.
        most: how many to name; the others are counted. None names all.

    >>> list_text(["a"]), list_text(["a", "b", "c"]), list_text(["a", "b", "c"], most=2)
    ('a', 'a, b and c', 'a, b and 1 more')
    """
    if most is not None and len(names) > most:
        names = [*names[:most], f"{len(names) - most} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def printable(text: str) -> str:
    r"""Replace line breaks by spaces and other control characters by a mark.

    >>> printable("a\nb" + chr(27) + "[2J")
    'a b�[2J'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def markdown_text(text: str) -> str:
    r"""Escape a text for a cell of a Markdown table.

    >>> print(markdown_text("a|b <i> *c*"))
    a\|b &lt;i&gt; \*c\*
    """
    safe = escape(printable(text), quote=False).replace("\\", "\\\\")
    for mark in "|*_`[]":
        safe = safe.replace(mark, f"\\{mark}")
    return safe


def figure_text(text: str, longest: int = 40) -> str:
    """Neutralise the HTML-like and template marks that plotly reads in labels, and cut what is too long.

    Args:
        text: a name.
        longest: characters to keep.

    >>> figure_text("<b>x</b> & %{y}")
    '&lt;b&gt;x&lt;/b&gt; &amp; %&#123;y}'
    """
    line = printable(text)
    short = line if len(line) <= longest else line[: longest - 1] + "…"
    return escape(short, quote=False).replace("%{", "%&#123;")
