"""Base pairs as arcs and as a map of probabilities."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from .._utils.given import of_kind
from ..rna.decoding import as_probabilities
from ..rna.folded import FoldedRNA
from ..rna.pairs import as_pairs
from .coordinates import in_layout
from .named import prefix
from .pair_lines import add_lines
from .secondary_structure import _points, _same_length
from .style import (
    BOTH,
    GREY,
    INK,
    KNOT,
    PREDICTED,
    PROBABILITIES,
    REFERENCE,
    WIDTH,
    ink,
    legend,
    new_axes,
    renamed,
    small_bar,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["arcs", "probability_map"]

# Arcs, matrices, embeddings -----------------------------------------------------------------------------


def arcs(
    s: FoldedRNA,
    *,
    reference: FoldedRNA | None = None,
    ax: Axes | None = None,
    key: bool = True,
    names: bool = True,
    other: FoldedRNA | None = None,
) -> Axes:
    """Draw pairs as arcs over the sequence, those of `reference` below it.

    Alone, pairs that cross longer stems have another colour; with `reference`, shared pairs have.

    Parameters
    ----------
    s, reference : Structure
        Of the same length.
    ax : Axes, optional
    key : bool
        Explain the colours of pairs beside a reference.
    names : bool
        Make each pair and letter an object with a name in SVG.
    other : optional
        Earlier name of `reference`; deprecated.

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
    >>> ax = arcs(s, reference=Structure.from_dot_bracket(s.sequence, "((....)).."))
    """
    reference = renamed(reference, other=other)
    of_kind("s", s, FoldedRNA, "a Structure")
    if reference is not None:
        _same_length(s, reference)
    length, ax = len(s), new_axes(WIDTH, 1.5 if reference is None else 2.6) if ax is None else ax
    unit = (_points(ax)[0] - 8) / length
    letters, font = unit > 3, min(7, 1.15 * unit)
    above = set(map(tuple, s.pairs.tolist()))
    below = set() if reference is None else set(map(tuple, reference.pairs.tolist()))
    height = max([4, *(j - i for i, j in above | below)]) / 2
    base = 1.1 * font / _points(ax)[1] * height * (1 if reference is None else 2) if letters else 0.0
    nested = set(map(tuple, s.pairs[in_layout(s.pairs, length)].tolist()))
    width = float(np.clip(0.3 * unit, 0.25, 1.2))
    lines: list[tuple[Any, ...]] = []
    for i, j in sorted(above) + sorted(below):
        side = -1 if len(lines) >= len(above) else 1
        if reference is None:
            color = ink() if (i, j) in nested else KNOT
        else:
            color = BOTH if (i, j) in above & below else PREDICTED if side > 0 else REFERENCE
        turn = np.linspace(math.pi, 0, int(np.clip((j - i) * unit, 9, 41)))
        arc = (i + j) / 2 + 1 + (j - i) / 2 * np.exp(1j * turn)
        lines.append((arc.real + 1j * side * (arc.imag + base), color, "-", width))
    start = prefix(ax)
    sides = [f"{start}pair-{i + 1}-{j + 1}" for i, j in sorted(above)]
    sides += [f"{start}reference-{i + 1}-{j + 1}" for i, j in sorted(below)]
    add_lines(ax, lines, "_pairs", zorder=2, names=sides if names else [])
    if letters:
        for k, letter in enumerate(s.sequence):
            y = 0 if reference is not None else base / 2.5
            style: dict[str, Any] = {"fontsize": font, "ha": "center", "va": "center_baseline"}
            ax.text(k + 1, y, letter, color=ink(), gid=f"{start}base-{k + 1}" if names else None, **style)
    else:
        ax.plot([1, length], [0, 0], color=ink(), lw=0.6, zorder=1)
    low = -1.03 * (height + base) if reference is not None else -0.02 * height
    ax.set(xlim=(0, length + 1), ylim=(low, 1.03 * (height + base)), yticks=[])
    ax.spines[:].set_visible(False)
    _position_ticks(ax.xaxis, length)
    if reference is not None and key:
        kinds = {"both": BOTH, "predicted (above)": PREDICTED, "reference (below)": REFERENCE}
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
    reference: FoldedRNA | ArrayLike | None = None,
    ax: Axes | None = None,
    target: FoldedRNA | ArrayLike | None = None,
) -> Axes:
    """Show a matrix of pairing probabilities, above the diagonal, and a structure to compare with, below it.

    Parameters
    ----------
    probabilities : Structure or array_like, shape (L, L)
        A structure shows its ``probabilities``.
    reference : Structure or array_like of int, shape (n, 2), optional
        Its pairs take the place of the lower half.
    ax : Axes, optional
    target : optional
        Earlier name of `reference`; deprecated.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the matrix is absent, not square or none of probabilities, or the reference does not fit it.

    Examples
    --------
    >>> p = np.zeros((10, 10))
    >>> p[0, 9] = p[9, 0] = 0.8
    >>> ax = probability_map(p, reference=[(0, 9), (1, 8)])
    """
    reference = renamed(reference, target=target)
    if isinstance(probabilities, FoldedRNA):
        if probabilities.probabilities is None:
            raise ValueError(f"{probabilities.name!r} has no probabilities to show")
        probabilities = probabilities.probabilities
    matrix = as_probabilities(probabilities, symmetric=False).astype(float)
    length, pairs = len(matrix), None
    if isinstance(reference, FoldedRNA):
        if len(reference) != length:
            raise ValueError(f"{reference.name!r} has {len(reference)} nucleotides, the matrix {length} rows")
        pairs = reference.pairs
    elif reference is not None:
        pairs = as_pairs(reference, length=length, name="reference")
    ax = new_axes(WIDTH, 0.86 * WIDTH) if ax is None else ax
    if pairs is not None:
        matrix[np.tril_indices(length)] = 0
    block = max(1, length // 600)  # a pair would be thinner than a pixel: the largest value of each block
    padded = np.pad(matrix, (0, -length % block))
    shown = _widen(padded.reshape(len(padded) // block, block, -1, block).max(axis=(1, 3)))
    if pairs is not None:
        shown[np.tril_indices(len(shown))] = 0
    end = len(padded) + 0.5
    image = ax.imshow(
        shown, cmap=PROBABILITIES, vmin=0, vmax=1, extent=(0.5, end, end, 0.5), interpolation="nearest"
    )
    ax.set(xlim=(0.5, length + 0.5), ylim=(length + 0.5, 0.5))
    if pairs is not None:
        side = max(1.0, length / 150)  # about a point on paper at least
        squares = [Rectangle((i, j), side, side) for i, j in pairs + 1 - side / 2]
        ax.add_collection(PatchCollection(squares, facecolor=INK, lw=0, label="_reference"), autolim=False)
        ax.set_title("above: predicted, below: reference", fontsize=7, pad=3)
    ax.plot([0.5, length + 0.5], [0.5, length + 0.5], color=GREY, lw=0.4)
    for axis in (ax.xaxis, ax.yaxis):
        _position_ticks(axis, length)
        axis.set_label_text("position", fontsize=7)
    ax.spines[:].set_linewidth(0.6)
    small_bar(ax, image, "pairing probability")
    return ax


def _widen(shown: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the map with each entry so wide that it is seen on paper: the largest of those around it."""
    width = 1 + (len(shown) - 1) // 150
    wide = np.pad(shown, (width // 2, (width - 1) // 2))
    wide = np.lib.stride_tricks.sliding_window_view(wide, width, axis=0).max(axis=-1)
    return np.lib.stride_tricks.sliding_window_view(wide, width, axis=1).max(axis=-1)
