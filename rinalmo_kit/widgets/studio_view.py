"""What the folding studio draws: places, lines, labels and colours as in the figures of :mod:`rinalmo_kit.plot`."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from ..metrics import structure_scores
from ..plot.html import confidence_caption
from ..plot.labels import place_labels
from ..plot.pair_lines import COLORS, Mark, crossing_arcs, crossing_pairs, pair_marks, points_along
from ..plot.secondary_structure import ARCS_ABOVE, _base_colors, _swatches, _view
from ..plot.style import NUCLEOTIDES, PROBABILITIES
from ..rna.elements import find_elements
from ..structure import Structure
from .studio_compare import KNOWN

__all__ = ["COLOR_BY", "PALETTE", "PANELS", "drawing_payload", "first_panel", "view_payload"]

COLOR_BY = ("nucleotide", "probability", "elements", "none")
"""What the colours of the bases may mean."""


PANELS = ("drawing", "arcs", "map")
"""What may be the largest picture."""


SCREEN = 360
"""Points that a drawing is wide, for the size of its labels beside that of its bases."""


def _steps(name: Any, count: int = 9) -> list[str]:
    return [to_hex(color) for color in mpl.colormaps.get_cmap(name)(np.linspace(0, 1, count))]


PALETTE: dict[str, Any] = {
    **COLORS,
    "nucleotides": NUCLEOTIDES,
    "probabilities": _steps(PROBABILITIES),
    "confidence": _steps("viridis"),
}
"""Colours of the figures for the page: of kinds of pairs, of letters, and those from probability 0 to 1."""


def first_panel(s: Structure) -> str:
    """Return the picture that an RNA is shown by first: arcs where a drawing would be too large to read."""
    return "arcs" if len(s) > ARCS_ABOVE else "drawing"


def view_payload(
    s: Structure, known: dict[str, Structure], *, compare: str = "none", color_by: str = "nucleotide"
) -> dict[str, Any]:
    """Return what all pictures of a structure need, beside the drawing's places.

    Parameters
    ----------
    s : Structure
    known : dict of Structure
        What it can be compared with, by name.
    compare : str
        One of those names, or "none".
    color_by : str
        One of :data:`COLOR_BY`; probabilities need those of `s`.
    """
    other = known.get(compare)
    color_by = "none" if color_by == "probability" and s.probabilities is None else color_by
    colors, _ = _base_colors(s, None if color_by == "none" else color_by)
    names = [""] * len(s)
    for one in find_elements(s.pairs, len(s)):
        for first, last in one.strands:
            names[first - 1 : last] = [f"{one.kind} {one.name}"] * (last - first + 1)
    marks = pair_marks(s, other)
    return {
        "compared": {name: _compared(s, one) for name, one in known.items()},
        "compare": compare if other is not None else "none",
        "color_by": color_by,
        "fills": None if colors is None else [to_hex(color) for color in colors],
        "swatches": []
        if colors is None
        else [[k, to_hex(v)] for k, v in _swatches(s, color_by, colors).items()],
        "elements": names,
        "marks": [[one.i, one.j, one.kind, one.style] for one in marks],
        "keys": _keys(marks, compare),
        "trust": "" if s.confidence is None else confidence_caption(s.confidence),
    }


def _compared(s: Structure, other: Structure) -> dict[str, Any]:
    scores = structure_scores(other, s)
    numbers = {key: round(getattr(scores, key), 3) for key in ("precision", "recall", "f1")}
    return {"pairs": other.pairs.tolist(), **numbers}


def _keys(marks: list[Mark], compare: str) -> list[list[str]]:
    """Return what the kinds of pairs that there are mean: style, kind, words."""
    there = {(one.style, one.kind) for one in marks}
    kinds = {one.kind for one in marks}
    beside = KNOWN.get(compare, compare)
    words = {"both": "in both", "predicted": "in this fold only", "reference": f"in {beside} only"}
    found = [
        ["dashed" if kind == "reference" else "line", kind, words[kind]] for kind in words if kind in kinds
    ]
    if "crossing" in kinds:
        found.append(["line", "crossing", "crosses other pairs (pseudoknot)"])
    if ("dot", "pair") in there:
        found.append(["dot", "pair", "G·U"])
    if {("dashed", "pair"), ("dashed", "crossing")} & there:
        found.append(["dashed", "pair", "not canonical"])
    return found


def drawing_payload(s: Structure, other: Structure | None = None) -> dict[str, Any]:
    """Return the places of a drawing: bases, control points of curves by pair, labels with their ticks, and its frame.

    The y axis points down, as that of a page.

    Examples
    --------
    >>> found = drawing_payload(Structure.from_dot_bracket("GGGAAAACCC", "(((....)))"))
    >>> [label[0] for label in found["labels"]], len(found["x"])
    (['5′', '3′', '10'], 10)
    """
    view = _view(s)
    crossing = crossing_pairs(s, other)
    curves = crossing_arcs(view, crossing)
    framed = np.concatenate([view, *curves])
    unit = min(14.0, SCREEN / (max(np.ptp(framed.real), np.ptp(framed.imag)) + 4))
    lines = [
        view[[one.i, one.j]] @ np.array([[0.72, 0.5, 0.28], [0.28, 0.5, 0.72]])
        for one in pair_marks(s, other)
        if not one.crossing
    ]
    room = 6 + 24 / unit
    frame = np.array(
        [
            [framed.real.min() - room, framed.real.max() + room],
            [framed.imag.min() - room, framed.imag.max() + room],
        ]
    )
    obstacles = np.concatenate([view, points_along(view), *lines, *map(points_along, curves)])
    labels = place_labels(view, obstacles, unit, frame)
    corners = [view - 1 - 1j, view + 1 + 1j, *curves]
    corners += [np.array([one.center - 1.3 * one.half, one.center + 1.3 * one.half]) for one in labels]
    inside = np.concatenate(corners)
    low, high = (inside.real.min(), -inside.imag.max()), (inside.real.max(), -inside.imag.min())
    return {
        "x": np.round(view.real, 2).tolist(),
        "y": np.round(-view.imag, 2).tolist(),
        "bends": [
            [i, j, *_point(2 * curve[8] - (curve[0] + curve[-1]) / 2)]
            for (i, j), curve in zip(crossing, curves, strict=True)
        ],
        "labels": [
            [
                one.text,
                *_point(one.center),
                round(one.size / unit, 2),
                *([] if one.tick is None else _ends(one.tick)),
            ]
            for one in labels
        ],
        "box": [round(float(v), 2) for v in (*low, high[0] - low[0], high[1] - low[1])],
    }


def _point(z: complex) -> tuple[float, float]:
    return round(float(z.real), 2), round(float(-z.imag), 2)


def _ends(tick: tuple[complex, complex]) -> list[float]:
    return [*_point(tick[0]), *_point(tick[1])]
