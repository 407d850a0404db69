"""Attention, mutations and sequence logos."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import TwoSlopeNorm, to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

from .style import (
    DOUBLE,
    INK,
    NUCLEOTIDES,
    PROBABILITIES,
    WIDTH,
    chart_axes,
    new_axes,
    plain,
    renamed,
    small_bar,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from ..rna.folded import FoldedRNA

__all__ = ["attention_map", "mutation_map", "sequence_logo", "variant_map"]

# What a model sees --------------------------------------------------------------------------------------


def attention_map(
    weights: ArrayLike,
    *,
    reference: FoldedRNA | ArrayLike | None = None,
    sequence: str | None = None,
    ax: Axes | None = None,
    target: FoldedRNA | ArrayLike | None = None,
) -> Axes:
    """Show attention between nucleotides, with known base pairs as circles.

    Parameters
    ----------
    weights : array_like, shape (L, L)
        From row to column, without ``<cls>`` and ``<eos>``; colours end at the 99.5th percentile.
    reference : Structure or array_like of int, shape (n, 2), optional
        The known pairs.
    sequence : str, optional
        Its letters become the labels of the axes if it is short.
    ax : Axes, optional
    target : optional
        Earlier name of `reference`; deprecated.

    Raises
    ------
    ValueError
        If the weights are not square.

    Examples
    --------
    >>> ax = attention_map(np.eye(6), reference=[(0, 5)], sequence="GAAAAC")
    """
    reference = renamed(reference, target=target)
    matrix = np.asarray(weights, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"weights have shape {matrix.shape}, expected (L, L)")
    if not np.isfinite(matrix).all():
        raise ValueError(f"a weight of row {np.argwhere(~np.isfinite(matrix))[0][0]} is not a finite number")
    length = len(matrix)
    ax = new_axes(WIDTH, 0.86 * WIDTH) if ax is None else ax
    top = float(np.percentile(matrix, 99.5)) or 1.0
    edges = (0.5, length + 0.5, length + 0.5, 0.5)
    image = ax.imshow(matrix, extent=edges, cmap=PROBABILITIES, vmin=0, vmax=top, interpolation="nearest")
    if reference is not None:
        pairs = np.asarray(getattr(reference, "pairs", reference)).reshape(-1, 2) + 1
        both = np.concatenate([pairs, pairs[:, ::-1]])
        size = float(np.clip((160 / length) ** 2, 3, 30))
        ax.scatter(
            both[:, 1], both[:, 0], s=size, facecolors="none", edgecolors=INK, lw=0.6, label="_reference"
        )
    if sequence is not None and length <= 60:
        for axis in (ax.xaxis, ax.yaxis):
            size = min(6, 180 / length)
            axis.set_ticks(
                range(1, length + 1), [plain(c) for c in sequence], fontsize=size, parse_math=False
            )
        ax.tick_params(length=0)
    else:
        ax.tick_params(labelsize=7, length=2, width=0.6)
        ax.set_xlabel("attended position", fontsize=8)
        ax.set_ylabel("position", fontsize=8)
    ax.spines[:].set_linewidth(0.6)
    small_bar(ax, image, "attention")
    return ax


def mutation_map(
    effects: ArrayLike, sequence: str, *, label: str = "effect of the mutation", ax: Axes | None = None
) -> Axes:
    """Show what each possible substitution does, one column a position; dots mark the letters that are there.

    Parameters
    ----------
    effects : array_like, shape (L, 4)
        For A, C, G, U; blue is lower, red higher than 0; NaN stays empty.
    sequence : str
        L letters.
    label : str
        Of the colour bar.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If the shape does not fit the sequence.

    Examples
    --------
    >>> ax = mutation_map(np.zeros((4, 4)), "ACGU")
    """
    matrix = np.asarray(effects, dtype=float)
    if matrix.shape != (len(sequence), 4):
        raise ValueError(f"effects have shape {matrix.shape}, expected ({len(sequence)}, 4)")
    if np.isinf(matrix).any():
        raise ValueError(f"the effect at position {np.argwhere(np.isinf(matrix))[0][0] + 1} is infinite")
    ax = new_axes(DOUBLE if len(sequence) > 60 else WIDTH, 1.3) if ax is None else ax
    most = float(np.nanmax(np.abs(matrix), initial=0)) or 1.0
    image = ax.imshow(
        matrix.T, cmap="RdBu_r", norm=TwoSlopeNorm(0, -most, most), aspect="auto", interpolation="nearest"
    )
    places = [(k, "ACGU".index(c)) for k, c in enumerate(sequence.upper().replace("T", "U")) if c in "ACGUT"]
    if places:
        ax.plot(*np.array(places).T, ".", color=INK, ms=2.5, mew=0)
    ax.set_yticks(range(4), "ACGU", fontsize=7)
    step = next((n for n in (1, 5, 10, 20, 50, 100, 200) if len(sequence) <= 12 * n), 500)
    ticks = [k for k in range(len(sequence)) if (k + 1) % step == 0]
    ax.set_xticks(ticks, [str(k + 1) for k in ticks], fontsize=7)
    ax.tick_params(length=2, width=0.6)
    ax.spines[:].set_linewidth(0.6)
    ax.set_xlabel("position", fontsize=8)
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.01, 0, 0.012, 1)))
    bar.ax.tick_params(labelsize=6, length=1.5, width=0.5)
    bar.outline.set_linewidth(0.6)
    bar.set_label(textwrap.fill(plain(label, 120), 18), fontsize=6, parse_math=False)
    return ax


def variant_map(
    scores: pd.DataFrame, sequence: str, *, label: str = "log-odds of the mutant", ax: Axes | None = None
) -> Axes:
    """Show the scores of single substitutions as a heat map, one column a position; dots mark the wild type.

    Parameters
    ----------
    scores : DataFrame
        As :func:`rinalmo_kit.evaluation.variant_scores` returns it; variants that are not there stay empty, and
        those of several substitutions are left out.
    sequence : str
        The wild type.
    label : str
        Of the colour bar.
    ax : Axes, optional

    Raises
    ------
    ValueError
        For a position outside the sequence, or a table without single substitutions.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"position": [2], "mutant": ["A"], "score": [-1.5]})
    >>> ax = variant_map(table, "GGGAAACCC")
    """
    single = scores[scores["mutant"].str.len() == 1]
    if single.empty:
        raise ValueError("there is no single substitution to show")
    effects = np.full((len(sequence), 4), np.nan)
    for k, letter in enumerate(sequence.upper().replace("T", "U")):
        if letter in "ACGU":
            effects[k, "ACGU".index(letter)] = 0
    for position, mutant, score in zip(single["position"], single["mutant"], single["score"], strict=True):
        if not 1 <= position <= len(sequence):
            raise ValueError(f"position {position} lies outside the sequence of {len(sequence)} nucleotides")
        effects[position - 1, "ACGU".index(mutant)] = score
    return mutation_map(effects, sequence, label=label, ax=ax)


def sequence_logo(probabilities: ArrayLike, *, first: int = 1, ax: Axes | None = None) -> Axes:
    """Draw a sequence logo: at each position letters as high as their share of its information, in bits.

    Parameters
    ----------
    probabilities : array_like, shape (L, 4)
        Of A, C, G, U; each row is scaled to 1.
    first : int
        Number of the first position.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If the shape is not (L, 4), or a row has a negative number or nothing but zeros.

    Examples
    --------
    >>> ax = sequence_logo([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]])
    """
    shares = np.asarray(probabilities, dtype=float)
    if shares.ndim != 2 or shares.shape[1] != 4:
        raise ValueError(f"probabilities have shape {shares.shape}, expected (L, 4)")
    if bad := np.flatnonzero(
        (shares < 0).any(1) | ~((shares.sum(1) > 0) & np.isfinite(shares).all(1))
    ).tolist():
        raise ValueError(f"row {bad[0]} holds no probabilities: {shares[bad[0]].tolist()}")
    shares = shares / shares.sum(1, keepdims=True)
    bits = 2 + (shares * np.log2(np.maximum(shares, 1e-12))).sum(1)
    ax = chart_axes(ax, DOUBLE if len(shares) > 40 else WIDTH, 1.1)
    font = FontProperties(family="DejaVu Sans", weight="bold")
    glyphs = {letter: TextPath((0, 0), letter, size=1, prop=font) for letter in "ACGU"}
    for place, (row, height) in enumerate(zip(shares, bits, strict=True)):
        bottom = 0.0
        for k in np.argsort(row, kind="stable"):
            letter, tall = "ACGU"[k], row[k] * height
            if tall < 0.01:
                continue
            box = glyphs[letter].get_extents()
            move = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, tall / box.height)
            path = glyphs[letter].transformed(move.translate(place + first - 0.45, bottom))
            color = 0.75 * np.array(to_rgb(NUCLEOTIDES[letter]))
            ax.add_patch(PathPatch(path, facecolor=color, lw=0))
            bottom += tall
    ax.set(xlim=(first - 0.6, first + len(shares) - 0.4), ylim=(0, 2))
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    ax.set_ylabel("bits", fontsize=8)
    return ax
