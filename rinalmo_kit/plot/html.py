"""The drawing of a structure that a notebook shows."""

from __future__ import annotations

import hashlib
import html
import io
import re

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .._utils.given import of_kind
from ..rna.folded import GUESS, FoldedRNA
from ..rna.pairs import to_dot_bracket
from .base_pairs import arcs
from .secondary_structure import ARCS_ABOVE, _base_colors, _draw, _framed, _size, _view
from .style import WIDTH

__all__ = ["structure_html"]

ON_SCREEN = (
    4.5  # least points of a unit of the layout with letters, on a screen, which is twice as large as paper
)


def structure_html(s: FoldedRNA) -> str:
    """Return the HTML that a notebook shows for a structure: a drawing (inline SVG), the sequence and the dot-bracket.

    Everything that comes from the name is escaped; the drawing holds no scripts, style sheets or links,
    and its ids are its own. Above 500 nt it shows arcs.

    Examples
    --------
    >>> from rinalmo_kit import Structure
    >>> "&lt;b&gt;" in structure_html(Structure("GGGAAAACCC", [(0, 9)], name="<b>"))
    True
    """
    of_kind("s", s, FoldedRNA, "a Structure")
    as_arcs = len(s) > ARCS_ABOVE
    view = np.zeros(0, dtype=complex) if as_arcs else _view(s)
    width, height = (WIDTH, 1.7) if as_arcs else _size(_framed(s, view, None))
    written = to_dot_bracket(s.pairs, len(s), drop=True)
    text = f">{s.name}\n{s.sequence}\n{written}"
    if len(written) - written.count(".") < 2 * len(s.pairs):
        text += "\n(more pseudoknots than there are brackets: some pairs are drawn, but not written)"
    salt = hashlib.sha256(text.encode()).hexdigest()[:10]
    svg = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "path.simplify": True}):
        figure = Figure(figsize=(width, height))
        if as_arcs:
            arcs(s, ax=figure.add_axes((0.02, 0.12, 0.96, 0.86)), names=False)
        else:
            colors = _base_colors(s, "nucleotide")[0]
            _draw(figure.add_axes((0, 0, 1, 1)), s, view, colors, readable=ON_SCREEN, names=False)
        figure.savefig(svg, format="svg", metadata={"Date": None})
    drawing = svg.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    # matplotlib's style sheet would apply to the whole notebook, and its ids repeat from drawing to drawing
    drawing = re.sub(r"<(metadata|style|script)\b.*?</\1>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="|(?<=href="#)|(?<=url\(#)', lambda m: f"{m.group()}rk{salt}-", drawing)
    style = (
        f"width:{150 * width:.0f}px;max-width:100%;height:auto;background:white;"
        "stroke-linejoin:round;stroke-linecap:butt"
    )
    drawing = re.sub(r'<svg\b([^>]*?) width="[^"]*"', rf'<svg\1 style="{style}"', drawing, count=1)
    drawing = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", drawing, count=1)
    words = ["" if s.confidence is None else confidence_caption(s.confidence), s.method]
    trust = "".join(f"<p>{html.escape(one)}</p>" for one in words if one)
    return f'<div>{drawing}<pre style="overflow-x:auto">{html.escape(text)}</pre>{trust}</div>'


def confidence_caption(confidence: float) -> str:
    """Return a sentence on the expected F1 of a fold.

    Examples
    --------
    >>> confidence_caption(0.31)
    'Expected F1 0.31: low. This fold is a guess.'
    """
    if confidence < GUESS:
        return f"Expected F1 {confidence:.2f}: low. This fold is a guess."
    return f"Expected F1 {confidence:.2f}: {'high' if confidence >= 0.7 else 'medium'}."
