"""Charts of classifiers: confusion, ROC, precision and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._utils.extras import importing
from .style import (
    DOUBLE,
    GREY,
    INK,
    PALETTE,
    PROBABILITIES,
    WIDTH,
    chart_axes,
    named_legend,
    new_axes,
    palette,
    plain,
    small_bar,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["confusion", "precision_recall", "roc"]

SCIKIT = "curves of rates need scikit-learn: pip install scikit-learn"


def confusion(
    targets: ArrayLike, predictions: ArrayLike, *, labels: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Show which class is taken for which: shares of each true class, a row each.

    Parameters
    ----------
    targets, predictions : array_like of str, shape (n,)
    labels : sequence of str, optional
        Order of the classes; default: sorted.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If the lengths differ, or a class is not among the labels.

    Examples
    --------
    >>> ax = confusion(["tRNA", "5S", "5S"], ["tRNA", "5S", "tRNA"])
    """
    targets, predictions = np.asarray(targets).astype(str), np.asarray(predictions).astype(str)
    if targets.shape != predictions.shape:
        raise ValueError(f"{len(targets)} targets, {len(predictions)} predictions")
    found = sorted({*targets, *predictions})
    names = found if labels is None else [str(label) for label in labels]
    if left := set(found) - set(names):
        raise ValueError(f"not among the labels: {', '.join(sorted(left)[:5])}")
    number = {name: k for k, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, ([number[t] for t in targets], [number[p] for p in predictions]), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    few = len(names) <= 14
    ax = new_axes(WIDTH if few else DOUBLE, 0.9 * WIDTH if few else DOUBLE) if ax is None else ax
    image = ax.imshow(shares, cmap=PROBABILITIES, vmin=0, vmax=1, interpolation="nearest")
    size = 7 if few else float(np.clip(270 / len(names), 2.5, 6))
    shown = [plain(name, 32) for name in names]
    ax.set_xticks(range(len(names)), shown, rotation=90, fontsize=size, parse_math=False)
    ax.set_yticks(range(len(names)), shown, fontsize=size, parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_linewidth(0.6)
    if few:
        for row, column in np.argwhere(shares >= 0.005):
            share = shares[row, column]
            color, size = "white" if share > 0.5 else INK, min(6.5, 40 / len(names) + 2)
            ax.text(column, row, f"{share:.2f}", color=color, fontsize=size, ha="center", va="center")
    ax.set_xlabel("predicted", fontsize=8)
    ax.set_ylabel("true", fontsize=8)
    small_bar(ax, image, "share of the true class")
    return ax


def roc(targets: ArrayLike, scores: Mapping[str, ArrayLike] | ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw receiver operating characteristics; the area under each is in the legend.

    Parameters
    ----------
    targets : array_like of bool, shape (n,)
    scores : array_like of float, shape (n,), or {name: array_like}
        Higher means more likely true.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If only one class is there, or lengths differ.

    Examples
    --------
    >>> ax = roc([True, False, True], {"model": [0.9, 0.2, 0.6]})
    """
    with importing("sklearn", SCIKIT):
        from sklearn.metrics import roc_auc_score, roc_curve

    curves = {
        f"{name} ({roc_auc_score(truth, s):.3f})".strip(): roc_curve(truth, s)[:2]
        for name, truth, s in _scored(targets, scores)
    }
    ax = _rate_axes(ax, curves, "false positive rate", "true positive rate", "lower right")
    ax.plot([0, 1], [0, 1], color=GREY, ls="--", lw=0.8, zorder=0)
    return ax


def precision_recall(
    targets: ArrayLike, scores: Mapping[str, ArrayLike] | ArrayLike, *, ax: Axes | None = None
) -> Axes:
    """Draw precision against recall; the average precision of each is in the legend.

    Parameters and errors are those of :func:`roc`.

    Examples
    --------
    >>> ax = precision_recall([True, False, True], [0.9, 0.2, 0.6])
    """
    with importing("sklearn", SCIKIT):
        from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = {}
    for name, truth, s in _scored(targets, scores):
        precision, recall, _ = precision_recall_curve(truth, s)
        curves[f"{name} ({average_precision_score(truth, s):.3f})".strip()] = recall, precision
    ax = _rate_axes(ax, curves, "recall", "precision", "lower left")
    ax.axhline(np.mean(np.asarray(targets, dtype=bool)), color=GREY, ls="--", lw=0.8, zorder=0)
    return ax


def _scored(targets: ArrayLike, scores: Any) -> list[tuple[str, NDArray, NDArray]]:
    truth = np.asarray(targets, dtype=bool)
    found = scores if isinstance(scores, Mapping) else {"": scores}
    if truth.all() or not truth.any():
        raise ValueError("targets: both true and false ones are needed")
    rows = [(str(name), truth, np.asarray(s, dtype=float)) for name, s in found.items()]
    for name, _, s in rows:
        if s.shape != truth.shape:
            raise ValueError(f"{name or 'scores'}: {len(s)} scores for {len(truth)} targets")
    return rows


def _rate_axes(ax: Axes | None, curves: dict[str, tuple], x: str, y: str, loc: str) -> Axes:
    ax = chart_axes(ax, 0.75 * WIDTH, 0.75 * WIDTH)
    lines = [
        ax.plot(*ends, lw=1.2, color=palette()[k % len(PALETTE)])[0] for k, ends in enumerate(curves.values())
    ]
    ax.set(xlim=(0, 1.005), ylim=(0, 1.005), aspect="equal")
    ax.set_xlabel(x, fontsize=8)
    ax.set_ylabel(y, fontsize=8)
    named_legend(ax, lines, curves, loc=loc, fontsize=7, frameon=False, handlelength=1.2)
    return ax
