"""How far a predicted structure can be trusted: the F1 to expect of it, learned from validation structures.

Pairing probabilities tell what F1 the model itself expects. What it got for structures it was not trained on tells
how to calibrate that expectation; the calibration, an increasing line through a few points, is kept with the model.
Not in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..metrics import structure_scores
from ..rna.decoding import as_probabilities
from ..rna.pairs import as_pairs
from ..structure import Structure

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Calibration", "apply_calibration", "calibrate", "expected_f1", "reliability"]

Calibration = tuple[tuple[float, float], ...]
"""Points (expectation of the model, F1 seen), both rising."""


def expected_f1(probabilities: ArrayLike, pairs: ArrayLike) -> float:
    """Return the F1 that probabilities promise for some pairs: 2 Σ p(predicted) / (number predicted + Σ p(all)).

    The numerator holds the true pairs to expect among those predicted, the denominator those predicted and those there
    are. 0 without pairs.

    Parameters
    ----------
    probabilities : array_like, shape (L, L)
        Symmetric.
    pairs : array_like of int, shape (n, 2)

    Raises
    ------
    ValueError
        For a value that is not a probability, or a pair that is not in such a sequence.

    Examples
    --------
    >>> p = np.zeros((9, 9)); p[0, 8] = p[8, 0] = 0.9
    >>> round(expected_f1(p, [(0, 8)]), 3)
    0.947
    """
    found = as_probabilities(probabilities)
    return promised_f1(found, as_pairs(pairs, length=len(found), name="pairs"))


def promised_f1(probabilities: NDArray[np.floating], pairs: NDArray[np.int64]) -> float:
    """Compute :func:`expected_f1` of what was looked at before."""
    if not len(pairs):
        return 0.0
    there = float(np.triu(probabilities, 4).sum(dtype=np.float64))
    found = float(probabilities[pairs[:, 0], pairs[:, 1]].sum(dtype=np.float64))
    return 2 * found / (len(pairs) + there)


def calibrate(expected: ArrayLike, observed: ArrayLike, *, points: int = 10) -> Calibration:
    """Fit the reading: structures sorted by expectation, in groups of one size, the mean F1 of each made to rise.

    Parameters
    ----------
    expected, observed : array_like of float, shape (n,)
        :func:`expected_f1` and the F1 that was seen, of validation structures.
    points : int
        Groups.

    Raises
    ------
    ValueError
        If there are not as many of each, or one is not a number from 0 to 1.

    Examples
    --------
    >>> calibrate([0.1, 0.2, 0.8, 0.9], [0.0, 0.2, 0.5, 0.7], points=2)
    ((0.15, 0.1), (0.85, 0.6))
    """
    expected, observed = np.asarray(expected, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if expected.shape != observed.shape or expected.ndim != 1:
        raise ValueError(f"{expected.shape} expectations, {observed.shape} F1: expected as many of each")
    if not all(((one >= 0) & (one <= 1)).all() for one in (expected, observed)):
        raise ValueError("an expectation or F1 is not a number from 0 to 1")
    order = np.argsort(expected, kind="stable")
    groups = [group for group in np.array_split(order, points) if len(group)]
    pooled: list[list[float]] = []  # mean expectation, mean F1, size: neighbours that fall are pooled
    for group in groups:
        pooled.append([expected[group].mean(), observed[group].mean(), len(group)])
        while len(pooled) > 1 and pooled[-1][1] <= pooled[-2][1]:
            (x1, y1, n1), (x2, y2, n2) = pooled.pop(-2), pooled.pop()
            pooled.append([(x1 * n1 + x2 * n2) / (n1 + n2), (y1 * n1 + y2 * n2) / (n1 + n2), n1 + n2])
    return tuple((round(float(x), 4), round(float(y), 4)) for x, y, _ in pooled)


def apply_calibration(calibration: Calibration, expected: float) -> float:
    """Read an expectation off: straight lines between the points, and from (0, 0) to the first.

    No confidence is above the F1 of the last point.

    Examples
    --------
    >>> apply_calibration(((0.2, 0.1), (0.8, 0.7)), 0.5), apply_calibration(((0.2, 0.1), (0.8, 0.7)), 0.1)
    (0.4, 0.05)
    """
    x, y = zip((0.0, 0.0), *calibration, strict=True)
    return round(float(np.interp(expected, x, y)), 4)


def reliability(
    predicted: Sequence[Structure], targets: Sequence[Structure], *, bins: int = 5
) -> pd.DataFrame:
    """Compare confidence with the measured F1, in groups of one size.

    Parameters
    ----------
    predicted : sequence of Structure
        From :func:`rinalmo_kit.fold`, with their confidence.
    targets : sequence of Structure

    Returns
    -------
    pandas.DataFrame
        One row a group: ``confidence`` and ``f1``, their means, and ``n``.
    """
    import pandas as pd

    confidence = np.array([s.confidence for s in predicted], dtype=np.float64)
    f1 = np.array([structure_scores(t, s).f1 for t, s in zip(targets, predicted, strict=True)])
    groups = np.array_split(np.argsort(confidence, kind="stable"), bins)
    rows = [(confidence[g].mean(), f1[g].mean(), len(g)) for g in groups if len(g)]
    return pd.DataFrame(rows, columns=["confidence", "f1", "n"])
