"""Maximum-expected-accuracy decoding: the nested structure with the most expected right, and helices that cross it.

Of all nested structures, the one with the highest 2γ Σ p(i, j) over its pairs plus Σ q(i) over its unpaired
nucleotides, where q(i) = 1 − Σ_j p(i, j) (Do et al., Bioinformatics 2006; γ as in ViennaRNA's ``MEA_from_plist``). Only
pairs that gain something by themselves, or that support one that does, can be part of the best structure: the dynamic
programme visits these few, so that thousands of nucleotides take seconds.
"""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from .decoding import are_canonical, as_min_loop, as_probabilities
from .pairs import as_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Pseudoknots", "mea_pairs"]

Pseudoknots = Literal["strong", "all", "none"]

CROSSING = {"strong": (3, 0.25), "all": (2, 0.15)}
"""Which helices may cross the nested structure: fewest pairs, and least probability of each."""

FORCED = 1e6
"""Gain of a pair that has to be there: more than all others together."""


class Candidates(NamedTuple):
    """Pairs that may be taken, sorted by i and j, with what each gains over two unpaired nucleotides."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    gain: NDArray[np.float64]
    forced: NDArray[np.bool_]


def mea_pairs(
    probabilities: Any,
    sequence: str,
    *,
    gamma: float = 2.5,
    pseudoknots: Pseudoknots = "strong",
    canonical_only: bool = True,
    min_loop: int = 4,
    lonely_pairs: bool = False,
    force: ArrayLike = (),
    forbid: ArrayLike = (),
    unpaired: ArrayLike = (),
) -> NDArray[np.int64]:
    """Return the pairs with the maximum expected accuracy.

    O(n L) time and O(r²) memory for n pairs worth a look (a few a nucleotide) and r of their positions.

    Parameters
    ----------
    probabilities : array_like, shape (L, L)
        Symmetric pairing probabilities.
    sequence : str
        Upper case, with U or T.
    gamma : float
        Weight of pairs against unpaired nucleotides, above 0: higher predicts more pairs.
    pseudoknots : {"strong", "all", "none"}
        Helices added across the nested structure, between nucleotides that it leaves free: of 3 pairs or more, each
        with a probability above 0.25; of 2 pairs or more, each above 0.15; or none.
    canonical_only : bool
        Allow A-U, G-C and G-U only.
    min_loop : int
        A pair (i, j) needs j − i of at least this; 0 and 1 allow every pair.
    lonely_pairs : bool
        Allow pairs that are stacked on no other.
    force : array_like of int, shape (n, 2)
        0-based pairs that are part of the structure, whatever their probability and letters.
    forbid : array_like of int, shape (n, 2)
        Pairs that are not.
    unpaired : array_like of int, shape (n,)
        0-based positions that stay unpaired.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Sorted, i < j, no nucleotide twice.

    Raises
    ------
    ValueError
        For probabilities, a `gamma`, or constraints that cannot be; the message names them (positions from 1).

    Examples
    --------
    >>> p = np.zeros((10, 10)); p[0, 9] = p[9, 0] = 0.9; p[1, 8] = p[8, 1] = 0.8; p[2, 6] = p[6, 2] = 0.4
    >>> mea_pairs(p, "GGGAAAACCC").tolist()
    [[0, 9], [1, 8]]
    """
    if isinstance(gamma, bool) or not isinstance(gamma, Real) or not 0 < gamma < np.inf:
        raise ValueError(f"gamma={gamma!r}: expected a number above 0")
    if pseudoknots not in ("strong", "all", "none"):
        raise ValueError(f"pseudoknots={pseudoknots!r}: expected 'strong', 'all' or 'none'")
    length = len(sequence)
    p = as_probabilities(probabilities)
    if len(p) != length:
        raise ValueError(f"probabilities have shape {p.shape}, but the sequence has {length} nucleotides")
    forced = as_pairs(force, length=length, name="force")
    if pseudoknots == "none":
        check_nested(forced)
    p = allowed(p, sequence, canonical_only=canonical_only, min_loop=min_loop)
    p = constrained(p, forced, forbid=forbid, unpaired=unpaired)
    found = candidates(p, gamma, forced, lonely_pairs=lonely_pairs)
    nested = best_nested(found, length, lonely_pairs=lonely_pairs)
    pairs = np.concatenate((nested, forced)) if len(forced) else nested
    pairs = as_pairs(np.unique(pairs, axis=0))
    if pseudoknots == "none":
        return pairs
    return as_pairs(np.concatenate((pairs, crossing_helices(p, pairs, *CROSSING[pseudoknots]))))


def allowed(
    probabilities: NDArray[np.floating], sequence: str, *, canonical_only: bool = True, min_loop: int = 4
) -> NDArray[np.float64]:
    """Return a copy of the probabilities, 0 where no pair is allowed, in double precision."""
    p = np.array(np.clip(probabilities, 0, 1), dtype=np.float64)
    if canonical_only:
        position = np.arange(len(p))
        p[~are_canonical(sequence, position[:, None], position[None, :])] = 0
    near = max(1, as_min_loop(min_loop))
    for distance in range(min(near, len(p))):
        at = np.arange(len(p) - distance)
        p[at, at + distance] = p[at + distance, at] = 0
    return p


def constrained(
    p: NDArray[np.float64], forced: NDArray[np.int64], *, forbid: ArrayLike = (), unpaired: ArrayLike = ()
) -> NDArray[np.float64]:
    """Set to 0, in place, what constraints exclude; raise ValueError for constraints that exclude each other."""
    length = len(p)
    forbidden = as_pairs(forbid, length=length, name="forbid", multiplets=True)
    if both := {*map(tuple, forced.tolist())} & {*map(tuple, forbidden.tolist())}:
        i, j = min(both)
        raise ValueError(f"pair {i + 1}-{j + 1} is both forced and forbidden")
    free = np.asarray(unpaired)
    if free.size and (free.ndim != 1 or not np.issubdtype(free.dtype, np.integer)):
        raise ValueError("unpaired: expected whole numbers, the 0-based positions that stay unpaired")
    free = free.astype(np.int64)
    if outside := [k for k in free.tolist() if not 0 <= k < length]:
        raise ValueError(
            f"unpaired: position {outside[0] + 1} lies outside the sequence of {length} nucleotides"
        )
    if clash := sorted({*free.tolist()} & {*forced.ravel().tolist()}):
        raise ValueError(f"position {clash[0] + 1} is both forced to pair and to stay unpaired")
    p[forbidden[:, 0], forbidden[:, 1]] = p[forbidden[:, 1], forbidden[:, 0]] = 0
    for positions in (free, forced.ravel()):
        p[positions] = 0
        p[:, positions] = 0
    return p


def check_nested(forced: NDArray[np.int64]) -> None:
    """Raise ValueError for forced pairs that cross, naming two."""
    for i, j in forced.tolist():
        for a, b in forced.tolist():
            if i < a < j < b:
                raise ValueError(
                    f"forced pairs {i + 1}-{j + 1} and {a + 1}-{b + 1} cross, and pseudoknots are switched off"
                )


def candidates(
    p: NDArray[np.float64], gamma: float, forced: NDArray[np.int64], *, lonely_pairs: bool
) -> Candidates:
    """Return the pairs that the best structure can hold.

    A pair that gains nothing is never worth it by itself. Where no pair may stand alone, it can be worth it beside one
    that gains: a longer row of such pairs could be cut.
    """
    q = np.maximum(0, 1 - p.sum(axis=1))
    i, j = np.nonzero(np.triu(2 * gamma * p > q[:, None] + q[None, :], 1))
    if not lonely_pairs:
        beside = []
        for step in (-1, 1):
            a, b = i + step, j - step
            inside = (a >= 0) & (b < len(p)) & (a < b)
            beside.append((a[inside], b[inside]))
        i, j = (
            np.concatenate((own, *others))
            for own, others in zip((i, j), zip(*beside, strict=True), strict=True)
        )
        i, j = i[p[i, j] > 0], j[p[i, j] > 0]
    keys = np.unique(np.concatenate((i * len(p) + j, forced @ [len(p), 1])).astype(np.int64))
    i, j = np.divmod(keys, max(1, len(p)))
    is_forced = np.isin(keys, forced @ [len(p), 1])
    gain = 2 * gamma * p[i, j] - q[i] - q[j] + FORCED * is_forced
    return Candidates(i, j, gain, is_forced)


def best_nested(found: Candidates, length: int, *, lonely_pairs: bool) -> NDArray[np.int64]:
    """Return the nested subset of the candidates with the highest sum of gains, by dynamic programming.

    ``rows[i][c]`` is the best gain from position i on, of pairs that end at one of the first c right ends; a row that
    equals the one below it is not stored again. A stack's value is the best for a pair under another pair; `start` the
    best for the outermost pair of a helix, which has to have a second pair unless lonely ones are allowed.
    """
    rights = np.unique(found.j)
    column = np.searchsorted(rights, np.arange(length + 2))  # how many right ends lie below a position
    index = {pair: n for n, pair in enumerate(zip(found.i.tolist(), found.j.tolist(), strict=True))}
    gain, is_forced = found.gain.tolist(), found.forced.tolist()
    stack, start = [0.0] * len(gain), [0.0] * len(gain)
    by_left: dict[int, list[tuple[int, int]]] = {}
    for (i, j), n in index.items():
        by_left.setdefault(i, []).append((j, n))
    rows = [np.zeros(len(rights) + 1)] * (length + 2)
    for i in range(length - 1, -1, -1):
        rows[i] = rows[i + 1]
        if i not in by_left:
            continue
        row = rows[i + 1].copy()
        for j, n in by_left[i]:
            inner = index.get((i + 1, j - 1))
            below = -np.inf if inner is None else stack[inner]
            stack[n] = gain[n] + max(float(rows[i + 1][column[j]]), below)
            start[n] = stack[n] if lonely_pairs or is_forced[n] else gain[n] + below
            c = column[j + 1]
            if start[n] > 0:
                np.maximum(row[c:], start[n] + rows[j + 1][c:], out=row[c:])
        rows[i] = row
    pairs = []
    waiting: list[tuple[str, int, int]] = [("open", 0, length)]
    while waiting:
        kind, i, k = waiting.pop()
        if kind == "open":  # from i on, below k
            c = column[k]
            while i < k and rows[i][c] == rows[i + 1][c]:
                i += 1
            if i >= k:
                continue
            value = rows[i][c]
            j, n = next(
                (j, n) for j, n in by_left[i] if j < k and start[n] > 0 and start[n] + rows[j + 1][c] == value
            )
            waiting += [("open", j + 1, k), ("start", i, j)]
            continue
        n = index[i, k]
        pairs.append((i, k))
        inner = index.get((i + 1, k - 1))
        within = float(rows[i + 1][column[k]])
        must_stack = kind == "start" and not lonely_pairs and not is_forced[n]
        if inner is not None and (must_stack or stack[inner] > within):
            waiting.append(("stack", i + 1, k - 1))
        else:
            waiting.append(("open", i + 1, k))
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def crossing_helices(
    p: NDArray[np.float64], pairs: NDArray[np.int64], fewest: int, least: float
) -> NDArray[np.int64]:
    """Return pairs of helices that cross a structure and use none of its nucleotides, the most probable helix first.

    Parameters
    ----------
    p : ndarray, shape (L, L)
        Probabilities, 0 where no pair is allowed.
    pairs : ndarray of int64, shape (n, 2)
    fewest : int
        Pairs of a helix.
    least : float
        Probability that each of its pairs exceeds.
    """
    if not len(pairs):
        return np.zeros((0, 2), dtype=np.int64)
    free = np.ones(len(p), dtype=bool)
    free[pairs.ravel()] = False
    added: list[tuple[int, int]] = []
    i, j = np.nonzero(np.triu(p > least, 1) & free[:, None] & free[None, :])
    crosses = ((pairs[:, 0] < i[:, None]) & (i[:, None] < pairs[:, 1])) != (
        (pairs[:, 0] < j[:, None]) & (j[:, None] < pairs[:, 1])
    )
    left = {
        pair
        for pair, found in zip(zip(i.tolist(), j.tolist(), strict=True), crosses.any(axis=1), strict=True)
        if found
    }
    while left:
        helices = []
        for a, b in left:
            if (a - 1, b + 1) in left:
                continue
            helix = [(a, b)]
            while (helix[-1][0] + 1, helix[-1][1] - 1) in left:
                helix.append((helix[-1][0] + 1, helix[-1][1] - 1))
            if len(helix) >= fewest:
                helices.append((-sum(p[pair] for pair in helix), helix))
        if not helices:
            break
        _, best = min(helices)
        added += best
        taken = {position for pair in best for position in pair}
        left = {pair for pair in left if not taken & {*pair}}
    return np.array(sorted(added), dtype=np.int64).reshape(-1, 2)
