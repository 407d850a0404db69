"""Charts of scores: boxes, densities, tables, regression, reliability."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from .._utils.given import table_with
from ..metrics import METRIC_NAMES, regression_scores
from .keys import color_bar
from .style import (
    DOUBLE,
    GREY,
    PALETTE,
    WIDTH,
    chart_axes,
    ink,
    legend,
    named_legend,
    new_axes,
    palette,
    plain,
    size_inches,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["regression", "reliability", "score_boxes", "score_densities", "score_table"]

PLACES = {
    **dict.fromkeys(("nano-ss", "giga-ss-bprna", "after"), 0),
    **dict.fromkeys(("nano-ss, alone", "giga-ss-bprna, alone"), 4),
    **{"before": 1, "viennarna": 2, "trivial": 8},
}
"""Methods that have the same colour in every figure → its place in the palette."""
DENSE = 300
"""Points from which on their density is drawn."""


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
    import seaborn as sns

    table_with("samples", samples, [value, by, *([group] if group else [])])
    methods = list(dict.fromkeys(samples[by]))
    groups = list(dict.fromkeys(samples[group])) if group else []
    wide = max(1, len(groups)) * len(methods) > 14
    ax = chart_axes(ax, DOUBLE if wide else WIDTH, 0.7 * WIDTH)
    places = groups or methods
    dot = {"marker": "o", "markersize": 2.5, "markerfacecolor": mpl.rcParams["axes.facecolor"]}
    sns.boxplot(
        x=[places.index(name) for name in samples[group or by]],
        y=samples[value].to_numpy(),
        order=range(len(places)),
        hue=[methods.index(name) for name in samples[by]],
        hue_order=range(len(methods)),
        palette=[*_colors(methods).values()],
        fill=False,
        width=0.8 if group else 0.6,
        gap=0.18 if group else 0,
        linewidth=0.8,
        medianprops={"linewidth": 1.5},
        showmeans=True,
        meanprops=dot | {"markeredgecolor": ink(), "markeredgewidth": 0.7},
        flierprops={"marker": ".", "markersize": 1.5},
        legend=False,
        ax=ax,
    )
    names = [plain(name) for name in places]
    if group:
        sizes = samples[samples[by] == methods[0]].groupby(group)[value].count()
        names = [f"{name}\n({sizes.get(place, 0)})" for name, place in zip(names, groups, strict=True)]
        for edge in range(1, len(groups)):
            ax.axvline(edge - 0.5, color=GREY, lw=0.3)
        place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1.02)}
        legend(ax, _colors(methods), ncols=_legend_columns(methods, wide=wide), **place)
    ax.set_xticks(range(len(places)), names, parse_math=False)
    _rotate_crowded_labels(ax)
    ax.set_xlabel("")
    ax.set_ylabel(_score_label(value), fontsize=8, parse_math=False)
    ax.set(ylim=(min(-0.02, 1.1 * float(samples[value].min())), 1.02), xlim=(-0.6, len(places) - 0.4))
    return ax


def score_densities(
    samples: pd.DataFrame, *, value: str = "f1", by: str = "method", ax: Axes | None = None
) -> Axes:
    """Draw how the scores of single sequences are distributed, a density for each method.

    Shows what boxes hide: whether a method fails on some sequences or is a little worse on all.

    Parameters
    ----------
    samples : DataFrame
        As for :func:`score_boxes`.
    value, by : str
        Columns of the score and of the method.
    ax : Axes, optional

    Raises
    ------
    ValueError
        If a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"method": ["a", "a", "b", "b"], "f1": [0.5, 0.7, 0.2, 0.4]})
    >>> ax = score_densities(rows)
    """
    import seaborn as sns

    table_with("samples", samples, [value, by])
    methods = list(dict.fromkeys(samples[by]))
    colors = _colors(methods)
    ax = chart_axes(ax, WIDTH, 0.6 * WIDTH)
    which = [methods.index(name) for name in samples[by]]
    style: dict[str, Any] = {"palette": [*colors.values()], "lw": 1.2, "legend": False}
    sns.kdeplot(x=samples[value].to_numpy(), hue=which, cut=0, common_norm=False, ax=ax, **style)
    legend(ax, colors, ncols=_legend_columns(methods), loc="lower left", bbox_to_anchor=(0, 1.02))
    ax.set_xlabel(_score_label(value), fontsize=8, parse_math=False)
    ax.set_ylabel("density", fontsize=8)
    return ax


def _colors(methods: Iterable[str]) -> dict[str, Any]:
    """Return a colour for each method: some always have theirs, others take what is left, in their order."""
    names, colors = list(methods), palette()
    found: dict[str, Any] = {}
    for name in names:
        place = PLACES.get(name)
        if place is not None and colors[place] not in found.values():
            found[name] = colors[place]
    left = [color for color in colors if color not in found.values()] or colors
    others = [name for name in names if name not in found]
    found |= {name: left[k % len(left)] for k, name in enumerate(others)}
    return {name: found[name] for name in names}


def _legend_columns(methods: Sequence[str], *, wide: bool = False) -> int:
    """Return in how many columns of a legend names fit into a line above the chart."""
    letters = sum(6 + len(plain(name)) for name in methods)  # 6: of the line and the gaps
    return min(len(methods), 6 if wide else 3 if letters > 54 else 4)


def _score_label(value: str) -> str:
    return METRIC_NAMES.get(value, plain(value))


def _rotate_crowded_labels(ax: Axes) -> None:
    """Rotate the labels of the x axis if side by side they would overlap."""
    labels = [text.get_text() for text in ax.get_xticklabels()]
    longest = max((len(line) for text in labels for line in text.split("\n")), default=0)
    points = 72 * size_inches(ax)[0] * ax.get_position().width
    if longest * 3.9 > points / max(1, len(labels)):
        ax.set_xticks(
            ax.get_xticks(), labels, rotation=40, ha="right", rotation_mode="anchor", parse_math=False
        )


PRINTED = re.compile(r"[-+\N{MINUS SIGN}]?[\d,]*\.?\d+")
"""A number as text, which a table sets to the right as any other."""


def score_table(
    table: pd.DataFrame, *, lowest_is_best: Sequence[str] = (), digits: int = 2, ax: Axes | None = None
) -> Axes:
    """Set a table of scores, the best of each column in bold; what is not known is a dash.

    Parameters
    ----------
    table : DataFrame
        One row a method, named by the index; columns of floats are scores, whole numbers are counts, and others stand
        as they are: numbers to the right, words to the left.
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
    bold, right = {}, set()
    for name in table.columns:
        column = table[name]
        known = [v for v in column if v is not None and v == v]
        numbers = all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in known)
        if known and (numbers or all(isinstance(v, str) and PRINTED.fullmatch(v) for v in known)):
            right.add(name)
        if known and numbers and all(float(v).is_integer() for v in known) and max(map(abs, known)) > 1:
            cells[name] = [f"{int(v):,}" if v == v and v is not None else "\N{EN DASH}" for v in column]
        elif column.dtype.kind == "f":
            best = column.min() if name in lowest_is_best else column.max()
            bold[name] = column.round(digits) == round(best, digits)
            cells[name] = [f"{v:.{digits}f}" if v == v and v is not None else "\N{EN DASH}" for v in column]
        else:
            cells[name] = [plain(v, 50) if v == v and v is not None else "\N{EN DASH}" for v in column]
    names = [plain(name) for name in table.index]
    letters = [max(map(len, names), default=1)]
    letters += [max(len(plain(name)) + 2, *(len(str(v)) for v in cells[name]), 3) for name in table.columns]
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
        x, ha = (ends[k + 1] - 0.01, "right") if name in right else (starts[k + 1] + 0.01, "left")
        ax.text(x, 0.5, plain(name), ha=ha, weight="bold", **style)
        for row, text in enumerate(cells[name]):
            weight = "bold" if name in bold and bold[name].iloc[row] else "normal"
            ax.text(x, row + 1.5, text, ha=ha, weight=weight, **style)
    for row, text in enumerate(names):
        ax.text(0.0, row + 1.5, text, ha="left", **style)
    return ax


def regression(targets: ArrayLike, predictions: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Scatter predictions against targets, with R² and Spearman's correlation.

    From 300 points on their colour is the density of points, as a share of the highest: counts in cells of a hundredth
    of the axes, smoothed by a Gaussian of three cells.

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
    size, many = float(np.clip(3000 / len(x), 1.5, 10)), len(x) > 3000
    style: dict[str, Any] = {"s": size, "lw": 0, "rasterized": many}
    if len(x) >= DENSE:
        density = _densities(x, y, low - room, high + room)
        order = np.argsort(density, kind="stable")  # the densest on top
        dots = ax.scatter(x[order], y[order], c=density[order], cmap="viridis", vmin=0, vmax=1, **style)
        color_bar(ax, dots, "density", (0.66, 0.09, 0.3, 0.03))
    else:
        ax.scatter(x, y, color=palette()[0], **style)
    ends = low - room, high + room
    ax.plot(ends, ends, color=GREY, ls="--", lw=0.8, zorder=0)
    ax.set(xlim=ends, ylim=ends, aspect="equal")
    scores = regression_scores(x, y)
    text = f"$R^2$ = {scores['r2']:.2f}\n$\\rho$ = {scores['spearman']:.2f}\nn = {len(x):,}"
    ax.text(0.04, 0.97, text, transform=ax.transAxes, va="top", fontsize=7)
    ax.set_xlabel("measured", fontsize=8)
    ax.set_ylabel("predicted", fontsize=8)
    return ax


def _densities(x: NDArray, y: NDArray, low: float, high: float) -> NDArray[np.floating]:
    """Return how dense the points are around each, as a share of the highest density."""
    edges = np.linspace(low, high, 101)
    counts, *_ = np.histogram2d(x, y, bins=[edges, edges])
    gaussian = np.exp(-0.5 * (np.arange(-9, 10) / 3) ** 2)
    for axis in (0, 1):
        counts = np.apply_along_axis(np.convolve, axis, counts, gaussian, mode="same")
    cells = [np.clip(np.digitize(v, edges) - 1, 0, len(edges) - 2) for v in (x, y)]
    density = counts[cells[0], cells[1]]
    return density / density.max()


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
