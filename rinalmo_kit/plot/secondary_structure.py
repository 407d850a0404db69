"""Drawings of secondary structures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize, is_color_like, to_rgba, to_rgba_array
from matplotlib.patches import Rectangle

from .._utils.given import of_kind
from ..rna.elements import element_kinds
from ..rna.folded import FoldedRNA
from .coordinates import layout as place_nucleotides
from .keys import ROW, color_bar, color_key, key_rows, pair_key
from .labels import RADIUS, draw_labels
from .named import Letter, NamedCircles, prefix
from .pair_lines import crossing_arcs, crossing_pairs, draw_pairs, points_along
from .r2dt import unit_steps
from .style import (
    DOUBLE,
    ELEMENTS,
    GREY,
    INK,
    NUCLEOTIDES,
    WIDTH,
    ink,
    new_axes,
    plain,
    renamed,
    size_inches,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["structure", "structures"]

ARCS_ABOVE = 500  # nucleotides; a column of a journal is too narrow for more


LARGEST, MARGIN, BOTTOM_MARGIN = 14.0, 15, 22
"""In points: the most per unit of a layout; the margin around a drawing; the space below it for keys."""


LETTER, READABLE = (
    0.72,
    8.6,
)  # size of a letter in units of the layout; the least unit in points with letters of 7 pt


DRAWN_AS = {
    "bulge": "internal", "interior loop": "internal", "5′ end": "external", "3′ end": "external",
}  # fmt: skip
"""Kind of an element → the kind whose colour it has, if that is another one."""


# Structures ---------------------------------------------------------------------------------------------


def structure(
    s: FoldedRNA,
    *,
    ax: Axes | None = None,
    color_by: str | ArrayLike | None = "nucleotide",
    reference: FoldedRNA | None = None,
    layout: Literal["auto", "circles", "puzzler", "arcs"] | ArrayLike = "auto",
    numbering: int | Literal["auto"] = "auto",
    letters: bool | None = None,
    label_ends: bool = True,
    key: bool | str | None = None,
    window: ArrayLike | None = None,
) -> Axes:
    """Draw a secondary structure; above 500 nt, unless `layout` says otherwise, as arcs over the sequence.

    G-C and A-U pairs are lines, G-U pairs dots, other pairs dashed. Pseudoknotted pairs are arcs on top. In SVG each
    nucleotide, pair and label is an object with a name: ``base-1``, ``pair-1-72``, ``number-10``.

    Parameters
    ----------
    s : Structure
        The structure, L nucleotides.
    ax : Axes, optional
        Where to draw; line widths and letters follow its size at the time of the call.
    color_by : {"nucleotide", "probability", "elements"}, array or None
        "probability" colours paired bases by the probability of their pair, unpaired ones by one minus that
        of their most probable pair; it needs ``s.probabilities``. "elements" colours stems, hairpins, internal
        loops with bulges, multiloops and external nucleotides, as in ``s.elements``. Also: L
        numbers (NaN: grey), such as reactivities; L colours; one colour. None draws an outline.
    reference : Structure, optional
        Of the same length; pairs are coloured by whether they are in both, only in `s`, only in `reference`.
    layout : {"auto", "circles", "puzzler", "arcs"} or array_like, shape (L, 2)
        "circles" and "puzzler" as in :func:`layout`; "arcs" as in :func:`arcs`; coordinates such as
        :func:`read_r2dt` returns. "auto" is "circles" up to 500 nt and "arcs" above.
    numbering : int or "auto"
        Number every so many nucleotides, from 1; 0 for none. "auto" is 10, and more from 150 nt on. A number
        that finds no free place is left out.
    letters : bool, optional
        Write the nucleotides; by default up to 150 nt if they are at least 7 points.
    label_ends : bool
        Write 5′ and 3′.
    key : bool or str, optional
        Explain the colours; by default all but those of nucleotides that have letters. False for none; a text is the
        title of a colour bar.
    window : array_like, shape (2, 2), optional
        Part of a drawing to show: limits of x and of y, in units of the layout, as the Axes of the whole drawing have
        them. Arcs are always shown whole.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the reference, an array or a layout is not of the structure's length, or probabilities are missing; or for a
        window that is not four finite numbers.

    Examples
    --------
    >>> from rinalmo_kit import Structure
    >>> s = Structure.from_dot_bracket("GGGAAAACCU", "(((....)))")
    >>> ax = structure(s, color_by=[0.1, 0.0, 0.2, 0.9, 1.0, 0.8, 0.9, 0.1, 0.2, 0.1], key="reactivity")
    """
    of_kind("s", s, FoldedRNA, "a Structure")
    if reference is not None:
        _same_length(s, reference)
    color_by = "elements" if isinstance(color_by, str) and color_by == "element" else color_by
    colors, scale = _base_colors(s, color_by)
    if isinstance(layout, str) and layout == "auto":
        layout = "arcs" if len(s) > ARCS_ABOVE else "circles"
    name = color_by if isinstance(color_by, str) else "value"
    swatches = _swatches(s, name, colors)
    if key is False:
        scale = None
    bar = key if isinstance(key, str) else name
    if isinstance(layout, str) and layout == "arcs":
        return _structure_arcs(
            s, reference, ax, colors, scale, swatches, name, key=key, bar=bar, label_ends=label_ends
        )
    view = _view(s, layout)
    curves = crossing_arcs(view, crossing_pairs(s, reference))
    framed = np.concatenate([view, *curves]) if window is None else _corners(window)
    size = _size(framed, bottom_margin=BOTTOM_MARGIN)
    shown = _points(ax)[0] if ax is not None else 72 * size[0]
    unit = min(LARGEST, (shown - 6 - 2 * MARGIN) / (np.ptp(framed.real) + 1))
    written = _with_letters(len(s) if window is None else 0, unit) if letters is None else letters
    if key is False or (name == "nucleotide" and written and not key):
        swatches = {}
    pairs_explained = reference is not None and key is not False
    bottom_margin = BOTTOM_MARGIN if scale is not None or pairs_explained or swatches else 0
    bottom_margin += ROW * (key_rows(swatches) - (0 if pairs_explained else 1)) if swatches else 0
    if ax is None:
        ax = new_axes(*_size(framed, bottom_margin=bottom_margin))
    _draw(
        ax,
        s,
        view,
        colors,
        reference,
        numbering=numbering,
        letters=letters if window is None else written,
        label_ends=label_ends,
        bottom_margin=bottom_margin,
        window=None if window is None else framed,
    )
    width, height = _points(ax)
    if pairs_explained:
        pair_key(ax, loc="lower left")
    if swatches:
        color_key(ax, swatches, at=(0, ROW / height if pairs_explained else 0))
    if scale is not None:
        color_bar(ax, scale, bar, (1 - 76 / width, 10 / height, 66 / width, 4 / height))
    return ax


def _swatches(s: FoldedRNA, name: str, colors: NDArray | None) -> dict[str, Any]:
    """Return the colours to explain by name: of the letters, or of the elements that are there."""
    if name == "nucleotide":
        there = dict.fromkeys(base for base in "ACGU" if base in s.sequence)
        return {base: NUCLEOTIDES[base] for base in there}
    if name != "elements" or colors is None:
        return {}
    here = set(map(tuple, colors.tolist()))
    return {kind: color for kind, color in ELEMENTS.items() if to_rgba(color) in here}


def _structure_arcs(
    s: FoldedRNA,
    reference: FoldedRNA | None,
    ax: Axes | None,
    colors: NDArray | None,
    scale: mpl.cm.ScalarMappable | None,
    swatches: Mapping[str, Any],
    name: str,
    *,
    key: bool | str | None,
    bar: str,
    label_ends: bool,
) -> Axes:
    """Draw the pairs as arcs, and the colours of the nucleotides, if they say more than the sequence, between them."""
    from .base_pairs import arcs

    ax = arcs(s, reference=reference, ax=ax, key=key is not False)
    if colors is not None and (name != "nucleotide" or key):
        limits, half = (ax.get_xlim(), ax.get_ylim()), 2 * np.ptp(ax.get_ylim()) / _points(ax)[1]
        edges = (0.5, len(s) + 0.5, -half, half)
        ax.imshow(
            colors[None], extent=edges, aspect="auto", interpolation="nearest", zorder=3, label="_bases"
        )
        ax.set(xlim=limits[0], ylim=limits[1])
        if swatches and key is not False:
            color_key(ax, swatches, at=(0, 1.0 if reference is None else 1.08))
        if scale is not None:
            color_bar(ax, scale, bar, (0.72, 0.95 if reference is None else 1.18, 0.26, 0.03))
    if label_ends:
        style: dict[str, Any] = {"fontsize": 7, "va": "center", "color": ink()}
        ax.text(1 - 0.012 * len(s), 0, "5′", ha="right", gid=f"{prefix(ax)}end-5", **style)
        ax.text(len(s) + 0.012 * len(s), 0, "3′", ha="left", gid=f"{prefix(ax)}end-3", **style)
    return ax


def structures(
    reference: FoldedRNA | None = None,
    predictions: Mapping[str, FoldedRNA] | None = None,
    *,
    columns: int = 2,
    color_by: Any = None,
    target: FoldedRNA | None = None,
    **options: Any,
) -> NDArray[Any]:
    """Draw a known structure, and predictions of several methods for the same RNA, alike (paper, Figs. 3a and 3g).

    Pairs of predictions are coloured by whether they are in the reference, as with ``reference`` in :func:`structure`;
    above each stands its F1, tolerant to ±1. Predictions are turned so that their nucleotides lie as near those of the
    reference as can be.

    Parameters
    ----------
    reference : Structure
    predictions : {name: Structure}
    columns : int
        Panels side by side; a figure of two is one journal column wide, of more two.
    color_by, **options
        As for :func:`structure`: letters, numbering, label_ends; by default outlines without them. Colours of
        bases are not explained: no colour bar, no key of elements.
    target : optional
        Earlier name of `reference`; deprecated.

    Returns
    -------
    ndarray of Axes
        The reference's, then those of the predictions.

    Raises
    ------
    ValueError
        If a prediction is not of the reference's length, or there is none.

    Examples
    --------
    >>> from rinalmo_kit import Structure
    >>> known = Structure.from_dot_bracket("GGGAAAACCU", "(((....)))")
    >>> axes = structures(known, {"one pair less": Structure(known.sequence, known.pairs[:2])})
    >>> axes[1].get_title()
    'one pair less, F1 0.80'
    """
    import matplotlib.pyplot as plt

    from ..metrics import structure_scores

    reference = renamed(reference, target=target)
    if reference is None or not predictions:
        raise ValueError("no predictions to draw" if reference is not None else "no reference to draw")
    for one in predictions.values():
        _same_length(one, reference)
    options = {"letters": False, "numbering": 0, "label_ends": False} | options
    panels = [("reference", reference)]
    for name, one in predictions.items():
        panels.append((f"{name}, F1 {structure_scores(reference, one).f1:.2f}", one))
    rows, width = -(-len(panels) // columns), WIDTH if columns <= 2 else DOUBLE
    views = [_view(one) for _, one in panels]
    views = [views[0], *(_turned_like(views[0], view) for view in views[1:])]
    known = [None if one is reference else reference for _, one in panels]
    framed = [_framed(one, view, other) for (_, one), view, other in zip(panels, views, known, strict=True)]
    heights = [min(1.3, (np.ptp(v.imag) + 3) / (np.ptp(v.real) + 3)) * width / columns + 0.25 for v in framed]
    tallest = [max(heights[k : k + columns]) for k in range(0, len(views), columns)]
    total = sum(tallest) + 0.25
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, total), squeeze=False, height_ratios=tallest, layout="none"
    )
    space = {"wspace": 0.02, "hspace": 0.25 * rows / total}
    figure.subplots_adjust(left=0, right=1, bottom=0.25 / total, top=1 - 0.2 / total, **space)
    for ax, (title, one), view in zip(axes.flat, panels, views, strict=False):
        _draw(
            ax, one, view, _base_colors(one, color_by)[0], None if one is reference else reference, **options
        )
        ax.set_title(plain(title, 60), fontsize=7, pad=2, parse_math=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    pair_key(figure, loc="lower center")
    return axes.flat[: len(panels)]


def _view(s: FoldedRNA, layout: str | ArrayLike = "circles") -> NDArray[np.complexfloating]:
    """Return the layout as complex numbers; ours turned so that it is not much taller than wide."""
    if isinstance(layout, str):
        if layout not in ("circles", "puzzler"):
            raise ValueError(
                f'layout is "auto", "circles", "puzzler", "arcs" or an array of coordinates, not {layout!r}'
            )
        x, y = place_nucleotides(s.pairs, len(s), method=layout).T  # type: ignore[arg-type]  # checked above
        return y - 1j * x if np.ptp(y) > 1.3 * np.ptp(x) else x + 1j * y
    xy = np.asarray(layout, dtype=float)
    if xy.shape != (len(s), 2) or not np.isfinite(xy).all():
        raise ValueError(f"layout has shape {xy.shape}, expected ({len(s)}, 2) finite numbers for {s.name!r}")
    return unit_steps(xy) @ (1, 1j)


def _turned_like(other: NDArray, view: NDArray) -> NDArray[np.complexfloating]:
    """Turn a layout so that its nucleotides lie as near those of another as a rotation can bring them."""
    view, other = view - view.mean(), other - other.mean()
    return view * np.exp(1j * np.angle((view.conj() * other).sum()))


def _corners(window: ArrayLike) -> NDArray[np.complexfloating]:
    """Return two opposite corners of the limits of x and of y."""
    limits = np.asarray(window, dtype=float)
    if limits.shape != (2, 2) or not np.isfinite(limits).all() or not (limits[:, 0] < limits[:, 1]).all():
        raise ValueError(f"window={window!r}: expected the limits of x and of y, two rising numbers each")
    return limits[0] + 1j * limits[1]


def _framed(s: FoldedRNA, view: NDArray, reference: FoldedRNA | None) -> NDArray[np.complexfloating]:
    """Return the points that have to be inside the limits: nucleotides, and arcs of pairs that cross others."""
    return np.concatenate([view, *crossing_arcs(view, crossing_pairs(s, reference))])


def _with_letters(length: int, unit: float, readable: float = READABLE) -> bool:
    return length <= 150 and unit >= readable


def _size(view: NDArray, *, bottom_margin: float = 0) -> tuple[float, float]:
    """Return the width and height in inches of a figure for a drawing."""
    spans = np.ptp(view.real) + 1, np.ptp(view.imag) + 1
    unit = min(LARGEST, (72 * WIDTH - 2 * MARGIN) / spans[0])
    return WIDTH, min(1.3 * WIDTH, (unit * spans[1] + 2 * MARGIN + 6 + bottom_margin) / 72)


def _same_length(s: FoldedRNA, other: FoldedRNA) -> None:
    of_kind("reference", other, FoldedRNA, "a Structure")
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
    readable: float = READABLE,
    names: bool = True,
    window: NDArray | None = None,
) -> None:
    """Draw the structure at the places of `view`, above a bottom margin of so many points.

    Letters are written by default where a unit has so many points as `readable`; `names` are those of objects in SVG.
    Of a window, given by two corners, nothing outside is drawn.
    """
    framed = _framed(s, view, reference) if window is None else window
    unit = _set_limits(
        ax, framed, margin=MARGIN if numbering or label_ends else 4, bottom_margin=bottom_margin
    )
    letters = _with_letters(len(s), unit, readable) if letters is None else letters
    width = float(np.clip(0.13 * unit, 0.3, 1.2))
    style: dict[str, Any] = {"color": GREY, "lw": width, "solid_joinstyle": "round", "zorder": 1}
    start = prefix(ax)
    ax.plot(view.real, view.imag, **style, label="_backbone", gid=f"{start}backbone" if names else None)
    obstacles = [view, points_along(view), *draw_pairs(ax, s, view, reference, unit, width, names=names)]
    if colors is not None or letters:
        faces = np.tile(to_rgba(mpl.rcParams["figure.facecolor"]), (len(s), 1)) if colors is None else colors
        written = _letters(ax, s, view, faces, unit, names=names) if letters else []
        called = [f"{start}base-{k + 1}" for k in range(len(s))] if names else []
        circles = NamedCircles(view, 2 * RADIUS, called, written)
        circles.set_offset_transform(ax.transData)
        circles.set(facecolor=faces, lw=0.4 * width, edgecolor=ink() if colors is None else "none")
        circles.set(zorder=3, label="_bases")
        ax.add_collection(circles, autolim=False)
    draw_labels(
        ax,
        view,
        np.concatenate(obstacles),
        unit,
        numbering=numbering,
        label_ends=label_ends,
        names=names,
    )
    if window is not None:
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        bottom += bottom_margin / unit
        inside = Rectangle((left, bottom), right - left, top - bottom, transform=ax.transData)
        for artist in (*ax.lines, *ax.collections, *ax.texts):
            artist.set_clip_path(inside)
            artist.set_clip_on(True)


def _letters(
    ax: Axes, s: FoldedRNA, view: NDArray, faces: NDArray, unit: float, *, names: bool
) -> list[Letter]:
    """Write the letters, at 7 points at least where a circle holds that."""
    size = max(LETTER * unit, 7.0 if unit >= READABLE else 0.0)
    dark = faces[:, :3] @ (0.3, 0.59, 0.11) < 0.45
    style: dict[str, Any] = {"fontsize": size, "ha": "center", "va": "center_baseline", "zorder": 4}
    written = []
    for k, (place, letter, on_dark) in enumerate(zip(view, s.sequence, dark, strict=True)):
        one = Letter(place.real, place.imag, letter, color="white" if on_dark else INK, **style)
        one.set_gid(f"{prefix(ax)}letter-{k + 1}" if names else None)
        ax.add_artist(one)
        written.append(one)
    return written


def _base_colors(s: FoldedRNA, color_by: Any) -> tuple[NDArray | None, mpl.cm.ScalarMappable | None]:
    """Return the (L, 4) colours or None, and the scale they are on, if any."""
    if color_by is None:
        return None, None
    if isinstance(color_by, str) and color_by == "nucleotide":
        return to_rgba_array([NUCLEOTIDES.get(base, "#D0D0D0") for base in s.sequence]), None
    if isinstance(color_by, str) and color_by == "elements":
        kinds = element_kinds(s.pairs, len(s))
        return to_rgba_array([ELEMENTS[DRAWN_AS.get(kind, kind)] for kind in kinds]), None
    norm = None
    if isinstance(color_by, str) and color_by == "probability":
        color_by, norm = s.base_confidence, Normalize(0, 1)
        if color_by is None:
            raise ValueError(f"{s.name!r} has no probabilities to colour by")
    if isinstance(color_by, str):
        if not is_color_like(color_by):
            raise ValueError(
                f'color_by is "nucleotide", "probability", "elements", a colour or an array, not {color_by!r}'
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
