"""Coordinates of the nucleotides of a drawing: loops as circles, stems as ladders, overlapping stems turned aside."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..rna.pairs import as_pairs, to_dot_bracket

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PAIR", "in_layout", "layout"]

PAIR = 1.5  # distance of paired nucleotides in a layout; neighbours along the backbone are 1 apart


UNTANGLE_TRIES, UNTANGLE_LENGTH = 300, 1000  # longer ones are too small on a page to see overlaps


class _Loop(NamedTuple):
    """A loop: its nucleotides in order, and what lies between them."""

    path: list[int]  # for all but the outermost loop, from i to j of the closing pair
    items: list[int]  # 0 for a pair; n > 0 for n backbone steps
    children: list[tuple[int, int, int]]  # place in path, i, j of the pairs that lead further in


def layout(pairs: ArrayLike, length: int) -> NDArray[np.floating]:
    """Place nucleotides in the plane: loops round, stems as straight ladders.

    Two-sided loops keep the helix straight where they can. Where parts of the drawing would lie
    on each other, stems are then turned a little; large structures may keep overlaps.

    Parameters
    ----------
    pairs : array_like of int, shape (n, 2)
        0-based. Pairs that cross longer stems (in dot-bracket not written with ``()``) and pairs of
        neighbours do not influence the layout.
    length : int
        Number of nucleotides L.

    Returns
    -------
    ndarray, shape (L, 2)
        Neighbours along the backbone are 1 apart, paired nucleotides 1.5. Stems run 5' to 3' clockwise.

    Raises
    ------
    ValueError
        If a pair lies outside the sequence or a nucleotide is in two pairs.

    Examples
    --------
    >>> layout([(0, 5)], 6).round(2).tolist()[0], layout([(0, 5)], 6).shape
    ([0.0, 0.0], (6, 2))
    """
    pairs = as_pairs(pairs, length=length)
    partner = [-1] * length
    for i, j in pairs[in_layout(pairs, length)].tolist():
        partner[i], partner[j] = j, i
    loops = _loops(partner)
    if not loops[0].path:
        xy = _tail(length, 0)
    else:
        xy = np.zeros(length, dtype=complex)
        for k, loop in enumerate(loops):
            _place(xy, loop, _default_space(loop, closed=k > 0), closed=k > 0)
        _place_tails(xy, loops[0].path)
        if length <= UNTANGLE_LENGTH:
            _untangle(xy, loops)
    return np.stack((xy.real, xy.imag), axis=1)


def in_layout(pairs: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Return (n,) True for the nested pairs that shape the layout."""
    symbols = np.array([*to_dot_bracket(pairs, length, drop=True), ""])
    return (symbols[pairs[:, 0]] == "(") & (pairs[:, 1] - pairs[:, 0] > 1)


def _loops(partner: list[int]) -> list[_Loop]:
    """Return all loops, the exterior one first, each before those inside it."""
    loops = []
    todo = [(-1, len(partner))]
    while todo:
        i, j = todo.pop()
        path, items, children = [i], [1], []
        position = i + 1
        while position < j:
            path.append(position)
            if partner[position] > position:
                children.append((len(path) - 1, position, partner[position]))
                position = partner[position]
                path.append(position)
                items += [0, 1]
            else:
                items[-1] += 1
            position += 1
        path.append(j)
        if i < 0:  # without its free ends
            start, end = (children[0][0], children[-1][0] + 2) if children else (0, 0)
            path, items = path[start:end], items[1:-1]
            children = [(k - start, a, b) for k, a, b in children]
        loops.append(_Loop(path, items, children))
        todo += [(a, b) for _, a, b in children]
    return loops


def _root(f: Any, low: float, high: float) -> float:
    """Return the zero of a falling function."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return (low + high) / 2


@lru_cache(4096)
def _arc(n: int, chord: float) -> NDArray[np.complexfloating]:
    """Return (n − 1,) inner points of n unit steps on an arc from 0 to `chord` that bulges to the left."""
    turn = 0.0
    if n > chord + 1e-9:
        turn = _root(lambda t: math.sin(t / 2) - chord * math.sin(t / 2 / n), 1e-9, 2 * math.pi)
    return np.cumsum(np.exp(1j * turn * ((n - 1) / 2 - np.arange(n - 1)) / n))


@lru_cache(4096)
def _radius(steps: int, pairs: int, total: float) -> float:
    """Return the radius of the circle on which so many unit steps and pairs span the angle `total`."""

    def excess(r: float) -> float:
        return 2 * steps * math.asin(min(1, 0.5 / r)) + 2 * pairs * math.asin(min(1, PAIR / 2 / r)) - total

    return _root(excess, PAIR / 2, steps + pairs * PAIR)


def _default_space(loop: _Loop, *, closed: bool) -> list[int]:
    """Give each item all its steps of the circle, or in two-sided loops what keeps the helix straight."""
    if closed and len(loop.children) == 1:
        shorter = min(loop.items[0], loop.items[2])
        return [max(shorter, n // 2) if n else 0 for n in loop.items]
    return loop.items


def _ring(items: list[int], space: list[int], *, closed: bool) -> NDArray[np.complexfloating]:
    """Return points along a loop, clockwise; with less space than steps, a stretch bulges out of the circle."""
    span = 2 * math.pi if closed else math.pi
    r = _radius(sum(space), items.count(0) + closed, span)
    step, pair = math.asin(0.5 / r), math.asin(PAIR / 2 / r)
    angle = -math.pi / 2 - pair if closed else (math.pi + span) / 2
    points = [r * np.exp(1j * angle)]
    for n, room in zip(items, space, strict=True):
        start = points[-1]
        angle -= 2 * (room * step if n else pair)
        end = r * np.exp(1j * angle)
        if n > 1:
            chord = abs(end - start)
            points.extend(start + (end - start) / chord * _arc(n, round(chord, 9)))
        points.append(end)
    return np.array(points) + (1j * math.sqrt(r * r - PAIR**2 / 4) if closed else 0)


def _place(xy: NDArray, loop: _Loop, space: list[int], *, closed: bool, move: bool = False) -> None:
    """Set the nucleotides of a loop in `xy` (complex); with `move`, take along what lies further in."""
    if not loop.children:
        new = np.r_[-PAIR / 2, _arc(loop.items[0], PAIR) - PAIR / 2, PAIR / 2]
    elif loop.items == [0]:
        new = np.array([0, PAIR], dtype=complex)
    else:
        new = _ring(loop.items, space, closed=closed)
    if closed:  # on top of the closing pair, which is there
        i, j = xy[loop.path[0]], xy[loop.path[-1]]
        new = (i + j) / 2 + (j - i) / abs(j - i) * new
    if move:
        for k, i, j in loop.children:
            xy[i : j + 1] = new[k] + (xy[i : j + 1] - xy[i]) * (new[k + 1] - new[k]) / (xy[j] - xy[i])
    xy[loop.path] = new


def _tail(n: int, drop: int) -> NDArray[np.complexfloating]:
    """Return (n,) points of a free end to the right, in rows if it is long; first down by `drop` steps if not 0."""
    t, turn, left = np.arange(n), np.zeros(n), n
    if drop and n > drop + 8:
        turn[drop : drop + 3] = math.pi / 6
        t, left = t - drop - 3, n - drop
    row = n + 10 if left <= 30 or (drop and n <= drop + 8) else max(20, int(math.sqrt(3.1 * left)))
    t = t - 4  # the first row is longer, so that the others stay clear of its start
    turning = (t >= 0) & (t % row >= row - 5)
    turn[turning] = np.where(t[turning] // row % 2, 1, -1) * math.pi / 5
    return np.cumsum(np.exp(1j * (np.cumsum(turn) - (math.pi / 2 if drop else 0))))


def _place_tails(xy: NDArray, path: list[int]) -> None:
    """Set the free ends: sideways, or down past everything that hangs lower than the exterior loop."""
    first, last = path[0], path[-1]
    low = np.delete(xy[first : last + 1], [0, last - first]).imag.min()
    drop = 0 if len(path) == 2 and low > 0.9 else max(1, math.ceil(3 - low))
    xy[:first] = (xy[first] - _tail(first, drop).conj())[::-1]
    xy[last + 1 :] = xy[last] + _tail(len(xy) - 1 - last, drop)


def _overlap(xy: NDArray) -> tuple[float, NDArray[np.bool_]]:
    """Return how much nucleotides other than neighbours overlap, and (L,) which lie on each other."""
    reach, clash = 1.8, np.zeros(len(xy), dtype=bool)
    column, row = np.floor(xy.real / reach).astype(np.int64), np.floor(xy.imag / reach).astype(np.int64)
    stride = np.ptp(row) + 3
    cell = column * stride + row
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    overlap = 0.0
    for step in (0, 1, stride - 1, stride, stride + 1):  # the same cell and half of those around it
        low, high = np.searchsorted(cell, cell + step), np.searchsorted(cell, cell + step, side="right")
        low = np.maximum(low, np.arange(len(cell)) + 1)
        count = np.maximum(high - low, 0)
        first = np.repeat(np.arange(len(cell)), count)
        i, j = order[first], order[np.arange(count.sum()) + np.repeat(low - np.cumsum(count) + count, count)]
        squared = np.square(np.abs(xy[i] - xy[j]))
        squared[np.abs(i - j) == 1] = reach**2
        overlap += float(np.clip(reach**2 - squared, 0, None).sum())
        clash[i[squared < 0.8]] = clash[j[squared < 0.8]] = True
    return overlap, clash


def _untangle(xy: NDArray, loops: list[_Loop]) -> None:
    """Rotate stems at loops with unpaired nucleotides, at random but reproducibly, where parts overlap."""
    rng = np.random.default_rng(0)
    overlap, clash = _overlap(xy)
    flexible = [k for k, loop in enumerate(loops) if loop.children and max(loop.items) > 1]
    for _ in range(UNTANGLE_TRIES):
        involved = [k for k in flexible if clash[loops[k].path[0] : loops[k].path[-1] + 1].any()]
        if not involved:
            break
        k = involved[rng.integers(len(involved))]
        before = xy.copy()
        space = [int(rng.integers(max(1, n // 2), n + 1)) if n else 0 for n in loops[k].items]
        _place(xy, loops[k], space, closed=k > 0, move=True)
        _place_tails(xy, loops[0].path)
        now, clash_now = _overlap(xy)
        if now < overlap:
            overlap, clash = now, clash_now
        else:
            xy[:] = before
