"""Files that the folding studio exports: structures as text, and pictures by :mod:`rinalmo_kit.plot`."""

from __future__ import annotations

import io
import math
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text

from ..plot.base_pairs import probability_map
from ..plot.secondary_structure import structure as draw
from ..plot.style import WIDTH, paper_style
from ..rna.formats import FORMATS as STRUCTURES
from ..structure import Structure, write_structures
from .studio_compare import KNOWN

__all__ = ["FORMATS", "file_bytes"]

IMAGES = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}


FORMATS = {form.name: form.media_type for form in STRUCTURES.values() if form.render is not None} | IMAGES
"""Name of a format that can be exported → its media type."""


def file_bytes(s: Structure | None, kind: Any, **looks: Any) -> bytes:
    """Return a structure as the bytes of a file; how a picture looks is as for :func:`figure_bytes`.

    Raises
    ------
    ValueError
        For an unknown kind, or a window that is not four numbers.
    """
    if not isinstance(kind, str) or kind not in FORMATS or s is None:
        raise ValueError(f"{kind!r}: there are {', '.join(FORMATS)}")
    if kind in IMAGES:
        return figure_bytes(s, kind, **looks)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"structure.{kind}")
        write_structures([s], path)
        return path.read_bytes()


def figure_bytes(
    s: Structure,
    kind: str,
    *,
    panel: str = "drawing",
    color_by: str = "nucleotide",
    other: Structure | None = None,
    compare: str = "reference",
    window: Any = None,
) -> bytes:
    """Return a picture of a structure as the bytes of a file.

    Parameters
    ----------
    s : Structure
    kind : {"svg", "pdf", "png"}
    panel : {"drawing", "arcs", "map"}
        The map needs probabilities.
    color_by : str
        As for :func:`rinalmo_kit.plot.structure`, or "none".
    other : Structure, optional
        To compare with.
    compare : str
        Its name.
    window : (left, top, width, height), optional
        Part of the drawing, in units of the layout, the y axis down.
    """
    size = (WIDTH, 0.86 * WIDTH) if panel == "map" else (WIDTH, WIDTH if panel == "drawing" else 0.7 * WIDTH)
    found = io.BytesIO()
    with paper_style():
        figure = Figure(figsize=size, layout="constrained")
        ax = figure.add_subplot()
        if panel == "map":
            probability_map(s, reference=other, ax=ax)
        else:
            options: dict[str, Any] = {"layout": "arcs" if panel == "arcs" else "circles"}
            if window is not None and panel == "drawing":
                left, top, width, height = as_window(window)
                options["window"] = [[left, left + width], [-top - height, -top]]
            draw(s, ax=ax, color_by=None if color_by == "none" else color_by, reference=other, **options)
        if other is not None:
            for text in figure.findobj(Text):
                text.set_text(_named(text.get_text(), compare))
        figure.savefig(found, format=kind, dpi=300, bbox_inches="tight")
    return found.getvalue()


def _named(words: str, other: str) -> str:
    """Return words of a key with the name of what is compared, as the page says them.

    Examples
    --------
    >>> _named("reference (below)", "ViennaRNA"), _named("predicted", "ViennaRNA")
    ('ViennaRNA (below)', 'this fold')
    """
    return words.replace("reference", KNOWN.get(other, other)).replace("predicted", "this fold")


def as_window(window: Any) -> list[float]:
    """Return left, top, width and height of a part of a drawing as a page sends them, or raise ValueError."""
    numbers = window if isinstance(window, list | tuple) and len(window) == 4 else []
    if not numbers or not all(isinstance(one, int | float) and math.isfinite(one) for one in numbers):
        raise ValueError("window: expected left, top, width and height")
    if not (0 < numbers[2] < 1e6 and 0 < numbers[3] < 1e6):
        raise ValueError("window: its width and height are above 0")
    return [float(one) for one in numbers]
