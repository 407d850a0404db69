"""Names of any kind, and styles of any colour, in all figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.lines import Line2D
from matplotlib.text import Text

import rinalmo_kit as rk
from rinalmo_kit import plot
from rinalmo_kit.plot.style import PALETTE, dark, ink, palette

ODD_NAMES = [
    "$x",
    "a$b$c",
    "$\\frac$",
    "_under",
    "x^2_y",
    "\\alpha",
    "",
    " ",
    "very " * 60,
    "two\nlines",
    "\x00\x1b[0m",
]
ODD_NAMES += ["🧬", "名前", "{x}", "%s", "<b>&amp;", "$", "$$", "#", "~", "\\$5", 7, 1.5, True]
RNA = rk.Structure.from_dot_bracket("GGGAAAACCUGNNGGCAAAGCC", "(((.[[.)))...((.]]..))", name="$\\frac$_x^")
NAMED = {
    "confusion": lambda a, b: plot.confusion([a, b, a], [a, b, b]),
    "score_boxes": lambda a, b: plot.score_boxes(
        pd.DataFrame({"method": [a, b, a, b], "f1": [0.1, 0.2, 0.3, 0.4]})
    ),
    "score_boxes, grouped": lambda a, b: plot.score_boxes(
        pd.DataFrame({"method": [a, b, a, b], "f1": [0.1, 0.2, 0.3, 0.4], "g": [a, a, b, b]}), group="g"
    ),
    "score_densities": lambda a, b: plot.score_densities(
        pd.DataFrame({"method": [a, b, a, b], "f1": [0.1, 0.2, 0.3, 0.4]})
    ),
    "score_table": lambda a, b: plot.score_table(pd.DataFrame({a: [0.1, 0.2], b: [a, b]}, index=[a, b])),
    "roc": lambda a, b: plot.roc([True, False], {a: [0.9, 0.1], b: [0.2, 0.4]}),
    "precision_recall": lambda a, b: plot.precision_recall([True, False], {a: [0.9, 0.1], b: [0.2, 0.4]}),
    "embedding_map": lambda a, b: plot.embedding_map(np.eye(2), [a, b]),
    "embedding_map, many": lambda a, b: plot.embedding_map(
        np.zeros((40, 2)), [*map(str, range(38)), str(a), str(b)]
    ),
    "reliability": lambda a, b: plot.reliability(
        pd.DataFrame({"confidence": [0.1, 0.5], "f1": [0.2, 0.6], "set": pd.Series([a, b], dtype=object)})
    ),
    "perplexity": lambda a, b: plot.perplexity(
        pd.DataFrame([(a, 1, 3.0), (a, 2, 2.0), (b, 0, 4.0)], columns=["model", "tokens", "perplexity"])
    ),
    "perplexity of two": lambda a, b: plot.perplexity(
        pd.DataFrame([(a, 1, 3.0), (b, 2, 2.0)], columns=["model", "tokens", "perplexity"])
    ),
    "mutation_map": lambda a, b: plot.mutation_map(np.zeros((4, 4)), "ACGU", label=str(a)),
    "attention_map": lambda a, b: plot.attention_map(np.eye(4), sequence=(f"{a}$_^\n" * 4)[:4]),
    "structures": lambda a, b: plot.structures(RNA, {a: RNA, b: RNA})[0],
}


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout not applied")
@pytest.mark.parametrize("draw", NAMED)
def test_names_are_shown_as_they_are(draw: str) -> None:
    """Nothing is parsed as mathematics, nothing hidden, nothing fails."""
    for pair in zip(ODD_NAMES[::2], ODD_NAMES[1::2], strict=True):
        figure = NAMED[draw](*pair).figure
        figure.draw_without_rendering()
        shown = [text for text in figure.findobj(Text) if text.get_visible() and "$" in text.get_text()]
        assert not any(text.get_parse_math() for text in shown)
        for name in pair if draw not in ("attention_map", "mutation_map") else pair[:0]:
            if isinstance(name, str) and name.startswith(("_", "$x", "a$")):
                assert any(name in text.get_text() for text in figure.findobj(Text)), f"{name!r} is hidden"
        plt.close(figure)


DRAWN = {
    **{name: lambda name=name: NAMED[name]("a", "b") for name in NAMED if name != "mutation_map"},
    "structure": lambda: plot.structure(RNA, color_by=None),
    "structure, coloured": lambda: plot.structure(RNA),
    "arcs": lambda: plot.arcs(RNA),
    "arcs, long": lambda: plot.arcs(rk.Structure("A" * 400, [(0, 399)])),
    "probability_map": lambda: plot.probability_map(np.eye(8), reference=[(0, 7)]),
    "regression": lambda: plot.regression([1, 2, 3], [1, 3, 2]),
    "training_curves": lambda: plot.training_curves(
        pd.DataFrame({f"val_{one}": [0.1, 0.2] for one in ("accuracy", "f1", "r2", "spearman")}, index=[1, 2])
    ),
    "sequence_logo": lambda: plot.sequence_logo([[0.7, 0.1, 0.1, 0.1]]),
    "map of 12 groups": lambda: plot.embedding_map(
        np.random.default_rng(0).random((24, 2)), [*map(str, range(12))] * 2
    ),
}
ON_COLOR = ("structure, coloured", "confusion")
"""These write on circles or cells, whose colours no style changes."""

LETTERS = ("text.color", "xtick.color", "ytick.color", "axes.labelcolor", "axes.edgecolor")
STYLES = {
    "dark": "dark_background",
    "seaborn": "seaborn-v0_8-dark",
    "own": {**dict.fromkeys(LETTERS, "lime"), "axes.facecolor": "navy", "figure.facecolor": "k"},
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("draw", DRAWN)
def test_letters_and_lines_can_be_seen_in_a_style(draw: str, style: str) -> None:
    with plt.style.context(STYLES[style]):
        figure = DRAWN[draw]().figure
        ground = (
            np.array(to_rgb(plt.rcParams["figure.facecolor"])),
            np.array(to_rgb(plt.rcParams["axes.facecolor"])),
        )
        ink = to_rgba(plt.rcParams["text.color"])
        for one in figure.findobj(lambda one: isinstance(one, Text | Line2D) and one.get_visible()):
            color = to_rgba(one.get_color())
            if isinstance(one, Line2D) and one.get_linestyle() == "None":
                continue  # markers have colours of their own
            if isinstance(one, Text) and (
                not one.get_text() or (draw in ON_COLOR and one in figure.axes[0].texts)
            ):
                continue
            assert all(np.abs(np.array(color[:3]) - other).max() > 0.2 for other in ground) or color == ink
        plt.close(figure)


def test_ours_is_the_ink_of_the_default_style_alone() -> None:
    with plt.style.context("default"):
        assert ink() == "#222222" and not dark() and palette() == [*PALETTE]
    with plt.style.context("dark_background"):
        assert ink() == "white" and dark() and "#000000" not in palette()
        drawing = plot.structure(RNA, color_by=None)
        assert {to_rgba(text.get_color()) for text in drawing.texts} == {to_rgba("white")}


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 2.0])
def test_maps_of_what_is_no_probability_are_rejected(value: float) -> None:
    p = np.zeros((5, 5))
    p[0, 4] = value
    with pytest.raises(ValueError, match=r"p\[0, 4\] = .* is not a probability"):
        plot.probability_map(p)
    with pytest.raises(ValueError, match="row 0 holds no probabilities"):
        plot.sequence_logo([[value if value != 2 else -2, 0.1, 0.1, 0.1]])
    for bad in (
        np.zeros((5, 5), dtype=complex),
        np.full((5, 5), "x"),
        np.ones((5, 5), dtype=bool),
        np.zeros((5, 4)),
    ):
        with pytest.raises(ValueError, match="probabilities"):
            plot.probability_map(bad)
    plot.probability_map(np.triu(np.full((5, 5), 0.5)))
