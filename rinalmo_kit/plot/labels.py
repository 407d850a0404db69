"""Numbers and ends of a drawing, written where nothing else is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .named import NamedLines, prefix
from .style import GREY, INK, ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

RADIUS = 0.42  # of a nucleotide's circle
NEAR, FAR = (0.8, 1.4, 2.2, 3.2), (0.8, 1.4, 2.2, 3.2, 4.5, 6.5, 9.0)  # distances of a label, and of an end's


class Label(NamedTuple):
    """A number or an end in its place; complex numbers in units of the layout."""

    text: str
    size: float  # points
    center: complex
    half: complex  # half its width and height
    tick: tuple[complex, complex] | None  # of a number, from its nucleotide

    @property
    def is_end(self) -> bool:
        """Tell whether it is 5′ or 3′."""
        return self.tick is None


def draw_labels(
    ax: Axes,
    view: NDArray,
    obstacles: NDArray,
    unit: float,
    *,
    numbering: int | str,
    label_ends: bool,
    names: bool,
) -> None:
    """Write numbers and ends where nothing else is, each as near to its nucleotide as can be."""
    leaders, ticks = [], []
    start = prefix(ax)
    frame = np.array([[*ax.get_xlim()], [*ax.get_ylim()]])
    for one in place_labels(view, obstacles, unit, frame, numbering=numbering, label_ends=label_ends):
        style: dict[str, Any] = {"fontsize": one.size, "ha": "center", "va": "center", "zorder": 5}
        if names:
            style["gid"] = f"{start}end-{one.text[0]}" if one.is_end else f"{start}number-{one.text}"
        color = ink() if one.is_end or ink() != INK else "#555555"
        ax.text(one.center.real, one.center.imag, one.text, color=color, **style)
        if one.tick is not None:
            leaders.append(np.array(one.tick))
            ticks.append(f"{start}tick-{one.text}")
    if leaders:
        many = len(leaders)
        lines = NamedLines(
            leaders, ticks if names else [], [GREY] * many, ["-"] * many, [0.4] * many,
            zorder=0.5, label="_leaders",
        )  # fmt: skip
        ax.add_collection(lines, autolim=False)


def place_labels(
    view: NDArray,
    obstacles: NDArray,
    unit: float,
    frame: NDArray,
    *,
    numbering: int | str = "auto",
    label_ends: bool = True,
) -> list[Label]:
    """Return the ends, and the numbers that find a free place, of a drawing.

    Parameters
    ----------
    view : ndarray of complex, shape (L,)
        Places of the nucleotides.
    obstacles : ndarray of complex, shape (n,)
        Points that labels stay away from.
    unit : float
        Points per unit of the layout.
    frame : ndarray, shape (2, 2)
        Limits of x and of y, in which labels stay.
    numbering : int or "auto"
        Number every so many nucleotides; 0 for none.
    label_ends : bool
    """
    length = len(view)
    if isinstance(numbering, str):
        numbering = next((step for most, step in ((150, 10), (300, 20), (1000, 50)) if length <= most), 200)
    ends = [(0, "5′"), (length - 1, "3′")] if label_ends else []
    numbers = [(k, str(k + 1)) for k in range(numbering - 1, length, numbering)] if numbering else []
    boxes: list[tuple[complex, complex]] = []
    found = []
    for k, text in ends + numbers:
        is_end = text.endswith("′")
        size = float(np.clip(unit, 7, 8) if is_end else np.clip(0.7 * unit, 6, 7))
        half = size / unit * complex(0.55 if is_end else 0.33 * len(text) + 0.1, 0.42)
        forward = view[min(k + 1, length - 1)] - view[max(k - 1, 0)] if length > 1 else 1.0
        outside = 1j * forward  # as stems run clockwise
        direction = outside if not is_end else forward if k and text[0] == "3" else -forward
        distances = FAR if is_end else NEAR
        center, tip, free = _place_label(view[k], direction, half, obstacles, boxes, frame, unit, distances)
        if not (free or is_end):
            continue
        boxes.append((center, half))
        edge = view[k] + RADIUS * (tip - view[k]) / abs(tip - view[k]) if not is_end else tip
        found.append(Label(text, size, center, half, None if is_end else (edge, tip)))
    return found


def _place_label(
    anchor: complex,
    toward: complex,
    half: complex,
    obstacles: NDArray,
    boxes: list[tuple[complex, complex]],
    frame: NDArray,
    unit: float,
    distances: tuple[float, ...],
) -> tuple[complex, complex, bool]:
    """Return the centre of a box of half size `half` near `anchor`, the end of its leader, and whether it is free.

    Where no place is free, that with the most room around it is taken.
    """
    clear = RADIUS + 1 / unit
    others = obstacles[abs(obstacles - anchor) > 0.3]
    best, most = (anchor, anchor), -math.inf
    for distance in distances:
        for degrees in (0, 20, -20, 40, -40, 60, -60, 80, -80, 110, -110, 140, -140, 180):
            direction = toward / abs(toward) * np.exp(1j * math.radians(degrees))
            tip = anchor + direction * (clear + distance * max(0.5, 3 / unit))
            reach = 1 / max(abs(direction.real) / half.real, abs(direction.imag) / half.imag)
            center = tip + direction * (reach + 0.5 / unit)
            leader = anchor + (tip - anchor) * np.linspace(0.5, 1, 2 + int(2 * abs(tip - anchor)))[:, None]
            room = float(np.min(outside_box(obstacles - center, half)) - clear)
            inside = (
                frame[0, 0] <= center.real - half.real
                and center.real + half.real <= frame[0, 1]
                and frame[1, 0] <= center.imag - half.imag
                and center.imag + half.imag <= frame[1, 1]
            )
            apart = all(outside_box(other - center, half + size) > 0 for other, size in boxes)
            if inside and apart and room > 0 and np.all(abs(others - leader) > 0.45):
                return center, tip, True
            if inside and apart and room > most:
                best, most = (center, tip), room
    return *best, False


def outside_box(point: Any, half: complex) -> Any:
    """Return the distance of points to a box of half size `half` around 0."""
    return np.hypot(np.maximum(abs(point.real) - half.real, 0), np.maximum(abs(point.imag) - half.imag, 0))
