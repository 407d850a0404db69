"""Scores of predictions as the paper reports them (Methods; spec §4.2, §4.3, §5), and their uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._utils.given import same_length
from ._utils.shown import short_repr
from .rna.decoding import as_threshold
from .rna.folded import FoldedRNA
from .rna.pairs import as_pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "METRIC_NAMES",
    "THRESHOLDS",
    "StructureScores",
    "binary_scores",
    "bootstrap_intervals",
    "matthews_correlation",
    "mean_scores",
    "multiclass_scores",
    "regression_scores",
    "structure_scores",
    "threshold_scores",
    "tune_threshold",
]

THRESHOLDS = tuple(i / 100 for i in range(1, 30))
"""Candidates of threshold tuning, 0.01 … 0.29 (spec §4.3)."""

METRIC_NAMES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "f1_strict": "strict F1",
    "inf": "INF",
    "r2": "R²",
    "spearman": "Spearman's ρ",
}
"""Metric in a table of scores → its name in print."""


class StructureScores(NamedTuple):
    """Scores of one structure or their mean; INF is the geometric mean of precision and recall."""

    precision: float
    recall: float
    f1: float
    inf: float

    def __repr__(self) -> str:
        return short_repr(self, self._fields)


def _from_rates(precision: Any, recall: Any) -> tuple[Any, Any]:
    """Return F1 and INF from precision and recall; F1 is 0 where their sum is below 1e-5, as in the official code."""
    total = np.asarray(precision) + recall
    f1 = np.where(total < 1e-5, 0.0, 2 * precision * recall / np.maximum(total, 1e-5))
    return f1, np.sqrt(np.asarray(precision) * recall)


def _pairs(structure: FoldedRNA | ArrayLike) -> NDArray[np.int64]:
    return structure.pairs if isinstance(structure, FoldedRNA) else as_pairs(structure, multiplets=True)


def _near(pairs: NDArray[np.int64], others: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
    """Return the index of the first of `others` within `shift` of each pair at one of its ends; len(others) if none."""
    width = max(pairs.max(initial=0), others.max(initial=0)) + 2 * shift + 2
    first = np.full(len(pairs), len(others))
    if not len(others):
        return first
    codes = others[:, 0] * width + others[:, 1] + shift  # shifted so that j − shift stays in its row
    order = np.argsort(codes)
    codes = codes[order]
    offsets = range(-shift, shift + 1)
    for di, dj in {(d, 0) for d in offsets} | {(0, d) for d in offsets}:
        wanted = (pairs[:, 0] + di) * width + pairs[:, 1] + dj + shift
        at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        found = codes[at] == wanted
        first[found] = np.minimum(first[found], order[at[found]])
    return first


def structure_scores(
    target: FoldedRNA | ArrayLike, predicted: FoldedRNA | ArrayLike, *, shift: int = 1
) -> StructureScores:
    """Compute precision, recall, F1 and INF of predicted base pairs, tolerant to a shift of one nucleotide.

    A predicted pair (i, j) is right if (i, j), (i ± 1, j) or (i, j ± 1) is in the target; a target pair is
    found by the same rule. Two structures without pairs score 0, as in the official code.

    Parameters
    ----------
    target, predicted : Structure or array_like, shape (n, 2)
        0-based pairs; a nucleotide may be in several of them.
    shift : int
        0 for strict scores; the paper and the field report 1.

    Raises
    ------
    ValueError
        If both are structures and their sequences differ in length.

    Examples
    --------
    >>> structure_scores([(0, 20), (1, 19)], [(0, 19), (3, 17)])
    StructureScores(precision=0.5, recall=1.0, f1=0.667, inf=0.707)
    >>> structure_scores([(0, 20), (1, 19)], [(0, 19), (3, 17)], shift=0).f1
    0.0
    """
    if isinstance(target, FoldedRNA) and isinstance(predicted, FoldedRNA) and len(target) != len(predicted):
        raise ValueError(
            f"target {target.name!r} has {len(target)} nucleotides, prediction {predicted.name!r} {len(predicted)}"
        )
    target, predicted = _pairs(target), _pairs(predicted)
    precision = float((_near(predicted, target, shift) < len(target)).sum() / max(len(predicted), 1))
    recall = float((_near(target, predicted, shift) < len(predicted)).sum() / max(len(target), 1))
    f1, inf = _from_rates(precision, recall)
    return StructureScores(precision, recall, float(f1), float(inf))


def matthews_correlation(
    target: FoldedRNA | ArrayLike,
    predicted: FoldedRNA | ArrayLike,
    *,
    length: int | None = None,
    shift: int = 1,
) -> float:
    """Compute Matthews' correlation coefficient of predicted base pairs over all pairs of positions.

    (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)) (Matthews 1975), of L(L − 1)/2 possible pairs. TP and FP are
    the predicted pairs that are right and wrong, FN the target pairs that are not found, as in
    :func:`structure_scores`. For long RNAs it comes close to INF (Gorodkin et al. 2001). 0 where it is undefined.

    Parameters
    ----------
    target, predicted : Structure or array_like, shape (n, 2)
    length : int, optional
        L; of a Structure it is known.
    shift : int
        0 for strict.

    Examples
    --------
    >>> matthews_correlation([(0, 20), (1, 19)], [(0, 20), (3, 17)], length=30, shift=0)
    0.4976905311778291
    """
    if length is None:
        if not isinstance(target, FoldedRNA):
            raise ValueError("length: expected the number of nucleotides beside an array of pairs")
        length = len(target)
    target, predicted = _pairs(target), _pairs(predicted)
    right = int((_near(predicted, target, shift) < len(target)).sum())
    missed = len(target) - int((_near(target, predicted, shift) < len(predicted)).sum())
    wrong = len(predicted) - right
    absent = length * (length - 1) // 2 - right - wrong - missed
    product = (right + wrong) * (right + missed) * (absent + wrong) * (absent + missed)
    return (right * absent - wrong * missed) / product**0.5 if product > 0 else 0.0


def mean_scores(
    scores: Iterable[StructureScores], *, lengths: Sequence[int] | None = None
) -> StructureScores:
    """Compute the mean over structures; with `lengths`, weighted by them (the paper's Supplementary Table S2).

    Examples
    --------
    >>> one, none = StructureScores(1.0, 1.0, 1.0, 1.0), StructureScores(0.0, 0.0, 0.0, 0.0)
    >>> mean_scores([one, none]).f1, mean_scores([one, none], lengths=[30, 10]).f1
    (0.5, 0.75)
    """
    table = np.asarray(list(scores), dtype=np.float64).reshape(-1, 4)
    if not len(table):
        raise ValueError("no scores to average")
    return StructureScores(*np.average(table, axis=0, weights=lengths).tolist())


def threshold_scores(
    target: FoldedRNA | ArrayLike,
    pairs: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    shift: int = 1,
) -> NDArray[np.float64]:
    """Compute the scores of one prediction at many thresholds from a single greedy pass.

    Parameters
    ----------
    target : Structure or array_like, shape (n, 2)
    pairs, probabilities : ndarray
        From :func:`rinalmo_kit.rna.decoding.greedy_pairs` at the lowest threshold or below it.
    thresholds : sequence of float

    Returns
    -------
    ndarray of float64, shape (len(thresholds), 4)
        Columns as in :class:`StructureScores`.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.dtype.kind != "f" or not ((probabilities >= -1e-6) & (probabilities <= 1 + 1e-6)).all():
        raise ValueError(f"probabilities of type {probabilities.dtype}: expected numbers from 0 to 1")
    thresholds = [as_threshold(one) for one in thresholds]
    target = _pairs(target)
    kept = (probabilities[None] > np.asarray(thresholds, dtype=probabilities.dtype)[:, None]).sum(axis=1)
    right = np.concatenate(([0], np.cumsum(_near(pairs, target, shift) < len(target))))
    # pairs are in the order of acceptance, so a target pair is found by every prefix that reaches its first match
    found = np.searchsorted(np.sort(_near(target, pairs, shift)), kept)
    precision, recall = right[kept] / np.maximum(kept, 1), found / max(len(target), 1)
    return np.stack((precision, recall, *_from_rates(precision, recall)), axis=1)


def tune_threshold(
    tables: Sequence[NDArray[np.float64]], thresholds: Sequence[float] = THRESHOLDS
) -> tuple[float, NDArray[np.float64]]:
    """Return the best threshold for the mean F1 over structures; the lowest of equals.

    Parameters
    ----------
    tables : sequence of ndarray, shape (len(thresholds), 4)
        One :func:`threshold_scores` per structure.

    Returns
    -------
    threshold : float
    means : ndarray, shape (len(thresholds), 4)
    """
    means = np.mean(np.asarray(tables), axis=0)
    return float(thresholds[int(np.argmax(means[:, 2]))]), means


def binary_scores(targets: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Compute accuracy, precision, recall, specificity and F1 of yes-or-no predictions (spec §5, splice).

    The official code rounds each to a hundredth of a per cent and takes F1 from the rounded ones; here nothing
    is rounded. A rate without cases is 0.

    Parameters
    ----------
    targets, predicted : array_like of bool or 0/1, shape (n,)

    Examples
    --------
    >>> binary_scores([1, 1, 0, 0], [1, 0, 0, 0])["f1"]
    0.6666666666666666
    """
    targets, predicted = np.asarray(targets), np.asarray(predicted)
    same_length(targets, predicted)
    if bad := [value for value in (*targets, *predicted) if value not in (0, 1)]:
        raise ValueError(f"expected True and False, or 1 and 0, found {bad[0]!r}")
    targets, predicted = targets.astype(bool), predicted.astype(bool)
    right, wrong = targets == predicted, targets != predicted
    precision = float((right & predicted).sum() / max(predicted.sum(), 1))
    recall = float((right & targets).sum() / max(targets.sum(), 1))
    return {
        "accuracy": float(right.mean()),
        "precision": precision,
        "recall": recall,
        "specificity": float((right & ~targets).sum() / max((~targets).sum(), 1)),
        "f1": float(2 * (right & targets).sum() / max(2 * (right & targets).sum() + wrong.sum(), 1)),
    }


def multiclass_scores(targets: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Compute accuracy, and F1 averaged over the classes by their number of targets (spec §5, ncRNA).

    Examples
    --------
    >>> multiclass_scores(["tRNA", "tRNA", "5S"], ["tRNA", "5S", "5S"])
    {'accuracy': 0.6666666666666666, 'f1': 0.6666666666666666}
    """
    targets, predicted = np.asarray(targets), np.asarray(predicted)
    same_length(targets, predicted)
    classes, codes = np.unique(np.concatenate((targets, predicted)), return_inverse=True)
    targets, predicted = codes[: len(targets)], codes[len(targets) :]
    right = targets == predicted
    counts, found, hits = (
        np.bincount(one, minlength=len(classes)) for one in (targets, predicted, targets[right])
    )
    f1 = 2 * hits / np.maximum(counts + found, 1)
    return {"accuracy": float(right.mean()), "f1": float(np.average(f1, weights=counts))}


def regression_scores(targets: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Compute R², Spearman's and Pearson's correlation, mean squared and mean absolute error.

    R² is 1 − residual / total sum of squares, not the square of a correlation. A correlation with constant
    values is 0.

    Parameters
    ----------
    targets, predicted : array_like of float, shape (n,)
        In the unit of the target.

    Examples
    --------
    >>> scores = regression_scores([1.0, 2.0, 3.0], [2.0, 2.5, 9.0])
    >>> scores["spearman"], scores["r2"] < 0
    (1.0, True)
    """
    targets, predicted = np.asarray(targets, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    same_length(targets, predicted)
    residual, total = ((targets - predicted) ** 2).sum(), ((targets - targets.mean()) ** 2).sum()
    return {
        "r2": float(1 - residual / total) if total > 0 else 0.0,
        "spearman": _correlation(_ranks(targets), _ranks(predicted)),
        "pearson": _correlation(targets, predicted),
        "mse": float(residual / len(targets)),
        "mae": float(np.abs(targets - predicted).mean()),
    }


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / norm, -1, 1)) if norm > 0 else 0.0


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def bootstrap_intervals(
    n: int,
    score: Callable[[NDArray[np.int64]], dict[str, float]],
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Compute confidence intervals of scores over samples, by the percentile bootstrap.

    Parameters
    ----------
    n : int
        Number of samples; with fewer than two, or without draws, there are no intervals.
    score : callable
        Indices of samples, int64 (n,) → the scores of these, by name.
    level : float
    draws, seed : int

    Examples
    --------
    >>> values = np.arange(100.0)
    >>> low, high = bootstrap_intervals(100, lambda chosen: {"mean": values[chosen].mean()})["mean"]
    >>> bool(low < values.mean() < high)
    True
    """
    if n < 2 or not draws:
        return {}
    rng = np.random.default_rng(seed)
    found = [score(rng.integers(0, n, n)) for _ in range(draws)]
    ends = [(1 - level) / 2, (1 + level) / 2]
    return {name: tuple(np.quantile([one[name] for one in found], ends).tolist()) for name in found[0]}


def __dir__() -> list[str]:
    return sorted(__all__)
