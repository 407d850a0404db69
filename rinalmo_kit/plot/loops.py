"""Loops of a layout: what they consist of, circles to put them on, and the free ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PAIR = 1.5  # distance of paired nucleotides in a layout; neighbours along the backbone are 1 apart


class Loop(NamedTuple):
    """A loop: its nucleotides in order, and what lies between them."""

    path: list[int]  # for all but the outermost loop, from i to j of the closing pair
    items: list[int]  # 0 for a pair; n > 0 for n backbone steps
    children: list[tuple[int, int, int]]  # place in path, i, j of the pairs that lead further in


def find_loops(partner: list[int]) -> list[Loop]:
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
        loops.append(Loop(path, items, children))
        todo += [(a, b) for _, a, b in children]
    return loops


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """Return the zero of a falling function."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return (low + high) / 2


@lru_cache(4096)
def arc(n: int, chord: float) -> NDArray[np.complexfloating]:
    """Return (n − 1,) inner points of n unit steps on an arc from 0 to `chord` that bulges to the left."""
    turn = 0.0
    if n > chord + 1e-9:
        turn = _root(lambda t: math.sin(t / 2) - chord * math.sin(t / 2 / n), 1e-9, 2 * math.pi)
    return np.cumsum(np.exp(1j * turn * ((n - 1) / 2 - np.arange(n - 1)) / n))


@lru_cache(4096)
def _radius(steps: float, pairs: int, total: float) -> float:
    """Return the radius of the circle on which so many unit steps and pairs span the angle `total`."""

    def excess(r: float) -> float:
        return 2 * steps * math.asin(min(1, 0.5 / r)) + 2 * pairs * math.asin(min(1, PAIR / 2 / r)) - total

    return _root(excess, PAIR / 2, steps + pairs * PAIR)


def default_space(loop: Loop, *, closed: bool) -> list[int]:
    """Give each item all its steps of the circle, or in two-sided loops what keeps the helix straight."""
    if closed and len(loop.children) == 1:
        shorter = min(loop.items[0], loop.items[2])
        return [max(shorter, n // 2) if n else 0 for n in loop.items]
    return loop.items


def ring(items: list[int], space: Sequence[float], *, closed: bool) -> NDArray[np.complexfloating]:
    """Return points along a loop, clockwise, its closing pair (if any) around 0 and the loop above it.

    `space` is what each stretch takes of the circle, in steps: with less than it has, it bulges out of the circle;
    with more, its steps are longer.
    """
    span = 2 * math.pi if closed else math.pi
    r = _radius(float(sum(space)), items.count(0) + closed, span)
    pair = math.asin(PAIR / 2 / r)
    step = (span / 2 - pair * (items.count(0) + closed)) / (sum(space) or 1)
    angle = -math.pi / 2 - pair if closed else (math.pi + span) / 2
    points = [r * np.exp(1j * angle)]
    for n, room in zip(items, space, strict=True):
        turn = 2 * (room * step if n else pair)
        start, end = points[-1], r * np.exp(1j * (angle - turn))
        chord = abs(end - start)
        if 1 < n < room:
            points.extend(r * np.exp(1j * (angle - turn * np.arange(1, n) / n)))
        elif n > 1:
            points.extend(start + (end - start) / chord * arc(n, round(chord, 9)))
        angle -= turn
        points.append(end)
    return np.array(points) + (1j * math.sqrt(r * r - PAIR**2 / 4) if closed else 0)


def tail(n: int, drop: int) -> NDArray[np.complexfloating]:
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


def place_tails(xy: NDArray, path: list[int]) -> None:
    """Set the free ends: sideways, or down past everything that hangs lower than the exterior loop."""
    first, last = path[0], path[-1]
    low = np.delete(xy[first : last + 1], [0, last - first]).imag.min()
    drop = 0 if len(path) == 2 and low > 0.9 else max(1, math.ceil(3 - low))
    xy[:first] = (xy[first] - tail(first, drop).conj())[::-1]
    xy[last + 1 :] = xy[last] + tail(len(xy) - 1 - last, drop)
