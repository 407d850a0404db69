"""Shared style of all figures: colours, widths, and the styles for journals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.lines import Line2D

from .._utils.warn import warn_user

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["paper_style"]

WIDTH, DOUBLE = 3.4, 7.1  # inches, one journal column and two


BAR = 0.5  # inches, a colour bar with its numbers and its title


INK, GREY = "#222222", "#8C8C8C"


BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito, as the others


BOTH, PREDICTED, REFERENCE, KNOT = GREEN, ORANGE, BLUE, "#AA3377"
"""Pairs of both structures compared, of the predicted one, of the reference alone; pairs that cross others (Tol)."""


PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"),
    *("#999999", "#882255", "#44AA99", "#332288"),  # Tol
)


NUCLEOTIDES = {"A": "#F2C14E", "C": "#8CCBF0", "G": "#7CC8A4", "U": "#E2A6C6"}  # the same, lighter


ELEMENTS = {
    "stem": "#7CC8A4",
    "pseudoknot": "#AA3377",
    "hairpin": "#8CCBF0",
    "internal": "#F2C14E",
    "multiloop": "#E2A6C6",
    "pseudoknot loop": "#DDBBD6",
    "external": "#D0D0D0",
}
"""Kind of a structural element → colour of its nucleotides; bulges and interior loops are internal, ends external."""


PROBABILITIES = LinearSegmentedColormap.from_list(  # lightness falls evenly from white
    "probabilities", ["#FFFFFF", "#BFE0F2", "#7DBBE3", "#3E90C8", "#0F649F", "#04406E", "#001D3D"]
)


def ink() -> Any:
    """Return the colour of lines and letters: ours in Matplotlib's default style, else the text colour of the style."""
    color = mpl.rcParams["text.color"]
    return INK if to_rgba(color) == (0, 0, 0, 1) else color


def dark() -> bool:
    """Return whether the current style has light text on a dark background."""
    red, green, blue, _ = to_rgba(mpl.rcParams["text.color"])
    return 0.3 * red + 0.59 * green + 0.11 * blue > 0.5


def palette() -> list[Any]:
    """Return the colours of groups; black would not be seen in a dark style."""
    return [ink() if color == "#000000" and dark() else color for color in PALETTE]


def plain(text: Any, longest: int = 40) -> str:
    r"""Return a user's text as a figure can show it: without control characters, and cut in the middle if long.

    Examples
    --------
    >>> plain("a\tb\x00c"), plain("x" * 99, 9), plain(5)
    ('a b c', 'xxxxx…xxx', '5')
    """
    text = re.sub(r"\n\s*", "\n", str(text))
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return text if len(text) <= longest else f"{text[: longest - longest // 3 - 1]}…{text[-(longest // 3) :]}"


def named_legend(ax: Axes | Figure, handles: Iterable[Any], names: Iterable[Any], **options: Any) -> None:
    """Add a legend of names as they are: no ``$`` starts mathematics, no ``_`` hides a name."""
    handles = list(handles)
    made = ax.legend(handles, ["name"] * len(handles), **options)
    for text, name in zip(made.get_texts(), names, strict=True):
        text.set(text=plain(name), parse_math=False)


def new_axes(width: float = WIDTH, height: float = WIDTH) -> Axes:
    """Return the Axes of a new figure of a size in inches."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def size_inches(ax: Axes) -> NDArray[np.floating]:
    """Return the width and height of the whole figure of the Axes, in inches."""
    figure = ax.get_figure(root=True)
    return np.zeros(2) if figure is None else figure.get_size_inches()


def chart_axes(ax: Axes | None, width: float = WIDTH, height: float = 0.62 * WIDTH) -> Axes:
    """Return Axes for a chart, with thin spines on two sides and small ticks."""
    ax = new_axes(width, height) if ax is None else ax
    ax.tick_params(labelsize=7, length=2, width=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_linewidth(0.6)
    return ax


def legend(ax: Axes | Figure, colors: dict[str, str], *, dashed: str = "", **options: Any) -> None:
    """Add a legend of coloured lines, one of them dashed."""
    handles = [
        Line2D([], [], color=color, lw=1.2, ls="--" if label == dashed else "-")
        for label, color in colors.items()
    ]
    style: dict[str, Any] = {
        "fontsize": 6,
        "frameon": False,
        "handlelength": 1.6,
        "columnspacing": 1,
        "borderaxespad": 0,
    }
    named_legend(ax, handles, colors, **style | {"ncols": len(colors)} | options)


def small_bar(ax: Axes, image: Any, label: str) -> None:
    """Add a colour bar to the right of square Axes, in the room that they have in the figure."""
    if ax.figure.get_figure(root=True).get_layout_engine() is None:  # nothing else makes room for it
        x, y, width, height = ax.get_position().bounds
        ax.set_position((x, y, max(0.5 * width, width - BAR / size_inches(ax)[0]), height))
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.04, 0, 0.045, 1)))
    bar.ax.tick_params(labelsize=7, length=2, width=0.6)
    bar.outline.set_linewidth(0.6)
    bar.set_label(label, fontsize=7)


def renamed(new: Any, **old: Any) -> Any:
    """Return the value of the argument ``reference``, or that of its earlier name with a warning."""
    ((name, value),) = old.items()
    if value is None:
        return new
    if new is not None:
        raise TypeError(f"give reference=, not {name}= beside it")
    warn_user(f"{name}= is now reference=", DeprecationWarning)
    return value


@contextmanager
def paper_style(columns: int = 1) -> Iterator[None]:
    """Set the style of journal figures in a ``with`` block: small sans-serif fonts, thin lines, text kept as text.

    Parameters
    ----------
    columns : {1, 2}
        Columns of the page, 3.4 inches each, that a figure is wide if nothing else is said.

    Examples
    --------
    >>> with paper_style():
    ...     ax = mpl.figure.Figure().add_subplot()
    """
    if columns not in (1, 2):
        raise ValueError(f"columns={columns!r}: a figure is 1 or 2 columns wide")
    width = WIDTH if columns == 1 else DOUBLE
    sizes = dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7)
    widths = dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6)
    fonts = {
        "font.family": "sans-serif",
        "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    }
    texts = {
        "font.size": 7,
        "axes.labelsize": 8,
        "axes.titlesize": 8,
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
    }
    figure = {
        "figure.figsize": (width, 0.75 * WIDTH),
        "figure.dpi": 160,
        "savefig.dpi": 300,
        "lines.linewidth": 1,
    }
    settings: dict[Any, Any] = {**sizes, **widths, **fonts, **texts, **figure}
    with mpl.rc_context(settings):
        try:
            yield
        finally:
            interactive = mpl.is_interactive()
    mpl.interactive(
        interactive
    )  # a notebook switches it on with the first figure, which may have been in the block
