"""Maps of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

from .._utils.warn import warn_user
from .style import DOUBLE, GREY, PALETTE, WIDTH, dark, named_legend, new_axes, palette, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["embedding_map", "group_styles"]

MARKERS = "oDs^vP*X"
STYLES = len(PALETTE) * len(MARKERS)
"""Groups that colours and markers tell apart."""

FEW = 200
"""Up to so many points, names stand beside them rather than on them."""


# Embeddings ---------------------------------------------------------------------------------------------


def group_styles(labels: ArrayLike) -> list[tuple[str, int, str, str]]:
    """Return name, size, colour and marker of each group, the largest first, groups of equal size by name.

    Colours change fastest, then markers; after :data:`STYLES` groups they repeat.

    Examples
    --------
    >>> group_styles(["5S", "tRNA", "tRNA"])
    [('tRNA', 2, '#0072B2', 'o'), ('5S', 1, '#E69F00', 'o')]
    """
    names, counts = np.unique(np.asarray(labels).astype(str), return_counts=True)
    found = []
    for k, i in enumerate(np.argsort(-counts, kind="stable")):
        color, marker = PALETTE[k % len(PALETTE)], MARKERS[k // len(PALETTE) % len(MARKERS)]
        found.append((str(names[i]), int(counts[i]), color, marker))
    return found


def embedding_map(
    coordinates: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    values: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scatter two-dimensional coordinates of embeddings, coloured and labelled by group, or coloured by a number.

    Parameters
    ----------
    coordinates : array_like, shape (n, 2)
        From t-SNE, UMAP, PCA, ... A row that is NaN is not drawn.
    labels : array_like, shape (n,), optional
        Groups, named in the map where there is room, the others in a legend: colours and markers tell up to 96 apart;
        with more, a warning says that they repeat.
    values : array_like of float, shape (n,), optional
        Numbers instead of groups, with a colour bar; points whose number is NaN or infinite are grey.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the shapes do not fit, or labels and values are both given.

    Examples
    --------
    >>> ax = embedding_map([[0, 0], [1, 0], [5, 5]], ["tRNA", "tRNA", "5S"])
    """
    points = np.asarray(coordinates, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"coordinates have shape {points.shape}, expected (n, 2)")
    if labels is not None and values is not None:
        raise ValueError("labels and values: give one of them")
    groups = np.full(len(points), "") if labels is None else np.asarray(labels).astype(str)
    if groups.shape != (len(points),):
        raise ValueError(f"labels have shape {groups.shape}, there are {len(points)} points")
    kept = np.isfinite(points).all(axis=1)
    styles = group_styles(groups)  # small groups on top
    if len(styles) > STYLES:
        warn_user(f"{len(styles)} groups: colours and markers repeat after {STYLES}")
    side = WIDTH if len(styles) <= 2 * len(PALETTE) else DOUBLE
    ax = new_axes(side, side * _height(points[kept])) if ax is None else ax
    size = float(np.clip(9000 / max(len(points), 1), 1.5, 16))
    dots = {}
    style: dict[str, Any] = {"s": size, "linewidths": 0, "alpha": 0.8, "rasterized": len(points) > 5000}
    if values is not None:
        _scatter_values(ax, points[kept], _as_values(values, len(points))[kept], style)
    for k, (name, _, _, marker) in enumerate(styles if values is None else ()):
        members = points[kept & (groups == name)]
        color = palette()[k % len(PALETTE)]
        dots[name] = ax.scatter(
            members[:, 0], members[:, 1], color=color, marker=marker, label=name or "_points", **style
        )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(linewidth=0.6, color=GREY)
    ax.set_aspect("equal", adjustable="datalim")
    if labels is not None:
        left = _label_groups(ax, points[kept], groups[kept], [name for name, *_ in styles])
        if left:
            named_legend(
                ax,
                [dots[name] for name in left],
                left,
                loc="upper center",
                bbox_to_anchor=(0.5, 0),
                fontsize=5,
                ncols=5,
                frameon=False,
                markerscale=1.5,
                columnspacing=0.8,
            )
    return ax


def _height(points: NDArray) -> float:
    """Return the height of a map of width 1 that fits its points; a square, if they lie on a line."""
    if len(points) < 2:
        return 1.0
    width, height = np.ptp(points, axis=0)
    return float(np.clip(height / width, 0.6, 1.2)) if width and height else 1.0


def _as_values(values: ArrayLike, points: int) -> NDArray[np.float64]:
    """Return one number a point, NaN where it is not finite."""
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"values are not numbers: {error}; give groups as labels") from None
    if found.shape != (points,):
        raise ValueError(f"values have shape {found.shape}, there are {points} points")
    found[~np.isfinite(found)] = np.nan
    return found


def _scatter_values(ax: Axes, points: NDArray, values: NDArray, style: dict[str, Any]) -> None:
    known = np.isfinite(values)
    x, y = points.T
    ax.scatter(x[~known], y[~known], color=GREY, **style)
    if known.any():
        dots = ax.scatter(x[known], y[known], c=values[known], cmap="viridis", **style)
        bar = ax.figure.colorbar(dots, ax=ax, shrink=0.6, pad=0.02)
        bar.ax.tick_params(labelsize=7, length=2, width=0.6)
        bar.outline.set_linewidth(0.6)


def _label_groups(ax: Axes, points: NDArray, groups: NDArray, names: list[str]) -> list[str]:
    """Write each name near the middle of its group, with a line to it where that is taken; return those left over.

    Where there are few points, beside them.
    """
    if len(points) <= FEW:
        figure = ax.get_figure(root=True)
        if figure is not None:
            figure.draw_without_rendering()  # the layout, with the names of the axes
    ax.apply_aspect()
    scale = 72 / ax.figure.dpi
    size = 7.0 if len(names) <= len(PALETTE) else 5.0
    box = scale * ax.get_window_extent().get_points()
    taken: list[tuple[NDArray, NDArray]] = []
    left = []
    dots = scale * ax.transData.transform(points) if len(points) <= FEW else np.empty((0, 2))
    turns = np.arange(1, 180 if len(dots) else 60)
    spiral = (
        np.stack([np.cos(2.4 * turns), 0.6 * np.sin(2.4 * turns)], axis=1)
        * (size * 0.55 * np.sqrt(turns))[:, None]
    )
    for k, name in enumerate(names):
        members = points[groups == name]
        if not len(members):
            continue
        middle = members[np.argmin(np.square(members - np.median(members, axis=0)).sum(axis=1))]
        anchor = scale * ax.transData.transform(middle)
        half = np.array([0.3 * size * len(plain(name)) + 1, 0.6 * size])
        free: list[tuple[int, int, NDArray]] = []  # dots covered, order, place
        for move in (np.zeros(2), *spiral):
            spot = anchor + move
            inside = (spot - half >= box[0]).all() and (spot + half <= box[1]).all()
            if inside and all((np.abs(spot - other) >= half + room).any() for other, room in taken):
                covered = (np.abs(dots - spot) < half + 2).all(axis=1).sum()
                free.append((covered, len(free), move))
                if not covered:
                    break
        if not free:
            left.append(name)
            continue
        move = min(free)[2]
        spot = anchor + move
        taken.append((spot, half))
        color = 0.7 * np.array(to_rgb(palette()[k % len(PALETTE)])) + 0.3 * dark()  # to be read on the ground
        x, y = ax.transData.inverted().transform(spot / scale)
        if np.hypot(*move) > 1.5 * size:
            ax.plot([middle[0], x], [middle[1], y], color=color, lw=0.4, zorder=4, label="_leader")
        style: dict[str, Any] = {"fontsize": size, "weight": "bold", "ha": "center", "va": "center"}
        style["parse_math"] = False
        text = ax.text(x, y, plain(name), color=color, zorder=5, **style)
        text.set_path_effects([withStroke(linewidth=1.8, foreground=mpl.rcParams["axes.facecolor"])])
    return left
