"""Drawings of secondary structures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import Normalize, is_color_like, to_rgba, to_rgba_array
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..rna.elements import KINDS, loop_elements
from ..rna.folded import FoldedRNA
from ..rna.pairs import CANONICAL
from .coordinates import in_layout, layout
from .style import (
    BLUE,
    DOUBLE,
    ELEMENTS,
    GREEN,
    GREY,
    INK,
    NUCLEOTIDES,
    ORANGE,
    WIDTH,
    ink,
    legend,
    named_legend,
    new_axes,
    plain,
    size_inches,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["structure", "structures"]

LineStyle = str | tuple[float, tuple[float, ...]]
"""A line style of Matplotlib: a name, or the offset and the lengths of dashes and gaps."""


RADIUS = 0.42  # of a nucleotide's circle


LARGEST, MARGIN, BOTTOM_MARGIN, ROW = 14.0, 15, 22, 10
"""In points: the most per unit of a layout; the margin around a drawing; the space below it; a row of a legend."""


# Structures ---------------------------------------------------------------------------------------------


def structure(
    s: FoldedRNA,
    *,
    ax: Axes | None = None,
    color_by: str | ArrayLike | None = "nucleotide",
    reference: FoldedRNA | None = None,
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
    color_by : {"nucleotide", "probability", "element"}, array or None
        "probability" colours paired bases by the probability of their pair, unpaired ones by one minus that
        of their most probable pair; it needs ``s.probabilities``. "element" colours stems, hairpins, internal
        loops with bulges, multiloops and external nucleotides, by forgi (extra ``drawing``). Also: L
        numbers (NaN: grey), such as reactivities; L colours; one colour. None draws an outline.
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
    ImportError
        For "element" without forgi; says how to install it.

    Examples
    --------
    >>> from rinalmo_kit import Structure
    >>> s = Structure.from_dot_bracket("GGGAAAACCU", "(((....)))")
    >>> ax = structure(s, color_by=[0.1, 0.0, 0.2, 0.9, 1.0, 0.8, 0.9, 0.1, 0.2, 0.1])
    """
    if reference is not None:
        _same_length(s, reference)
    colors, values = _base_colors(s, color_by)
    view = _view(s)
    elements = isinstance(color_by, str) and color_by == "element"
    bottom_margin = BOTTOM_MARGIN if values is not None or reference is not None or elements else 0
    bottom_margin += ROW if elements and reference is not None else 0
    if ax is None:
        ax = new_axes(*_size(view, bottom_margin=bottom_margin))
    _draw(
        ax,
        s,
        view,
        colors,
        reference,
        numbering=numbering,
        letters=letters,
        label_ends=label_ends,
        bottom_margin=bottom_margin,
    )
    if reference is not None:
        kinds = {"both": GREEN, "predicted": ORANGE, "reference": BLUE}
        legend(ax, kinds, dashed="reference", loc="lower left")
    if elements:
        _element_legend(ax, colors, raised=reference is not None)
    if values is not None:
        _color_bar(ax, values, "probability" if isinstance(color_by, str) else "value")
    return ax


def structures(
    target: FoldedRNA,
    predictions: Mapping[str, FoldedRNA],
    *,
    columns: int = 2,
    color_by: Any = None,
    **options: Any,
) -> NDArray[Any]:
    """Draw a known structure, and predictions of several methods for the same RNA, alike (paper, Figs. 3a and 3g).

    Pairs of predictions are coloured by whether they are in the target, as with ``reference`` in :func:`structure`;
    above each stands its F1, tolerant to ±1.

    Parameters
    ----------
    target : Structure
    predictions : {name: Structure}
    columns : int
        Panels side by side; a figure of two is one journal column wide, of more two.
    color_by, **options
        As for :func:`structure`: letters, numbering, label_ends; by default outlines without them. Colours of
        bases are not explained: no colour bar, no legend of elements.

    Returns
    -------
    ndarray of Axes
        The target's, then those of the predictions.

    Raises
    ------
    ValueError
        If a prediction is not of the target's length, or there is none.

    Examples
    --------
    >>> from rinalmo_kit import Structure
    >>> target = Structure.from_dot_bracket("GGGAAAACCU", "(((....)))")
    >>> axes = structures(target, {"one pair less": Structure(target.sequence, target.pairs[:2])})
    >>> axes[1].get_title()
    'one pair less, F1 0.80'
    """
    import matplotlib.pyplot as plt

    from ..metrics import structure_scores

    if not predictions:
        raise ValueError("no predictions to draw")
    for one in predictions.values():
        _same_length(one, target)
    options = {"letters": False, "numbering": 0, "label_ends": False} | options
    panels = [("target", target)]
    for name, one in predictions.items():
        panels.append((f"{name}, F1 {structure_scores(target, one).f1:.2f}", one))
    rows, width = -(-len(panels) // columns), WIDTH if columns <= 2 else DOUBLE
    views = [_view(one) for _, one in panels]
    heights = [min(1.3, (np.ptp(v.imag) + 3) / (np.ptp(v.real) + 3)) * width / columns + 0.25 for v in views]
    tallest = [max(heights[k : k + columns]) for k in range(0, len(views), columns)]
    total = sum(tallest) + 0.25
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, total), squeeze=False, height_ratios=tallest, layout="none"
    )
    space = {"wspace": 0.02, "hspace": 0.25 * rows / total}
    figure.subplots_adjust(left=0, right=1, bottom=0.25 / total, top=1 - 0.2 / total, **space)
    for ax, (title, one), view in zip(axes.flat, panels, views, strict=False):
        _draw(ax, one, view, _base_colors(one, color_by)[0], None if one is target else target, **options)
        ax.set_title(plain(title, 60), fontsize=7, pad=2, parse_math=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    kinds = {"both": GREEN, "predicted": ORANGE, "target": BLUE}
    legend(figure, kinds, dashed="target", loc="lower center")
    return axes.flat[: len(panels)]


def _view(s: FoldedRNA) -> NDArray[np.complexfloating]:
    """Return the layout as complex numbers, turned so that it is not much taller than wide."""
    x, y = layout(s.pairs, len(s)).T
    return y - 1j * x if np.ptp(y) > 1.3 * np.ptp(x) else x + 1j * y


def _size(view: NDArray, *, bottom_margin: float = 0) -> tuple[float, float]:
    """Return the width and height in inches of a figure for a drawing."""
    spans = np.ptp(view.real) + 1, np.ptp(view.imag) + 1
    unit = min(LARGEST, (72 * WIDTH - 2 * MARGIN) / spans[0])
    return WIDTH, min(1.3 * WIDTH, (unit * spans[1] + 2 * MARGIN + 6 + bottom_margin) / 72)


def _same_length(s: FoldedRNA, other: FoldedRNA) -> None:
    if len(s) != len(other):
        raise ValueError(f"{s.name!r} has {len(s)} nucleotides, {other.name!r} has {len(other)}")


def _draw(
    ax: Axes,
    s: FoldedRNA,
    view: NDArray,
    colors: NDArray | None,
    reference: FoldedRNA | None = None,
    *,
    numbering: int | str = "auto",
    letters: bool | None = None,
    label_ends: bool = True,
    bottom_margin: float = 0,
) -> None:
    """Draw the structure at the places of `view`, above a bottom margin of so many points."""
    unit = _set_limits(ax, view, margin=MARGIN if numbering or label_ends else 4, bottom_margin=bottom_margin)
    letters = len(s) <= 150 and unit >= 4.5 if letters is None else letters
    width = float(np.clip(0.13 * unit, 0.3, 1.2))
    ax.plot(view.real, view.imag, color=GREY, lw=width, solid_joinstyle="round", zorder=1, label="_backbone")
    obstacles = [view, (view[1:] + view[:-1]) / 2, *_draw_pairs(ax, s, view, reference, unit, width)]
    if colors is not None or letters:
        faces = np.tile(to_rgba(mpl.rcParams["figure.facecolor"]), (len(s), 1)) if colors is None else colors
        size = np.full(len(s), 2 * RADIUS)
        circles = EllipseCollection(size, size, 0, units="xy", offsets=np.c_[view.real, view.imag])
        circles.set_offset_transform(ax.transData)
        circles.set(facecolor=faces, lw=0.4 * width, edgecolor=ink() if colors is None else "none")
        circles.set(zorder=3, label="_bases")
        ax.add_collection(circles, autolim=False)
    if letters:
        style: dict[str, Any] = {
            "fontsize": 0.62 * unit,
            "ha": "center",
            "va": "center_baseline",
            "zorder": 4,
        }
        dark = faces[:, :3] @ (0.3, 0.59, 0.11) < 0.45
        for place, letter, on_dark in zip(view, s.sequence, dark, strict=True):
            ax.text(place.real, place.imag, letter, color="white" if on_dark else INK, **style)
    _draw_labels(ax, view, np.concatenate(obstacles), unit, numbering=numbering, label_ends=label_ends)


def _base_colors(s: FoldedRNA, color_by: Any) -> tuple[NDArray | None, mpl.cm.ScalarMappable | None]:
    """Return the (L, 4) colours or None, and the scale they are on, if any."""
    if color_by is None:
        return None, None
    if isinstance(color_by, str) and color_by == "nucleotide":
        return to_rgba_array([NUCLEOTIDES.get(base, "#D0D0D0") for base in s.sequence]), None
    if isinstance(color_by, str) and color_by == "element":
        return to_rgba_array([ELEMENTS[KINDS[letter]] for letter in loop_elements(s.dot_bracket)]), None
    norm = None
    if isinstance(color_by, str) and color_by == "probability":
        color_by, norm = s.base_confidence, Normalize(0, 1)
        if color_by is None:
            raise ValueError(f"{s.name!r} has no probabilities to colour by")
    if isinstance(color_by, str):
        if not is_color_like(color_by):
            raise ValueError(
                f'color_by is "nucleotide", "probability", "element", a colour or an array, not {color_by!r}'
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
    """Return the size of the Axes in points; of the figure where a layout engine has yet to place its only Axes."""
    figure = ax.get_figure(root=True)
    alone = figure is not None and figure.get_layout_engine() is not None and len(figure.axes) == 1
    return 72 * size_inches(ax) * (1.0 if alone else np.array(ax.get_position().bounds[2:]))


def _set_limits(ax: Axes, view: NDArray, *, margin: float, bottom_margin: float) -> float:
    """Fit the drawing into the Axes with room in points around and below; return the points per unit."""
    width, height = _points(ax) - 6
    spans = np.ptp(view.real) + 1, np.ptp(view.imag) + 1
    unit = min(LARGEST, (width - 2 * margin) / spans[0], (height - bottom_margin - 2 * margin) / spans[1])
    unit = max(unit, 0.05)
    x, y = view.real.min() + spans[0] / 2 - 0.5, view.imag.min() + spans[1] / 2 - 0.5
    ax.set(xlim=(x - width / unit / 2, x + width / unit / 2))
    ax.set(ylim=(y - (height + bottom_margin) / unit / 2, y + (height - bottom_margin) / unit / 2))
    ax.set_aspect("equal")
    ax.axis("off")
    return unit


def _draw_pairs(
    ax: Axes, s: FoldedRNA, view: NDArray, reference: FoldedRNA | None, unit: float, width: float
) -> list[NDArray]:
    """Draw pairs and return points on them."""
    own = set(map(tuple, s.pairs.tolist()))
    known = own if reference is None else set(map(tuple, reference.pairs.tolist()))
    straight = set(map(tuple, s.pairs[in_layout(s.pairs, len(s))].tolist()))
    lines, arcs, dots = [], [], []
    for i, j in sorted(own | known):
        color, thick = ink(), width
        style: LineStyle = "-"
        if reference is not None:
            color = (GREEN if (i, j) in known else ORANGE) if (i, j) in own else BLUE
            style, thick = "-" if (i, j) in own else (0, (2, 1.2)), 1.5 * width
        elif s.sequence[i] + s.sequence[j] not in CANONICAL:
            style = (0, (1.5, 1))
        if (i, j) not in straight:
            arcs.append((i, j, color if reference is not None else ORANGE, style, width))
            continue
        ends = view[[i, j]] + np.array([1, -1]) * (RADIUS * (view[j] - view[i]) / abs(view[j] - view[i]))
        if reference is None and s.sequence[i] + s.sequence[j] in ("GU", "UG") and unit > 4:
            dots.append(ends.mean())
            continue
        lines.append((ends, color, style, thick))
    ax.plot(
        np.real(dots),
        np.imag(dots),
        "o",
        color=ink(),
        mew=0,
        ms=0.3 * unit,
        zorder=2,
        label="_wobble_pairs",
    )
    _add_lines(ax, lines, "_pairs", zorder=2)
    curves = _pseudoknot_arcs(view, [(i, j) for i, j, *_ in arcs])
    bent = [(curve, *arc[2:]) for curve, arc in zip(curves, arcs, strict=True)]
    _add_lines(ax, bent, "_crossing_pairs", zorder=2.5)
    return [*(line[0] for line in lines), *curves, np.array(dots)]


def _add_lines(ax: Axes, lines: list[tuple], label: str, zorder: float) -> None:
    if lines:
        points, colors, styles, widths = zip(*lines, strict=True)
        segments = [np.c_[line.real, line.imag] for line in points]
        style = {"colors": colors, "linestyles": list(styles), "linewidths": widths}
        ax.add_collection(LineCollection(segments, zorder=zorder, label=label, **style), autolim=False)


def _pseudoknot_arcs(view: NDArray, pairs: list[tuple[int, int]]) -> list[NDArray]:
    """Return curves between paired nucleotides; all of a stem bend to the side with fewer nucleotides in the way."""
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
    if isinstance(numbering, str):
        numbering = next((step for most, step in ((150, 10), (300, 20), (1000, 50)) if length <= most), 200)
    ends = [(0, "5′"), (length - 1, "3′")] if label_ends else []
    numbers = [(k, str(k + 1)) for k in range(numbering - 1, length, numbering)] if numbering else []
    boxes: list[tuple[complex, complex]] = []
    leaders = []
    for k, text in ends + numbers:
        is_end = text.endswith("′")
        size = float(np.clip(unit, 6, 8) if is_end else np.clip(0.7 * unit, 4.5, 6.5))
        half = size / unit * complex(0.55 if is_end else 0.33 * len(text) + 0.1, 0.42)
        forward = view[min(k + 1, length - 1)] - view[max(k - 1, 0)] if length > 1 else 1.0
        outside = 1j * forward  # as stems run clockwise
        direction = outside if not is_end else forward if k and text[0] == "3" else -forward
        center, tip, free = _place_label(view[k], direction, half, obstacles, boxes, unit)
        if not (free or is_end):
            continue
        boxes.append((center, half))
        style: dict[str, Any] = {"fontsize": size, "ha": "center", "va": "center", "zorder": 5}
        ax.text(center.real, center.imag, text, color=ink() if is_end or ink() != INK else "#555555", **style)
        if not is_end:
            start = view[k] + RADIUS * (tip - view[k]) / abs(tip - view[k])
            leaders.append((np.array([start, tip]), GREY, "-", 0.4))
    _add_lines(ax, leaders, "_leaders", zorder=0.5)


def _place_label(
    anchor: complex, toward: complex, half: complex, obstacles: NDArray, boxes: list, unit: float
) -> tuple[complex, complex, bool]:
    """Return the centre of a box of half size `half` near `anchor`, the end of its leader, and whether it is free."""
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
    """Return the distance of points to a box of half size `half` around 0."""
    return np.hypot(np.maximum(abs(point.real) - half.real, 0), np.maximum(abs(point.imag) - half.imag, 0))


def _element_legend(ax: Axes, colors: NDArray | None, *, raised: bool) -> None:
    """Explain the colours of the elements that are there, below the drawing or above the legend of a reference."""
    here = set() if colors is None else set(map(tuple, colors.tolist()))
    kinds = {kind: color for kind, color in ELEMENTS.items() if to_rgba(color) in here}
    dots = [Line2D([], [], color=color, marker="o", ls="", ms=4) for color in kinds.values()]
    above = ROW / _points(ax)[1] if raised else 0.0
    old = ax.get_legend()
    style: dict[str, Any] = {"fontsize": 6, "frameon": False, "handletextpad": 0.2, "columnspacing": 1}
    style |= {"loc": "lower left", "bbox_to_anchor": (0, above), "ncols": len(kinds), "borderaxespad": 0}
    named_legend(ax, dots, kinds, **style)
    if old is not None:
        ax.add_artist(old)


def _color_bar(ax: Axes, scale: mpl.cm.ScalarMappable, label: str) -> None:
    """Draw a small colour bar in the bottom margin of the Axes."""
    width, height = _points(ax)
    inset = ax.inset_axes((1 - 76 / width, 10 / height, 66 / width, 4 / height))
    bar = ax.figure.colorbar(scale, cax=inset, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(2)
    bar.ax.tick_params(labelsize=6, length=1.5, width=0.5, pad=1)
    bar.ax.text(-0.05, 0.5, label, transform=bar.ax.transAxes, fontsize=6, ha="right", va="center")
