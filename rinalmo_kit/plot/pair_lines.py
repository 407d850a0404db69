"""Lines, dots and arcs of base pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..rna.folded import FoldedRNA
from ..rna.pairs import CANONICAL
from .coordinates import in_layout
from .labels import RADIUS
from .named import NamedDots, NamedLines, prefix
from .style import BOTH, KNOT, PREDICTED, REFERENCE, ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

LineStyle = str | tuple[float, tuple[float, ...]]
"""A line style of Matplotlib: a name, or the offset and the lengths of dashes and gaps."""


def crossing_pairs(s: FoldedRNA, reference: FoldedRNA | None) -> list[tuple[int, int]]:
    """Return the pairs, of both structures if there are two, that the layout does not bring together."""
    straight = set(map(tuple, s.pairs[in_layout(s.pairs, len(s))].tolist()))
    pairs = set(map(tuple, s.pairs.tolist()))
    if reference is not None:
        pairs |= set(map(tuple, reference.pairs.tolist()))
    return sorted(pairs - straight)


class Mark(NamedTuple):
    """How a pair is drawn."""

    i: int
    j: int
    kind: str
    """Without a reference "pair" or "crossing"; with one, "both", "predicted" or "reference"."""
    style: Literal["line", "dot", "dashed"]
    crossing: bool


COLORS = {"crossing": KNOT, "both": BOTH, "predicted": PREDICTED, "reference": REFERENCE}
"""Kind of a mark → its colour; other pairs have that of the ink."""


def pair_marks(s: FoldedRNA, reference: FoldedRNA | None) -> list[Mark]:
    """Return how each pair of a structure, and of the reference if there is one, is drawn.

    Beside a reference, pairs that it alone has are dashed. Otherwise G-U pairs that do not cross others are dots,
    and pairs that are not canonical are dashed.

    Examples
    --------
    >>> pair_marks(FoldedRNA("GAAAAAU", [(0, 6)]), None)
    [Mark(i=0, j=6, kind='pair', style='dot', crossing=False)]
    """
    own = set(map(tuple, s.pairs.tolist()))
    known = own if reference is None else set(map(tuple, reference.pairs.tolist()))
    bent = set(crossing_pairs(s, reference))
    marks = []
    for i, j in sorted(own | known):
        letters, crossing = s.sequence[i] + s.sequence[j], (i, j) in bent
        style: Literal["line", "dot", "dashed"] = "line"
        if reference is not None:
            kind = ("both" if (i, j) in known else "predicted") if (i, j) in own else "reference"
            style = "line" if (i, j) in own else "dashed"
        else:
            kind = "crossing" if crossing else "pair"
            if letters not in CANONICAL:
                style = "dashed"
            elif letters in ("GU", "UG") and not crossing:
                style = "dot"
        marks.append(Mark(i, j, kind, style, crossing))
    return marks


def draw_pairs(
    ax: Axes,
    s: FoldedRNA,
    view: NDArray,
    reference: FoldedRNA | None,
    unit: float,
    width: float,
    *,
    names: bool,
) -> list[NDArray]:
    """Draw pairs and return points on them."""
    start = prefix(ax)
    lines, arcs = [], []
    dots: list[complex] = []
    called: dict[str, list[str]] = {"line": [], "arc": [], "dot": []}
    for i, j, kind, drawn, crossing in pair_marks(s, reference):
        color, thick = COLORS.get(kind, ink()), width if reference is None else 1.5 * width
        style: LineStyle = "-"
        if drawn == "dashed":
            style = (0, (1.5, 1) if reference is None else (2, 1.2))
        name = f"{start}pair-{i + 1}-{j + 1}"
        if crossing:
            arcs.append((color, style, width))
            called["arc"].append(name)
            continue
        ends = view[[i, j]] + np.array([1, -1]) * (RADIUS * (view[j] - view[i]) / abs(view[j] - view[i]))
        if drawn == "dot" and unit > 4:
            dots.append(ends.mean())
            called["dot"].append(name)
            continue
        lines.append((ends, color, style, thick))
        called["line"].append(name)
    style_of_dots: dict[str, Any] = {"marker": "o", "color": ink(), "mew": 0, "ms": 0.3 * unit, "zorder": 2}
    wobbles = NamedDots(
        np.array(dots), called["dot"] if names else [], label="_wobble_pairs", **style_of_dots
    )
    ax.add_line(wobbles)
    add_lines(ax, lines, "_pairs", zorder=2, names=called["line"] if names else [])
    curves = crossing_arcs(view, crossing_pairs(s, reference))
    curved = [(curve, *arc) for curve, arc in zip(curves, arcs, strict=True)]
    add_lines(ax, curved, "_crossing_pairs", zorder=2.5, names=called["arc"] if names else [])
    middles = [points_along(line[0]) for line in lines]
    return [*(line[0] for line in lines), *middles, *curves, np.array(dots)]


def add_lines(ax: Axes, lines: list[tuple], label: str, zorder: float, names: Sequence[str] = ()) -> None:
    """Add lines, each of points, a colour, a style and a width, to the Axes."""
    if lines:
        points, colors, styles, widths = zip(*lines, strict=True)
        drawn = NamedLines(points, names, colors, styles, widths, zorder=zorder, label=label)
        ax.add_collection(drawn, autolim=False)


def crossing_arcs(view: NDArray, pairs: list[tuple[int, int]]) -> list[NDArray]:
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
        if following is None or following[0] - i > 4 or not 0 < j - following[1] < 5:  # with its bulges
            curves += [both[int(in_the_way[1] < in_the_way[0])] for both in stem]
            stem, in_the_way = [], np.zeros(2)
    return curves


def points_along(view: NDArray) -> NDArray[np.complexfloating]:
    """Return points on the backbone between nucleotides, more of them where it is stretched."""
    if len(view) < 2:
        return view
    parts = np.maximum(2, np.ceil(np.abs(np.diff(view)))).astype(int)
    return np.concatenate(
        [a + (b - a) * np.arange(1, n) / n for a, b, n in zip(view[:-1], view[1:], parts, strict=True)]
    )
