"""Maps of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

from .style import DOUBLE, GREY, PALETTE, WIDTH, dark, named_legend, new_axes, palette, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

__all__ = ["embedding_map"]

MARKERS = "oDs^vP*X"


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
        dots[name] = ax.scatter(
            members[:, 0],
            members[:, 1],
            s=size,
            linewidths=0,
            alpha=0.8,
            color=color,
            marker=marker,
            rasterized=len(points) > 5000,
            label=name or "_points",
        )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(linewidth=0.6, color=GREY)
    ax.set_aspect("equal", adjustable="datalim")
    if labels is not None:
        left = _label_groups(ax, points, groups, names)
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
        style: dict[str, Any] = {"fontsize": size, "weight": "bold", "ha": "center", "va": "center"}
        style["parse_math"] = False
        text = ax.text(x, y, plain(name), color=color, zorder=5, **style)
        text.set_path_effects([withStroke(linewidth=1.8, foreground=mpl.rcParams["axes.facecolor"])])
    return left
