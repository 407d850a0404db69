"""Decoding of base pairs from a matrix of pairing probabilities."""

from __future__ import annotations

import operator
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.warn import warn_user
from .pairs import CANONICAL, as_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["decode", "greedy_pairs"]


def greedy_pairs(
    probabilities: Any,
    sequence: str,
    *,
    threshold: float,
    canonical_only: bool = True,
    min_loop: int = 4,
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return the pairs of a greedy pass over the probabilities, in order of acceptance, and their probabilities.

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
            warn_user(
                "lower-case letters never pair in decode, as in the official decoder; "
                "pass an upper-case sequence (fold does)"
            )
        keep = are_canonical(sequence, i, j)
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


def are_canonical(sequence: str, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs of positions hold A-U, G-C or G-U; T counts as U, lower case as no nucleotide.

    Examples
    --------
    >>> are_canonical("GAUT", np.array([0, 1, 0]), np.array([2, 3, 1])).tolist()
    [True, True, False]
    """
    letters = np.frombuffer(sequence.replace("T", "U").encode("ascii", "replace"), dtype=np.uint8)
    canonical = np.zeros((256, 256), dtype=bool)
    for pair in CANONICAL:
        canonical[ord(pair[0]), ord(pair[1])] = True
    return canonical[letters[i], letters[j]]


def decode(
    probabilities: Any,
    sequence: str,
    *,
    threshold: float,
    canonical_only: bool = True,
    min_loop: int = 4,
) -> NDArray[np.int64]:
    """Decode pairing probabilities into base pairs as the official decoder does (spec §4.1).

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
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
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
    ValueError: 'x': p[0, 1] = 2 is not a probability: expected a number from 0 to 1
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
            f"{where}p[{i}, {j}] = {p[i, j]:.6g} is not a probability: expected a number from 0 to 1"
        )
    return p
