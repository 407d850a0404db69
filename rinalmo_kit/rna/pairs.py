"""Base pairs as arrays, and dot-bracket strings both ways."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["pairs_from_dot_bracket", "to_dot_bracket"]

OPENING = "([{<" + ascii_uppercase


CLOSING = ")]}>" + ascii_lowercase


UNPAIRED = ".,:_-~"


CANONICAL = frozenset({"AU", "UA", "GC", "CG", "GU", "UG"})


def as_pairs(
    pairs: ArrayLike, *, length: int | None = None, name: str = "structure", multiplets: bool = False
) -> NDArray[np.int64]:
    """Return pairs as a sorted (n, 2) int64 array with i < j, or say which of them cannot be.

    With `multiplets`, a nucleotide may be in several pairs.

    Examples
    --------
    >>> as_pairs([(9, 0), (1, 8)])
    array([[0, 9],
           [1, 8]])
    >>> as_pairs([(0, 9), (9, 3)], name="x")
    Traceback (most recent call last):
    ValueError: 'x': nucleotide 10 is in two pairs, 1-10 and 4-10
    """
    given = np.asarray(pairs)
    if given.size == 0:
        return np.zeros((0, 2), dtype=np.int64)
    if given.ndim != 2 or given.shape[1] != 2 or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(
            f"{name!r}: pairs must be an (n, 2) array of integers, got {given.dtype} {given.shape}"
        )
    result = np.sort(given.astype(np.int64), axis=1)
    result = np.unique(result, axis=0) if multiplets else result[np.lexsort((result[:, 1], result[:, 0]))]
    outside = (result[:, 0] < 0) | (result[:, 1] >= (np.inf if length is None else length))
    if outside.any():
        i, j = result[outside][0] + 1
        where = "a sequence" if length is None else f"the sequence of {length} nucleotides"
        raise ValueError(f"{name!r}: pair {i}-{j} lies outside {where}")
    self_paired = result[:, 0] == result[:, 1]
    if self_paired.any():
        raise ValueError(f"{name!r}: nucleotide {result[self_paired][0, 0] + 1} is paired with itself")
    positions, counts = np.unique(result, return_counts=True)
    if (counts > 1).any() and not multiplets:
        position = positions[counts > 1][0]
        (a, b), (c, d) = result[(result == position).any(axis=1)][:2] + 1
        raise ValueError(f"{name!r}: nucleotide {position + 1} is in two pairs, {a}-{b} and {c}-{d}")
    return result


def pairs_from_dot_bracket(dot_bracket: str, *, name: str = "structure") -> NDArray[np.int64]:
    """Read a dot-bracket string of any bracket levels, ``() [] {} <> Aa … Zz``.

    Unpaired nucleotides are ``.`` or, as in Rfam files, one of ``, : _ - ~``.

    Returns
    -------
    ndarray of int64, shape (n, 2)

    Raises
    ------
    ValueError
        Names the position of a bracket without a partner, or of an unknown symbol.

    Examples
    --------
    >>> pairs_from_dot_bracket("((.A.))a").tolist()
    [[0, 6], [1, 5], [3, 7]]
    >>> pairs_from_dot_bracket("((..)", name="x")
    Traceback (most recent call last):
    ValueError: 'x', position 1: '(' is never closed
    """
    open_positions: dict[str, list[int]] = {}
    pairs = []
    for position, symbol in enumerate(dot_bracket):
        if symbol in OPENING:
            open_positions.setdefault(symbol, []).append(position)
        elif symbol in CLOSING:
            stack = open_positions.get(OPENING[CLOSING.index(symbol)])
            if not stack:
                raise ValueError(f"{name!r}, position {position + 1}: {symbol!r} closes nothing")
            pairs.append((stack.pop(), position))
        elif symbol not in UNPAIRED:
            raise ValueError(f"{name!r}, position {position + 1}: {symbol!r} is not a dot-bracket symbol")
    unclosed = sorted((stack[0], symbol) for symbol, stack in open_positions.items() if stack)
    if unclosed:
        position, symbol = unclosed[0]
        raise ValueError(f"{name!r}, position {position + 1}: {symbol!r} is never closed")
    return as_pairs(pairs, length=len(dot_bracket), name=name)


def to_dot_bracket(pairs: ArrayLike, length: int, *, name: str = "structure", drop: bool = False) -> str:
    """Write pairs as dot-bracket, long stems first in ``()``, crossing ones in further bracket levels.

    With `drop`, stems that need more levels than there are stay out.

    Raises
    ------
    ValueError
        If more than the 30 levels ``() [] {} <> Aa … Zz`` are needed, or pairs conflict.

    Examples
    --------
    >>> to_dot_bracket([(0, 6), (1, 5), (3, 8)], 9)
    '((.[.)).]'
    """
    pairs = as_pairs(pairs, length=length, name=name)
    stems: list[list[tuple[int, int]]] = []
    by_inner: dict[
        tuple[int, int], list[tuple[int, int]]
    ] = {}  # a stem, under the pair that would extend it inwards
    for i, j in pairs.tolist():
        stem = by_inner.pop((i, j), None)
        if stem is None:
            stem = []
            stems.append(stem)
        stem.append((i, j))
        by_inner[i + 1, j - 1] = stem
    symbols = ["."] * length
    levels: list[list[tuple[int, int]]] = []  # outermost pair of every stem of a level
    for stem in sorted(stems, key=lambda stem: (-len(stem), stem[0])):
        i, j = stem[0]
        free = (k for k, m in enumerate(levels) if not any(a < i < b < j or i < a < j < b for a, b in m))
        level = next(free, len(levels))
        if level == len(levels):
            if level == len(OPENING):
                if drop:
                    continue
                raise ValueError(f"{name!r}: pair {i + 1}-{j + 1} needs more than {level} bracket levels")
            levels.append([])
        levels[level].append((i, j))
        for a, b in stem:
            symbols[a], symbols[b] = OPENING[level], CLOSING[level]
    return "".join(symbols)
