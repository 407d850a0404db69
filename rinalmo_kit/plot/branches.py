"""Layout without overlap: from the hairpins outwards, each loop takes a shape that keeps its branches apart.

As RNApuzzler does (Wiegreffe et al. 2019, doi:10.1093/bioinformatics/bty817), a loop is turned and stretched until
nothing overlaps; here the shapes of a loop are tried in the order of their distortion, once for each loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .loops import PAIR, Loop, arc, default_space, place_tails, ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Shapes of a loop to try: with its branches turned, and with more room where they touch
TURNS, GROWTHS = 16, 24
ROOMS = (0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0, 5.5, 8.0, 12.0)
# Of a loop above its closing pair, where circles on both sides of the pair would touch
LIFTS = (0.0, 1.0, 2.0)
DEEPEST = 100  # how deep loops that are placed anew are nested
CLEAR, CLEAR_LINE = 0.8901, 0.7  # distance of nucleotides to nucleotides, and of anything to a line
# Where neighbours of a single pair are about
BESIDE = np.array([-PAIR / 2 - 0.87 - 0.5j, PAIR / 2 + 0.87 - 0.5j])
# Groups of points beside the numbers of branches: the loop itself, what is below its stem
OWN, BELOW = -1, -2


class Branch(NamedTuple):
    """What lies inside a pair (i, j), which is at −PAIR/2 and PAIR/2; the branch leads up from there."""

    xy: NDArray[np.complexfloating]  # from i to j
    lines: NDArray[np.complexfloating]  # points on steps that are longer than others
    overlaps: int = 0  # that no shape of its loops avoids


class _Shape(NamedTuple):
    """Shape of a loop: space of its items, as :func:`ring` takes it, and how far it is above its closing pair."""

    space: list[float]
    lift: float = 0.0


def place_loops(loops: list[Loop], length: int) -> NDArray[np.complexfloating]:
    """Return (L,) places of all nucleotides; `loops` as from :func:`find_loops`, the exterior loop not empty."""
    inside = _Inside(loops)
    for k in range(len(loops) - 1, 0, -1):
        inside.solved[k, False] = _solve(inside, k)
    return _solve(inside, 0, length=length).xy


class _Inside:
    """Loops with the branches that were placed so far, by loop and whether they are upright."""

    def __init__(self, loops: list[Loop]) -> None:
        self.loops = loops
        self.solved: dict[tuple[int, bool], Branch] = {}
        place = {loop.path[0]: k for k, loop in enumerate(loops) if k}
        self.children = [[place[i] for _, i, _ in loop.children] for loop in loops]
        self.below = [0] * len(loops)  # pairs stacked below the closing pair
        for k, loop in enumerate(loops):
            if k and loop.items == [1, 0, 1]:
                self.below[self.children[k][0]] = self.below[k] + 1

    def branches(self, k: int, *, upright: bool, depth: int = 0) -> list[Branch]:
        """Return the branches of a loop; with `upright`, those that hang below their foot are placed anew."""
        found = []
        for child in self.children[k]:
            branch = self.solved[child, False]
            if upright and (branch.overlaps or _hangs(branch)):
                if (child, True) not in self.solved:
                    self.solved[child, True] = self._stand_up(child, depth + 1)
                branch = self.solved[child, True]
            found.append(branch)
        return found

    def _stand_up(self, child: int, depth: int) -> Branch:
        """Return an upright branch: the loop at the end of the stem is solved again."""
        stem = [child]
        while self.loops[stem[-1]].items == [1, 0, 1]:
            stem += self.children[stem[-1]]
        branch = _solve(self, stem[-1], upright=True, depth=depth)
        for k in reversed(stem[:-1]):
            branch = _assemble(self.loops[k], [branch], _Shape([1, 0, 1]), closed=True)[0]
        return branch


def _solve(inside: _Inside, k: int, *, upright: bool = False, length: int = 0, depth: int = 0) -> Branch:
    """Return the branch of a loop in the first shape without overlap, or else in that with the least.

    An upright branch stays above its foot. Branches of the loop become upright where nothing else helps.
    """
    loop, closed = inside.loops[k], k > 0
    branches = inside.branches(k, upright=False)
    if closed and (loop.items == [1, 0, 1] or not (loop.children or upright)):
        shape = _Shape([float(n) for n in loop.items])
        return _assemble(loop, branches, shape, closed=closed)[0]._replace(
            overlaps=sum(branch.overlaps for branch in branches)
        )
    best = None
    for stand in (False, True):
        if stand:
            lying, branches = branches, inside.branches(k, upright=depth < DEEPEST, depth=depth)
            if all(a is b for a, b in zip(branches, lying, strict=True)):
                break
        hidden = sum(branch.overlaps for branch in branches)
        if hidden and not stand:
            continue
        shapes = _Shapes(loop, branches, closed=closed, lift=upright, last=stand or upright)
        for shape in shapes:
            branch, group = _assemble(loop, branches, shape, closed=closed, length=length)
            touching = _touching(branch, group, inside.below[k] if closed else -1)
            if upright:
                touching = np.r_[touching, _below_ground(branch, group, inside.below[k])]
            branch = branch._replace(overlaps=hidden + len(touching))
            if best is None or branch.overlaps < best.overlaps:
                best = branch
            if not len(touching):
                return branch
            shapes.touching = touching
    assert best is not None
    return best


class _Shapes:
    """Shapes of a loop to try in turn; it is told what touched in the last one.

    First those with steps of the usual length; then steps grow where branches touch; at last, all branches have the
    room that they need side by side, in the upper half of the circle.
    """

    def __init__(self, loop: Loop, branches: list[Branch], *, closed: bool, lift: bool, last: bool) -> None:
        self.loop, self.branches, self.closed = loop, branches, closed
        self.lifts = LIFTS if lift else LIFTS[:1]
        self.last = last
        self.touching = np.zeros((0, 2), dtype=np.int64)

    def __iter__(self) -> Iterator[_Shape]:
        items = np.array(self.loop.items, dtype=float)
        yield _Shape([float(n) for n in default_space(self.loop, closed=self.closed)])
        if not self.loop.children:
            yield from (_Shape(items.tolist(), lift) for lift in self.lifts[1:])
        elif items.any():
            for lift in self.lifts:
                yield from (_Shape(space.tolist(), lift) for space in self._unstretched(items))
            for lift in self.lifts[:2]:
                yield from (_Shape(space.tolist(), lift) for space in self._growing(items))
            if self.last:
                wide = sorted(self._wide(items), key=np.sum)
                yield from (_Shape(space.tolist(), lift) for space in wide for lift in self.lifts)

    def _unstretched(self, items: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        yield items
        if self.closed and len(self.loop.children) == 1:
            a, b = sorted((items[0], items[2]))
            for s in dict.fromkeys((max(a, b // 2), max(a, 0.65 * b), max(a, 0.8 * b), b)):
                yield np.array([s, 0, s])
        if items.max() > 1:
            rng, low = np.random.default_rng(0), np.maximum(1, items // 2)
            for _ in range(TURNS):
                yield np.where(items > 0, low + rng.random(len(items)) * (items - low), 0)

    def _growing(self, items: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        """Yield spaces, each with more room between branches that touched in the one before, up to a limit."""
        space, places = items.copy(), np.flatnonzero(items == 0)
        most = 2.5 * items.sum() + 10
        for _ in range(GROWTHS):
            grow = np.zeros(len(items), dtype=bool)
            for a, b in np.unique(np.sort(self.touching, axis=1), axis=0).tolist():
                if a == BELOW:
                    grow[[0, -1]] = self.closed
                elif a == OWN:
                    grow[max(0, places[b] - 1) : places[b] + 2] = True
                else:
                    grow[places[a] : places[b]] = True
            grow &= items > 0
            if not grow.any():
                return
            space = np.where(grow, 1.12 * space + 0.3, space)
            if space.sum() > most:
                return
            yield space

    def _wide(self, items: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        left = [-branch.xy.real.min() for branch in self.branches]
        right = [branch.xy.real.max() for branch in self.branches]
        before, after = ([0.0, *right], [*left, 0.0]) if self.closed else (right[:-1], left[1:])
        room = np.zeros(len(items))
        room[items > 0] = np.add(before, after)
        for share in ROOMS:
            wide = np.maximum(items, share * room)
            yield wide
            if self.closed:  # all branches in the upper half
                top = wide[1:-1].sum() / 2 + PAIR * len(self.branches) / 2
                yield np.r_[max(wide[0], top), wide[1:-1], max(wide[-1], top)]


def _hangs(branch: Branch) -> bool:
    """Return whether a branch comes below its foot or near what may be beside it."""
    return len(_below_ground(branch, np.zeros(len(branch.xy) + len(branch.lines), dtype=np.int64))) > 0


def _below_ground(branch: Branch, group: NDArray[np.int64], below: int = 0) -> NDArray[np.int64]:
    """Return (n, 2) `BELOW` and the group of each point too near the level of a branch's foot, where neighbours may be.

    The foot is `below` steps below the pair of the branch.
    """
    foot = np.array([-PAIR / 2 - 1, PAIR / 2 + 1])
    z = np.r_[branch.xy[1:-1], branch.lines] + 1j * below
    beside = (z.real < foot[0]) | (z.real > foot[1])
    near = np.where(beside, z.imag < CLEAR, np.abs(z[:, None] - foot).min(axis=1) < CLEAR)
    low = np.r_[group[1 : len(branch.xy) - 1], group[len(branch.xy) :]][near | (z.imag < 0)]
    return np.c_[np.full(len(low), BELOW), low]


def _assemble(
    loop: Loop, branches: list[Branch], shape: _Shape, *, closed: bool, length: int = 0
) -> tuple[Branch, NDArray[np.int64]]:
    """Return a loop of a shape with its branches, and the number of the branch that each point belongs to, or `OWN`."""
    if not loop.children:
        new = np.r_[-PAIR / 2, arc(loop.items[0], PAIR) - PAIR / 2, PAIR / 2]
    elif loop.items == [0]:
        new = np.array([0, PAIR], dtype=complex)
    else:
        new = ring(loop.items, shape.space, closed=closed)
    new[1:-1] += 1j * shape.lift
    first = loop.path[0] if closed else 0
    xy = np.zeros(loop.path[-1] + 1 - first if closed else length, dtype=complex)
    xy[np.array(loop.path) - first] = new
    group = np.full(len(xy), OWN)
    lines, owners = [_on_long_steps(new, loop)], [OWN]
    for number, ((k, i, j), branch) in enumerate(zip(loop.children, branches, strict=True)):
        turn, middle = (new[k + 1] - new[k]) / PAIR, (new[k] + new[k + 1]) / 2
        xy[i - first : j + 1 - first] = middle + turn * branch.xy
        group[i - first : j + 1 - first] = number
        lines.append(middle + turn * branch.lines)
        owners.append(number)
    if not closed:
        place_tails(xy, loop.path)
    owner = np.repeat(owners, [len(one) for one in lines])
    return Branch(xy, np.concatenate(lines)), np.r_[group, owner]


def _on_long_steps(path: NDArray, loop: Loop) -> NDArray[np.complexfloating]:
    """Return points on the steps along a loop that are longer than usual, so near that no chain fits between them."""
    step = np.diff(path)
    long = np.abs(step) > 1.4
    long[[k for k, _, _ in loop.children]] = False  # pairs
    points = [
        path[k] + step[k] * np.arange(1, parts) / parts
        for k in np.flatnonzero(long)
        if (parts := int(abs(step[k]) / 0.72)) > 1
    ]
    return np.concatenate([np.zeros(0, dtype=complex), *points])


def _touching(branch: Branch, group: NDArray[np.int64], below: int) -> NDArray[np.int64]:
    """Return (n, 2) groups of the points that are too near each other, those of the stem below among them."""
    stem = np.add.outer(-1j * np.arange(1, below + 1), [-PAIR / 2, PAIR / 2]).ravel() if below else BESIDE
    stem = stem if below >= 0 else stem[:0]
    z = np.concatenate([branch.xy, branch.lines, stem])
    group = np.r_[group, np.full(len(stem), BELOW)]
    line = np.zeros(len(z), dtype=bool)
    line[len(branch.xy) : len(branch.xy) + len(branch.lines)] = True
    column, row = np.floor(z.real / CLEAR).astype(np.int64), np.floor(z.imag / CLEAR).astype(np.int64)
    stride = int(np.ptp(row)) + 3
    cell = column * stride + row
    order = np.argsort(cell, kind="stable")
    cell, z, group, line = cell[order], z[order], group[order], line[order]
    found = []
    for nearest, furthest in ((0, 1), (stride - 1, stride + 1)):  # the same cell and half of those around it
        low = np.searchsorted(cell, cell + nearest)
        high = np.searchsorted(cell, cell + furthest, side="right")
        low = np.maximum(low, np.arange(len(cell)) + 1)
        count = np.maximum(high - low, 0)
        i = np.repeat(np.arange(len(cell)), count)
        j = np.arange(len(i)) + np.repeat(low - np.cumsum(count) + count, count)
        other = group[i] != group[j]
        i, j = i[other], j[other]
        near = np.abs(z[i] - z[j]) < np.where(line[i] | line[j], CLEAR_LINE, CLEAR)
        found.append(np.c_[group[i[near]], group[j[near]]])
    return np.concatenate(found)
