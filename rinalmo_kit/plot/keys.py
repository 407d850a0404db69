"""Keys of the colours of a drawing: letters, elements, pairs of two structures, values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .style import BOTH, PREDICTED, REFERENCE, legend, named_legend, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

ROW = 10  # points, a row of a key


def pair_key(where: Axes | Figure, **options: Any) -> None:
    """Explain the colours of pairs of a structure compared with a reference."""
    kinds = {"both": BOTH, "predicted": PREDICTED, "reference": REFERENCE}
    legend(where, kinds, dashed="reference", **options)


def key_rows(colors: Mapping[str, Any]) -> int:
    """Return the number of rows of a key, as a column of a journal holds them."""
    return -(-len(colors) // _key_columns(colors))


def _key_columns(colors: Mapping[str, Any]) -> int:
    return 5 if len(colors) <= 5 else 4


def color_key(ax: Axes, colors: Mapping[str, Any], *, at: tuple[float, float] = (0, 0)) -> None:
    """Explain colours of nucleotides by dots; `at` in fractions of the Axes. A key that is there stays."""
    dots = [Line2D([], [], color=color, marker="o", ls="", ms=4) for color in colors.values()]
    old = ax.get_legend()
    style: dict[str, Any] = {"fontsize": 6, "frameon": False, "handletextpad": 0.2, "columnspacing": 1}
    style |= {"loc": "lower left", "bbox_to_anchor": at, "ncols": _key_columns(colors), "borderaxespad": 0}
    named_legend(ax, dots, colors, **style)
    if old is not None:
        ax.add_artist(old)


def color_bar(ax: Axes, scale: ScalarMappable, label: str, place: tuple[float, float, float, float]) -> None:
    """Draw a small colour bar at a place in fractions of the Axes, its label to the left."""
    inset = ax.inset_axes(place)
    bar = ax.figure.colorbar(scale, cax=inset, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(2)
    bar.ax.tick_params(labelsize=6, length=1.5, width=0.5, pad=1)
    style: dict[str, Any] = {"fontsize": 6, "ha": "right", "va": "center", "parse_math": False}
    bar.ax.text(-0.05, 0.5, plain(label), transform=bar.ax.transAxes, **style)
