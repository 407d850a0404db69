"""Secondary structures: the Structure object, dot-bracket, and decoding of pair probabilities.

Pairs are an (n, 2) int64 array of 0-based positions, i < j, sorted; files and error messages count
from 1, as biologists do. Text formats with their readers and writers are in :mod:`rinalmo_kit.formats`.
"""

from __future__ import annotations

import copy
import operator
import os
import warnings
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Any

import numpy as np

from .tokens import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Structure",
    "decode",
    "greedy_pairs",
    "pairs_from_dot_bracket",
    "to_dot_bracket",
]

OPENING = "([{<" + ascii_uppercase
CLOSING = ")]}>" + ascii_lowercase
UNPAIRED = ".,:_-~"
CANONICAL = frozenset({"AU", "UA", "GC", "CG", "GU", "UG"})


@dataclass(frozen=True, eq=False)
class Structure:
    """An RNA with its base pairs.

    Parameters
    ----------
    sequence : str
        Nucleotides; stored in upper case with U.
    pairs : array_like of int, shape (n, 2)
        0-based positions, in any order; stored with i < j and sorted.
    name : str
        Name of the record.
    probabilities : array_like of float, shape (L, L), optional
        Symmetric pairing probabilities the pairs were decoded from.
    confidence : float, optional
        F1 to expect of the pairs, from a model that was calibrated (:mod:`rinalmo_kit.confidence`).

    Raises
    ------
    ValueError
        If a position lies outside the sequence, a nucleotide is in two pairs, or a probability is none.

    Examples
    --------
    >>> s = Structure("GGGAAAACCC", [(0, 9), (1, 8), (2, 7)], name="hairpin")
    >>> print(s)
    >hairpin
    GGGAAAACCC
    (((....)))
    >>> s.pairs[0]
    array([0, 9])
    """

    sequence: str
    pairs: NDArray[np.int64]
    name: str = "sequence"
    probabilities: NDArray[np.floating] | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        sequence = clean(self.sequence, name=self.name)
        object.__setattr__(self, "sequence", sequence)
        object.__setattr__(self, "pairs", as_pairs(self.pairs, length=len(sequence), name=self.name))
        if self.probabilities is not None:
            if (shape := tuple(np.shape(self.probabilities))) != (len(sequence), len(sequence)):
                raise ValueError(
                    f"{self.name!r}: probabilities have shape {shape}, the sequence has {len(sequence)} nucleotides"
                )
            found = as_probabilities(self.probabilities, name=self.name)
            object.__setattr__(self, "probabilities", found)

    @classmethod
    def from_dot_bracket(cls, sequence: str, dot_bracket: str, *, name: str = "sequence") -> Structure:
        """Make a structure from a dot-bracket string of the sequence's length.

        Examples
        --------
        >>> Structure.from_dot_bracket("GGCAAAGCC", "((.[..)])").pairs.tolist()
        [[0, 8], [1, 6], [3, 7]]
        """
        sequence, dot_bracket = clean(sequence, name=name), "".join(dot_bracket.split())
        if len(sequence) != len(dot_bracket):
            raise ValueError(
                f"{name!r}: the sequence has {len(sequence)} nucleotides, the dot-bracket {len(dot_bracket)} symbols"
            )
        return cls(sequence, pairs_from_dot_bracket(dot_bracket, name=name), name=name)

    @property
    def dot_bracket(self) -> str:
        """Dot-bracket string; pseudoknots use ``[] {} <>`` and then ``Aa Bb …``."""
        return to_dot_bracket(self.pairs, len(self.sequence), name=self.name)

    @property
    def partner(self) -> NDArray[np.int64]:
        """(L,) partner of every nucleotide, −1 where unpaired."""
        partner = np.full(len(self), -1, dtype=np.int64)
        partner[self.pairs[:, 0]], partner[self.pairs[:, 1]] = self.pairs[:, 1], self.pairs[:, 0]
        return partner

    def __len__(self) -> int:
        return len(self.sequence)

    def __eq__(self, other: object) -> bool:
        """Equal if name-independent content is: the sequence and the pairs."""
        if not isinstance(other, Structure):
            return NotImplemented
        return self.sequence == other.sequence and np.array_equal(self.pairs, other.pairs)

    __hash__ = None

    def __str__(self) -> str:
        return f">{self.name}\n{self.sequence}\n{self.dot_bracket}"

    def __repr__(self) -> str:
        return f"<Structure {self.name!r}: {len(self)} nt, {len(self.pairs)} pairs>"

    def _repr_html_(self) -> str:
        from .plot import structure_html

        return structure_html(self)

    def plot(self, *, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the structure; see :func:`rinalmo_kit.plot.structure`."""
        from .plot import structure

        return structure(self, ax=ax, **options)

    def write(self, path: str | os.PathLike) -> Path:
        """Write to a file; the ending chooses the format (see :func:`rinalmo_kit.formats.write_structures`)."""
        from .formats import write_structures

        return write_structures([self], path)


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
    by_inner = {}  # a stem, under the pair that would extend it inwards
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


def greedy_pairs(
    probabilities: Any,
    sequence: str,
    *,
    threshold: float,
    canonical_only: bool = True,
    min_loop: int = 4,
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Greedy pass over the probability matrix: the pairs in the order of acceptance, and their probabilities.

    The most probable pair is accepted, its two nucleotides leave the competition, and so on (paper,
    "Secondary structure prediction"; spec §4.1). A higher threshold accepts a prefix of the same list,
    so one pass at the lowest threshold serves all of them. Arguments are those of :func:`decode`.

    Returns
    -------
    pairs : ndarray of int64, shape (n, 2)
    probabilities : ndarray, shape (n,)
        Not increasing, in the dtype of the input.
    """
    threshold, least = as_threshold(threshold), max(1, as_min_loop(min_loop))
    if (shape := tuple(np.shape(probabilities))) != (len(sequence), len(sequence)):
        raise ValueError(
            f"probabilities have shape {shape}, but the sequence has {len(sequence)} nucleotides"
        )
    p = as_probabilities(probabilities)
    i, j = np.divmod(np.flatnonzero(p > p.dtype.type(threshold)), len(p))
    far = j - i >= min(least, len(p))
    i, j = i[far], j[far]
    if canonical_only:
        if any(c.islower() for c in sequence):
            warnings.warn(
                "lower-case letters never pair in decode, as in the official decoder; "
                "pass an upper-case sequence (fold does)",
                stacklevel=3,
            )
        letters = np.frombuffer(sequence.replace("T", "U").encode("ascii", "replace"), dtype=np.uint8)
        canonical = np.zeros((256, 256), dtype=bool)
        for a, b in CANONICAL:
            canonical[ord(a), ord(b)] = True
        keep = canonical[letters[i], letters[j]]
        i, j = i[keep], j[keep]
    values = p[i, j]
    order = np.argsort(-values, kind="stable")  # ties: smallest i, then smallest j, as np.argmax
    i, j, values = i[order], j[order], values[order]
    # Equivalent to taking one maximum after another: every candidate that comes first at both of its
    # nucleotides is accepted, what conflicts with it goes, and the rest is looked at again.
    accepted = []
    rank = np.arange(len(values))
    while len(rank):
        first = np.full(len(p), len(values))
        np.minimum.at(first, i[rank], rank)
        np.minimum.at(first, j[rank], rank)
        best = rank[(first[i[rank]] == rank) & (first[j[rank]] == rank)]
        accepted.append(best)
        taken = np.zeros(len(p), dtype=bool)
        taken[i[best]] = taken[j[best]] = True
        rank = rank[~(taken[i[rank]] | taken[j[rank]])]
    chosen = np.sort(np.concatenate(accepted)) if accepted else rank
    return np.stack((i[chosen], j[chosen]), axis=1), values[chosen]


def decode(
    probabilities: Any,
    sequence: str,
    *,
    threshold: float,
    canonical_only: bool = True,
    min_loop: int = 4,
) -> NDArray[np.int64]:
    """Turn pairing probabilities into base pairs as the official decoder does (spec §4.1).

    Parameters
    ----------
    probabilities : ndarray or Tensor, shape (L, L)
        Symmetric; compared with the threshold in its own precision. It is not changed.
    sequence : str
        Upper case; T counts as U. Lower-case letters never pair, as in the official decoder (a warning
        says so), and neither do ambiguity codes.
    threshold : float
        From 0 to 1; a pair needs a probability strictly above it.
    canonical_only : bool
        Allow A-U, G-C and G-U only.
    min_loop : int
        Pairs with j − i < `min_loop` are not allowed; 0 and 1 allow every hairpin.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Sorted, 0-based, i < j, no nucleotide twice. Pseudoknots can occur.

    Raises
    ------
    ValueError
        If the matrix is not (L, L), not symmetric, or holds anything but numbers from 0 to 1 (the message gives the
        place); or for a threshold or `min_loop` that cannot be.

    Examples
    --------
    >>> p = np.zeros((8, 8)); p[0, 7] = p[7, 0] = 0.9; p[1, 7] = p[7, 1] = 0.8
    >>> decode(p, "GGAAAACC", threshold=0.5)
    array([[0, 7]])
    """
    pairs, _ = greedy_pairs(
        probabilities, sequence, threshold=threshold, canonical_only=canonical_only, min_loop=min_loop
    )
    return as_pairs(pairs)


def as_threshold(threshold: Any, *, name: str = "threshold") -> float:
    """Return a threshold of probabilities as a float, or say why it is none.

    Examples
    --------
    >>> as_threshold(1)
    1.0
    >>> as_threshold(float("nan"))
    Traceback (most recent call last):
    ValueError: threshold=nan: expected a number from 0 to 1
    """
    value = threshold.item() if getattr(threshold, "ndim", None) == 0 else threshold  # of numpy or torch
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        raise ValueError(f"{name}={threshold!r}: expected a number from 0 to 1")
    return float(value)


def as_min_loop(min_loop: Any) -> int:
    """Return the least j − i of a pair as an int, or say why it is none.

    Examples
    --------
    >>> as_min_loop(2.5)
    Traceback (most recent call last):
    ValueError: min_loop=2.5: expected a whole number, 0 or more
    """
    try:
        value = -1 if isinstance(min_loop, bool | np.bool_) else operator.index(min_loop)
    except TypeError:
        value = -1
    if value < 0:
        raise ValueError(f"min_loop={min_loop!r}: expected a whole number, 0 or more")
    return value


def as_probabilities(probabilities: Any, *, name: str = "", symmetric: bool = True) -> NDArray[np.floating]:
    """Return a matrix of pairing probabilities as an array, or say what is wrong with it, and where.

    Numbers a rounding error (10⁻⁶) outside 0 to 1 are kept as they are.

    Examples
    --------
    >>> as_probabilities([[0, 2], [2, 0]], name="x")
    Traceback (most recent call last):
    ValueError: 'x': p[0, 1] = 2 is no probability: expected a number from 0 to 1
    """
    where = f"{name!r}: " if name else ""
    if hasattr(probabilities, "detach"):
        probabilities = probabilities.detach().cpu()
        if not hasattr(np, str(probabilities.dtype).removeprefix("torch.")):  # bfloat16: numpy has none
            probabilities = probabilities.float()
    p = np.asarray(probabilities)
    if p.size and p.dtype.kind not in "fiu":
        raise ValueError(f"{where}probabilities are of type {p.dtype}: expected numbers from 0 to 1")
    if p.dtype.kind != "f":
        p = p.astype(np.float64)
    if p.ndim != 2 or p.shape[0] != p.shape[1]:
        raise ValueError(f"{where}probabilities have shape {p.shape}, expected (L, L)")
    if symmetric and not np.array_equal(p, p.T):
        close = np.isclose(p, p.T)
        if not close.all():
            i, j = np.argwhere(~close)[0]
            raise ValueError(
                f"{where}probabilities are not symmetric, or NaN: "
                f"p[{i}, {j}] = {p[i, j]:.6g}, p[{j}, {i}] = {p[j, i]:.6g}"
            )
    if p.size and not (p.min() >= -1e-6 and p.max() <= 1 + 1e-6):
        i, j = np.argwhere(~((p >= -1e-6) & (p <= 1 + 1e-6)))[0]
        raise ValueError(
            f"{where}p[{i}, {j}] = {p[i, j]:.6g} is no probability: expected a number from 0 to 1"
        )
    return p


def with_probabilities(
    s: Structure, probabilities: NDArray[np.floating], confidence: float | None = None
) -> Structure:
    """Return a structure with probabilities that are known to be right; the constructor would look at each of them."""
    made = copy.copy(s)
    object.__setattr__(made, "probabilities", probabilities)
    object.__setattr__(made, "confidence", confidence)
    return made
