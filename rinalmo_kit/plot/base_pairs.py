"""Base pairs as arcs and as a map of probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from ..rna.decoding import as_probabilities
from ..rna.folded import FoldedRNA
from ..rna.pairs import as_pairs
from .coordinates import in_layout
from .secondary_structure import _add_lines, _points, _same_length
from .style import BLUE, GREEN, GREY, ORANGE, PROBABILITIES, WIDTH, dark, ink, legend, new_axes, small_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = ["arcs", "probability_map"]

# Arcs, matrices, embeddings -----------------------------------------------------------------------------


def arcs(s: FoldedRNA, *, other: FoldedRNA | None = None, ax: Axes | None = None) -> Axes:
    """Draw pairs as arcs over the sequence, those of `other` below it.

    Alone, pairs that cross longer stems have another colour; with `other`, shared pairs have.

    Parameters
    ----------
    s, other : Structure
        Of the same length.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the lengths differ.

    Examples
    --------
    >>> from rinalmo_kit import Structure
    >>> s = Structure.from_dot_bracket("GGCAAAGCCA", "((.[..)).]")
    >>> ax = arcs(s, other=Structure.from_dot_bracket(s.sequence, "((....)).."))
    """
    if other is not None:
        _same_length(s, other)
    length, ax = len(s), new_axes(WIDTH, 1.5 if other is None else 2.6) if ax is None else ax
    unit = (_points(ax)[0] - 8) / length
    letters, font = unit > 3, min(7, 1.15 * unit)
    above = set(map(tuple, s.pairs.tolist()))
    below = set() if other is None else set(map(tuple, other.pairs.tolist()))
    height = max([4, *(j - i for i, j in above | below)]) / 2
    base = 1.1 * font / _points(ax)[1] * height * (1 if other is None else 2) if letters else 0.0
    nested = set(map(tuple, s.pairs[in_layout(s.pairs, length)].tolist()))
    turn, width = np.exp(1j * np.linspace(math.pi, 0, 41)), float(np.clip(0.3 * unit, 0.4, 1.2))
    lines: list[tuple[Any, ...]] = []
    for i, j in sorted(above) + sorted(below):
        side = -1 if len(lines) >= len(above) else 1
        if other is None:
            color = BLUE if (i, j) in nested else ORANGE
        else:
            color = GREEN if (i, j) in above & below else ORANGE if side > 0 else BLUE
        arc = (i + j) / 2 + 1 + (j - i) / 2 * turn
        lines.append((arc.real + 1j * side * (arc.imag + base), color, "-", width))
    _add_lines(ax, lines, "_pairs", zorder=2)
    if letters:
        for k, letter in enumerate(s.sequence):
            y = 0 if other is not None else base / 2.5
            style = {"fontsize": font, "ha": "center", "va": "center_baseline"}
            ax.text(k + 1, y, letter, color=ink(), **style)
    else:
        ax.plot([1, length], [0, 0], color=ink(), lw=0.6, zorder=1)
    low = -1.03 * (height + base) if other is not None else -0.02 * height
    ax.set(xlim=(0, length + 1), ylim=(low, 1.03 * (height + base)), yticks=[])
    ax.spines[:].set_visible(False)
    _position_ticks(ax.xaxis, length)
    if other is not None:
        kinds = {"both": GREEN, "above only": ORANGE, "below only": BLUE}
        legend(ax, kinds, loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def _position_ticks(axis: Any, length: int) -> None:
    """Set ticks at 1 and at round positions."""
    step = next((n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500) if length <= 7 * n), 1000)
    axis.set_ticks([1, *range(step, length + 1, step)] if step > 1 else range(1, length + 1))
    axis.set_tick_params(labelsize=7, length=2, width=0.6)


def probability_map(
    probabilities: FoldedRNA | ArrayLike,
    *,
    target: FoldedRNA | ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show a matrix of pairing probabilities, above the diagonal, and a structure to compare with, below it.

    Parameters
    ----------
    probabilities : Structure or array_like, shape (L, L)
        A structure shows its ``probabilities``.
    target : Structure or array_like of int, shape (n, 2), optional
        Its pairs take the place of the lower half.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the matrix is absent, not square or none of probabilities, or the target does not fit it.

    Examples
    --------
    >>> p = np.zeros((10, 10))
    >>> p[0, 9] = p[9, 0] = 0.8
    >>> ax = probability_map(p, target=[(0, 9), (1, 8)])
    """
    if isinstance(probabilities, FoldedRNA):
        if probabilities.probabilities is None:
            raise ValueError(f"{probabilities.name!r} has no probabilities to show")
        probabilities = probabilities.probabilities
    matrix = as_probabilities(probabilities, symmetric=False).astype(float)
    length, pairs = len(matrix), None
    if isinstance(target, FoldedRNA):
        if len(target) != length:
            raise ValueError(f"{target.name!r} has {len(target)} nucleotides, the matrix {length} rows")
        pairs = target.pairs
    elif target is not None:
        pairs = as_pairs(target, length=length, name="target")
    ax = new_axes(WIDTH, 0.86 * WIDTH) if ax is None else ax
    if pairs is not None:
        matrix[np.tril_indices(length)] = 0
    block = max(1, length // 600)  # a pair would be thinner than a pixel: the largest value of each block
    padded = np.pad(matrix, (0, -length % block))
    shown = padded.reshape(len(padded) // block, block, -1, block).max(axis=(1, 3))
    end = len(padded) + 0.5
    image = ax.imshow(
        shown, cmap=PROBABILITIES, vmin=0, vmax=1, extent=(0.5, end, end, 0.5), interpolation="nearest"
    )
    ax.set(xlim=(0.5, length + 0.5), ylim=(length + 0.5, 0.5))
    if pairs is not None:
        side = max(1.0, length / 150)  # about a point on paper at least
        squares = [Rectangle((i, j), side, side) for i, j in pairs + 1 - side / 2]
        ax.add_collection(PatchCollection(squares, facecolor=ORANGE, lw=0, label="_target"), autolim=False)
        ax.set_title("below: target", fontsize=7, loc="left", color=ORANGE, pad=3)
        ax.set_title(
            "above: predicted", fontsize=7, loc="right", color="#7DBBE3" if dark() else "#0F649F", pad=3
        )
    ax.plot([0.5, length + 0.5], [0.5, length + 0.5], color=GREY, lw=0.4)
    for axis in (ax.xaxis, ax.yaxis):
        _position_ticks(axis, length)
    ax.spines[:].set_linewidth(0.6)
    small_bar(ax, image, "pairing probability")
    return ax
