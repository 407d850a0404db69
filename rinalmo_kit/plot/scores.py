"""Charts of scores: boxes, tables, confusion, ROC, precision and recall, regression, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from .._utils.extras import importing
from .._utils.given import table_with
from ..metrics import regression_scores
from .style import (
    DOUBLE,
    GREY,
    INK,
    PALETTE,
    PROBABILITIES,
    WIDTH,
    chart_axes,
    ink,
    named_legend,
    new_axes,
    palette,
    plain,
    size_inches,
    small_bar,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["confusion", "precision_recall", "regression", "reliability", "roc", "score_boxes", "score_table"]

SCIKIT = "curves of rates need scikit-learn: pip install scikit-learn"


# Scores -------------------------------------------------------------------------------------------------


def score_boxes(
    samples: pd.DataFrame,
    *,
    value: str = "f1",
    by: str = "method",
    group: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw scores of single sequences as boxes, one a method, or one a method in each group (paper, Figs. 3-5).

    A box spans the quartiles, its line is the median, whiskers reach the last score within 1.5 boxes; the dot is the
    mean.

    Parameters
    ----------
    samples : DataFrame
        One row a sequence and method, as ``Evaluation.samples`` with a column that says which method.
    value, by : str
        Columns of the score and of the method; methods keep the order in which they come.
    group : str, optional
        Column of the groups, such as families.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"method": ["a", "a", "b", "b"], "f1": [0.5, 0.7, 0.2, 0.4]})
    >>> ax = score_boxes(rows)
    """
    table_with("samples", samples, [value, by, *([group] if group else [])])
    methods = list(dict.fromkeys(samples[by]))
    groups = list(dict.fromkeys(samples[group])) if group else [None]
    wide = len(groups) * len(methods) > 14
    ax = chart_axes(ax, DOUBLE if wide else WIDTH, 0.7 * WIDTH)
    width = 0.8 / len(methods) if group else 0.6
    boxes: list[Any] = []
    for m, method in enumerate(methods):
        color = palette()[m % len(PALETTE)]
        parts, places = [], []
        for g, name in enumerate(groups):
            rows = samples[samples[by] == method]
            rows = rows if group is None else rows[rows[group] == name]
            values = rows[value].dropna().to_numpy(dtype=float)
            if len(values):
                parts.append(values)
                places.append(g + (m - (len(methods) - 1) / 2) * width if group else m)
        line = {"color": color, "lw": 0.7}
        drawn = ax.boxplot(
            parts,
            positions=places,
            widths=0.82 * width,
            manage_ticks=False,
            patch_artist=True,
            showmeans=True,
            boxprops={"facecolor": (*to_rgb(color), 0.25), "edgecolor": color, "lw": 0.7},
            medianprops={"color": color, "lw": 1.3},
            whiskerprops=line,
            capprops=line,
            meanprops={
                "marker": "o",
                "ms": 2.5,
                "mfc": mpl.rcParams["axes.facecolor"],
                "mec": color,
                "mew": 0.7,
            },
            flierprops={"marker": ".", "ms": 1.5, "mfc": color, "mec": "none", "alpha": 0.5},
        )
        boxes += drawn["boxes"][:1] or [Patch(color=color)]
    if group is None:
        ax.set_xticks(range(len(methods)), [plain(m) for m in methods], parse_math=False)
    else:
        sizes = samples[samples[by] == methods[0]].groupby(group)[value].count()
        names = [f"{plain(name)}\n({sizes.get(name, 0)})" for name in groups]
        ax.set_xticks(range(len(groups)), names, parse_math=False)
        for edge in range(1, len(groups)):
            ax.axvline(edge - 0.5, color=GREY, lw=0.3)
        named_legend(
            ax,
            boxes,
            methods,
            loc="lower left",
            bbox_to_anchor=(0, 1.02),
            ncols=min(len(methods), 6 if wide else 3),
            fontsize=7,
            frameon=False,
            handlelength=1,
            columnspacing=1,
            borderaxespad=0,
        )
    _rotate_crowded_labels(ax)
    label = plain(value).replace("f1", "F1").replace("inf", "INF")
    ax.set_ylabel(label, fontsize=8, parse_math=False)
    low = float(samples[value].min())
    ax.set(ylim=(min(-0.02, 1.1 * low), 1.02), xlim=(-0.6, (len(groups) if group else len(methods)) - 0.4))
    return ax


def _rotate_crowded_labels(ax: Axes) -> None:
    """Rotate the labels of the x axis if side by side they would overlap."""
    labels = [text.get_text() for text in ax.get_xticklabels()]
    longest = max((len(line) for text in labels for line in text.split("\n")), default=0)
    points = 72 * size_inches(ax)[0] * ax.get_position().width
    if longest * 3.9 > points / max(1, len(labels)):
        ax.set_xticks(
            ax.get_xticks(), labels, rotation=40, ha="right", rotation_mode="anchor", parse_math=False
        )


def score_table(
    table: pd.DataFrame, *, lowest_is_best: Sequence[str] = (), digits: int = 2, ax: Axes | None = None
) -> Axes:
    """Set a table of scores, the best of each column in bold; what is not known is a dash.

    Parameters
    ----------
    table : DataFrame
        One row a method, named by the index; columns of numbers are scores, others stand as they are.
    lowest_is_best : sequence of str
        Columns of which the lowest number is the best.
    digits : int
        Decimals.
    ax : Axes, optional

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"F1": [0.75, 0.54], "from": ["published", "here"]}, index=["RiNALMo", "ViennaRNA"])
    >>> ax = score_table(table)
    """
    table_with("table", table)
    cells = table.copy().astype(object)
    bold = {}
    for name in table.columns:
        column = table[name]
        if column.dtype.kind in "fiu":
            best = column.min() if name in lowest_is_best else column.max()
            bold[name] = column.round(digits) == round(best, digits)
            cells[name] = [f"{v:.{digits}f}" if v == v and v is not None else "\N{EN DASH}" for v in column]
        else:
            cells[name] = [plain(v) if v == v and v is not None else "\N{EN DASH}" for v in column]
    names = [plain(name) for name in table.index]
    letters = [max(map(len, names), default=1)]
    letters += [max(len(plain(name)), *(len(str(v)) for v in cells[name]), 3) for name in table.columns]
    rows = len(table) + 1
    ax = (
        new_axes(min(DOUBLE, max(WIDTH, 0.062 * (sum(letters) + 3 * len(letters)))), 0.17 * rows + 0.1)
        if ax is None
        else ax
    )
    ends = np.cumsum([n + 3 for n in letters]) / sum(n + 3 for n in letters)
    starts = np.concatenate(([0], ends[:-1]))
    ax.set(xlim=(0, 1), ylim=(rows, 0))
    ax.axis("off")
    for y in (0, 1, rows):
        ax.plot([0, 1], [y, y], color=ink(), lw=0.8 if y != 1 else 0.5, clip_on=False)
    style: dict[str, Any] = {"fontsize": 7, "va": "center", "parse_math": False}
    for k, name in enumerate(table.columns):
        number = name in bold
        x, ha = (ends[k + 1] - 0.01, "right") if number else (starts[k + 1] + 0.01, "left")
        ax.text(x, 0.5, plain(name), ha=ha, weight="bold", **style)
        for row, text in enumerate(cells[name]):
            weight = "bold" if number and bold[name].iloc[row] else "normal"
            ax.text(x, row + 1.5, text, ha=ha, weight=weight, **style)
    for row, text in enumerate(names):
        ax.text(0.0, row + 1.5, text, ha="left", **style)
    return ax


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
    size = 7 if few else max(2.5, 300 / len(names) * 0.9)
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


def regression(targets: ArrayLike, predictions: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Scatter predictions against targets, coloured by density, with R² and Spearman's correlation.

    Parameters
    ----------
    targets, predictions : array_like of float, shape (n,)
    ax : Axes, optional

    Raises
    ------
    ValueError
        If the lengths differ, or there are fewer than two.

    Examples
    --------
    >>> ax = regression([1.0, 2.0, 3.0], [1.1, 1.8, 3.2])
    """
    x, y = np.asarray(targets, dtype=float), np.asarray(predictions, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise ValueError(
            f"targets {x.shape} and predictions {y.shape}: expected two or more, as many of each"
        )
    ax = chart_axes(ax, 0.8 * WIDTH, 0.8 * WIDTH)
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    room = 0.03 * (high - low) or 1.0
    bins = int(np.clip(np.sqrt(len(x)) / 2, 5, 60))
    edges = np.linspace(low - room, high + room, bins + 1)
    counts, *_ = np.histogram2d(x, y, bins=[edges, edges])
    padded = np.pad(counts, 1)
    smooth = np.sum([padded[i : i + bins, j : j + bins] for i in range(3) for j in range(3)], axis=0)
    cells = [np.clip(np.digitize(v, edges) - 1, 0, bins - 1) for v in (x, y)]
    density = smooth[cells[0], cells[1]]
    order = np.argsort(density, kind="stable")  # the densest on top
    size, many = float(np.clip(3000 / len(x), 1.5, 10)), len(x) > 3000
    ax.scatter(x[order], y[order], c=np.sqrt(density[order]), cmap="viridis", s=size, lw=0, rasterized=many)
    ends = low - room, high + room
    ax.plot(ends, ends, color=GREY, ls="--", lw=0.8, zorder=0)
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    scores = regression_scores(x, y)
    text = f"$R^2$ = {scores['r2']:.2f}\n$\\rho$ = {scores['spearman']:.2f}\nn = {len(x):,}"
    ax.text(0.04, 0.97, text, transform=ax.transAxes, va="top", fontsize=7)
    ax.set_xlabel("measured", fontsize=8)
    ax.set_ylabel("predicted", fontsize=8)
    return ax


def reliability(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the F1 that was seen against the confidence; on the diagonal, a model knows how good it is.

    Parameters
    ----------
    table : DataFrame
        Columns ``confidence`` and ``f1``, as from :func:`rinalmo_kit.inference.confidence.reliability`, and
        optionally ``set``
        for several test sets.
    ax : Axes, optional

    Examples
    --------
    >>> import pandas as pd
    >>> ax = reliability(pd.DataFrame({"confidence": [0.2, 0.8], "f1": [0.25, 0.75]}))
    """
    table_with("table", table, ["confidence", "f1"])
    if ax is None:
        ax = new_axes(0.7 * WIDTH, 0.7 * WIDTH)
    ax = chart_axes(ax)
    ax.plot([0, 1], [0, 1], color=GREY, ls="--", lw=0.8)
    sets = dict(list(table.groupby("set", sort=False))) if "set" in table else {"": table}
    lines = [
        ax.plot(part["confidence"], part["f1"], "o-", ms=3, lw=1.2, color=palette()[k % len(PALETTE)])[0]
        for k, part in enumerate(sets.values())
    ]
    if "set" in table:
        named_legend(ax, lines, sets, fontsize=7, frameon=False, loc="upper left", handlelength=1.2)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set_xlabel("confidence (expected F1)", fontsize=8)
    ax.set_ylabel("F1 seen", fontsize=8)
    return ax
