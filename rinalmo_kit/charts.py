"""Charts for papers and notebooks: scores, embeddings, training runs, attention, mutations.

Every function takes data and an optional Axes and returns the Axes, as those of :mod:`rinalmo_kit.plot`, which has
them too.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import TwoSlopeNorm, to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch, PathPatch
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

from .extras import importing
from .metrics import task_scores
from .run_log import training_log
from .style import (
    BLUE,
    DOUBLE,
    GREEN,
    GREY,
    INK,
    NUCLEOTIDES,
    ORANGE,
    PALETTE,
    PROBABILITIES,
    WIDTH,
    chart_axes,
    dark,
    ink,
    legend,
    named_legend,
    new_axes,
    palette,
    plain,
    small_bar,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "attention_map",
    "confusion",
    "embedding_map",
    "mutation_map",
    "perplexity",
    "precision_recall",
    "regression",
    "reliability",
    "roc",
    "score_boxes",
    "score_table",
    "sequence_logo",
    "training_curves",
    "training_log",
]

MARKERS = "oDs^vP*X"
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
    wanted = [value, by, *([group] if group else [])]
    if missing := [name for name in wanted if name not in samples]:
        raise ValueError(f"no column {missing[0]!r}; there are {', '.join(map(str, samples.columns))}")
    methods = list(dict.fromkeys(samples[by]))
    groups = list(dict.fromkeys(samples[group])) if group else [None]
    wide = len(groups) * len(methods) > 14
    ax = chart_axes(ax, DOUBLE if wide else WIDTH, 0.7 * WIDTH)
    width, boxes = 0.8 / len(methods) if group else 0.6, []
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
        style = {"fontsize": 7, "frameon": False, "handlelength": 1, "columnspacing": 1, "borderaxespad": 0}
        style |= {
            "loc": "lower left",
            "bbox_to_anchor": (0, 1.02),
            "ncols": min(len(methods), 6 if wide else 3),
        }
        named_legend(ax, boxes, methods, **style)
    _upright_or_slanted(ax)
    label = plain(value).replace("f1", "F1").replace("inf", "INF")
    ax.set_ylabel(label, fontsize=8, parse_math=False)
    low = float(samples[value].min())
    ax.set(ylim=(min(-0.02, 1.1 * low), 1.02), xlim=(-0.6, (len(groups) if group else len(methods)) - 0.4))
    return ax


def _upright_or_slanted(ax: Axes) -> None:
    """Slant the labels of the x axis if side by side they would touch."""
    labels = [text.get_text() for text in ax.get_xticklabels()]
    longest = max((len(line) for text in labels for line in text.split("\n")), default=0)
    points = 72 * ax.figure.get_size_inches()[0] * ax.get_position().width
    if longest * 3.9 > points / max(1, len(labels)):
        style = {"rotation": 40, "ha": "right", "rotation_mode": "anchor", "parse_math": False}
        ax.set_xticks(ax.get_xticks(), labels, **style)


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
    style = {"fontsize": 7, "va": "center", "parse_math": False}
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
    style = {"labels": [plain(name, 32) for name in names], "fontsize": size, "parse_math": False}
    ax.set_xticks(range(len(names)), rotation=90, **style)
    ax.set_yticks(range(len(names)), **style)
    ax.tick_params(length=0)
    ax.spines[:].set_linewidth(0.6)
    if few:
        for row, column in np.argwhere(shares >= 0.005):
            share = shares[row, column]
            style = {"ha": "center", "va": "center", "fontsize": min(6.5, 40 / len(names) + 2)}
            ax.text(column, row, f"{share:.2f}", color="white" if share > 0.5 else INK, **style)
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
    smooth = np.pad(counts, 1)
    smooth = sum(smooth[i : i + bins, j : j + bins] for i in range(3) for j in range(3))
    cells = [np.clip(np.digitize(v, edges) - 1, 0, bins - 1) for v in (x, y)]
    density = smooth[cells[0], cells[1]]
    order = np.argsort(density, kind="stable")  # the densest on top
    style = {"s": float(np.clip(3000 / len(x), 1.5, 10)), "lw": 0, "rasterized": len(x) > 3000}
    ax.scatter(x[order], y[order], c=np.sqrt(density[order]), cmap="viridis", **style)
    ends = [low - room, high + room]
    ax.plot(ends, ends, color=GREY, ls="--", lw=0.8, zorder=0)
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    scores = task_scores("regression", x, y)
    text = f"$R^2$ = {scores['r2']:.2f}\n$\\rho$ = {scores['spearman']:.2f}\nn = {len(x):,}"
    ax.text(0.04, 0.97, text, transform=ax.transAxes, va="top", fontsize=7)
    ax.set_xlabel("measured", fontsize=8)
    ax.set_ylabel("predicted", fontsize=8)
    return ax


# Embeddings ---------------------------------------------------------------------------------------------


def embedding_map(coordinates: ArrayLike, labels: ArrayLike | None = None, *, ax: Axes | None = None) -> Axes:
    """Scatter two-dimensional coordinates of embeddings, coloured and labelled by group.

    Parameters
    ----------
    coordinates : array_like, shape (n, 2)
        From t-SNE, UMAP, PCA, ...
    labels : array_like, shape (n,), optional
        Groups, named in the map where there is room, the others in a legend: colours and markers tell up to 96 apart.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> ax = embedding_map([[0, 0], [1, 0], [5, 5]], ["tRNA", "tRNA", "5S"])
    """
    points = np.asarray(coordinates, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"coordinates have shape {points.shape}, expected (n, 2)")
    groups = np.full(len(points), "") if labels is None else np.asarray(labels).astype(str)
    if groups.shape != (len(points),):
        raise ValueError(f"labels have shape {groups.shape}, there are {len(points)} points")
    names, counts = np.unique(groups, return_counts=True)
    names = names[np.argsort(-counts, kind="stable")]  # small groups on top
    side = WIDTH if len(names) <= 2 * len(PALETTE) else DOUBLE
    ax = new_axes(side, side) if ax is None else ax
    size = float(np.clip(9000 / max(len(points), 1), 1.5, 16))
    dots = {}
    for k, name in enumerate(names):
        members = points[groups == name]
        color, marker = palette()[k % len(PALETTE)], MARKERS[k // len(PALETTE) % len(MARKERS)]
        style = {"s": size, "linewidths": 0, "alpha": 0.8, "marker": marker, "rasterized": len(points) > 5000}
        dots[name] = ax.scatter(*members.T, color=color, label=name or "_points", **style)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(linewidth=0.6, color=GREY)
    ax.set_aspect("equal", adjustable="datalim")
    if labels is not None:
        left = _label_groups(ax, points, groups, names)
        if left:
            style = {"fontsize": 5, "ncols": 5, "frameon": False, "markerscale": 1.5, "columnspacing": 0.8}
            place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0)}
            named_legend(ax, [dots[name] for name in left], left, **place, **style)
    return ax


def _label_groups(ax: Axes, points: NDArray, groups: NDArray, names: NDArray) -> list[str]:
    """Write each name near the middle of its group, with a line to it where that is taken; return those left over."""
    ax.apply_aspect()
    scale = 72 / ax.figure.dpi
    size = 7.0 if len(names) <= len(PALETTE) else 5.0
    box = scale * ax.get_window_extent().get_points()
    taken: list[tuple[NDArray, NDArray]] = []
    left = []
    turns = np.arange(1, 60)
    spiral = (
        np.stack([np.cos(2.4 * turns), 0.6 * np.sin(2.4 * turns)], axis=1)
        * (size * 0.55 * np.sqrt(turns))[:, None]
    )
    for k, name in enumerate(names):
        members = points[groups == name]
        middle = members[np.argmin(np.square(members - np.median(members, axis=0)).sum(axis=1))]
        anchor = scale * ax.transData.transform(middle)
        half = np.array([0.3 * size * len(plain(name)) + 1, 0.6 * size])
        for move in (np.zeros(2), *spiral):
            spot = anchor + move
            inside = (spot - half >= box[0]).all() and (spot + half <= box[1]).all()
            if inside and all((np.abs(spot - other) >= half + room).any() for other, room in taken):
                break
        else:
            left.append(str(name))
            continue
        taken.append((spot, half))
        color = 0.7 * np.array(to_rgb(palette()[k % len(PALETTE)])) + 0.3 * dark()  # to be read on the ground
        x, y = ax.transData.inverted().transform(spot / scale)
        if np.hypot(*move) > 1.5 * size:
            ax.plot([middle[0], x], [middle[1], y], color=color, lw=0.4, zorder=4, label="_leader")
        style = {"fontsize": size, "weight": "bold", "ha": "center", "va": "center", "parse_math": False}
        text = ax.text(x, y, plain(name), color=color, zorder=5, **style)
        text.set_path_effects([withStroke(linewidth=1.8, foreground=mpl.rcParams["axes.facecolor"])])
    return left


# Training -----------------------------------------------------------------------------------------------


def training_curves(log: str | os.PathLike | pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how a run went: perplexity beside that of the letters' frequencies; else scores, or the training loss.

    Parameters
    ----------
    log : path or DataFrame
        Folder of a run, or its table as from :func:`training_log`: a column ``val_perplexity``, or columns
        ``val_…`` that are scores from 0 to 1, or ``train_loss``; the index is the step.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the table has none of these columns.

    Examples
    --------
    >>> import pandas as pd
    >>> perplexity = {"val_perplexity": [3.9, 3.7], "val_perplexity_unigram": [4.0, 4.0]}
    >>> ax = training_curves(pd.DataFrame(perplexity, index=[50, 100]))
    """
    table = log if hasattr(log, "columns") else training_log(log)
    scores = [name for name in ("accuracy", "f1", "r2", "spearman") if f"val_{name}" in table]
    if "val_perplexity" in table:
        shown = {"val_perplexity": "model", "val_perplexity_unigram": "letter frequencies alone"}
        label = "validation perplexity"
    elif scores:
        shown, label = {f"val_{name}": name for name in scores}, "validation score"
    else:
        shown, label = {"train_loss": "training loss"}, "training loss"
    if missing := [name for name in shown if name not in table]:
        raise ValueError(f"the log has no column {missing[0]}; it has {', '.join(map(str, table.columns))}")
    ax = chart_axes(ax)
    reference = "letter frequencies alone"
    colors = dict(zip(shown.values(), (BLUE, ORANGE, GREEN, ink()), strict=False))
    colors |= {reference: GREY} if reference in colors else {}
    for name, text in shown.items():
        values = table[name].dropna()
        style = {"ls": "--", "lw": 1.0} if text == reference else {"marker": "o", "ms": 2.5, "lw": 1.2}
        ax.plot(values.index, values, color=colors[text], label=text, **style)
    ax.set_xlabel("step", fontsize=8)
    ax.set_ylabel(label, fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if len(shown) > 1:
        legend(ax, colors, dashed=reference, loc="lower left", bbox_to_anchor=(0, 1.01))
    return ax


def perplexity(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw perplexity against tokens seen, with dashed lines for what needs no training.

    Parameters
    ----------
    table : DataFrame
        Columns ``model``, ``tokens`` and ``perplexity``, as in ``data/measured/pretraining.csv``; a model whose only
        number of tokens is 0 becomes a line.
    ax : Axes, optional

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("pico", 1e6, 3.8), ("pico", 2e6, 3.6), ("unigram", 0, 4.0)]
    >>> ax = perplexity(pd.DataFrame(rows, columns=["model", "tokens", "perplexity"]))
    """
    ax = chart_axes(ax)
    lines, trained = 0, {}
    for number, (name, part) in enumerate(table.groupby("model", sort=False)):
        if part["tokens"].max() == 0:
            value = part["perplexity"].iloc[0]
            ax.axhline(value, color=GREY, ls="--", lw=0.8)
            place = {
                "xycoords": ("axes fraction", "data"),
                "ha": "right",
                "va": "center",
                "parse_math": False,
            }
            back = {"facecolor": mpl.rcParams["axes.facecolor"], "edgecolor": "none", "pad": 0.8}
            ax.annotate(plain(name), (1 - 0.3 * lines, value), **place, color=GREY, fontsize=7, bbox=back)
            lines += 1  # labels side by side: lines may lie close together
            continue
        part = part.sort_values("tokens")
        color = palette()[number % len(PALETTE)]
        ax.plot(part["tokens"] / 1e6, part["perplexity"], "o-", ms=2.5, lw=1.2, color=color)
        trained[str(name)] = color
        end = part["tokens"].iloc[-1] / 1e6, part["perplexity"].iloc[-1]
    if len(trained) > 1:
        legend(ax, trained, loc="upper right", ncols=1, borderaxespad=0.5)
    for name, color in trained.items() if len(trained) == 1 else ():
        place = {"xytext": (0, 4), "textcoords": "offset points", "ha": "right", "parse_math": False}
        ax.annotate(plain(name), end, **place, color=color, fontsize=7)
    ax.set_xlabel("tokens seen (millions)", fontsize=8)
    ax.set_ylabel("validation perplexity", fontsize=8)
    return ax


def reliability(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the F1 that was seen against the confidence; on the diagonal, a model knows how good it is.

    Parameters
    ----------
    table : DataFrame
        Columns ``confidence`` and ``f1``, as from :func:`rinalmo_kit.confidence.reliability`, and optionally ``set``
        for several test sets.
    ax : Axes, optional

    Examples
    --------
    >>> import pandas as pd
    >>> ax = reliability(pd.DataFrame({"confidence": [0.2, 0.8], "f1": [0.25, 0.75]}))
    """
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


# What a model sees --------------------------------------------------------------------------------------


def attention_map(
    weights: ArrayLike,
    *,
    target: ArrayLike | None = None,
    sequence: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show attention between nucleotides, with known base pairs as circles.

    Parameters
    ----------
    weights : array_like, shape (L, L)
        From row to column, without ``<cls>`` and ``<eos>``; colours end at the 99.5th percentile.
    target : Structure or array_like of int, shape (n, 2), optional
    sequence : str, optional
        Its letters become the labels of the axes if it is short.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If the weights are not square.

    Examples
    --------
    >>> ax = attention_map(np.eye(6), target=[(0, 5)], sequence="GAAAAC")
    """
    matrix = np.asarray(weights, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"weights have shape {matrix.shape}, expected (L, L)")
    if not np.isfinite(matrix).all():
        raise ValueError(f"a weight of row {np.argwhere(~np.isfinite(matrix))[0][0]} is no finite number")
    length = len(matrix)
    ax = new_axes(WIDTH, 0.86 * WIDTH) if ax is None else ax
    top = float(np.percentile(matrix, 99.5)) or 1.0
    style = {"cmap": PROBABILITIES, "vmin": 0, "vmax": top, "interpolation": "nearest"}
    image = ax.imshow(matrix, extent=(0.5, length + 0.5, length + 0.5, 0.5), **style)
    if target is not None:
        pairs = np.asarray(getattr(target, "pairs", target)).reshape(-1, 2) + 1
        both = np.concatenate([pairs, pairs[:, ::-1]])
        size = float(np.clip((160 / length) ** 2, 3, 30))
        ax.scatter(
            both[:, 1], both[:, 0], s=size, facecolors="none", edgecolors=ORANGE, lw=0.6, label="_target"
        )
    if sequence is not None and length <= 60:
        for axis in (ax.xaxis, ax.yaxis):
            style = {"fontsize": min(6, 180 / length), "parse_math": False}
            axis.set_ticks(range(1, length + 1), [plain(c) for c in sequence], **style)
        ax.tick_params(length=0)
    else:
        ax.tick_params(labelsize=7, length=2, width=0.6)
    ax.spines[:].set_linewidth(0.6)
    small_bar(ax, image, "attention")
    return ax


def mutation_map(
    effects: ArrayLike, sequence: str, *, label: str = "effect of the mutation", ax: Axes | None = None
) -> Axes:
    """Show what each possible substitution does, one column a position; dots mark the letters that are there.

    Parameters
    ----------
    effects : array_like, shape (L, 4)
        For A, C, G, U; blue is lower, red higher than 0; NaN stays empty.
    sequence : str
        L letters.
    label : str
        Of the colour bar.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If the shape does not fit the sequence.

    Examples
    --------
    >>> ax = mutation_map(np.zeros((4, 4)), "ACGU")
    """
    matrix = np.asarray(effects, dtype=float)
    if matrix.shape != (len(sequence), 4):
        raise ValueError(f"effects have shape {matrix.shape}, expected ({len(sequence)}, 4)")
    if np.isinf(matrix).any():
        raise ValueError(f"the effect at position {np.argwhere(np.isinf(matrix))[0][0] + 1} is infinite")
    ax = new_axes(DOUBLE if len(sequence) > 60 else WIDTH, 1.3) if ax is None else ax
    most = float(np.nanmax(np.abs(matrix), initial=0)) or 1.0
    image = ax.imshow(
        matrix.T, cmap="RdBu_r", norm=TwoSlopeNorm(0, -most, most), aspect="auto", interpolation="nearest"
    )
    places = [(k, "ACGU".index(c)) for k, c in enumerate(sequence.upper().replace("T", "U")) if c in "ACGUT"]
    if places:
        ax.plot(*np.array(places).T, ".", color=INK, ms=2.5, mew=0)
    ax.set_yticks(range(4), "ACGU", fontsize=7)
    step = next((n for n in (1, 5, 10, 20, 50, 100, 200) if len(sequence) <= 12 * n), 500)
    ticks = [k for k in range(len(sequence)) if (k + 1) % step == 0]
    ax.set_xticks(ticks, [str(k + 1) for k in ticks], fontsize=7)
    ax.tick_params(length=2, width=0.6)
    ax.spines[:].set_linewidth(0.6)
    ax.set_xlabel("position", fontsize=8)
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.01, 0, 0.012, 1)))
    bar.ax.tick_params(labelsize=6, length=1.5, width=0.5)
    bar.outline.set_linewidth(0.6)
    bar.set_label(textwrap.fill(plain(label, 120), 18), fontsize=6, parse_math=False)
    return ax


def sequence_logo(probabilities: ArrayLike, *, first: int = 1, ax: Axes | None = None) -> Axes:
    """Draw a sequence logo: at each position letters as high as their share of its information, in bits.

    Parameters
    ----------
    probabilities : array_like, shape (L, 4)
        Of A, C, G, U; each row is scaled to 1.
    first : int
        Number of the first position.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If the shape is not (L, 4), or a row has a negative number or nothing but zeros.

    Examples
    --------
    >>> ax = sequence_logo([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]])
    """
    shares = np.asarray(probabilities, dtype=float)
    if shares.ndim != 2 or shares.shape[1] != 4:
        raise ValueError(f"probabilities have shape {shares.shape}, expected (L, 4)")
    if bad := np.flatnonzero(
        (shares < 0).any(1) | ~((shares.sum(1) > 0) & np.isfinite(shares).all(1))
    ).tolist():
        raise ValueError(f"row {bad[0]} holds no probabilities: {shares[bad[0]].tolist()}")
    shares = shares / shares.sum(1, keepdims=True)
    bits = 2 + (shares * np.log2(np.maximum(shares, 1e-12))).sum(1)
    ax = chart_axes(ax, DOUBLE if len(shares) > 40 else WIDTH, 1.1)
    font = FontProperties(family="DejaVu Sans", weight="bold")
    glyphs = {letter: TextPath((0, 0), letter, size=1, prop=font) for letter in "ACGU"}
    for place, (row, height) in enumerate(zip(shares, bits, strict=True)):
        bottom = 0.0
        for k in np.argsort(row, kind="stable"):
            letter, tall = "ACGU"[k], row[k] * height
            if tall < 0.01:
                continue
            box = glyphs[letter].get_extents()
            move = Affine2D().translate(-box.x0, -box.y0).scale(0.9 / box.width, tall / box.height)
            path = glyphs[letter].transformed(move.translate(place + first - 0.45, bottom))
            color = 0.75 * np.array(to_rgb(NUCLEOTIDES[letter]))
            ax.add_patch(PathPatch(path, facecolor=color, lw=0))
            bottom += tall
    ax.set(xlim=(first - 0.6, first + len(shares) - 0.4), ylim=(0, 2))
    ax.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    ax.set_ylabel("bits", fontsize=8)
    return ax
