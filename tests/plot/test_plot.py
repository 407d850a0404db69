"""Drawings: where nucleotides are placed, what the Axes hold, and what a notebook is given."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from rinalmo_kit import plot
from rinalmo_kit.plot import branches, coordinates, style
from rinalmo_kit.rna.pairs import pairs_from_dot_bracket
from rinalmo_kit.structure import Structure

TRNA = Structure.from_dot_bracket(
    "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA",
    "(((((((..((((........)))).((((.........)))).....(((((.......))))))))))))....",
    name="tRNA-Phe",
)
PSEUDOKNOT = Structure.from_dot_bracket(
    "GGCGCAAGCCAAUUCGGAAAUGCGCCAAAGGCAAAA", "((((((..[[[[........))))))...]]]]..."
)


def with_probabilities(s: Structure) -> Structure:
    p = np.full((len(s), len(s)), 0.1 / len(s))  # 0.1 in all
    p[tuple(s.pairs.T)] = p[tuple(s.pairs.T[::-1])] = 0.9
    return Structure(s.sequence, s.pairs, name=s.name, probabilities=p)


def distances(dot_bracket: str) -> tuple[np.ndarray, np.ndarray]:
    """Distances between all nucleotides of the layout, and the pairs."""
    pairs = pairs_from_dot_bracket(dot_bracket)
    z = plot.layout(pairs, len(dot_bracket)) @ (1, 1j)
    return abs(z[:, None] - z), pairs


def labelled(ax: mpl.axes.Axes, label: str) -> list:
    """Segments of the collections with this label."""
    return [
        segment
        for c in ax.collections
        if c.get_label() == label
        for segment in (c.get_segments() if hasattr(c, "get_segments") else c.get_offsets())
    ]


def texts(ax: mpl.axes.Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.fixture(autouse=True)
def agg() -> Iterator[None]:
    mpl.use("Agg", force=True)
    import matplotlib.pyplot as plt

    before = mpl.rcParams.copy()
    yield
    assert mpl.rcParams == before, "a drawing changed global settings"
    plt.close("all")


# layout


@pytest.mark.parametrize(
    "dot_bracket",
    [
        TRNA.dot_bracket,
        PSEUDOKNOT.dot_bracket,
        "(((.....)))",
        "(((.((((....)))))))",  # bulge
        "(((..((((....)))....)....)))...",  # interior loops, one lopsided
        "..((...))....((((....))))..(((....)))" + "." * 200,  # several domains, a long end
        "(((" + "." * 60 + ")))",
        "." * 100 + "((((....))))" + "." * 90,
        "." * 77,
        "()((.))",  # neighbours paired
    ],
)
def test_layout_of_simple_structures(dot_bracket: str):
    d, pairs = distances(dot_bracket)
    neighbours = np.diagonal(d, 1)
    np.testing.assert_allclose(neighbours, 1, atol=1e-6)
    laid_out = [dot_bracket[i] == "(" and j - i > 1 for i, j in pairs]
    np.testing.assert_allclose(d[tuple(pairs[laid_out].T)], coordinates.PAIR, atol=1e-6)
    others = d[np.triu_indices(len(d), 2)]
    assert others.size == 0 or others.min() > 0.89, "nucleotides lie on each other"


def test_layout_stems_are_straight_ladders_and_hairpins_round():
    stem, loop = 8, 9
    xy = plot.layout([(k, 2 * stem + loop - 1 - k) for k in range(stem)], 2 * stem + loop)
    steps = np.diff(xy[:stem], axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to([0, 1], steps.shape), atol=1e-9)
    ring = xy[stem - 1 : stem + loop + 1]
    equations = np.c_[2 * ring, np.ones(len(ring))]
    *center, c = np.linalg.lstsq(equations, np.square(ring).sum(axis=1), rcond=None)[0]
    radius = np.sqrt(c + np.square(center).sum())
    np.testing.assert_allclose(np.hypot(*(ring - center).T), radius, rtol=1e-6)


def test_layout_keeps_helix_straight_through_bulge_and_interior_loop():
    dot_bracket = "((((.((((...((((.....))))...))))))))"
    xy = plot.layout(pairs_from_dot_bracket(dot_bracket), len(dot_bracket))
    opening = xy[[k for k, symbol in enumerate(dot_bracket) if symbol == "("]]
    assert np.ptp(opening[:, 0]) < 1e-6


def test_layout_untangles_clashing_stems(monkeypatch: pytest.MonkeyPatch):
    # a domain of the exterior loop, turned into its neighbour by its long bulge (from bpRNA)
    dot_bracket = ".(.((((((((....)))))))))............(((....)))(((......((((((............))))))....)))"

    def closest() -> float:
        d, _ = distances(dot_bracket)
        return d[np.triu_indices(len(d), 2)].min()

    assert closest() > 0.89
    monkeypatch.setattr(branches, "_touching", lambda *_: np.zeros((0, 2), dtype=int))
    coordinates._circles.cache_clear()
    assert closest() < 0.89, "this structure no longer tests anything"
    coordinates._circles.cache_clear()


def random_brackets(length: int, seed: int) -> str:
    """A nested structure with many junctions, single pairs, and free ends."""
    rng = np.random.default_rng(seed)

    def part(length: int) -> str:
        if length < 12:
            return "." * length
        if rng.random() < 0.35:
            cut = int(rng.integers(4, length - 3))
            return part(cut) + part(length - cut)
        stem, left, right = int(rng.choice([1, 2, 3, 6])), int(rng.integers(0, 3)), int(rng.integers(0, 6))
        inner = length - 2 * stem - left - right
        return (
            "." * left + "(" * stem + (part(inner) if inner > 3 else "." * inner) + ")" * stem + "." * right
        )

    return part(length)


@pytest.mark.parametrize("seed", range(12))
def test_layout_is_without_overlap(seed: int):
    dot_bracket = random_brackets(60 + 40 * seed, seed)
    pairs, length = pairs_from_dot_bracket(dot_bracket), len(dot_bracket)
    z = plot.layout(pairs, length) @ (1, 1j)
    distance = abs(z[:, None] - z)[np.triu_indices(length, 2)]
    assert distance.min() > 0.84, "circles lie on each other"
    lines = [(k, k + 1) for k in range(length - 1)] + [(i, j) for i, j in pairs.tolist() if j - i > 1]
    a, b = z[np.array(lines).T]

    def side(p: np.ndarray) -> np.ndarray:
        return np.sign(((b - a).conj()[:, None] * (p - a[:, None])).imag.round(9))

    crossing = np.argwhere(np.triu((side(a) * side(b) < 0) & (side(a) * side(b) < 0).T))
    assert not [pair for pair in crossing.tolist() if not {*lines[pair[0]]} & {*lines[pair[1]]}]
    assert abs(np.diff(z)).min() > 1 - 1e-6


def test_layout_by_the_puzzler_of_viennarna():
    RNA = pytest.importorskip("RNA", reason="needs ViennaRNA")
    before = RNA.cvar.rna_plot_type
    z = plot.layout(TRNA.pairs, len(TRNA), method="puzzler") @ (1, 1j)
    assert RNA.cvar.rna_plot_type == before, "a drawing changed a global setting"
    np.testing.assert_allclose(abs(z[TRNA.pairs[:, 0]] - z[TRNA.pairs[:, 1]]), 1.4, atol=1e-3)
    assert plot.layout([], 0, method="puzzler").shape == (0, 2)
    with pytest.raises(ValueError, match='"circles" or "puzzler", not'):
        plot.layout([], 1, method="turtle")


def test_layout_of_long_and_deep_structures_is_finite():
    for dot_bracket in ("(" * 1490 + "." * 20 + ")" * 1490, "(((." * 400 + "...." + ")))" * 400, "." * 3000):
        xy = plot.layout(pairs_from_dot_bracket(dot_bracket), len(dot_bracket))
        assert xy.shape == (len(dot_bracket), 2)
        assert np.isfinite(xy).all()
        np.testing.assert_allclose(np.hypot(*np.diff(xy, axis=0).T), 1, atol=1e-5)


def test_layout_long_free_ends_do_not_dwarf_the_picture():
    dot_bracket = "." * 500 + "((((....))))" + "." * 500
    assert np.ptp(plot.layout(pairs_from_dot_bracket(dot_bracket), len(dot_bracket)), axis=0).max() < 110


def test_layout_edge_cases_and_errors():
    assert plot.layout([], 0).shape == (0, 2)
    assert plot.layout([], 1).shape == (1, 2)
    with pytest.raises(ValueError, match="outside"):
        plot.layout([(0, 9)], 9)
    with pytest.raises(ValueError, match="two pairs"):
        plot.layout([(0, 9), (0, 8)], 10)


def test_layout_is_reproducible():
    first, second = (plot.layout(TRNA.pairs, len(TRNA)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


# structure


def test_structure_draws_every_pair_once():
    ax = plot.structure(TRNA)
    wobbles = next(line for line in ax.lines if line.get_label() == "_wobble_pairs")
    assert len(wobbles.get_xdata()) == 1  # G4-U69
    assert len(labelled(ax, "_pairs")) + 1 == len(TRNA.pairs)
    assert not labelled(ax, "_crossing_pairs")
    assert len(labelled(ax, "_bases")) == len(TRNA)
    assert "".join(text for text in texts(ax) if text in "ACGU") == TRNA.sequence
    assert {"5′", "3′", "10", "70"} <= set(texts(ax))


def test_structure_labels_do_not_overlap():
    ax = plot.structure(TRNA)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    clashes = [
        (ax.texts[a].get_text(), ax.texts[b].get_text())
        for a in range(len(boxes))
        for b in range(a)
        if boxes[a].overlaps(boxes[b])
    ]
    assert not clashes
    frame = ax.figure.bbox
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 and frame.y0 <= b.y0 and b.y1 <= frame.y1 for b in boxes)


def test_structure_keeps_pseudoknots():
    ax = plot.structure(PSEUDOKNOT)
    assert len(labelled(ax, "_pairs")) == 6
    bows = labelled(ax, "_crossing_pairs")
    assert len(bows) == 4
    places = np.asarray(labelled(ax, "_bases"))
    ends = {tuple(np.abs(places - bow[end]).sum(axis=1).argmin() for end in (0, -1)) for bow in bows}
    assert ends == {(8, 32), (9, 31), (10, 30), (11, 29)}


def test_structure_dashes_what_is_not_canonical():
    ax = plot.structure(Structure.from_dot_bracket("GAGAAAACUC", "(((....)))"))
    (collection,) = [c for c in ax.collections if c.get_label() == "_pairs"]
    assert [dashes is None for _, dashes in collection.get_linestyle()] == [True, True, True]
    ax = plot.structure(Structure.from_dot_bracket("GAGAAAACAC", "(((....)))"))
    (collection,) = [c for c in ax.collections if c.get_label() == "_pairs"]
    assert [dashes is None for _, dashes in collection.get_linestyle()] == [True, False, True]


def test_structure_compares_with_reference():
    reference = Structure(TRNA.sequence, np.r_[TRNA.pairs[2:], [[14, 47]]])
    ax = plot.structure(TRNA, reference=reference)
    (collection,) = [c for c in ax.collections if c.get_label() == "_pairs"]
    colors = [mpl.colors.to_hex(color).upper() for color in collection.get_color()]
    assert colors.count(style.ORANGE) == 2
    assert colors.count(style.GREEN) == len(TRNA.pairs) - 2
    assert len(labelled(ax, "_crossing_pairs")) == 1
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["both", "predicted", "reference"]
    with pytest.raises(ValueError, match="76 nucleotides, 'short' has 10"):
        plot.structure(TRNA, reference=Structure("GGGAAAACCC", [], name="short"))


def test_structure_colors():
    def faces(**options: object) -> np.ndarray:
        (bases,) = [c for c in plot.structure(s, **options).collections if c.get_label() == "_bases"]
        return bases.get_facecolor()

    s = with_probabilities(TRNA)
    assert len(np.unique(faces(), axis=0)) == 4
    by_probability = faces(color_by="probability")
    np.testing.assert_allclose(by_probability[0], mpl.colormaps["viridis"](0.9))  # paired
    np.testing.assert_allclose(by_probability[-1], mpl.colormaps["viridis"](0.9))  # unpaired, 1 - 0.1
    values = np.linspace(0, 1, len(s))
    values[3] = np.nan
    by_value = faces(color_by=values)
    np.testing.assert_allclose(by_value[[0, -1]], mpl.colormaps["viridis"]([0.0, 1.0]))
    np.testing.assert_allclose(by_value[3], mpl.colors.to_rgba("#D0D0D0"))
    assert {tuple(c) for c in faces(color_by=["red", "blue"] * 38)} == {(1, 0, 0, 1), (0, 0, 1, 1)}
    assert {tuple(c) for c in faces(color_by="red")} == {(1, 0, 0, 1)}
    assert not labelled(plot.structure(s, color_by=None, letters=False), "_bases")
    assert labelled(plot.structure(s, color_by=None, letters=True), "_bases")


@pytest.mark.parametrize("reference", [None, TRNA])
def test_structure_colored_by_elements(reference):
    ax = plot.structure(TRNA, color_by="element", reference=reference)
    (bases,) = [c for c in ax.collections if c.get_label() == "_bases"]
    colors = [mpl.colors.to_hex(color).upper() for color in bases.get_facecolor()]
    assert [k for k, color in enumerate(colors) if color == style.ELEMENTS["stem"]] == sorted(
        TRNA.pairs.ravel()
    )
    assert colors[-1] == style.ELEMENTS["external"] and colors[15] == style.ELEMENTS["hairpin"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["stem", "hairpin", "multiloop", "external"]
    legends = [one for one in ax.get_children() if isinstance(one, mpl.legend.Legend)]
    assert len(legends) == (1 if reference is None else 2)


def test_structure_colored_by_elements_without_forgi(monkeypatch):
    monkeypatch.setitem(sys.modules, "forgi", None)
    assert plot.structure(TRNA, color_by="elements").get_legend() is not None


@pytest.mark.parametrize(
    "color_by", [[0.1] * 75, ["red"] * 77, "probability", "no such colour", "nucleotides"]
)
def test_structure_color_errors_leave_no_figure(color_by: object):
    import matplotlib.pyplot as plt

    with pytest.raises(ValueError, match=r"76 nucleotides|no probabilities|a colour or"):
        plot.structure(TRNA, color_by=color_by)
    assert not plt.get_fignums()


@pytest.mark.parametrize("length", [1, 2, 30, 400, 3000])
def test_structure_of_every_length(length: int):
    stems = length // 40
    dot_bracket = "..((((((((.((((....)))).))))))))......" * stems
    s = Structure("GACU" * (length // 4) + "G" * (length % 4), pairs_from_dot_bracket(dot_bracket))
    ax = plot.structure(s)
    ax.figure.canvas.draw()
    assert ax.figure.get_figwidth() == style.WIDTH
    drawn = [t for t in ax.texts if t.get_window_extent().width > 0]
    assert all(ax.figure.bbox.padded(1).contains(*t.get_window_extent().min) for t in drawn)
    assert ("5′" in texts(ax)) and (length == 1 or "3′" in texts(ax))


def test_structure_numbering_and_ends_can_be_left_out():
    assert texts(plot.structure(TRNA, numbering=0, letters=False, label_ends=False)) == []
    assert set(texts(plot.structure(TRNA, numbering=25, letters=False))) == {"5′", "3′", "25", "50", "75"}


# all functions


def test_axes_are_used_and_returned():
    import matplotlib.pyplot as plt

    s = with_probabilities(TRNA)
    _, axes = plt.subplots(1, 5)
    for ax, draw in zip(
        axes,
        (
            lambda ax: plot.structure(s, ax=ax, color_by="probability"),
            lambda ax: plot.arcs(s, reference=s, ax=ax),
            lambda ax: plot.probability_map(s, reference=s, ax=ax),
            lambda ax: plot.embedding_map([[0, 0], [1, 1]], ["a", "b"], ax=ax),
            lambda ax: s.plot(ax=ax),
        ),
        strict=True,
    ):
        assert draw(ax) is ax
    assert len(plt.get_fignums()) == 1


def test_arcs():
    ax = plot.arcs(PSEUDOKNOT)
    lines = labelled(ax, "_pairs")
    assert len(lines) == len(PSEUDOKNOT.pairs)
    assert sorted((round(line[0, 0]) - 1, round(line[-1, 0]) - 1) for line in lines) == [
        tuple(pair) for pair in PSEUDOKNOT.pairs
    ]
    assert all(line[:, 1].min() >= -1e-6 for line in lines)
    (collection,) = [c for c in ax.collections if c.get_label() == "_pairs"]
    assert len({tuple(color) for color in collection.get_color()}) == 2
    assert "".join(texts(ax)) == PSEUDOKNOT.sequence

    ax = plot.arcs(PSEUDOKNOT, reference=Structure(PSEUDOKNOT.sequence, PSEUDOKNOT.pairs[:3]))
    assert sum(line[:, 1].max() < 1e-6 for line in labelled(ax, "_pairs")) == 3
    with pytest.raises(ValueError, match="36 nucleotides"):
        plot.arcs(PSEUDOKNOT, reference=TRNA)


def test_probability_map():
    s = with_probabilities(TRNA)
    matrix = plot.probability_map(s).images[0].get_array()
    np.testing.assert_allclose(matrix, s.probabilities)
    ax = plot.probability_map(s.probabilities, reference=s)
    matrix = ax.images[0].get_array()
    np.testing.assert_allclose(np.triu(matrix, 1), np.triu(s.probabilities, 1))
    assert not np.tril(matrix).any()
    (target,) = [c for c in ax.collections if c.get_label() == "_reference"]
    centers = {tuple(path.get_extents().get_points().mean(axis=0).round(3)) for path in target.get_paths()}
    assert centers == {(i + 1, j + 1) for i, j in s.pairs.tolist()}  # columns are the 5′ partners
    assert ax.get_xticks()[0] == ax.get_yticks()[0] == 1
    assert ax.yaxis_inverted()
    assert s.probabilities.min() > 0, "the input was changed"


def test_probability_map_keeps_single_pairs_of_long_sequences():
    p = np.zeros((1999, 1999), dtype=np.float32)
    p[100, 1500] = p[1500, 100] = 0.7
    image = plot.probability_map(p).images[0].get_array()
    assert len(image) < 1999
    assert image.max() == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("matrix", "target", "message"),
    [
        (TRNA, None, "has no probabilities"),
        (np.zeros((4, 5)), None, r"shape \(4, 5\)"),
        (np.zeros((5, 5)), TRNA, "76 nucleotides, the matrix 5"),
        (np.zeros((5, 5)), [(0, 5)], "outside"),
    ],
)
def test_probability_map_errors(matrix: object, target: object, message: str):
    with pytest.raises(ValueError, match=message):
        plot.probability_map(matrix, reference=target)


def test_embedding_map():
    rng = np.random.default_rng(0)
    labels = np.repeat(["tRNA", "5S", "$odd_name"], [20, 10, 5])
    points = rng.normal(size=(35, 2)) + 8 * np.unique(labels, return_inverse=True)[1][:, None]
    ax = plot.embedding_map(points, labels)
    ax.figure.canvas.draw()
    assert sorted(texts(ax)) == sorted(set(labels))
    assert sum(len(c.get_offsets()) for c in ax.collections) == 35
    for text in ax.texts:
        nearest = np.abs(points - text.get_position()).sum(axis=1).argmin()
        assert labels[nearest] == text.get_text()
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert texts(plot.embedding_map(points)) == []


def test_embedding_map_separates_labels():
    ax = plot.embedding_map(np.repeat([[0], [1], [2], [100], [0], [0]], 2, axis=1), list("abcdab"))
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(boxes[a].overlaps(boxes[b]) for a in range(len(boxes)) for b in range(a))


def test_names_of_a_small_embedding_map_lie_beside_its_points():
    rng = np.random.default_rng(0)
    labels = np.repeat(["tRNA", "SAM riboswitch", "5S rRNA"], 6)
    points = rng.normal(size=(18, 2)) + 3 * np.eye(3)[:, :2].repeat(6, 0)
    ax = plot.embedding_map(points, labels)
    ax.figure.canvas.draw()
    spots = ax.transData.transform(points)
    assert len(ax.texts) == 3
    assert not any(text.get_window_extent().contains(*spot) for text in ax.texts for spot in spots)


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [([[1, 2, 3]], None, "expected"), ([[1, 2]], ["a", "b"], "there are 1 points")],
)
def test_embedding_map_errors(points: object, labels: object, message: str):
    with pytest.raises(ValueError, match=message):
        plot.embedding_map(points, labels)


def test_training_log_puts_the_parts_of_a_resumed_run_together(tmp_path: Path):
    parts = {  # the second resumes from step 100 and makes steps 101 to 120 again
        0: "step,train_loss,val_perplexity\n49,2,\n49,,4\n99,1.8,\n109,1.7,\n119,1.6,\n",
        10: "step,train_loss,val_perplexity\n199,1.2,\n199,,3\n",
        2: "step,train_loss,val_perplexity\n109,1.7,\n149,1.5,\n149,,3.5\n",
    }
    for version, text in parts.items():
        path = tmp_path / f"log/version_{version}/metrics.csv"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    table = plot.training_log(tmp_path)
    assert table["train_loss"].to_dict() == {50: 2, 100: 1.8, 110: 1.7, 150: 1.5, 200: 1.2}
    assert table["val_perplexity"].dropna().to_dict() == {50: 4, 150: 3.5, 200: 3}
    with pytest.raises(FileNotFoundError, match="no log of a training run"):
        plot.training_log(tmp_path / "log")


def test_training_curves():
    table = pd.DataFrame(
        {
            "train_loss": [2, 1.8, 1.5],
            "val_perplexity": [3.9, np.nan, 3.6],
            "val_perplexity_unigram": [4.0, np.nan, 4.0],
        },
        index=[50, 60, 100],
    )
    ax = plot.training_curves(table)
    model, letters = ax.lines
    assert model.get_xydata().tolist() == [[50, 3.9], [100, 3.6]]
    assert letters.get_xydata().tolist() == [[50, 4], [100, 4]] and letters.get_linestyle() == "--"
    assert texts(ax) == [] and len(ax.get_legend().get_texts()) == 2
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "validation perplexity")
    scores = plot.training_curves(pd.DataFrame({"val_accuracy": [0.2, 0.8], "train_loss": [2, 1]}))
    assert scores.lines[0].get_ydata().tolist() == [0.2, 0.8] and scores.get_ylabel() == "validation accuracy"
    loss = plot.training_curves(table[["train_loss"]], ax=ax.figure.add_subplot())
    assert loss.get_ylabel() == "training loss" and loss.get_legend() is None
    with pytest.raises(ValueError, match="has no column train_loss; it has lr"):
        plot.training_curves(pd.DataFrame({"lr": [1]}))


def test_paper_style_is_undone():
    before = mpl.rcParams["font.size"]
    with plot.paper_style():
        assert mpl.rcParams["font.size"] == 7
        assert mpl.rcParams["svg.fonttype"] == "none"
        assert mpl.rcParams["pdf.fonttype"] == 42
    assert mpl.rcParams["font.size"] == before


def test_figures_of_a_notebook_are_shown_after_a_block_of_paper_style(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(mpl.rcParams, "interactive", False)
    with plot.paper_style():
        mpl.interactive(True)  # as the inline backend does when it makes the first figure
    assert mpl.is_interactive()


# notebooks


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.letters = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "text" and data.strip() in set("ACGU"):
            self.letters += data.strip()


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</pre></svg><b>", "$\\frac{1}{$ & x"],
)
def test_html_shows_names_as_text(name: str):
    text = plot.structure_html(Structure(TRNA.sequence, TRNA.pairs, name=name))
    page = Tags(text)
    assert set(page.tags) <= {"div", "svg", "defs", "g", "path", "use", "text", "clippath", "rect", "pre"}
    assert not any(key.startswith("on") for key, _ in page.attributes)
    assert all(value.startswith("#rk") for key, value in page.attributes if key.endswith("href"))
    assert html.escape(name) in text
    assert text.endswith(f"{TRNA.sequence}\n{TRNA.dot_bracket}</pre></div>")


def test_html_holds_text_and_ids_of_its_own():
    text = plot.structure_html(TRNA)
    first, second = Tags(text), Tags(plot.structure_html(PSEUDOKNOT))
    assert first.letters == TRNA.sequence
    assert first.ids and len(set(first.ids)) == len(first.ids)
    assert not set(first.ids) & set(second.ids)
    references = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert references and set(references) <= set(first.ids)
    assert text == TRNA._repr_html_()


def test_html_of_long_structures_is_light_and_leaves_pyplot_alone():
    import matplotlib.pyplot as plt

    s = Structure("GACU" * 600, pairs_from_dot_bracket("(((((......)))))...." * 120))
    text = plot.structure_html(s)
    assert len(text) < 300_000
    assert Tags(text).letters == ""
    assert not plt.get_fignums()


# Numbers ------------------------------------------------------------------------------------------------


def test_perplexity_draws_a_curve_a_model_and_a_line_for_what_needs_no_training():
    rows = [("pico", 2e6, 3.6), ("pico", 1e6, 3.8), ("unigram", 0, 4.0)]
    ax = plot.perplexity(pd.DataFrame(rows, columns=["model", "tokens", "perplexity"]))
    curve, line = ax.get_lines()
    assert curve.get_xydata().tolist() == [[1, 3.8], [2, 3.6]], "in the order of tokens, in millions"
    assert set(line.get_ydata()) == {4.0}
    assert [text.get_text() for text in ax.texts] == ["unigram", "pico"]
    both = plot.perplexity(
        pd.DataFrame([*rows, ("nano", 1e6, 3.7)], columns=["model", "tokens", "perplexity"])
    )
    assert [text.get_text() for text in both.get_legend().get_texts()] == ["pico", "nano"]


def test_reliability_draws_each_set_against_the_diagonal():
    table = pd.DataFrame({"confidence": [0.2, 0.8, 0.3], "f1": [0.1, 0.9, 0.3], "set": ["a", "a", "b"]})
    diagonal, a, b = plot.reliability(table).get_lines()
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert a.get_xydata().tolist() == [[0.2, 0.1], [0.8, 0.9]] and b.get_xydata().tolist() == [[0.3, 0.3]]
    assert len(plot.reliability(table.drop(columns="set")).get_lines()) == 2
