"""Artists whose parts are groups with names of their own in SVG, so that a drawing program can select them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse
from matplotlib.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from numpy.typing import NDArray


def prefix(ax: Axes) -> str:
    """Return what names of objects of the Axes start with: nothing in the first of a figure, else the panel."""
    figure = ax.get_figure(root=True)
    place = figure.axes.index(ax) if figure is not None and ax in figure.axes else 0
    return f"panel-{place + 1}-" if place else ""


def _is_svg(renderer: RendererBase) -> bool:
    return hasattr(renderer, "writer")  # of all renderers of Matplotlib, that of SVG alone


class NamedLines(LineCollection):
    """Lines, each a group of its own in SVG; without names, a plain collection."""

    def __init__(
        self,
        lines: Sequence[NDArray],
        names: Sequence[str],
        colors: Any,
        styles: Any,
        widths: Any,
        **options: Any,
    ) -> None:
        segments = [np.c_[line.real, line.imag] for line in lines]
        super().__init__(segments, colors=colors, linestyles=list(styles), linewidths=widths, **options)
        self._names, self._styles = names, styles

    def draw(self, renderer: RendererBase) -> None:
        """Draw all lines, in SVG one by one."""
        if not self._names or not _is_svg(renderer):
            super().draw(renderer)
            return
        for k, segment in enumerate(self.get_segments()):
            style = {
                "color": self.get_colors()[k],
                "ls": self._styles[k],
                "lw": np.ravel(self.get_linewidth())[k],
            }
            one = Line2D(*np.asarray(segment).T, **style, gid=self._names[k], solid_capstyle="butt")
            _draw_as_part(one, self, renderer)


class NamedDots(Line2D):
    """Markers, each a group of its own in SVG."""

    def __init__(self, points: NDArray, names: Sequence[str], **options: Any) -> None:
        super().__init__(np.real(points), np.imag(points), ls="", **options)
        self._names = names

    def draw(self, renderer: RendererBase) -> None:
        """Draw all markers, in SVG one by one."""
        if not self._names or not _is_svg(renderer):
            super().draw(renderer)
            return
        for (x, y), name in zip(np.asarray(self.get_xydata()), self._names, strict=True):
            one = Line2D([x], [y])
            one.update_from(self)
            one.set_gid(name)
            _draw_as_part(one, self, renderer)


class Letter(Text):
    """A letter on a nucleotide; in SVG it is drawn in the nucleotide's group."""

    def draw(self, renderer: RendererBase) -> None:
        """Draw the letter, unless its nucleotide does."""
        if not (self.get_gid() and _is_svg(renderer)):
            super().draw(renderer)


class NamedCircles(EllipseCollection):
    """Nucleotides, in SVG each a group of its circle and its letter; without names, a plain collection."""

    def __init__(
        self,
        places: NDArray,
        diameter: float,
        names: Sequence[str],
        letters: Sequence[Letter],
        **options: Any,
    ) -> None:
        size = np.full(len(places), diameter)
        super().__init__(size, size, 0, units="xy", offsets=np.c_[places.real, places.imag], **options)
        self._diameter, self._names, self._letters = diameter, names, letters

    def draw(self, renderer: RendererBase) -> None:
        """Draw all nucleotides, in SVG one by one."""
        if not self._names or not _is_svg(renderer):
            super().draw(renderer)
            return
        edges, width = self.get_edgecolor(), float(np.ravel(self.get_linewidth())[0])
        for k, place in enumerate(np.asarray(self.get_offsets())):
            renderer.open_group("base", gid=self._names[k])
            edge = edges[k % len(edges)] if len(edges) else "none"
            one = Ellipse(
                place, self._diameter, self._diameter, fc=self.get_facecolor()[k], ec=edge, lw=width
            )
            _draw_as_part(one, self, renderer)
            if self._letters:
                Text.draw(self._letters[k], renderer)
            renderer.close_group("base")


def _draw_as_part(one: Line2D | Ellipse, whole: Any, renderer: RendererBase) -> None:
    one.set_figure(whole.get_figure(root=False))
    one.axes = whole.axes
    one.set_transform(whole.axes.transData)
    one.draw(renderer)
