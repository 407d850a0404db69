"""Drawings for papers and notebooks: secondary structures, arcs, probability maps, embeddings.

Every function takes data and an optional Axes and returns the Axes. None of them shows a figure or changes
global settings; :func:`paper_style` sets fonts within a ``with`` block. Without an Axes, a figure of
journal column width (3.4 inches) is made.
"""

from __future__ import annotations

import hashlib
import html
import io
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.collections import EllipseCollection, LineCollection, PatchCollection
from matplotlib.colors import (
    LinearSegmentedColormap,
    Normalize,
    is_color_like,
    to_rgb,
    to_rgba,
    to_rgba_array,
)
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from .layout import in_layout, layout
from .structure import CANONICAL, Structure, as_pairs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "arcs",
    "embedding_map",
    "layout",
    "paper_style",
    "perplexity",
    "probability_map",
    "reliability",
    "structure",
    "structure_html",
    "training_curves",
    "training_log",
]

WIDTH = 3.4  # inches, one journal column
RADIUS = 0.42  # of a nucleotide's circle
LARGEST, MARGIN, FOOT = 14.0, 15, 22  # points: most per unit of a layout, around a drawing, below it
INK, GREY = "#222222", "#8C8C8C"
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"  # Okabe and Ito, as the others
NUCLEOTIDES = {"A": "#F2C14E", "C": "#8CCBF0", "G": "#7CC8A4", "U": "#E2A6C6"}  # the same, lighter
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
PALETTE += ("#999999", "#882255", "#44AA99", "#332288")  # Tol
PROBABILITIES = LinearSegmentedColormap.from_list(  # lightness falls evenly from white
    "probabilities", ["#FFFFFF", "#BFE0F2", "#7DBBE3", "#3E90C8", "#0F649F", "#04406E", "#001D3D"]
)


# Structures ---------------------------------------------------------------------------------------------


def structure(
    s: Structure,
    *,
    ax: Axes | None = None,
    color_by: str | ArrayLike | None = "nucleotide",
    reference: Structure | None = None,
    numbering: int | Literal["auto"] = "auto",
    letters: bool | None = None,
    label_ends: bool = True,
) -> Axes:
    """Draw a secondary structure.

    G-C and A-U pairs are lines, G-U pairs dots, other pairs dashed. Pseudoknotted pairs are arcs on top.

    Parameters
    ----------
    s : Structure
        The structure, L nucleotides.
    ax : Axes, optional
        Where to draw; line widths and letters follow its size at the time of the call.
    color_by : {"nucleotide", "probability"}, array or None
        "probability" colours paired bases by the probability of their pair, unpaired ones by one minus that
        of their most probable pair; it needs ``s.probabilities``. Also: L numbers (NaN: grey), such as
        reactivities; L colours; one colour. None draws an outline.
    reference : Structure, optional
        Of the same length; pairs are coloured by whether they are in both, only in `s`, only in `reference`.
    numbering : int or "auto"
        Number every so many nucleotides, from 1; 0 for none. "auto" is 10, and more from 150 nt on. A number
        that finds no free place is left out.
    letters : bool, optional
        Write the nucleotides; by default up to 150 nt if they are large enough to read.
    label_ends : bool
        Write 5′ and 3′.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the reference, or an array, is not of the structure's length, or probabilities are missing.

    Examples
    --------
    >>> s = Structure.from_dot_bracket("GGGAAAACCU", "(((....)))")
    >>> ax = structure(s, color_by=[0.1, 0.0, 0.2, 0.9, 1.0, 0.8, 0.9, 0.1, 0.2, 0.1])
    """
    if reference is not None:
        _same_length(s, reference)
    colors, values = _base_colors(s, color_by)
    view = _view(s)
    foot = FOOT if values is not None or reference is not None else 0
    if ax is None:
        ax = _new_axes(*_size(view, foot=foot))
    options = {"numbering": numbering, "letters": letters, "label_ends": label_ends}
    _draw(ax, s, view, colors, reference, foot=foot, **options)
    if reference is not None:
        kinds = {"both": GREEN, "predicted": ORANGE, "reference": BLUE}
        _legend(ax, kinds, dashed="reference", loc="lower left")
    if values is not None:
        _color_bar(ax, values, "probability" if isinstance(color_by, str) else "value")
    return ax


def _view(s: Structure) -> NDArray[np.complexfloating]:
    """Layout as complex numbers, turned so that it is not much taller than wide."""
    x, y = layout(s.pairs, len(s)).T
    return y - 1j * x if np.ptp(y) > 1.3 * np.ptp(x) else x + 1j * y


def _size(view: NDArray, *, foot: float = 0) -> tuple[float, float]:
    """Width and height in inches of a figure for a drawing."""
    spans = np.ptp(view.real) + 1, np.ptp(view.imag) + 1
    unit = min(LARGEST, (72 * WIDTH - 2 * MARGIN) / spans[0])
    return WIDTH, min(1.3 * WIDTH, (unit * spans[1] + 2 * MARGIN + 6 + foot) / 72)


def _new_axes(width: float = WIDTH, height: float = WIDTH) -> Axes:
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _same_length(s: Structure, other: Structure) -> None:
    if len(s) != len(other):
        raise ValueError(f"{s.name!r} has {len(s)} nucleotides, {other.name!r} has {len(other)}")


def _draw(
    ax: Axes,
    s: Structure,
    view: NDArray,
    colors: NDArray | None,
    reference: Structure | None = None,
    *,
    numbering: int | str = "auto",
    letters: bool | None = None,
    label_ends: bool = True,
    foot: float = 0,
) -> None:
    """Draw the structure at the places of `view`, above a foot of so many points."""
    unit = _set_limits(ax, view, margin=MARGIN if numbering or label_ends else 4, foot=foot)
    letters = len(s) <= 150 and unit >= 4.5 if letters is None else letters
    width = float(np.clip(0.13 * unit, 0.3, 1.2))
    ax.plot(view.real, view.imag, color=GREY, lw=width, solid_joinstyle="round", zorder=1, label="_backbone")
    obstacles = [view, (view[1:] + view[:-1]) / 2, *_draw_pairs(ax, s, view, reference, unit, width)]
    if colors is not None or letters:
        faces = np.ones((len(s), 4)) if colors is None else colors
        size = np.full(len(s), 2 * RADIUS)
        circles = EllipseCollection(size, size, 0, units="xy", offsets=np.c_[view.real, view.imag])
        circles.set_offset_transform(ax.transData)
        circles.set(facecolor=faces, lw=0.4 * width, edgecolor=INK if colors is None else "none")
        circles.set(zorder=3, label="_bases")
        ax.add_collection(circles, autolim=False)
    if letters:
        style = {"fontsize": 0.62 * unit, "ha": "center", "va": "center_baseline", "zorder": 4}
        dark = faces[:, :3] @ (0.3, 0.59, 0.11) < 0.45
        for place, letter, on_dark in zip(view, s.sequence, dark, strict=True):
            ax.text(place.real, place.imag, letter, color="white" if on_dark else INK, **style)
    _draw_labels(ax, view, np.concatenate(obstacles), unit, numbering=numbering, label_ends=label_ends)


def _legend(ax: Axes, colors: dict[str, str], *, dashed: str = "", **options: Any) -> None:
    handles = [
        Line2D([], [], color=color, lw=1.2, ls="--" if label == dashed else "-", label=label)
        for label, color in colors.items()
    ]
    style = {"fontsize": 6, "frameon": False, "handlelength": 1.6, "columnspacing": 1, "borderaxespad": 0}
    ax.legend(handles=handles, ncols=len(colors), **style | options)


def _base_colors(s: Structure, color_by: Any) -> tuple[NDArray | None, mpl.cm.ScalarMappable | None]:
    """(L, 4) colours or None, and the scale they are on, if any."""
    if color_by is None:
        return None, None
    if isinstance(color_by, str) and color_by == "nucleotide":
        return to_rgba_array([NUCLEOTIDES.get(base, "#D0D0D0") for base in s.sequence]), None
    norm = None
    if isinstance(color_by, str) and color_by == "probability":
        if s.probabilities is None:
            raise ValueError(f"{s.name!r} has no probabilities to colour by")
        color_by, norm = 1 - s.probabilities.max(axis=1, initial=0), Normalize(0, 1)
        i, j = s.pairs.T
        color_by[i] = color_by[j] = s.probabilities[i, j]
    if isinstance(color_by, str):
        if not is_color_like(color_by):
            raise ValueError(
                f'color_by is "nucleotide", "probability", a colour or an array, not {color_by!r}'
            )
        return np.tile(to_rgba(color_by), (len(s), 1)), None
    array = np.asarray(color_by)
    if len(array) != len(s):
        raise ValueError(f"color_by has {len(array)} entries, {s.name!r} has {len(s)} nucleotides")
    if array.dtype.kind not in "biuf" or array.ndim != 1:
        return to_rgba_array(color_by), None
    array = np.ma.masked_invalid(array.astype(float))
    scale = mpl.cm.ScalarMappable(norm or Normalize(), mpl.colormaps["viridis"].with_extremes(bad="#D0D0D0"))
    return scale.to_rgba(array), scale


def _points(ax: Axes) -> NDArray[np.floating]:
    """Width and height in points; of the figure where a layout engine is yet to place its only Axes."""
    alone = ax.figure.get_layout_engine() is not None and len(ax.figure.axes) == 1
    return 72 * ax.figure.get_size_inches() * (1.0 if alone else ax.get_position().bounds[2:])


def _set_limits(ax: Axes, view: NDArray, *, margin: float, foot: float) -> float:
    """Fit the drawing into the Axes with room in points around and below; return the points per unit."""
    width, height = _points(ax) - 6
    spans = np.ptp(view.real) + 1, np.ptp(view.imag) + 1
    unit = min(LARGEST, (width - 2 * margin) / spans[0], (height - foot - 2 * margin) / spans[1])
    unit = max(unit, 0.05)
    x, y = view.real.min() + spans[0] / 2 - 0.5, view.imag.min() + spans[1] / 2 - 0.5
    ax.set(xlim=(x - width / unit / 2, x + width / unit / 2))
    ax.set(ylim=(y - (height + foot) / unit / 2, y + (height - foot) / unit / 2))
    ax.set_aspect("equal")
    ax.axis("off")
    return unit


def _draw_pairs(
    ax: Axes, s: Structure, view: NDArray, reference: Structure | None, unit: float, width: float
) -> list[NDArray]:
    """Draw pairs and return points on them."""
    own = set(map(tuple, s.pairs.tolist()))
    known = own if reference is None else set(map(tuple, reference.pairs.tolist()))
    straight = set(map(tuple, s.pairs[in_layout(s.pairs, len(s))].tolist()))
    lines, bows, dots = [], [], []
    for i, j in sorted(own | known):
        color, style, thick = INK, "-", width
        if reference is not None:
            color = (GREEN if (i, j) in known else ORANGE) if (i, j) in own else BLUE
            style, thick = "-" if (i, j) in own else (0, (2, 1.2)), 1.5 * width
        elif s.sequence[i] + s.sequence[j] not in CANONICAL:
            style = (0, (1.5, 1))
        if (i, j) not in straight:
            bows.append((i, j, color if reference is not None else ORANGE, style, width))
            continue
        ends = view[[i, j]] + np.array([1, -1]) * (RADIUS * (view[j] - view[i]) / abs(view[j] - view[i]))
        if reference is None and s.sequence[i] + s.sequence[j] in ("GU", "UG") and unit > 4:
            dots.append(ends.mean())
            continue
        lines.append((ends, color, style, thick))
    style = {"color": INK, "mew": 0, "ms": 0.3 * unit, "zorder": 2}
    ax.plot(np.real(dots), np.imag(dots), "o", label="_wobble_pairs", **style)
    _add_lines(ax, lines, "_pairs", zorder=2)
    curves = _bows(view, [(i, j) for i, j, *_ in bows])
    bent = [(curve, *bow[2:]) for curve, bow in zip(curves, bows, strict=True)]
    _add_lines(ax, bent, "_crossing_pairs", zorder=2.5)
    return [*(line[0] for line in lines), *curves, np.array(dots)]


def _add_lines(ax: Axes, lines: list[tuple], label: str, zorder: float) -> None:
    if lines:
        points, colors, styles, widths = zip(*lines, strict=True)
        segments = [np.c_[line.real, line.imag] for line in points]
        style = {"colors": colors, "linestyles": list(styles), "linewidths": widths}
        ax.add_collection(LineCollection(segments, zorder=zorder, label=label, **style), autolim=False)


def _bows(view: NDArray, pairs: list[tuple[int, int]]) -> list[NDArray]:
    """Curves between paired nucleotides; all of a stem bend to the side with fewer nucleotides in the way."""
    t = np.linspace(0, 1, 17)
    curves: list[NDArray] = []
    stem: list[tuple[NDArray, NDArray]] = []  # curves to the left and to the right
    in_the_way = np.zeros(2)
    for (i, j), following in zip(pairs, [*pairs[1:], None], strict=False):
        chord = view[j] - view[i]
        line, bend = view[i] + t * chord, 1.2j * chord * t * (1 - t)
        stem.append((line + bend, line - bend))
        in_the_way += [np.sum(np.abs(view[:, None] - curve) < 0.8) for curve in stem[-1]]
        if following != (i + 1, j - 1):
            curves += [both[int(in_the_way[1] < in_the_way[0])] for both in stem]
            stem, in_the_way = [], np.zeros(2)
    return curves


def _draw_labels(
    ax: Axes, view: NDArray, obstacles: NDArray, unit: float, *, numbering: int | str, label_ends: bool
) -> None:
    """Write numbers and ends where nothing else is, each as near to its nucleotide as can be."""
    length = len(view)
    if numbering == "auto":
        numbering = next((step for most, step in ((150, 10), (300, 20), (1000, 50)) if length <= most), 200)
    ends = [(0, "5′"), (length - 1, "3′")] if label_ends else []
    numbers = [(k, str(k + 1)) for k in range(numbering - 1, length, numbering)] if numbering else []
    boxes, leaders = [], []
    for k, text in ends + numbers:
        is_end = text.endswith("′")
        size = float(np.clip(unit, 6, 8) if is_end else np.clip(0.7 * unit, 4.5, 6.5))
        half = size / unit * complex(0.55 if is_end else 0.33 * len(text) + 0.1, 0.42)
        forward = view[min(k + 1, length - 1)] - view[max(k - 1, 0)] if length > 1 else 1.0
        outside = 1j * forward  # as stems run clockwise
        direction = outside if not is_end else forward if k and text[0] == "3" else -forward
        center, tip, free = _spot(view[k], direction, half, obstacles, boxes, unit)
        if not (free or is_end):
            continue
        boxes.append((center, half))
        style = {"fontsize": size, "ha": "center", "va": "center", "zorder": 5}
        ax.text(center.real, center.imag, text, color=INK if is_end else "#555555", **style)
        if not is_end:
            start = view[k] + RADIUS * (tip - view[k]) / abs(tip - view[k])
            leaders.append((np.array([start, tip]), GREY, "-", 0.4))
    _add_lines(ax, leaders, "_leaders", zorder=0.5)


def _spot(
    anchor: complex, toward: complex, half: complex, obstacles: NDArray, boxes: list, unit: float
) -> tuple[complex, complex, bool]:
    """Centre of a box of half size `half` near `anchor`, end of its leader, whether it touches nothing."""
    clear = RADIUS + 1 / unit
    others = obstacles[abs(obstacles - anchor) > 0.3]
    for distance in (0.8, 1.4, 2.2, 3.2):
        for degrees in (0, 20, -20, 40, -40, 60, -60, 80, -80, 110, -110):
            direction = toward / abs(toward) * np.exp(1j * math.radians(degrees))
            tip = anchor + direction * (clear + distance * max(0.5, 3 / unit))
            reach = 1 / max(abs(direction.real) / half.real, abs(direction.imag) / half.imag)
            center = tip + direction * (reach + 0.5 / unit)
            leader = anchor + (tip - anchor) * np.array([[0.6], [0.8], [1.0]])
            if (
                np.all(_outside(obstacles - center, half) > clear)
                and np.all(abs(others - leader) > 0.45)
                and all(_outside(other - center, half + size) > 0 for other, size in boxes)
            ):
                return center, tip, True
    return center, tip, False


def _outside(point: Any, half: complex) -> Any:
    """Distance of points to a box of half size `half` around 0."""
    return np.hypot(np.maximum(abs(point.real) - half.real, 0), np.maximum(abs(point.imag) - half.imag, 0))


def _color_bar(ax: Axes, scale: mpl.cm.ScalarMappable, label: str) -> None:
    """Small bar in the foot of the Axes."""
    width, height = _points(ax)
    inset = ax.inset_axes((1 - 76 / width, 10 / height, 66 / width, 4 / height))
    bar = ax.figure.colorbar(scale, cax=inset, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(2)
    bar.ax.tick_params(labelsize=6, length=1.5, width=0.5, pad=1)
    bar.ax.text(-0.05, 0.5, label, transform=bar.ax.transAxes, fontsize=6, ha="right", va="center")


def structure_html(s: Structure) -> str:
    """HTML that a notebook shows for a structure: a drawing (inline SVG), the sequence and the dot-bracket.

    Everything that comes from the name is escaped; the drawing holds no scripts, style sheets or links,
    and its ids are its own. Above 1000 nt it is an outline.

    Examples
    --------
    >>> "&lt;b&gt;" in structure_html(Structure("GGGAAAACCC", [(0, 9)], name="<b>"))
    True
    """
    view, heavy = _view(s), len(s) > 1000
    width, height = _size(view)
    salt = hashlib.sha256(str(s).encode()).hexdigest()[:10]
    svg = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "path.simplify": True}):
        figure = Figure(figsize=(width, height))
        colors = None if heavy else _base_colors(s, "nucleotide")[0]
        _draw(figure.add_axes((0, 0, 1, 1)), s, view, colors, letters=False if heavy else None)
        figure.savefig(svg, format="svg", metadata={"Date": None})
    drawing = svg.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    # matplotlib's style sheet would apply to the whole notebook, and its ids repeat from drawing to drawing
    drawing = re.sub(r"<(metadata|style|script)\b.*?</\1>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="|(?<=href="#)|(?<=url\(#)', lambda m: f"{m.group()}rk{salt}-", drawing)
    style = (
        f"width:{150 * width:.0f}px;max-width:100%;height:auto;background:white;"
        "stroke-linejoin:round;stroke-linecap:butt"
    )
    drawing = re.sub(r'<svg\b([^>]*?) width="[^"]*"', rf'<svg\1 style="{style}"', drawing, count=1)
    drawing = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", drawing, count=1)
    trust = "" if s.confidence is None else f"<p>{html.escape(trust_note(s.confidence))}</p>"
    return f'<div>{drawing}<pre style="overflow-x:auto">{html.escape(str(s))}</pre>{trust}</div>'


def trust_note(confidence: float) -> str:
    """Say how far a fold can be trusted.

    Examples
    --------
    >>> trust_note(0.31)
    'Expected F1 0.31: low. Much of this fold may be wrong.'
    """
    if confidence < 0.4:
        return f"Expected F1 {confidence:.2f}: low. Much of this fold may be wrong."
    return f"Expected F1 {confidence:.2f}: {'high' if confidence >= 0.7 else 'medium'}."


# Arcs, matrices, embeddings -----------------------------------------------------------------------------


def arcs(s: Structure, *, other: Structure | None = None, ax: Axes | None = None) -> Axes:
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
    >>> s = Structure.from_dot_bracket("GGCAAAGCCA", "((.[..)).]")
    >>> ax = arcs(s, other=Structure.from_dot_bracket(s.sequence, "((....)).."))
    """
    if other is not None:
        _same_length(s, other)
    length = len(s)
    ax = _new_axes(WIDTH, 1.5 if other is None else 2.6) if ax is None else ax
    unit = (_points(ax)[0] - 8) / length
    letters, font = unit > 3, min(7, 1.15 * unit)
    above = set(map(tuple, s.pairs.tolist()))
    below = set() if other is None else set(map(tuple, other.pairs.tolist()))
    height = max([4, *(j - i for i, j in above | below)]) / 2
    base = 1.1 * font / _points(ax)[1] * height * (1 if other is None else 2) if letters else 0.0
    nested = set(map(tuple, s.pairs[in_layout(s.pairs, length)].tolist()))
    turn, width = np.exp(1j * np.linspace(math.pi, 0, 41)), float(np.clip(0.3 * unit, 0.4, 1.2))
    lines = []
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
            ax.text(k + 1, y, letter, color=INK, **style)
    else:
        ax.plot([1, length], [0, 0], color=INK, lw=0.6, zorder=1)
    low = -1.03 * (height + base) if other is not None else -0.02 * height
    ax.set(xlim=(0, length + 1), ylim=(low, 1.03 * (height + base)), yticks=[])
    ax.spines[:].set_visible(False)
    _position_ticks(ax.xaxis, length)
    if other is not None:
        kinds = {"both": GREEN, "above only": ORANGE, "below only": BLUE}
        _legend(ax, kinds, loc="lower center", bbox_to_anchor=(0.5, 1))
    return ax


def _position_ticks(axis: Any, length: int) -> None:
    """Ticks at 1 and at round positions."""
    step = next((n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500) if length <= 7 * n), 1000)
    axis.set_ticks([1, *range(step, length + 1, step)] if step > 1 else range(1, length + 1))
    axis.set_tick_params(labelsize=7, length=2, width=0.6)


def probability_map(
    probabilities: Structure | ArrayLike,
    *,
    target: Structure | ArrayLike | None = None,
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
        If the matrix is absent or not square, or the target does not fit it.

    Examples
    --------
    >>> p = np.zeros((10, 10))
    >>> p[0, 9] = p[9, 0] = 0.8
    >>> ax = probability_map(p, target=[(0, 9), (1, 8)])
    """
    if isinstance(probabilities, Structure):
        if probabilities.probabilities is None:
            raise ValueError(f"{probabilities.name!r} has no probabilities to show")
        probabilities = probabilities.probabilities
    matrix = np.array(probabilities, dtype=float)
    length = len(matrix)
    if matrix.ndim != 2 or matrix.shape != (length, length):
        raise ValueError(f"probabilities have shape {matrix.shape}, expected (L, L)")
    pairs = None
    if isinstance(target, Structure):
        if len(target) != length:
            raise ValueError(f"{target.name!r} has {len(target)} nucleotides, the matrix {length} rows")
        pairs = target.pairs
    elif target is not None:
        pairs = as_pairs(target, length=length, name="target")
    ax = _new_axes(WIDTH, 0.86 * WIDTH) if ax is None else ax
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
        ax.set_title("above: predicted", fontsize=7, loc="right", color="#0F649F", pad=3)
    ax.plot([0.5, length + 0.5], [0.5, length + 0.5], color=GREY, lw=0.4)
    for axis in (ax.xaxis, ax.yaxis):
        _position_ticks(axis, length)
    ax.spines[:].set_linewidth(0.6)
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.04, 0, 0.045, 1)))
    bar.ax.tick_params(labelsize=7, length=2, width=0.6)
    bar.outline.set_linewidth(0.6)
    bar.set_label("pairing probability", fontsize=7)
    return ax


def embedding_map(coordinates: ArrayLike, labels: ArrayLike | None = None, *, ax: Axes | None = None) -> Axes:
    """Scatter two-dimensional coordinates of embeddings, coloured and labelled by group.

    Parameters
    ----------
    coordinates : array_like, shape (n, 2)
        From t-SNE, UMAP, PCA, ...
    labels : array_like, shape (n,), optional
        Groups; up to twelve are named in the map, more in a legend.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> ax = embedding_map([[0, 0], [1, 0], [5, 5]], ["tRNA", "tRNA", "5S"])
    """
    points = np.asarray(coordinates, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"coordinates have shape {points.shape}, expected (n, 2)")
    groups = np.full(len(points), "") if labels is None else np.asarray(labels).astype(str)
    if groups.shape != (len(points),):
        raise ValueError(f"labels have shape {groups.shape}, there are {len(points)} points")
    ax = _new_axes(WIDTH, WIDTH) if ax is None else ax
    names, counts = np.unique(groups, return_counts=True)
    names = names[np.argsort(-counts, kind="stable")]  # small groups on top
    size = float(np.clip(4000 / max(len(points), 1), 1.5, 16))
    markers = "oDs^vP*X"
    for k, name in enumerate(names):
        members = points[groups == name]
        color, marker = PALETTE[k % len(PALETTE)], markers[k // len(PALETTE) % len(markers)]
        style = {"s": size, "linewidths": 0, "alpha": 0.8, "marker": marker, "rasterized": len(points) > 5000}
        ax.scatter(*members.T, color=color, label=name or "_points", **style)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(linewidth=0.6, color=GREY)
    ax.set_aspect("equal", adjustable="datalim")
    if labels is not None and len(names) <= len(PALETTE):
        _label_groups(ax, points, groups, names)
    elif labels is not None:
        style = {"fontsize": 5, "ncols": 4, "frameon": False, "markerscale": 1.5}
        for text in ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), **style).get_texts():
            text.set_parse_math(False)
    return ax


def _label_groups(ax: Axes, points: NDArray, groups: NDArray, names: NDArray) -> None:
    """Write each name at the member nearest to the group's median, moved up or down off other names."""
    ax.apply_aspect()
    to_points = ax.transData.transform
    scale = 72 / ax.figure.dpi
    spots, halves = [], []
    for name in names:
        members = points[groups == name]
        spots.append(members[np.argmin(np.square(members - np.median(members, axis=0)).sum(axis=1))])
        halves.append((0.3 * 7 * len(name) + 1, 4.5))
    spots, halves = scale * to_points(np.array(spots)), np.array(halves)
    for _ in range(100):
        moved = False
        for a in range(len(names)):
            for b in range(a):
                room = halves[a] + halves[b] - np.abs(spots[a] - spots[b])
                if (room > 0).all():
                    up = 1 if spots[a, 1] >= spots[b, 1] else -1
                    spots[a, 1] += up * (room[1] / 2 + 0.1)
                    spots[b, 1] -= up * (room[1] / 2 + 0.1)
                    moved = True
        if not moved:
            break
    for k, (x, y) in enumerate(ax.transData.inverted().transform(spots / scale)):
        color = 0.7 * np.array(to_rgb(PALETTE[k]))  # darker than its points, to be read on white
        text = ax.text(
            x, y, names[k], fontsize=7, weight="bold", color=color, ha="center", va="center", zorder=5
        )
        text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


# Training -----------------------------------------------------------------------------------------------


def training_log(folder: str | os.PathLike) -> pd.DataFrame:
    r"""Read the CSV logs of a training run, those of its resumed parts put together.

    Parameters
    ----------
    folder : path
        The ``output`` of :func:`rinalmo_kit.pretrain` or :func:`rinalmo_kit.finetune`.

    Returns
    -------
    pandas.DataFrame
        One row a logged step, ascending; the index is the number of steps done. Where a run was stopped after its
        last checkpoint, the steps that were made again are there once.

    Raises
    ------
    FileNotFoundError
        If there is no log.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for version, rows in enumerate(("19,1.4\n39,1.3\n", "39,1.3\n59,1.2\n")):
    ...         log = Path(folder, "log", f"version_{version}", "metrics.csv")
    ...         log.parent.mkdir(parents=True)
    ...         _ = log.write_text("step,train_loss\n" + rows)
    ...     training_log(folder)["train_loss"].to_dict()
    {20: 1.4, 40: 1.3, 60: 1.2}
    """
    import pandas as pd

    folder = Path(folder)
    paths = sorted(folder.glob("log/version_*/metrics.csv"), key=lambda path: int(path.parent.name[8:]))
    paths = [path for path in paths if path.stat().st_size]  # a killed run may leave an empty one
    if not paths:
        raise FileNotFoundError(
            f"no log of a training run: {folder / 'log/version_0/metrics.csv'} is missing"
        )
    table = pd.DataFrame({"step": pd.Series(dtype=int)})
    for path in paths:
        part = pd.read_csv(path)
        table = pd.concat([table[table["step"] < part["step"].min()], part]) if len(table) else part
    table["step"] += 1
    return table.groupby("step").first()  # training and validation have lines of their own


def training_curves(log: str | os.PathLike | pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how a run went: perplexity beside that of the letters' frequencies; else scores, or the training loss.

    Parameters
    ----------
    log : path or DataFrame
        Folder of a run, or its table as from :func:`training_log`: a column ``val_perplexity``, or columns
        ``val_…`` that are scores from 0 to 1, or ``train_loss``; the index is the step.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the table has none of these columns.

    Examples
    --------
    >>> import pandas as pd
    >>> perplexity = {"val_perplexity": [3.9, 3.7], "val_perplexity_unigram": [4.0, 4.0]}
    >>> ax = training_curves(pd.DataFrame(perplexity, index=[50, 100]))
    """
    table = log if hasattr(log, "columns") else training_log(log)
    scores = [name for name in ("accuracy", "f1", "r2", "spearman") if f"val_{name}" in table]
    if "val_perplexity" in table:
        shown = {"val_perplexity": "model", "val_perplexity_unigram": "letter frequencies alone"}
        label = "validation perplexity"
    elif scores:
        shown, label = {f"val_{name}": name for name in scores}, "validation score"
    else:
        shown, label = {"train_loss": "training loss"}, "training loss"
    if missing := [name for name in shown if name not in table]:
        raise ValueError(f"the log has no column {missing[0]}; it has {', '.join(map(str, table.columns))}")
    ax = _curve_axes(ax)
    reference = "letter frequencies alone"
    colors = dict(zip(shown.values(), (BLUE, ORANGE, GREEN, INK), strict=False))
    colors |= {reference: GREY} if reference in colors else {}
    for name, text in shown.items():
        values = table[name].dropna()
        style = {"ls": "--", "lw": 1.0} if text == reference else {"marker": "o", "ms": 2.5, "lw": 1.2}
        ax.plot(values.index, values, color=colors[text], label=text, **style)
    ax.set_xlabel("step", fontsize=8)
    ax.set_ylabel(label, fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(shown) > 1:
        _legend(ax, colors, dashed=reference, loc="lower left", bbox_to_anchor=(0, 1.01))
    return ax


def _curve_axes(ax: Axes | None) -> Axes:
    ax = _new_axes(WIDTH, 0.62 * WIDTH) if ax is None else ax
    ax.tick_params(labelsize=7, length=2, width=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def perplexity(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw perplexity against tokens seen, with dashed lines for what needs no training.

    Parameters
    ----------
    table : DataFrame
        Columns ``model``, ``tokens`` and ``perplexity``, as in ``data/measured/pretraining.csv``; a model whose only
        number of tokens is 0 becomes a line.
    ax : Axes, optional

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("pico", 1e6, 3.8), ("pico", 2e6, 3.6), ("unigram", 0, 4.0)]
    >>> ax = perplexity(pd.DataFrame(rows, columns=["model", "tokens", "perplexity"]))
    """
    ax = _curve_axes(ax)
    lines = 0
    for number, (name, part) in enumerate(table.groupby("model", sort=False)):
        if part["tokens"].max() == 0:
            value = part["perplexity"].iloc[0]
            ax.axhline(value, color=GREY, ls="--", lw=0.8)
            place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "center"}
            back = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
            ax.annotate(str(name), (1 - 0.3 * lines, value), **place, color=GREY, fontsize=7, bbox=back)
            lines += 1  # labels side by side: lines may lie close together
            continue
        part = part.sort_values("tokens")
        color = PALETTE[number % len(PALETTE)]
        ax.plot(part["tokens"] / 1e6, part["perplexity"], "o-", ms=2.5, lw=1.2, color=color)
        last = part.iloc[-1]
        place = {"xytext": (0, 4), "textcoords": "offset points", "ha": "right"}
        ax.annotate(str(name), (last["tokens"] / 1e6, last["perplexity"]), **place, color=color, fontsize=7)
    ax.set_xlabel("tokens seen (millions)", fontsize=8)
    ax.set_ylabel("validation perplexity", fontsize=8)
    return ax


def reliability(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the F1 that was seen against the confidence; on the diagonal, a model knows how good it is.

    Parameters
    ----------
    table : DataFrame
        Columns ``confidence`` and ``f1``, as from :func:`rinalmo_kit.confidence.reliability`, and optionally ``set``
        for several test sets.
    ax : Axes, optional

    Examples
    --------
    >>> import pandas as pd
    >>> ax = reliability(pd.DataFrame({"confidence": [0.2, 0.8], "f1": [0.25, 0.75]}))
    """
    if ax is None:
        ax = _new_axes(0.7 * WIDTH, 0.7 * WIDTH)
    ax = _curve_axes(ax)
    ax.plot([0, 1], [0, 1], color=GREY, ls="--", lw=0.8)
    sets = table.groupby("set", sort=False) if "set" in table else [("", table)]
    for (name, part), color in zip(sets, PALETTE, strict=False):
        ax.plot(part["confidence"], part["f1"], "o-", ms=3, lw=1.2, color=color, label=name)
    if "set" in table:
        ax.legend(fontsize=7, frameon=False, loc="upper left", handlelength=1.2)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set_xlabel("confidence (expected F1)", fontsize=8)
    ax.set_ylabel("F1 seen", fontsize=8)
    return ax


@contextmanager
def paper_style() -> Iterator[None]:
    """Context manager for figures in journals: small sans-serif fonts, thin lines, text kept as text.

    Examples
    --------
    >>> with paper_style():
    ...     ax = arcs(Structure("GGGAAAACCC", [(0, 9)]))
    """
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
    figure = {"figure.figsize": (WIDTH, 0.75 * WIDTH), "savefig.dpi": 300, "lines.linewidth": 1}
    with mpl.rc_context({**sizes, **widths, **fonts, **texts, **figure}):
        try:
            yield
        finally:
            interactive = mpl.is_interactive()
    mpl.interactive(
        interactive
    )  # a notebook switches it on with the first figure, which may have been in the block
